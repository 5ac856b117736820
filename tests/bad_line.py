"""A serial line that does its worst."""

import random


class BadLine:
    """Drops, doubles, corrupts and swaps bytes, each at a rate."""

    def __init__(self, seed: int, rate: float) -> None:
        self._random, self._rate = random.Random(seed), rate

    def carry(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            fate = self._random.random() / self._rate if self._rate else 9.0
            if fate < 1:  # dropped
                continue
            out.append(byte if fate >= 2 else byte ^ 1 << self._random.randrange(8))
            if 2 <= fate < 3:
                out.append(byte)
            if 3 <= fate < 4 and len(out) > 1:
                out[-2:] = reversed(out[-2:])
        return bytes(out)
