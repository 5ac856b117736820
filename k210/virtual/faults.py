"""Faults that tests inject: of the flash and the power, and of the serial line."""

from collections.abc import Callable
from dataclasses import dataclass

from k210.errors import BoardError


class PowerCut(BoardError):
    """The power has failed; the flash keeps what had been done by then."""


@dataclass
class FlashFaults:
    """What goes wrong from now on.

    Attributes:
        writes_until_cut: the power fails in the middle of the erase or program
            command after so many more; None: it does not.
        stuck: an erase never ends.
        protected_from: nothing from this address on erases or programs, as where the
            flash is protected or worn out; None: all does.
    """

    writes_until_cut: int | None = None
    stuck: bool = False
    protected_from: int | None = None

    def refuses(self, address: int) -> bool:
        """Whether a command that writes has no effect there."""
        return self.protected_from is not None and address >= self.protected_from

    def cuts_now(self) -> bool:
        """Count a command that writes; whether the power fails in it."""
        if self.writes_until_cut is None:
            return False
        self.writes_until_cut -= 1
        return self.writes_until_cut < 0


@dataclass
class LineFaults:
    """What goes wrong on the line from now on, either way.

    Attributes:
        spoil: makes of bytes sent what arrives: fewer, more or others.
        lateness: gives the seconds that the next bytes come late; the order stays.
    """

    spoil: Callable[[bytes], bytes] = bytes
    lateness: Callable[[], float] = float
