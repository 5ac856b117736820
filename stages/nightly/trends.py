"""How accuracy, time, memory and size went from run to run, of each job."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.intervals import wilson
from stages.nightly.rows import JobRow
from stages.nightly.store import Store
from stages.report import axes, figures
from stages.report.axes import Labels, Scale

LEFT, RIGHT, TOP, BOTTOM = 52, 232, 10, 84
"""The plot's edges in a drawing of 240 × 104 units."""

MOST_RUNS = 60
"""Runs in a drawing, the last ones."""

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """One run's figure: where it is drawn, the verdict as CSS class, its words."""

    x: float
    y: float
    verdict: str
    words: str


@dataclass(frozen=True)
class Trend:
    """One figure over the runs.

    Attributes:
        last: its last value in words.
        points: one for each run that has the figure.
        band: the 95 % intervals as the points of a polygon; "" where there are none.
        gaps: where runs stand in which the board did not do its work.
        ticks: of the figure; ``ends`` of the runs, the first and the last.
    """

    title: str
    last: str
    points: tuple[Point, ...]
    band: str
    gaps: tuple[float, ...]
    ticks: Labels
    ends: Labels

    @property
    def line(self) -> str:
        """The points of a polyline through all of them."""
        return " ".join(f"{point.x},{point.y}" for point in self.points)


@dataclass(frozen=True)
class Series:
    """What is drawn of a project on a board."""

    project: str
    board: str
    trends: tuple[Trend, ...]


@dataclass(frozen=True)
class _Quantity:
    """A figure that is drawn: how it is scaled, its ticks and values written."""

    name: str
    title: str
    scaled: Callable[[Sequence[float], float, float], Scale]
    labelled: Callable[[Scale], Labels]
    written: Callable[[float], str]


def _linear(values: Sequence[float], start: float, end: float) -> Scale:
    return axes.linear(values, start, end, 3)


QUANTITIES = (
    _Quantity(
        "accuracy", "accuracy", axes.fractions, axes.percentages, figures.percent
    ),
    _Quantity(
        "agreement",
        "agreement with the float model",
        axes.fractions,
        axes.percentages,
        figures.percent,
    ),
    _Quantity(
        "device_ms",
        "time",
        _linear,
        axes.numbers,
        lambda value: f"{figures.number(value)} ms",
    ),
    _Quantity(
        "memory_kib",
        "memory",
        _linear,
        axes.numbers,
        lambda value: f"{figures.number(value)} KiB",
    ),
    _Quantity(
        "kmodel_kib",
        "size of the kmodel",
        _linear,
        axes.numbers,
        lambda value: f"{figures.number(value)} KiB",
    ),
)


def series(store: Store, run: int) -> list[Series]:
    """The trends up to a run, for each of its jobs that has ever measured anything."""
    found = []
    for job in store.jobs(run):
        if job.kind == "measure":
            before = store.history(job.project, job.board, run)
            known = [*before, job][-MOST_RUNS:]
            trends = tuple(_trends(known))
            if trends:
                found.append(Series(job.project, job.board, trends))
    return found


def _trends(jobs: Sequence[JobRow]) -> Iterator[Trend]:
    measured = [_figures(job) for job in jobs]
    classifies = any(each.get("accuracy") is not None for each in measured)
    for quantity in QUANTITIES:
        if quantity.name == "agreement" and classifies:
            continue  # the accuracy says more
        if any(each.get(quantity.name) is not None for each in measured):
            yield _trend(quantity, jobs)


def _figures(job: JobRow) -> Figures:
    return job.outcome.figures if job.outcome else {}


def _trend(quantity: _Quantity, jobs: Sequence[JobRow]) -> Trend:
    values = [_figures(job).get(quantity.name) for job in jobs]
    intervals = [_interval(quantity, _figures(job)) for job in jobs]
    known = [value for value in values if value is not None]
    ends = [end for interval in intervals if interval for end in interval]
    y = quantity.scaled([*known, *ends], BOTTOM, TOP)
    places = [_place(index, len(jobs)) for index in range(len(jobs))]
    points = tuple(
        Point(x, y.at(value), _verdict(job), _words(quantity, job, value))
        for x, value, job in zip(places, values, jobs, strict=True)
        if value is not None
    )
    gaps = tuple(x for x, value in zip(places, values, strict=True) if value is None)
    return Trend(
        quantity.title,
        quantity.written(known[-1]),
        points,
        _band(places, intervals, y),
        gaps,
        quantity.labelled(y),
        _ends(jobs, places),
    )


def _place(index: int, count: int) -> float:
    """Where a run stands, a single one in the middle."""
    share = 0.5 if count == 1 else index / (count - 1)
    return round(LEFT + 6 + share * (RIGHT - LEFT - 12), 1)


def _ends(jobs: Sequence[JobRow], places: Sequence[float]) -> Labels:
    ends = [(places[0], f"run {jobs[0].run}")]
    if len(jobs) > 1:
        ends.append((places[-1], f"run {jobs[-1].run}"))
    return tuple(ends)


def _verdict(job: JobRow) -> str:
    return job.outcome.verdict if job.outcome else "error"


def _words(quantity: _Quantity, job: JobRow, value: float) -> str:
    return f"run {job.run}: {quantity.written(value)}, {_verdict(job)}"


def _interval(quantity: _Quantity, found: Figures) -> tuple[float, float] | None:
    if quantity.name not in ("accuracy", "agreement") or not found.get("samples"):
        return None
    if (value := found.get(quantity.name)) is None:
        return None
    return wilson(round(value * found["samples"]), found["samples"])


def _band(
    places: Sequence[float],
    intervals: Sequence[tuple[float, float] | None],
    y: Scale,
) -> str:
    """The outline of the intervals, there along the lower ends and back."""
    known = [(x, ends) for x, ends in zip(places, intervals, strict=True) if ends]
    if len(known) == 1:  # as wide as its dot
        (x, ends) = known[0]
        known = [(x - 6, ends), (x + 6, ends)]
    there = [f"{x},{y.at(low)}" for x, (low, _) in known]
    back = [f"{x},{y.at(high)}" for x, (_, high) in reversed(known)]
    return " ".join([*there, *back])
