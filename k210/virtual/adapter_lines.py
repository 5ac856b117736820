"""What every adapter of a virtual board has: a baud rate and two control lines."""

from abc import ABC, abstractmethod

from k210.virtual.board import VirtualBoard


class AdapterLines(ABC):
    """Settings that act on a board at once; a rate, on what is sent from then on.

    Args:
        board: the board behind the adapter.
    """

    def __init__(self, board: VirtualBoard) -> None:
        self.board = board
        self._levels = {"dtr": False, "rts": False}

    @abstractmethod
    def flush(self) -> None:
        """Let the board have what was sent."""

    @property
    def baudrate(self) -> int:
        """What the host sends and receives at."""
        return int(self.board.line.host_baud)

    @baudrate.setter
    def baudrate(self, baud: int) -> None:
        self.flush()
        self.board.line.host_baud = float(baud)

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
