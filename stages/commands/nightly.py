"""``doit nightly``: every project on every matching board, unattended."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

from doit.cmd_base import Command

from k210.errors import UserError
from stages.faults import disk_sentence
from stages.refusal import refuse

INTERRUPTED = 130


class Nightly(Command):
    """The command's face to doit."""

    name = "nightly"
    doc_purpose = "run every project on every matching board, and compare"
    doc_usage = ""
    doc_description = (
        "Boards are those of boards.yaml, settings stand in nightly.yaml. A run that "
        "was ended before its time is gone on with. Status 0: nothing is worse than in "
        "the last good run; 1: something is; 2: the run could not be made."
    )

    def execute(self, opt_values: dict[str, Any], pos_args: list[str]) -> int:
        """Make a run."""
        if pos_args:
            return refuse(f"nightly: takes no arguments, found {pos_args[0]!r}")
        from stages.nightly.run import run

        root = Path.cwd()
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            return run(root, _say)
        except UserError as error:
            return refuse(*str(error).splitlines())
        except OSError as error:
            if sentence := disk_sentence(root / "build", error):
                return refuse(f"nightly: {sentence}")
            raise
        except KeyboardInterrupt:
            refuse("interrupted; `doit nightly` goes on from here")
            return INTERRUPTED


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    print(line, flush=True)
