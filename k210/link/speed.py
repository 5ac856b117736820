"""The rate of the line: as fast as it bears, slower where it loses too much.

The firmware begins at the ROM's rate, changes it when asked to, and goes back to the
first one when nobody greets it at the new one.
"""

from contextlib import suppress

from k210.errors import BoardError
from k210.isp import ROM_BAUD
from k210.link.client import Link, Op
from k210.ports import Port

RATES = (2_000_000, 1_500_000, 921_600, 460_800, 230_400, ROM_BAUD)
"""What is tried where the project's rate does not work."""

HELLO_S = 3.0
SLOW_DOWN_TRIES = 3
ANSWER_S = 3.0
"""Time for the answer to a new rate, which the line may lose with all its repetitions:
the board changes its rate a second after the answer, whoever has heard it."""


class Speed:
    """Sets the rate of a link and of its port.

    Args:
        port: the port.
        link: the link over it.
    """

    def __init__(self, port: Port, link: Link) -> None:
        self._port, self._link = port, link

    def up(self, wanted: int) -> None:
        """Go on at a rate, or at the fastest below that works.

        Raises:
            BoardError: none does.
        """
        rates = [wanted, *(each for each in RATES if each < wanted)]
        for baud in rates:
            if self._goes_at(baud):
                return
            if not self._is_heard(ROM_BAUD):  # where the board looks for us again
                break
        raise BoardError(
            f"the board on {self._port.port} does not answer at {wanted} baud: "
            "set board.baud lower"
        )

    def down(self) -> bool:
        """Go on at the next lower rate, in a new session; False if there is none.

        Raises:
            BoardError: the board is heard no more.
        """
        rate = self._port.baudrate
        lower = next((each for each in RATES if each < rate), None)
        if lower is None:
            return False
        for _ in range(SLOW_DOWN_TRIES):
            if self._is_heard(rate, ROM_BAUD) and self._goes_at(lower):
                return True
        if not self._is_heard(rate, ROM_BAUD):
            raise BoardError(
                f"the line to the board on {self._port.port} is too bad: check the "
                "cable, or set board.baud lower"
            )
        return True

    def _goes_at(self, baud: int) -> bool:
        """Ask the board for another rate; whether it is heard there."""
        if baud == self._port.baudrate:
            return True
        with suppress(BoardError):  # no answer: where it is heard tells
            self._link.ask(Op.SET_BAUD, baud.to_bytes(4, "little"), ANSWER_S)
            self._link.settle()
        return self._is_heard(baud)

    def _is_heard(self, *rates: int) -> bool:
        """Begin a session at one of these rates."""
        for baud in rates:
            self._port.baudrate = baud
            if self._link.hello(HELLO_S):
                return True
        return False
