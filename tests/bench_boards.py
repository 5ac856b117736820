"""Virtual boards that are there by themselves, as real ones are, behind RFC 2217.

Each runs in a loop: when its process ends, because its power was cut or a power
command has ended it, it starts anew as a board does that gets its power back.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOOP = """
exec 3<&0
while kill -0 "$PARENT" 2> /dev/null; do
  "$@" --child >> "$0.log" 2>&1 <&3 &
  echo $! > "$0.pid"
  wait $!
  sleep 0.3
done
"""
CYCLE = """
echo cycled >> "$0.cycled"
before=$(grep -c ^serving "$0.log")
kill "$(cat "$0.pid")"
until [ "$(grep -c ^serving "$0.log")" -gt "$before" ]; do sleep 0.1; done
"""
START_S = 30


@dataclass(frozen=True)
class BenchBoard:
    """A board on the bench: its name, the URL of its port, the command for its power.

    ``faults`` are options of ``python -m k210 virtual``.
    """

    name: str
    folder: Path
    port: int
    faults: tuple[str, ...]

    @property
    def url(self) -> str:
        return f"rfc2217://127.0.0.1:{self.port}"

    @property
    def cycle(self) -> list[str]:
        """What cycles its power, and waits until it is there again."""
        return ["sh", "-c", CYCLE, str(self.folder / self.name)]

    @property
    def serves(self) -> bool:
        """Whether it has been started."""
        log = self.folder / f"{self.name}.log"
        return log.exists() and "serving " in log.read_text()

    @property
    def cycles(self) -> int:
        """How often its power was cycled."""
        path = self.folder / f"{self.name}.cycled"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def start(self) -> subprocess.Popen[bytes]:
        flash = self.folder / f"{self.name}.bin"
        board = [sys.executable, "-m", "k210", "virtual", str(flash)]
        options = ["--rfc2217", str(self.port), *self.faults]
        return subprocess.Popen(
            ["sh", "-c", LOOP, str(self.folder / self.name), *board, *options],
            env={**os.environ, "PARENT": str(os.getpid())},
            stdin=subprocess.PIPE,  # which ends with this process, and the board then
            start_new_session=True,
        )


@contextmanager
def bench(
    folder: Path, boards: Mapping[str, Sequence[str]]
) -> Iterator[dict[str, BenchBoard]]:
    """Boards by their names, each with its faults."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        name: BenchBoard(name, folder, _free_port(), tuple(faults))
        for name, faults in boards.items()
    }
    loops = [board.start() for board in found.values()]
    try:
        for board in found.values():
            _wait_for(board)
        yield found
    finally:
        for loop in loops:
            os.killpg(loop.pid, signal.SIGKILL)
            loop.communicate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(board: BenchBoard) -> None:
    end = time.monotonic() + START_S
    while not board.serves:
        assert time.monotonic() < end, "the board does not start"
        time.sleep(0.1)
