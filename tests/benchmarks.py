"""Runs a benchmark as a user does, for what it prints last."""

import json
import subprocess
import sys
from typing import Any

from conftest import REPOSITORY


def result(script: str, *arguments: str) -> Any:
    """What ``bench/SCRIPT`` prints behind RESULT in its last line."""
    done = subprocess.run(
        [sys.executable, f"bench/{script}", *arguments],
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("RESULT ")
    return json.loads(last.removeprefix("RESULT "))
