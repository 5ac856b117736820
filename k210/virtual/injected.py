"""Faults of a virtual board that a command line names: ``--fault KIND=N``."""

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from k210.virtual.board import VirtualBoard

SEED = 0


@dataclass(frozen=True)
class Injected:
    """A fault: its kind, one of ``KINDS``, and the number that goes with it."""

    kind: str
    number: int


def parse(text: str) -> Injected:
    """A fault as the command line has it.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    kind, _, number = text.partition("=")
    if kind not in KINDS or not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no fault; they are {', '.join(f'{kind}=N' for kind in KINDS)}"
        )
    return Injected(kind, int(number))


def inject(board: VirtualBoard, faults: Sequence[Injected]) -> None:
    """Have these things go wrong with a board from now on."""
    spoilers = []
    for fault in faults:
        if fault.kind == "cut-power":
            board.chip.nor.faults.writes_until_cut = fault.number
        elif fault.kind == "rom-e2":
            board.rom.refusals = fault.number
        else:
            spoilers.append(_SPOILERS[fault.kind](fault.number))

    def spoil(data: bytes) -> bytes:
        for spoiler in spoilers:
            data = spoiler(data)
        return data

    board.line.faults.spoil = spoil


class _Dropped:
    """Loses one byte in so many on average, the same ones each time."""

    def __init__(self, number: int) -> None:
        self._random, self._number = random.Random(SEED), number
        self._left = self._gap()

    def _gap(self) -> int:
        return self._random.randint(1, 2 * self._number - 1)

    def __call__(self, data: bytes) -> bytes:
        kept = bytearray()
        while len(data) >= self._left:
            kept += data[: self._left - 1]
            data, self._left = data[self._left :], self._gap()
        self._left -= len(data)
        return bytes(kept) + data


class _Silent:
    """Lets so many bytes through, either way, and nothing after them."""

    def __init__(self, number: int) -> None:
        self._left = number

    def __call__(self, data: bytes) -> bytes:
        data = data[: self._left]
        self._left -= len(data)
        return data


_SPOILERS: dict[str, Callable[[int], Callable[[bytes], bytes]]] = {
    "drop-bytes": _Dropped,
    "hang-after": _Silent,
}

KINDS = {
    "cut-power": "the power fails after N erase or program commands: the process ends",
    "drop-bytes": "the line loses one byte in N, either way",
    "hang-after": "after N bytes on the line nothing is heard any more",
    "rom-e2": "the ROM answers N times that a frame's checksum is wrong",
}
"""What each does with its number N."""
