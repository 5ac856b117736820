"""The search for the best way to quantize: successive halving within a budget.

The first candidate is what a project without a search would get. Where it answers as
the float model does, the search ends. Otherwise all ways are tried on few pictures,
the better ones, and what they are worth with other calibration sets, on more, and the
best on all. The first candidate is always among them, so that the choice is no worse.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stages.console import Console
from stages.quantize.candidates import (
    Candidate,
    Row,
    figures,
    first,
    further,
    good_enough,
    in_words,
    ranked,
)
from stages.quantize.trials import ALL, Effort, Trials

FEW, MORE = Effort(1 / 8, 0.6, 0.2), Effort(1 / 2, 0.7, 0.3)
"""What the first two rounds may take."""

LEADERS, EXPLORED, FINALISTS = 6, 3, 4
"""Ways that come through the first round, that are looked into further, and that are
measured on all pictures."""


@dataclass(frozen=True)
class Space:
    """What may be tried.

    Attributes:
        base: the first candidate.
        mse_weights: values of this option to try.
        equalizable: tells whether channels can be equalized.
        most_samples: how many pictures there are to calibrate with.
    """

    base: Candidate
    mse_weights: Sequence[bool]
    equalizable: Callable[[], bool]
    most_samples: int


@dataclass(frozen=True)
class Found:
    """The rows of all candidates in the order they were tried, and the chosen one."""

    rows: list[Row]
    chosen: Row
    ended: str

    def record(self) -> dict[str, Any]:
        """What ``plan.json`` holds of it."""
        tally = self.rows[0].tally
        return {
            "ended": self.ended,
            "float_accuracy": tally.float_accuracy,
            "candidates": [row.record() for row in self.rows],
        }

    def lines(self) -> Iterator[str]:
        """What the terminal shows of it."""
        count = len(self.rows)
        yield f"{count} way{'s' * (count > 1)} to quantize tried: {self.ended}"
        for row in dict.fromkeys((self.rows[0], self.chosen)):
            yield f"  {in_words(row.candidate)}: {figures(row)}"


class Search:
    """One search; ``run`` it once.

    Args:
        space: what may be tried.
        trials: what it is tried with.
        console: where progress is shown.
    """

    def __init__(self, space: Space, trials: Trials, console: Console) -> None:
        self._space, self._trials, self._console = space, trials, console
        self._base = Row(space.base)
        self._rows = [self._base]

    def run(self) -> Found:
        """Try candidates and choose one; the first where none could be measured."""
        self._try([self._base], ALL)
        if self._base.state == "tried" and good_enough(self._base.tally):
            return self._chosen(GOOD_ENOUGH)
        if self._base.state in ("late", "no room"):  # so would all others be
            return Found(self._rows, self._base, NOTHING)
        leaders = self._round(self._ways(), LEADERS, FEW)
        best = ranked([self._base, *leaders])[:EXPLORED]
        explored = [*leaders, *self._variants(best)]
        finalists = self._round(explored, FINALISTS, MORE)
        self._try(finalists, ALL)
        return self._chosen(self._ending())

    def _ways(self) -> list[Row]:
        """All ways but the first candidate."""
        space = self._space
        equalized = (False, True) if space.equalizable() else (False,)
        ways = first(space.base, space.mse_weights, equalized)
        return [Row(way) for way in ways[1:]]

    def _variants(self, rows: Sequence[Row]) -> list[Row]:
        """What else to try of those that did well, each once."""
        known = {row.candidate for row in self._rows}
        space = self._space
        found = {
            way: Row(way)
            for row in rows
            for way in further(row.candidate, space.most_samples)
            if way not in known
        }
        return list(found.values())

    def _round(self, rows: list[Row], survivors: int, effort: Effort) -> list[Row]:
        """Try rows with an effort; returns the best ones."""
        self._try(rows, effort)
        order = ranked(row for row in rows if row.state == "tried")
        for row in order[survivors:]:
            row.state = "behind"
        return order[:survivors]

    def _try(self, rows: list[Row], effort: Effort) -> None:
        self._rows += [row for row in rows if row not in self._rows]
        what = f"ways to quantize, {self._trials.images(effort)} pictures"
        with self._console.progress(what, len(rows)) as advance:
            self._trials.run(rows, effort, advance)

    def _ending(self) -> str:
        return TIME_UP if any(row.state == "late" for row in self._rows) else DONE

    def _chosen(self, ended: str) -> Found:
        measured = ranked(row for row in self._rows if row.state == "tried")
        if not measured:
            return Found(self._rows, self._base, NOTHING)
        measured[0].state = "chosen"
        return Found(self._rows, measured[0], ended)


GOOD_ENOUGH = "the first candidate answers as the float model does"
DONE = "all candidates have been tried"
TIME_UP = "the time was up"
NOTHING = "no candidate could be measured in time; the first one is taken"
