"""What is worse than in the last good run, beyond what chance or noise makes.

The last good run of a project on a board is the last in which it passed there.
Fractions of samples are compared by Newcombe's interval for the difference of two
independent proportions (method 10 of his "Interval estimation for the difference
between independent proportions", Statistics in Medicine 17 (1998)), measured times by
the prediction interval of the good runs before.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev
from typing import Any

from stages.intervals import wilson
from stages.nightly.rows import JobRow
from stages.nightly.settings import Regression
from stages.nightly.store import Store

Figures = Mapping[str, Any]

MOST_BEFORE = 20
"""So many good runs tell how much a measured time varies."""

LEAST_BEFORE = 3

T975 = {
    2: 4.303,
    3: 3.182,
    4: 2.776,
    5: 2.571,
    6: 2.447,
    7: 2.365,
    8: 2.306,
    9: 2.262,
    10: 2.228,
    12: 2.179,
    15: 2.131,
    20: 2.086,
}
"""Two-sided 95 % quantiles of Student's t by degrees of freedom; rounded down."""


@dataclass(frozen=True)
class Finding:
    """Something that is worse than in the last good run.

    Attributes:
        figure: "verdict", or the name of the figure.
        good_run: the run it is compared with.
    """

    project: str
    board: str
    figure: str
    good_run: int
    before: float | str
    after: float | str
    words: str


def judge(store: Store, run: int, limits: Regression) -> list[Finding]:
    """All that is worse in a run, job by job."""
    return [
        finding
        for job in store.jobs(run)
        if job.kind == "measure"
        for finding in _of_job(store, job, limits)
    ]


def last_good(store: Store, job: JobRow) -> JobRow | None:
    """The last job before this one in which its project passed on its board."""
    return next(reversed(_good(store, job)), None)


def _good(store: Store, job: JobRow) -> list[JobRow]:
    return [
        earlier
        for earlier in store.history(job.project, job.board, job.run)
        if earlier.outcome and earlier.outcome.verdict == "pass"
    ]


def _of_job(store: Store, job: JobRow, limits: Regression) -> Iterator[Finding]:
    found = job.outcome
    if found is None or found.verdict not in ("pass", "fail"):
        return  # nothing is known about the model
    good = _good(store, job)
    if not good:
        return
    earlier = [each.outcome.figures for each in good if each.outcome]
    names = job.project, job.board
    if found.verdict == "fail":
        words = f"passed in run {good[-1].run}, and now fails: {found.message}"
        yield Finding(*names, "verdict", good[-1].run, "pass", "fail", words)
    for figure, before, after, words in worse(earlier, found.figures, limits):
        yield Finding(*names, figure, good[-1].run, before, after, words)


Worse = tuple[str, float, float, str]
"""The figure, what it was, what it is, and a sentence."""


def worse(
    earlier: Sequence[Figures], now: Figures, limits: Regression
) -> Iterator[Worse]:
    """The figures that are worse now than in the last of the good runs before."""
    last = earlier[-1]
    for name in ("accuracy", "agreement"):
        yield from _fallen(name, last, now, limits.accuracy)
    if now.get("timing") == last.get("timing"):
        times = [each["device_ms"] for each in earlier if _like(each, now)]
        bound = _predicted(times) if now.get("timing") == "measured" else None
        yield from _grown("device_ms", "ms", last, now, limits.time, bound)
    yield from _grown("memory_kib", "KiB of memory", last, now, limits.memory)
    yield from _grown("kmodel_kib", "KiB of kmodel", last, now, limits.size)


def _like(one: Figures, other: Figures) -> bool:
    return one.get("timing") == other.get("timing") and "device_ms" in one


def _fallen(name: str, last: Figures, now: Figures, allowed: float) -> Iterator[Worse]:
    """A fraction of the samples that has fallen by more than chance makes."""
    before, after = last.get(name), now.get(name)
    if before is None or after is None:
        return
    low, high = drop(
        _count(last, name), last["samples"], _count(now, name), now["samples"]
    )
    if low > allowed:
        words = (
            f"{name} fell from {before:.2%} to {after:.2%}, by {low:.2%} to {high:.2%} "
            f"with 95 % confidence"
        )
        yield name, before, after, words


def _count(figures: Figures, name: str) -> int:
    count: int = round(figures[name] * figures["samples"])
    return count


def drop(right1: int, count1: int, right2: int, count2: int) -> tuple[float, float]:
    """The 95 % confidence interval of right1 / count1 - right2 / count2."""
    first, second = right1 / count1, right2 / count2
    (low1, high1), (low2, high2) = wilson(right1, count1), wilson(right2, count2)
    below = sqrt((first - low1) ** 2 + (high2 - second) ** 2)
    above = sqrt((high1 - first) ** 2 + (second - low2) ** 2)
    return max(-1.0, first - second - below), min(1.0, first - second + above)


def _grown(
    name: str,
    unit: str,
    last: Figures,
    now: Figures,
    allowed: float,
    bound: float | None = None,
) -> Iterator[Worse]:
    """A figure that has grown by more than a fraction, and beyond a bound."""
    before, after = last.get(name), now.get(name)
    if before is None or after is None or after <= before * (1 + allowed):
        return
    if bound is not None and after <= bound:
        return
    growth = f" (+{after / before - 1:.1%})" if before else ""
    yield name, before, after, f"{after:.4g} {unit} instead of {before:.4g}{growth}"


def _predicted(values: Sequence[float]) -> float | None:
    """The upper end of the 95 % prediction interval of the next value."""
    known = values[-MOST_BEFORE:]
    if len(known) < LEAST_BEFORE:
        return None
    freedom = max(df for df in T975 if df <= len(known) - 1)
    spread = stdev(known) * sqrt(1 + 1 / len(known))
    return mean(known) + T975[freedom] * spread
