"""Types of boards: how the USB adapter's lines are wired, and what they bear.

Facts: the reset sequences of the vendor's flasher, which tells boards apart by them.
"""

from dataclasses import dataclass, replace
from typing import Literal

from k210.errors import BoardError

Control = Literal["dtr", "rts"]


@dataclass(frozen=True)
class BoardType:
    """A type of board.

    Attributes:
        name: as a project and the flasher's users write it.
        reset: the adapter's line that pulls the reset pin low.
        boot: the line that pulls IO16 low, which makes the ROM serve the line.
        crossed: whether two transistors keep each line from acting while the other
            is on, so that a program that just opens the port resets nothing.
        rom_baud: the fastest that the ROM was seen to load a program with; 0 to leave
            it at 115200.
        hold_s: how long a line is held, for the circuit behind it to follow.
    """

    name: str
    reset: Control
    boot: Control
    crossed: bool
    rom_baud: int
    hold_s: float = 0.05


TYPES = {
    kind.name: kind
    for kind in (
        BoardType("dan", "rts", "dtr", crossed=True, rom_baud=0),
        BoardType("bit", "rts", "dtr", crossed=True, rom_baud=0),
        BoardType("trainer", "rts", "dtr", crossed=True, rom_baud=1_500_000),
        BoardType("kd233", "dtr", "rts", crossed=False, rom_baud=0),
        BoardType("goE", "dtr", "rts", crossed=False, rom_baud=1_500_000),
        BoardType("maixduino", "dtr", "rts", crossed=False, rom_baud=0),
        BoardType("bit_mic", "dtr", "rts", crossed=False, rom_baud=0),
        BoardType(
            "virtual", "dtr", "rts", crossed=False, rom_baud=1_500_000, hold_s=0.0
        ),
    )
}


def board_type(name: str) -> BoardType:
    """The type of that name.

    Raises:
        BoardError: there is none.
    """
    try:
        return TYPES[name]
    except KeyError:
        raise BoardError(
            f"board.type {name!r} is not known; choose from {', '.join(TYPES)}"
        ) from None


def wired(kind: BoardType, reset: str | None) -> BoardType:
    """A type with the reset wiring of another, where that is named.

    Raises:
        BoardError: there is no type of that name.
    """
    if reset is None:
        return kind
    other = board_type(reset)
    return replace(kind, reset=other.reset, boot=other.boot, crossed=other.crossed)
