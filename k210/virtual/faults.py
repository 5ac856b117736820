"""Faults of the flash that tests inject: power that fails, sectors that stick."""

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
    """

    writes_until_cut: int | None = None
    stuck: bool = False

    def cuts_now(self) -> bool:
        """Count a command that writes; whether the power fails in it."""
        if self.writes_until_cut is None:
            return False
        self.writes_until_cut -= 1
        return self.writes_until_cut < 0
