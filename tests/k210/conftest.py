"""What the tests of the chip's library share: small kmodels, compiled once."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("small_kmodels.py")


@pytest.fixture(scope="session")
def compile_small(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], tuple[bytes, str]]:
    """Compile "residual" or "dilated" in a process of its own.

    Returns the kmodel and what nncase printed.
    """
    folder = tmp_path_factory.mktemp("small_kmodels")

    def run(*arguments: str | Path) -> str:
        command = [sys.executable, SCRIPT, *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
        return done.stdout.decode()

    def compile_small(name: str) -> tuple[bytes, str]:
        target = folder / f"{name}.kmodel"
        log = run("compile", folder / f"{name}.tflite", target)
        return target.read_bytes(), log

    run("export", folder)
    return compile_small
