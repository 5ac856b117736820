"""Tells a command of the user's what came of a run."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from stages.nightly.summary import Summary

PATIENCE_S = 60.0


def notify(command: Sequence[str], summary: Summary, root: Path) -> str:
    """Run a command with the summary, as JSON, on its standard input.

    Returns a sentence about what went wrong, "" if nothing did: that a message does
    not get through changes nothing about the run.
    """
    if not command:
        return ""
    words = f"notify: the command {' '.join(command)!r}"
    try:
        done = subprocess.run(
            command,
            cwd=root,
            input=json.dumps(summary, ensure_ascii=False).encode(),
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{words} did not end within {PATIENCE_S:g} s"
    except OSError as error:
        return f"{words} cannot be run: {error.strerror}"
    return f"{words} ended with status {done.returncode}" if done.returncode else ""
