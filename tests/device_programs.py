"""C programs for the virtual board, built once a session."""

import functools
import tempfile
from pathlib import Path

from k210 import firmware

FOLDER = Path(__file__).parent / "firmware"


@functools.cache
def image(name: str) -> bytes:
    """The image of tests/firmware/NAME.c."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "program.elf"
        return firmware.build([FOLDER / f"{name}.c"], output).read_bytes()
