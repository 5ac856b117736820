"""The ladder as pictures: accuracy with its interval, and SNR, a row for each step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.report import axes, figures
from stages.report.axes import Labels, Scale

Row = Mapping[str, Any]

MEANING = {
    "float": "the trained Keras model",
    "tflite": "as exported to TFLite",
    "normalized": "as rewritten for the KPU",
    "reference": "the kmodel on the host",
    "device": "the kmodel in the board's flash",
}
ROW_HEIGHT, TOP, LEFT = 30, 22, 86
ACCURACY_END, SNR_END = 392, 376
"""Where the scales lie in a drawing 460 units wide; the rest holds words."""


@dataclass(frozen=True)
class Mark:
    """A step in a picture: its row's height, where it ends, what stands beside it.

    ``low`` and ``high`` are the ends of its interval.
    """

    step: str
    y: float
    x: float | None
    text: str
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class Picture:
    """Marks over a scale; ``threshold`` is a value that the last step must reach."""

    marks: tuple[Mark, ...]
    scale: Scale
    ticks: Labels
    height: int
    threshold: float | None = None

    @property
    def floor(self) -> int:
        """Where the axis is drawn."""
        return TOP + ROW_HEIGHT * len(self.marks)


def accuracies(check: Mapping[str, Any]) -> Picture | None:
    """Each step's accuracy and interval; None where it is not measured."""
    ladder: Sequence[Row] = check["ladder"]
    measured = [row for row in ladder if row["accuracy"] is not None]
    if not measured:
        return None
    threshold = check["thresholds"]["min_accuracy"]
    values = [end for row in measured for end in row["ci95"]]
    if threshold is not None:
        values.append(threshold)
    scale = axes.fractions(values, LEFT, ACCURACY_END)
    marks = [_accuracy(row, index, scale) for index, row in enumerate(ladder)]
    return _picture(marks, scale, axes.percentages(scale), threshold)


def _accuracy(row: Row, index: int, scale: Scale) -> Mark:
    text = figures.percent(row["accuracy"])
    if row["accuracy"] is None:
        return Mark(row["step"], _y(index), None, text)
    low, high = (scale.at(end) for end in row["ci95"])
    return Mark(row["step"], _y(index), scale.at(row["accuracy"]), text, low, high)


def noises(check: Mapping[str, Any]) -> Picture | None:
    """Each step's SNR against the first; None where no two outputs differ."""
    ladder: Sequence[Row] = check["ladder"]
    values = [row["snr_db"] for row in ladder if row["snr_db"] is not None]
    if not values:
        return None
    scale = axes.linear([0.0, *values], LEFT, SNR_END, 4)
    marks = [
        Mark(
            row["step"],
            _y(index),
            None if row["snr_db"] is None else scale.at(row["snr_db"]),
            "what the others are compared with" if index == 0 else snr(row),
        )
        for index, row in enumerate(ladder)
    ]
    return _picture(marks, scale, axes.numbers(scale), None)


def _y(index: int) -> float:
    return TOP + ROW_HEIGHT * (index + 0.5)


def _picture(
    marks: Sequence[Mark], scale: Scale, ticks: Labels, threshold: float | None
) -> Picture:
    height = TOP + ROW_HEIGHT * len(marks) + 24
    return Picture(tuple(marks), scale, ticks, height, threshold)


def snr(row: Row) -> str:
    """A step's SNR in words; outputs without any difference have none."""
    if row["snr_db"] is None and row["l1"] == 0:
        return "no difference"
    return figures.decibels(row["snr_db"])


def weakest_link(ladder: Sequence[Row]) -> tuple[Row, Row] | None:
    """The neighbours between which the outputs change most; None if none changes."""
    gains = [_noise(after) - _noise(before) for before, after in _neighbours(ladder)]
    if not gains or max(gains) <= 0:
        return None
    return _neighbours(ladder)[gains.index(max(gains))]


def _neighbours(ladder: Sequence[Row]) -> list[tuple[Row, Row]]:
    return list(zip(ladder, ladder[1:], strict=False))


def _noise(row: Row) -> float:
    """Noise as a fraction of the signal's amplitude."""
    decibels = row["snr_db"]
    return 0.0 if decibels is None else float(10 ** (-decibels / 20))
