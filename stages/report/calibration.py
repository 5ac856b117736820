"""What the calibration set is made of, against what the model was trained on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.report import axes, figures
from stages.report.axes import Labels

LEFT, RIGHT, TOP, BOTTOM = 20, 440, 14, 150
"""The plot's edges in a drawing of 460 × 190 units."""

BINS = 64
CHANNELS = {"grey": ("grey",), "rgb": ("red", "green", "blue")}


@dataclass(frozen=True)
class Outline:
    """One channel's histogram as SVG points: its name is its CSS class too."""

    channel: str
    points: str
    trained: bool = False


@dataclass(frozen=True)
class Histogram:
    """Histograms over the numbers that the model sees; heights are square roots.

    ``used`` is where the bytes of the set begin and end, ``low`` and ``high`` those
    numbers in words.
    """

    outlines: tuple[Outline, ...]
    ticks: Labels
    used: tuple[float, float]
    low: str
    high: str
    share: float
    trained: bool


def histogram(plan: Mapping[str, Any], path: Path) -> Histogram:
    """The bytes of the calibration set.

    Args:
        plan: ``plan.json``; where it has ``training_bytes``, a list of 256 counts for
            each channel of the training pictures, these are drawn behind.
        path: of ``calibration.npz``, ``samples`` uint8 N×C×H×W.
    """
    with np.load(path, allow_pickle=False) as archive:
        samples: NDArray[np.uint8] = archive["samples"]
    spec = plan["input"]
    names = CHANNELS.get(spec["color"], CHANNELS["rgb"][::-1])
    counts = [np.bincount(p.ravel(), minlength=256) for p in samples.swapaxes(0, 1)]
    trained = [np.asarray(each) for each in plan.get("training_bytes") or ()]
    bytes_used = np.flatnonzero(sum(counts))
    low, high = int(bytes_used[0]), int(bytes_used[-1])
    limits = spec["range"]
    return Histogram(
        (*_outlines(names, trained, True), *_outlines(names, counts, False)),
        _ticks(limits),
        (_x(low), _x(high + 1)),
        figures.scientific(_real(low, limits), 3),
        figures.scientific(_real(high, limits), 3),
        (high - low) / 255,
        bool(trained),
    )


def _outlines(
    names: Sequence[str], counts: Sequence[NDArray[Any]], trained: bool
) -> Iterator[Outline]:
    shares = [
        each.reshape(BINS, -1).sum(axis=1) / max(1, each.sum()) for each in counts
    ]
    top = max((float(each.max()) for each in shares), default=1.0) or 1.0
    for name, bins in zip(names, shares, strict=False):
        yield Outline(name, _steps([sqrt(share / top) for share in bins]), trained)


def _steps(heights: Sequence[float]) -> str:
    """A closed outline: level over each bin."""
    width = 256 // BINS
    points: list[tuple[float, float]] = [(LEFT, BOTTOM)]
    for index, height in enumerate(heights):
        y = round(BOTTOM - height * (BOTTOM - TOP), 1)
        points += [(_x(index * width), y), (_x((index + 1) * width), y)]
    points.append((RIGHT, BOTTOM))
    return " ".join(f"{x},{y}" for x, y in points)


def _x(byte: int) -> float:
    return round(LEFT + byte / 256 * (RIGHT - LEFT), 1)


def _real(byte: int, limits: Sequence[float]) -> float:
    low, high = limits
    return float(low + byte / 255 * (high - low))


def _ticks(limits: Sequence[float]) -> Labels:
    scale = axes.linear(limits, LEFT, RIGHT)
    within = [tick for tick in scale.ticks if limits[0] <= tick <= limits[1]]
    low, high = limits
    return tuple(
        (_x(round((tick - low) / (high - low) * 255)), f"{tick:g}".replace("-", "−"))
        for tick in within
    )
