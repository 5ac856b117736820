"""A virtual board in this process, behind what looks like a serial port.

No sockets and no other process, and nothing waits for the host's clock: a read that
finds nothing lets the board's time pass instead. So a test repeats itself exactly.
"""

import time
from collections.abc import Callable

from k210.virtual.board import STRAP_SECONDS, VirtualBoard

TURNS = 8


class LocalPort:
    """See ``k210.ports.Port``.

    Args:
        board: the board.
        spoil: what the line does to bytes on their way, either way.
    """

    port: str | None = "local"

    def __init__(
        self, board: VirtualBoard, spoil: Callable[[bytes], bytes] = bytes
    ) -> None:
        self.board, self.spoil = board, spoil
        self._received = bytearray()
        self._levels = {"dtr": False, "rts": False}

    @property
    def dtr(self) -> bool:
        """The level of DTR."""
        return self._levels["dtr"]

    @dtr.setter
    def dtr(self, level: bool) -> None:
        self._set("dtr", level)

    @property
    def rts(self) -> bool:
        """The level of RTS."""
        return self._levels["rts"]

    @rts.setter
    def rts(self, level: bool) -> None:
        self._set("rts", level)

    def _set(self, name: str, level: bool) -> None:
        self._levels[name] = level
        self.board.set_control(name, level)

    @property
    def baudrate(self) -> int:
        """What the host sends and receives at."""
        return int(self.board.line.host_baud)

    @baudrate.setter
    def baudrate(self, baud: int) -> None:
        self._turn()
        self.board.line.host_baud = float(baud)

    @property
    def in_waiting(self) -> int:
        """Bytes that have arrived and were not read."""
        return len(self._received)

    def write(self, data: bytes) -> int:
        """Send bytes."""
        self.board.line.send(self.spoil(data))
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
        self._received += self.spoil(self.board.line.take())

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
