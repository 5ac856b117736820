"""``doit compare A B …``: runs side by side; ``--history``: all that there were."""

from pathlib import Path
from typing import Any

from doit.cmd_base import Command

from k210.errors import UserError
from stages import history
from stages.compare import runs, table
from stages.refusal import refuse


class Compare(Command):
    """The command's face to doit."""

    name = "compare"
    doc_purpose = "runs side by side: parameters that differ, figures"
    doc_usage = "RUN RUN ... | --history [PROJECT ...]"
    doc_description = (
        "RUN is a project, PROJECT~1 for the run before its last one and so on, or "
        "the id of a run in the history."
    )
    cmd_options = (
        {
            "name": "html",
            "long": "html",
            "type": str,
            "default": "",
            "help": "write a page with plots into this file",
        },
        {
            "name": "csv",
            "long": "csv",
            "type": str,
            "default": "",
            "help": "write the runs, all their figures and settings into this file; "
            "-: print them",
        },
        {
            "name": "history",
            "long": "history",
            "type": bool,
            "default": False,
            "help": "list all finished runs",
        },
    )

    def execute(self, opt_values: dict[str, Any], pos_args: list[str]) -> int:
        """Print the comparison, and write what is asked for."""
        options, names = self._parsed(opt_values, pos_args)
        try:
            if options["history"]:
                _list(names, options["csv"], options["html"])
            else:
                _compare(names, options["csv"], options["html"])
        except UserError as error:
            return refuse(*str(error).splitlines())
        return 0

    def _parsed(
        self, opt_values: dict[str, Any], pos_args: list[str]
    ) -> tuple[dict[str, Any], list[str]]:
        """The options, those that stand behind or between the names too."""
        options, names = dict(opt_values), []
        while pos_args:
            names.append(pos_args[0])
            later, pos_args = self.cmdparser.parse(pos_args[1:])
            options |= {key: later[key] for key in options if later.get(key)}
        return options, names


def _compare(names: list[str], csv_file: str, html_file: str) -> None:
    from stages.compare.page import MOST, page

    if not 2 <= len(names) <= MOST:
        raise UserError(
            f"`doit compare` takes 2 to {MOST} runs, such as `doit compare a b` or "
            "`doit compare a a~1`"
        )
    entries = [runs.find(Path.cwd(), name) for name in names]
    if csv_file != "-":
        print(table.side_by_side(names, entries))
    _write(csv_file, table.to_csv(entries))
    if html_file:
        _write(html_file, page(names, entries))


def _list(projects: list[str], csv_file: str, html_file: str) -> None:
    if html_file:
        raise UserError("--html shows runs side by side; name them, without --history")
    entries = history.read(Path.cwd())
    if projects:
        entries = [entry for entry in entries if entry.project in projects]
    if csv_file != "-":
        print(table.listed(entries))
    _write(csv_file, table.to_csv(entries))


def _write(name: str, text: str) -> None:
    if name == "-":
        print(text, end="")
    elif name:
        try:
            Path(name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{name}: cannot be written: {error.strerror}") from None
