"""From values to places in a drawing: scales and the ticks on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
Labels = tuple[tuple[float, str], ...]
LOGARITHMIC_FROM = 20.0
"""Values that span more than this ratio are drawn on a logarithmic scale."""


@dataclass(frozen=True)
class Scale:
    """A mapping of the values ``low`` to ``high`` onto ``start`` to ``end``.

    ``ticks`` are the values to mark, within the range.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Where the value is drawn, to a tenth of a unit."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high, value = log10(low), log10(high), log10(value)
        share = (value - low) / (high - low)
        return round(self.start + share * (self.end - self.start), 1)


def linear(values: Sequence[float], start: float, end: float, count: int = 5) -> Scale:
    """A scale around the values that begins and ends with a tick.

    Args:
        values: at least one, all finite.
        start: where the low end is drawn.
        end: where the high end is drawn.
        count: about how many ticks there shall be.
    """
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        margin = abs(low) / 10 or 1.0
        low, high = low - margin, high + margin
    step = _step((high - low) / count)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    ticks = tuple(float(f"{n * step:.12g}") for n in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], start, end, ticks)


def fractions(values: Sequence[float], start: float, end: float) -> Scale:
    """A linear scale for fractions, which does not go beyond 0 and 1."""
    return linear([max(0.0, min(values) - 0.002), max(values)], start, end, 4)


def decades(values: Sequence[float], start: float, end: float) -> Scale:
    """A scale for positive values, logarithmic where they span much."""
    low, high = min(values), max(values)
    if low <= 0 or high < LOGARITHMIC_FROM * low:
        return linear([0.0, *values], start, end)
    exponents = range(floor(log10(low)), ceil(log10(high)) + 1)
    marks = [m * 10.0**e for e in exponents for m in (1, 2, 5)]
    bottom = max(mark for mark in marks if mark <= low)
    top = min((mark for mark in marks if mark >= high), default=high)
    ticks = tuple(mark for mark in marks if bottom <= mark <= top)
    if len(ticks) > 7:
        ticks = tuple(10.0**e for e in exponents if bottom <= 10.0**e <= top)
    return Scale(bottom, top, start, end, ticks, logarithmic=True)


def percentages(scale: Scale) -> Labels:
    """The ticks of a scale of fractions: where each is drawn, its words."""
    whole = all(abs(tick * 100 - round(tick * 100)) < 1e-9 for tick in scale.ticks)
    digits = 0 if whole else 1
    return tuple((scale.at(tick), f"{tick:.{digits}%}") for tick in scale.ticks)


def numbers(scale: Scale) -> Labels:
    """The ticks of any other scale: where each is drawn, its words."""
    return tuple(
        (scale.at(tick), f"{tick:g}".replace("-", "−")) for tick in scale.ticks
    )


def _step(rough: float) -> float:
    """The least of 1, 2, 2.5, 5 and 10 times a power of ten that is not below."""
    power: float = 10.0 ** floor(log10(rough))
    return next((m * power for m in _STEPS if m * power >= rough * 0.999), 10 * power)
