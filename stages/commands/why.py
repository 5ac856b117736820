"""``doit why``: what would run, and because of which change, without running it."""

from pathlib import Path
from typing import Any

from doit.cmd_base import Command

from k210.errors import UserError
from stages import project
from stages.artifacts import State, Workspace, survey
from stages.graph import stages_of
from stages.refusal import refuse

OUTCOMES = {
    "valid": "up to date",
    "cached": "would be restored",
    "run": "would run",
    "waits": "would run if its input changes",
}


class Why(Command):
    """The command's face to doit."""

    name = "why"
    doc_purpose = "say what would run and because of which change"
    doc_usage = "[PROJECT ...]"
    doc_description = "Runs nothing. Without a name: every project."

    def execute(self, opt_values: dict[str, Any], pos_args: list[str]) -> int:
        """Print the states of the named projects' stages."""
        root = Path.cwd()
        try:
            files = [project.select(root, name) for name in pos_args]
            files = files or project.find(root)
        except UserError as error:
            return refuse(*str(error).splitlines())
        return max([_explain(root, file) for file in files], default=0)


def _explain(root: Path, file: project.ProjectFile) -> int:
    """Print one project's states; returns the exit status."""
    try:
        settings = project.settings(file, root)
        ws = Workspace(root, file.name)
        print(describe(file.name, survey(ws, stages_of(settings), settings)))
    except UserError as error:
        return refuse(*str(error).splitlines())
    return 0


def describe(name: str, states: list[State]) -> str:
    """The states in words, a line for each stage and one for each further reason."""
    lines = [f"{name}:"]
    width = max(len(state.stage.name) for state in states)
    for state in states:
        first, *rest = state.reasons or ("",)
        indent = " " * (width + 4)
        outcome = OUTCOMES[state.kind]
        lines.append(
            f"  {state.stage.name:<{width}}  {outcome}"
            + (f": {first}" if first else "")
        )
        lines += [f"{indent}{reason}" for reason in rest]
    return "\n".join(lines)
