"""A plot of columns along the network, an operation each."""

from collections.abc import Iterable
from dataclasses import dataclass

from stages.report import axes
from stages.report.axes import Labels

LEFT, RIGHT, TOP, BOTTOM = 44, 936, 14, 170
"""The plot's edges in a drawing of 940 × 200 units."""

WIDEST = 60


@dataclass(frozen=True)
class Column:
    """One operation: where its column stands, its CSS class, what it says."""

    x: float
    width: float
    y: float
    height: float
    place: str
    words: str


@dataclass(frozen=True)
class Columns:
    """Columns over one scale; ``unit`` is what it counts."""

    columns: tuple[Column, ...]
    ticks: Labels
    unit: str


def columns(bars: Iterable[tuple[str, float, str]], unit: str) -> Columns | None:
    """Columns of CSS class, value, words; None where there are none."""
    bars = list(bars)
    if not bars:
        return None
    scale = axes.linear([0.0, *(value for _, value, _ in bars)], BOTTOM, TOP, 4)
    pitch = min(WIDEST, (RIGHT - LEFT) / len(bars))
    zero = scale.at(0)
    drawn = tuple(
        Column(
            round(LEFT + index * pitch + pitch * 0.08, 1),
            round(pitch * 0.84, 1),
            min(zero, scale.at(value)),
            round(abs(zero - scale.at(value)), 1),
            place,
            words,
        )
        for index, (place, value, words) in enumerate(bars)
    )
    return Columns(drawn, axes.numbers(scale), unit)
