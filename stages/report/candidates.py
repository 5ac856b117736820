"""The ways to quantize that the search has tried, from ``plan.json``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.report import axes, figures
from stages.report.axes import Labels

LEFT, RIGHT, TOP, BOTTOM = 56, 440, 14, 150
"""The plot's edges in a drawing of 460 × 190 units."""

STATES = {
    "chosen": "chosen",
    "tried": "measured on all pictures",
    "behind": "others were better",
    "crashed": "nncase crashed",
    "timeout": "took too long",
    "no room": "no room in KPU RAM",
    "refused": "refused",
    "late": "the time was up",
}
"""What became of a candidate, in words."""

OPTIONS = {
    "mse_weights": "weights by squared error",
    "equalized": "channels equalized",
    "corrected": "biases corrected",
}


@dataclass(frozen=True)
class Candidate:
    """A row of the table; figures are None where it was not run."""

    method: str
    options: str
    samples: int
    images: int
    accuracy: float | None
    agreement: float | None
    snr_db: float | None
    became: str
    chosen: bool


@dataclass(frozen=True)
class Dot:
    """A candidate in the picture: right is cleaner, up is better."""

    x: float
    y: float
    words: str
    chosen: bool


@dataclass(frozen=True)
class Search:
    """What was tried, on how many pictures of which split, and why it ended.

    ``measure`` names what the picture's height is, ``across`` and ``up`` are its ticks.
    ``dots`` is empty where there are fewer than two to compare.
    """

    rows: tuple[Candidate, ...]
    images: int
    split: str
    ended: str
    float_accuracy: float | None
    measure: str
    dots: tuple[Dot, ...]
    across: Labels
    up: Labels


def search(plan: Mapping[str, Any]) -> Search | None:
    """The table of candidates, the chosen one first; None without a search."""
    found = plan.get("search")
    if found is None:
        return None
    rows = sorted(map(_candidate, found["candidates"]), key=_order)
    measure = "agreement" if rows[0].accuracy is None else "accuracy"
    dots, across, up = _picture(rows, measure)
    return Search(
        tuple(rows),
        found["images"],
        found["split"],
        found["ended"],
        found["float_accuracy"],
        measure,
        dots,
        across,
        up,
    )


def _candidate(record: Mapping[str, Any]) -> Candidate:
    options = [words for key, words in OPTIONS.items() if record[key]]
    became = STATES.get(record["state"], record["state"])
    return Candidate(
        record["method"],
        ", ".join(options),
        record["samples"],
        record["images"],
        record["accuracy"],
        record["agreement"],
        record["snr_db"],
        f"{became}: {record['why']}" if record["why"] else became,
        record["state"] == "chosen",
    )


def _order(row: Candidate) -> tuple[bool, int, float, float]:
    return not row.chosen, -row.images, -(row.accuracy or 0.0), -(row.snr_db or 0.0)


def _picture(
    rows: list[Candidate], measure: str
) -> tuple[tuple[Dot, ...], Labels, Labels]:
    """Signal over noise across, accuracy or agreement upwards."""
    shown = [
        (row, row.snr_db, value)
        for row in reversed(rows)  # the chosen one on top
        if row.snr_db is not None and (value := getattr(row, measure)) is not None
    ]
    if len(shown) < 2:
        return (), (), ()
    x = axes.linear([snr for _, snr, _ in shown], LEFT, RIGHT)
    y = axes.fractions([value for _, _, value in shown], BOTTOM, TOP)
    dots = tuple(
        Dot(x.at(snr), y.at(value), _words(row, value, measure), row.chosen)
        for row, snr, value in shown
    )
    return dots, axes.numbers(x), axes.percentages(y)


def _words(row: Candidate, value: float, measure: str) -> str:
    """What a dot says when pointed at."""
    parts = [row.method, row.options, f"{row.samples} samples"]
    name = ", ".join(part for part in parts if part)
    shown = f"{measure} {figures.percent(value)} of {row.images} pictures"
    return f"{name}: {shown}, {figures.decibels(row.snr_db)}"
