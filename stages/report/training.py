"""The training's curves, from Keras' log of the epochs."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from stages.report import axes, figures
from stages.report.axes import Labels, Scale

LEFT, RIGHT, TOP, BOTTOM = 52, 446, 12, 196
"""The plot's edges in a drawing of 460 × 230 units."""

Values = list[float | None]


@dataclass(frozen=True)
class Curve:
    """One line: its CSS class, its pieces as SVG points, its last value in words.

    Where the training computed no finite value, the line is interrupted.
    """

    kind: str
    pieces: tuple[str, ...]
    last: str


@dataclass(frozen=True)
class Chart:
    """Curves of one quantity over the epochs; ``ticks`` are (place, words)."""

    title: str
    curves: tuple[Curve, ...]
    x: Scale
    y: Scale
    ticks: Labels


@dataclass(frozen=True)
class Training:
    """The charts, the number of epochs, and the best one on validation."""

    charts: tuple[Chart, ...]
    epochs: int
    best_epoch: int | None
    best_accuracy: float | None


def training(path: Path) -> Training:
    """The history that ``path`` holds, one row per epoch."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {
        name: [_value(row.get(name)) for row in rows]
        for name in ("accuracy", "val_accuracy", "loss", "val_loss")
    }
    charts = [
        _chart("accuracy", columns, axes.fractions, axes.percentages),
        _chart("loss", columns, axes.decades, axes.numbers),
    ]
    judged = [value for value in columns["val_accuracy"] if value is not None]
    best = max(judged, default=None)
    return Training(
        tuple(chart for chart in charts if chart is not None),
        len(rows),
        None if best is None else columns["val_accuracy"].index(best) + 1,
        best,
    )


def _value(text: str | None) -> float | None:
    """A finite number, or None: Keras logs NA for what it did not compute."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if isfinite(value) else None


def _chart(
    name: str,
    columns: Mapping[str, Values],
    scaled: Callable[[Sequence[float], float, float], Scale],
    labelled: Callable[[Scale], Labels],
) -> Chart | None:
    lines = {"train": columns[name], "validation": columns[f"val_{name}"]}
    values = [value for line in lines.values() for value in line if value is not None]
    if not values:
        return None
    y = scaled(values, BOTTOM, TOP)
    x = _epochs(len(columns[name]))
    last = figures.percent if name == "accuracy" else figures.scientific
    title = f"{name}, logarithmic" if y.logarithmic else name
    curves = (
        Curve(kind, tuple(_pieces(line, x, y)), _last(line, last))
        for kind, line in lines.items()
        if any(value is not None for value in line)
    )
    return Chart(title, tuple(curves), x, y, labelled(y))


def _last(line: Values, written: Callable[[float], str]) -> str:
    value = line[-1]
    return figures.NOTHING if value is None else written(value)


def _epochs(count: int) -> Scale:
    """Epochs 1 to ``count``, with at most six whole ticks."""
    tens = 10 ** max(0, len(str(count)) - 2)
    steps = (factor * power for power in (tens, 10 * tens) for factor in (1, 2, 5))
    step = next(step for step in steps if count <= 6 * step)
    ticks = tuple(float(epoch) for epoch in range(step, count + 1, step))
    return Scale(1.0, float(max(count, 2)), LEFT, RIGHT, ticks)


def _pieces(line: Values, x: Scale, y: Scale) -> Iterator[str]:
    """SVG point lists of the stretches without a gap; a lone point twice."""
    piece: list[str] = []
    for epoch, value in enumerate([*line, None], start=1):
        if value is not None:
            piece.append(f"{x.at(epoch)},{y.at(value)}")
        elif piece:
            yield " ".join(piece if len(piece) > 1 else piece * 2)
            piece = []
