"""The device's confusion matrix: heat, recall and precision, the worst mistakes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

from stages.report.figures import named

MOST_DRAWN = 20
"""More classes than this are not drawn as a matrix."""

WORST = 12
HEATS = 5
LONGEST_LEVEL = 4


@dataclass(frozen=True)
class Cell:
    """How many samples, and the CSS class of its heat, such as ``miss-2``."""

    count: int
    heat: str


@dataclass(frozen=True)
class Class:
    """One class; recall and precision are None where nothing was counted."""

    name: str
    samples: int
    recall: float | None
    precision: float | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Mistake:
    """``count`` of a class's ``samples`` were taken for another class."""

    actual: str
    taken_for: str
    count: int
    samples: int


@dataclass(frozen=True)
class Confusion:
    """All of it; ``uncounted`` samples were decided for none of the classes."""

    classes: tuple[Class, ...]
    mistakes: tuple[Mistake, ...]
    kinds: int
    errors: int
    uncounted: int

    @property
    def drawn(self) -> bool:
        """Whether the matrix is small enough to be read."""
        return len(self.classes) <= MOST_DRAWN

    @property
    def long_names(self) -> bool:
        """Whether the columns' heads must be written upright to fit."""
        return any(len(each.name) > LONGEST_LEVEL for each in self.classes)

    @property
    def worst(self) -> list[Class]:
        """The classes with the lowest recall, where there are too many to draw."""
        measured = [each for each in self.classes if each.recall is not None]
        return sorted(measured, key=lambda each: each.recall or 0.0)[:WORST]


def confusion(check: Mapping[str, Any]) -> Confusion | None:
    """The device's confusions, or None without labels or decisions."""
    matrix: Sequence[Sequence[int]] | None = check["confusion"]
    if not matrix or not any(map(any, matrix)):
        return None
    names = [named(name) for name in check["classes"]]
    mistakes = _mistakes(matrix, names)
    counted = sum(map(sum, matrix))
    return Confusion(
        tuple(_class(matrix, names, index) for index in range(len(names))),
        tuple(mistakes[:WORST]),
        len(mistakes),
        sum(mistake.count for mistake in mistakes),
        check["samples"] - counted,
    )


def _class(matrix: Sequence[Sequence[int]], names: Sequence[str], index: int) -> Class:
    row, right = matrix[index], matrix[index][index]
    samples, decided = sum(row), sum(other[index] for other in matrix)
    cells = tuple(
        Cell(count, _heat("hit" if column == index else "miss", count, samples))
        for column, count in enumerate(row)
    )
    recall = right / samples if samples else None
    precision = right / decided if decided else None
    return Class(names[index], samples, recall, precision, cells)


def _heat(kind: str, count: int, samples: int) -> str:
    """Mistakes are rare: the root makes a few of them visible."""
    if count == 0:
        return "none"
    share = count / samples
    level = ceil(HEATS * (share if kind == "hit" else sqrt(share)))
    return f"{kind}-{level}"


def _mistakes(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> list[Mistake]:
    found = [
        Mistake(names[actual], names[decided], count, sum(row))
        for actual, row in enumerate(matrix)
        for decided, count in enumerate(row)
        if count and actual != decided
    ]
    return sorted(found, key=lambda mistake: (-mistake.count, mistake.samples))
