"""Damaged kmodels: bit flips, truncations and edited fields, the same for a seed."""

import random
import struct
from collections.abc import Iterator

from k210 import kmodel

INTERESTING = (
    *(0, 1, 2, 3, 7, 8, 16, 63, 64, 65, 255, 256, 257, 1023, 4096, 65535, 65536),
    *(0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF8, 0x40000000, 2 * 1024 * 1024),
)


def mutants(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """`count` damaged versions of a kmodel; few mutations each, mostly not in weights.

    A version may be a valid kmodel, or even the original.
    """
    rng = random.Random(seed)
    places = _places(data)
    kinds = (_flip, _flip, _edit, _edit, _edit, _nudge, _nudge, _copy, _truncate)
    for _ in range(count):
        mutant = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
            rng.choice(kinds)(mutant, rng, places)
        yield bytes(mutant)


def _places(data: bytes) -> list[range]:
    """Where structures and code are: everything but the constants."""
    places, start = [], 0
    for module in kmodel.parse(data).modules:
        places.append(range(start, module.rdata.offset))
        start = module.rdata.offset + module.rdata.size
    return [*places, range(start, len(data))] if start < len(data) else places


def _place(mutant: bytearray, rng: random.Random, places: list[range]) -> int:
    everywhere = [range(len(mutant))]
    chosen = rng.choice(places if rng.random() < 0.9 else everywhere)
    at = rng.randrange(chosen.start, max(chosen.stop, chosen.start + 1))
    return min(at, max(len(mutant) - 8, 0))


def _flip(mutant: bytearray, rng: random.Random, places: list[range]) -> None:
    if mutant:
        mutant[_place(mutant, rng, places)] ^= 1 << rng.randrange(8)


def _edit(mutant: bytearray, rng: random.Random, places: list[range]) -> None:
    at = _place(mutant, rng, places)
    at -= at % 4 if rng.random() < 0.7 else 0
    mutant[at : at + 4] = struct.pack("<I", rng.choice(INTERESTING))


def _nudge(mutant: bytearray, rng: random.Random, places: list[range]) -> None:
    """Change a number a little: what is barely wrong."""
    at = _place(mutant, rng, places)
    at -= at % 4 if rng.random() < 0.7 else 0
    (value,) = struct.unpack("<I", mutant[at : at + 4].ljust(4, b"\0"))
    mutant[at : at + 4] = struct.pack("<I", (value + rng.randint(-9, 9)) % 2**32)


def _copy(mutant: bytearray, rng: random.Random, places: list[range]) -> None:
    """Put some bytes where others were: instructions doubled or out of order."""
    length = rng.choice((4, 8, 12, 44, 76, 152))
    source, target = (_place(mutant, rng, places) for _ in range(2))
    block = mutant[source : source + length]
    mutant[target : target + len(block)] = block


def _truncate(mutant: bytearray, rng: random.Random, places: list[range]) -> None:
    if rng.random() < 0.3:
        del mutant[rng.randrange(len(mutant) + 1) :]
