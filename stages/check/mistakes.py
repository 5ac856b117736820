"""Which samples the device gets most confidently wrong, and where it leaves the float.

``check.json`` lists them; ``pictures.npz`` holds what was on them, for the report.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.check.ladder import decide
from stages.runtime import Floats

KEPT = 24
"""Samples of each kind that are listed."""


@dataclass(frozen=True)
class Decision:
    """One sample: what it is, what the device and the first step take it for.

    ``index`` counts in the test split; the scores are those of the decisions. The
    label is None where the data has none.
    """

    index: int
    label: int | None
    decision: int
    score: float
    first_decision: int
    first_score: float


@dataclass
class Mistakes:
    """Fed sample by sample; afterwards tells the worst ones."""

    wrong: list[Decision] = field(default_factory=list)
    disagreements: list[Decision] = field(default_factory=list)

    def add(
        self,
        index: int,
        outputs: list[Floats],
        first: list[Floats],
        label: int | None,
    ) -> None:
        """Take in a sample: the device's outputs, the first step's, the label."""
        decision, before = decide(outputs), decide(first)
        if decision is None or before is None:
            return
        score, first_score = float(outputs[0].max()), float(first[0].max())
        found = Decision(index, label, decision, score, before, first_score)
        if label is not None and decision != label:
            self.wrong.append(found)
        if decision != before:
            self.disagreements.append(found)

    def worst(self) -> list[Decision]:
        """Wrong decisions, the most confident first."""
        return sorted(self.wrong, key=lambda each: (-each.score, each.index))[:KEPT]

    def changed(self) -> list[Decision]:
        """Decisions other than the first step's, by how sure that one was."""
        found = sorted(self.disagreements, key=lambda e: (-e.first_score, e.index))
        return found[:KEPT]

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """What ``check.json`` lists."""
        return {
            "worst": [asdict(each) for each in self.worst()],
            "disagreements": [asdict(each) for each in self.changed()],
        }

    def pictures(
        self, images: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """The listed samples' indices, K, and their pictures, uint8 K×H×W×C.

        Args:
            images: of the test split, uint8 N×H×W×C, grey or RGB.
        """
        listed = {each.index for each in (*self.worst(), *self.changed())}
        indices = np.array(sorted(listed), np.int64)
        return indices, images[indices]
