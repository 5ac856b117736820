"""A virtual board in a process of its own, which ends with the one that started it."""

import subprocess
import sys
from pathlib import Path
from typing import IO

from k210.errors import BoardError
from k210.virtual.serve import READY

END_S = 5.0


class BoardProcess:
    """Runs ``python -m k210 virtual`` on a flash image.

    Attributes:
        url: where to reach the board.

    Raises:
        BoardError: it does not start; the log says why.
    """

    def __init__(self, flash: Path, size: int, wiring: str, log: Path) -> None:
        for path in (flash, log):
            path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "k210", "virtual", str(flash)]
        options = ["--size", str(size), "--type", wiring, "--rfc2217", "0", "--child"]
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [*command, *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self.url = self._wait_for_url(log)

    def _wait_for_url(self, log: Path) -> str:
        output: IO[bytes] | None = self._process.stdout
        line = output.readline().decode() if output else ""
        if not line.startswith(READY):
            self.close()
            words = log.read_text(errors="replace").strip().splitlines()
            raise BoardError(words[-1] if words else "the virtual board does not start")
        return line[len(READY) :].strip()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def close(self) -> None:
        """End it, and let it save its flash."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
