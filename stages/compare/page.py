"""Runs side by side as one HTML file, in the report's style and without a network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from stages.compare import runs
from stages.history import Entry
from stages.intervals import wilson
from stages.report import ladder
from stages.report.ladder import Picture
from stages.report.templates import environment

MOST = len(ascii_uppercase)
"""Runs that have a letter of their own."""

PLOTTED = (
    "check.device_snr_db",
    "check.modelled_kpu_ms",
    "compile.total_kib",
    "compile.cpu_ops",
)


@dataclass(frozen=True)
class Bars:
    """One figure: for each run its letter, its value, in words, and of the largest."""

    title: str
    bars: tuple[tuple[str, float, str], ...]
    largest: float


def page(names: Sequence[str], entries: Sequence[Entry]) -> str:
    """The page; ``names`` are those on the command line, at most ``MOST``."""
    templates = environment(Path(__file__).parent)
    return templates.get_template("compare.html.j2").render(
        names=names,
        letters=ascii_uppercase[: len(entries)],
        heads=runs.heads(entries),
        parameters=runs.differing(entries),
        figures=runs.figures(entries),
        others=runs.other_figures(entries),
        accuracies=accuracies(entries),
        plots=list(_plots(entries)),
    )


def accuracies(entries: Sequence[Entry]) -> Picture | None:
    """The device's accuracy in each run with its interval; None if none has one."""
    rows = []
    for letter, entry in zip(ascii_uppercase, entries, strict=False):
        accuracy = entry.figures.get("check.device_accuracy")
        measured = isinstance(accuracy, float)
        right = round(accuracy * entry.samples) if isinstance(accuracy, float) else 0
        rows.append(
            {
                "step": letter,
                "accuracy": accuracy,
                "ci95": wilson(right, entry.samples) if measured else None,
            }
        )
    return ladder.accuracies({"ladder": rows, "thresholds": {"min_accuracy": None}})


def _plots(entries: Sequence[Entry]) -> Iterator[Bars]:
    for name in PLOTTED:
        bars = []
        for letter, entry in zip(ascii_uppercase, entries, strict=False):
            value = entry.figures.get(name)
            if isinstance(value, int | float):
                bars.append((letter, max(0.0, value), runs.written(name, value)))
        largest = max((value for _, value, _ in bars), default=0.0)
        if largest > 0:
            yield Bars(runs.FIGURES[name], tuple(bars), largest)
