"""``doit silicon``: what this chip's arithmetic is where only silicon can tell."""

import sys
from pathlib import Path
from typing import Any

from doit.cmd_base import Command

from k210.errors import UserError
from stages import project
from stages.artifacts import Workspace
from stages.console import Console
from stages.graph import find_stage
from stages.lifecycle import Job
from stages.refusal import refuse


class Silicon(Command):
    """The command's face to doit."""

    name = "silicon"
    doc_purpose = "ask the board what only silicon can tell about its arithmetic"
    doc_usage = "[PROJECT]"
    doc_description = (
        "Runs small layers on the project's board and compares them with the "
        "simulator; what the chip says is kept under its id. Ends with status 0 "
        "whatever it says."
    )

    def execute(self, opt_values: dict[str, Any], pos_args: list[str]) -> int:
        """Ask, print and keep the answers."""
        try:
            if len(pos_args) > 1:
                raise UserError("`doit silicon` asks one board; name one project")
            print(_asked(Path.cwd(), pos_args[0] if pos_args else None))
        except UserError as error:
            return refuse(*str(error).splitlines())
        return 0


def _asked(root: Path, name: str | None) -> str:
    from k210 import silicon
    from stages.boards import opened

    settings = project.load(project.select(root, name), root)
    ws = Workspace(root, settings.project.name)
    ws.log("silicon").parent.mkdir(parents=True, exist_ok=True)
    flash = find_stage("flash", settings.model_dump(mode="json"))
    job = Job(ws, flash, settings, "silicon", Console(sys.stderr, "silicon"))
    with ws.locked(), opened(job) as board:
        answers = silicon.ask(board)
        identity, engine = board.identity(), board.engine
    modelled = identity["kind"] == "virtual"
    path = silicon.save(answers, identity, engine, modelled)
    return f"{silicon.table(answers, modelled)}\nkept in {path}"
