"""``python -m stages NAME --project NAME``: run one stage now, or print about them.

Exit status: 0 done, 1 the check's verdict is "fail", 2 a mistake the user can mend.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from k210.child import die_with_parent
from k210.errors import BoardError, ModelError, UserError
from stages import graph, history, project
from stages.artifacts import Workspace, read_json, write_json
from stages.console import Console, chatter_diverted
from stages.faults import disk_sentence
from stages.project import ProjectError
from stages.refusal import refuse
from stages.verdict import failed, ladder_text, summary_line

KINDS = (ModelError, BoardError, UserError)
"""Whose fault it is: the model's, the board's, or that of what the user has set."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    root = Path.cwd()
    try:
        if options.command in _PRINTERS:
            print(_PRINTERS[options.command](), end="")
            return 0
        return _run(root, options)
    except ProjectError as error:
        return refuse(*str(error).splitlines())
    except UserError as error:
        _tell_kind(options, error)
        return refuse(f"{options.command}: {error}")
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if sentence := disk_sentence(root / "build", error):
            return refuse(f"{options.command}: {sentence}")
        raise


def _tell_kind(options: argparse.Namespace, error: UserError) -> None:
    """Leave the kind of error for a caller to whom status 2 does not say enough."""
    if options.refusal is not None:
        kinds = [kind.__name__ for kind in type(error).__mro__ if kind in KINDS]
        write_json(options.refusal, {"kind": kinds[0], "message": str(error)})


def _schema() -> str:
    from stages.project.schema import schema_text

    return schema_text()


def _reference() -> str:
    from stages.project.reference import reference

    return reference()


_PRINTERS = {"schema": _schema, "reference": _reference}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for stage in graph.STAGES:
        command = commands.add_parser(stage.name, help=stage.doc)
        command.add_argument(
            "--project", help="name of the project; default: the one of pipeline.yaml"
        )
        command.add_argument(
            "--if-stale",
            action="store_true",
            help="do nothing if an earlier run has left a valid result",
        )
        command.add_argument("--quiet", action="store_true", help=argparse.SUPPRESS)
        command.add_argument("--parent", type=int, help=argparse.SUPPRESS)
        command.add_argument("--refusal", type=Path, help=argparse.SUPPRESS)
    commands.add_parser("schema", help="print the JSON Schema of the YAML files")
    commands.add_parser("reference", help="print the YAML reference as Markdown")
    return parser


def _run(root: Path, options: argparse.Namespace) -> int:
    """Run one stage of a project, its libraries' chatter in a log."""
    if options.parent is not None:
        die_with_parent(options.parent)
    stage = options.command
    settings = project.load(project.select(root, options.project), root)
    ws = Workspace(root, settings.project.name)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with chatter_diverted(ws.log(stage)) as stream:
        from stages.lifecycle import run_stage

        console = Console(stream, stage)
        run_stage(ws, stage, settings, console, options.if_stale)
        if stage == "check":
            _remember(ws, settings.model_dump(mode="json"), console)
    if stage != "check" or options.quiet:
        return 0
    check = read_json(ws.path("check/check.json"))
    print(f"{ladder_text(check)}\n{summary_line(check)}")
    return int(failed(check))


def _remember(ws: Workspace, settings: dict[str, Any], console: Console) -> None:
    """Put the run into the history; where that fails it is a finished run still."""
    try:
        history.append(ws.root, history.present(ws, settings))
    except OSError as error:
        console.say(f"history: this run is not kept in it: {error.strerror}")


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # without the libraries' own end: HDF5 crashes on a full disk
