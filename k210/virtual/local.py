"""A virtual board in this process, behind what looks like a serial port.

No sockets and no other process, and nothing waits for the host's clock: a read that
finds nothing lets the board's time pass instead. So a test repeats itself exactly.
"""

import time

from k210.virtual.adapter_lines import AdapterLines
from k210.virtual.board import STRAP_SECONDS, VirtualBoard

TURNS = 8


class LocalPort(AdapterLines):
    """See ``k210.ports.Port``.

    Args:
        board: the board.
    """

    port: str | None = "local"

    def __init__(self, board: VirtualBoard) -> None:
        super().__init__(board)
        self._received = bytearray()

    @property
    def in_waiting(self) -> int:
        """Bytes that have arrived and were not read."""
        return len(self._received)

    def write(self, data: bytes) -> int:
        """Send bytes."""
        self.board.line.send(data)
        return len(data)

    def read(self, size: int = 1) -> bytes:
        """At most so many bytes, after letting the board go on for a moment."""
        for _ in range(TURNS):
            if len(self._received) >= size:
                break
            self._turn()
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def _turn(self) -> None:
        wait = self.board.step()
        if self.board.chip.machine.running:
            self.board.chip.machine.skip_to_alarm()
        elif not self.board.rom.serving:  # reset was just released
            time.sleep(min(wait, STRAP_SECONDS))
        self._received += self.board.line.take()

    def now(self) -> float:
        """The board's time in seconds, which is the host's too."""
        return self.board.chip.machine.clock.seconds

    def flush(self) -> None:
        """Let the board have what was sent."""
        self._turn()

    def reset_input_buffer(self) -> None:
        """Drop what has arrived."""
        self._received.clear()

    def close(self) -> None:
        """Nothing to let go of."""
