"""How alike a quantized feature map and a float one are, sample by sample.

Bytes stand for numbers by a scale and a zero point. Where the kmodel tells them (it
dequantizes the map) they are taken; elsewhere the line is fitted through the values
that no end of the range has cut off, which is what the map would be dequantized by.

Signal is the variation of the float map around its mean, not its power: a map that is
stuck at one value has no likeness, however near that is to the mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LEAST_FITTED = 16
"""Values that a line is fitted through at least."""

LEAST_SHARE = 1e-12
"""Of noise in signal: what float arithmetic makes counts as none."""


@dataclass(frozen=True)
class Line:
    """What a byte q stands for: scale · q + offset."""

    scale: float
    offset: float

    def at(self, code: float) -> float:
        """The number that a byte stands for."""
        return self.scale * code + self.offset


class Sums:
    """Sums of two maps' values, by channel; quantized q, float f."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.q, self.f, self.qq, self.ff, self.qf = np.zeros((5, channels))

    def add(self, q: Array, f: Array, kept: Array | None = None) -> None:
        """Count values, C×N both; ``kept`` chooses some of them."""
        if kept is None:
            self.count += q.size
        else:
            self.count += int(kept.sum())
            q, f = np.where(kept, q, 0.0), np.where(kept, f, 0.0)
        self.q += q.sum(1)
        self.f += f.sum(1)
        self.qq += np.einsum("cn,cn->c", q, q)
        self.ff += np.einsum("cn,cn->c", f, f)
        self.qf += np.einsum("cn,cn->c", q, f)

    def line(self) -> Line | None:
        """The line with the least squared error, None where q hardly varies."""
        n, q, f = self.count, self.q.sum(), self.f.sum()
        spread = n * self.qq.sum() - q * q
        if n < LEAST_FITTED or spread <= 0:
            return None
        scale = (n * self.qf.sum() - q * f) / spread
        return Line(float(scale), float((f - scale * q) / n))

    def noise(self, line: Line, count: Array) -> Array:
        """By channel, the squared error of f as that line gives it."""
        a, b = line.scale, line.offset
        squares = self.ff + a * a * self.qq + b * b * count
        found: Array = squares - 2 * a * self.qf - 2 * b * self.f + 2 * a * b * self.q
        return np.maximum(found, 0)

    def variation(self) -> float:
        """The squares of f around its mean."""
        f = self.f.sum()
        return max(0.0, float(self.ff.sum() - f * f / max(1, self.count)))


class Likeness:
    """Two maps compared over samples; the first one u8 or, on the CPU, float32.

    ``lows`` and ``highs`` are the float map's ends by channel, ``codes`` counts how
    often each byte occurs, ``known`` is what bytes stand for where the kmodel tells.
    """

    def __init__(self, channels: int, known: Line | None) -> None:
        self.known = known
        self.codes = np.zeros(256, np.int64)
        self.lows = np.full(channels, np.inf)
        self.highs = np.full(channels, -np.inf)
        self._all, self._inside = Sums(channels), Sums(channels)
        self._per_channel = 0
        self._bytes = False

    def add(self, found: Array, expected: Array) -> None:
        """Take in a sample's maps, 1×C×H×W both."""
        channels = found.shape[1]
        q = found[0].reshape(channels, -1).astype(np.float64)
        f = expected[0].reshape(channels, -1).astype(np.float64)
        self._per_channel += q.shape[1]
        self._all.add(q, f)
        self.lows = np.minimum(self.lows, f.min(1))
        self.highs = np.maximum(self.highs, f.max(1))
        if found.dtype == np.uint8:
            self._bytes = True
            self.codes += np.bincount(found.ravel(), minlength=256)
            self._inside.add(q, f, (q > 0) & (q < 255))

    @property
    def low(self) -> float:
        """The least value of the float map."""
        return float(self.lows.min())

    @property
    def high(self) -> float:
        """The greatest value of the float map."""
        return float(self.highs.max())

    @property
    def line(self) -> Line | None:
        """What the bytes stand for; None where they hardly vary."""
        if not self._bytes:
            return Line(1.0, 0.0)
        return self.known or self.fitted

    @property
    def fitted(self) -> Line | None:
        """What they stand for to judge by the values alone."""
        return self._inside.line() or self._all.line()

    @property
    def snr_db(self) -> float | None:
        """Signal over noise; None where there is none, or nothing varies."""
        return self.snr_by(self.line)

    def snr_by(self, line: Line | None) -> float | None:
        """The same if the bytes stood for that."""
        signal = self._all.variation()
        if signal <= 0:
            return None
        noise = float(self.noises(line).sum())
        return None if noise <= LEAST_SHARE * signal else 10 * log10(signal / noise)

    def noises(self, line: Line | None) -> Array:
        """By channel, the squared error."""
        n = np.full(len(self._all.f), self._per_channel, np.float64)
        if line is None:
            mean = self._all.f.sum() / max(1, self._all.count)
            line = Line(0.0, float(mean))
        return self._all.noise(line, n)

    @property
    def range(self) -> tuple[float, float] | None:
        """What the bytes 0 and 255 stand for."""
        line = self.line
        if not self._bytes or line is None:
            return None
        return line.at(0), line.at(255)

    @property
    def steps(self) -> int:
        """How many of the 256 values it takes to hold nearly all of the map."""
        return steps_used(self.codes)

    @property
    def saturated(self) -> float:
        """The fraction of values at the upper end of the range."""
        return float(self.codes[255] / max(1, self.codes.sum()))


NEARLY_ALL = 0.999


def steps_used(codes: Sequence[int] | Array) -> int:
    """The width of what is left of a histogram without its rarest ends."""
    counts = np.asarray(codes)
    total = counts.sum()
    if not total:
        return 0
    shares = np.cumsum(counts) / total
    tail = (1 - NEARLY_ALL) / 2
    low = int(np.searchsorted(shares, tail, "right"))
    high = int(np.searchsorted(shares, 1 - tail, "left"))
    return high - low + 1
