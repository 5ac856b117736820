"""The arithmetic of the ladder: accuracies, their intervals, and differences."""

from dataclasses import dataclass, field
from math import log10, sqrt

import numpy as np
from numpy.typing import NDArray

from k210.errors import ModelError
from stages.intervals import paired_drop, wilson
from stages.runtime import Floats, finite


@dataclass
class Step:
    """One step of the ladder, fed sample by sample.

    Compares with the ladder's first step: ``signal`` and ``noise`` sum the squares
    of the first step's outputs and of the differences from them; ``lost`` counts the
    samples that only the first step gets right, ``gained`` those that only this one
    does. ``top_k`` is how many of the best scores may be the right one.
    ``unusable`` counts the samples with an output that is NaN or infinite, which counts
    as being as far off as a float can be.
    """

    name: str
    classes: int | None
    top_k: int = 5
    samples: int = 0
    unusable: int = 0
    right: int = 0
    lost: int = 0
    gained: int = 0
    among_best: int = 0
    labelled: int = 0
    agreeing: int = 0
    decisions: int = 0
    signal: float = 0.0
    noise: float = 0.0
    peak: float = 0.0
    absolute: float = 0.0
    values: int = 0
    cosines: float = 0.0
    directions: int = 0
    confusion: NDArray[np.int64] = field(init=False)
    tested: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        size = self.classes or 0
        self.confusion = np.zeros((size, size), np.int64)
        self.tested = np.zeros(size, np.int64)

    def add(
        self, outputs: list[Floats], first: list[Floats], label: int | None
    ) -> None:
        """Count one sample: this step's outputs, the first step's, the label.

        Raises:
            ModelError: they have other shapes than the first step's.
        """
        self.samples += 1
        self.unusable += not all(np.isfinite(output).all() for output in outputs)
        outputs = [finite(output) for output in outputs]
        decision, reference = decide(outputs), decide(first)
        if decision is not None:
            self.decisions += 1
            self.agreeing += decision == reference
            if label is not None:
                self._judge(decision, reference, label, outputs[0])
        self._compare(outputs, first)

    def _judge(
        self, decision: int, reference: int | None, label: int, scores: Floats
    ) -> None:
        right, first_right = decision == label, reference == label
        self.labelled += 1
        self.right += right
        self.lost += first_right and not right
        self.gained += right and not first_right
        self.among_best += rank(scores, label) < self.top_k
        if label < len(self.tested):
            self.tested[label] += 1
            if decision < len(self.confusion):
                self.confusion[label, decision] += 1

    def _compare(self, outputs: list[Floats], first: list[Floats]) -> None:
        power, expected_power, product = 0.0, 0.0, 0.0
        for output, expected in zip(outputs, first, strict=True):
            if output.shape != expected.shape:
                raise ModelError(
                    f"step {self.name} gives an output of shape {output.shape} where "
                    f"the first step gives {expected.shape}; take out the outputs that "
                    "are not needed"
                )
            difference = output.astype(np.float64) - expected
            power += float(np.square(output, dtype=np.float64).sum())
            expected_power += float(np.square(expected, dtype=np.float64).sum())
            product += float(np.vdot(output.astype(np.float64), expected))
            self.noise += float(np.square(difference).sum())
            self.peak = max(self.peak, float(np.abs(expected).max()))
            self.absolute += float(np.abs(difference).sum())
            self.values += difference.size
        self.signal += expected_power
        if power > 0 and expected_power > 0:
            self.directions += 1
            self.cosines += product / sqrt(power) / sqrt(expected_power)

    def row(self, is_first: bool) -> dict[str, object]:
        """The row of ``check.json``; null where there is nothing to say.

        SNR and PSNR are null for the first step, which is what the others are
        compared with, and where there is no difference at all. ``drop`` is how much
        accuracy the first step has more than this one.
        """
        compared = not is_first and self.noise > 0
        mean_square = self.noise / max(1, self.values)
        return {
            "step": self.name,
            "unusable": self.unusable,
            **self._accuracies(is_first),
            "agreement": None
            if is_first or not self.decisions
            else self.agreeing / self.decisions,
            "snr_db": _decibels(self.signal, self.noise) if compared else None,
            "psnr_db": _decibels(self.peak**2, mean_square) if compared else None,
            "l1": None if is_first else self.absolute / max(1, self.values),
            "cosine": None
            if is_first or not self.directions
            else self.cosines / self.directions,
        }

    def _accuracies(self, is_first: bool) -> dict[str, object]:
        if not self.labelled:
            names = ("accuracy", "ci95", "drop", "drop_ci95", "top_k", "per_class")
            return dict.fromkeys(names)
        both = self.right - self.gained
        neither = self.labelled - both - self.lost - self.gained
        interval = paired_drop(both, self.lost, self.gained, neither)
        many = self.classes is not None and self.classes > self.top_k
        return {
            "accuracy": self.right / self.labelled,
            "ci95": list(wilson(self.right, self.labelled)),
            "drop": None if is_first else (self.lost - self.gained) / self.labelled,
            "drop_ci95": None if is_first else list(interval),
            "top_k": self.among_best / self.labelled if many else None,
            "per_class": self._per_class(),
        }

    def _per_class(self) -> list[float | None] | None:
        """The accuracy on the samples of each class, None for one without any."""
        if self.classes is None:
            return None
        return [
            right / count if count else None
            for right, count in zip(
                self.confusion.diagonal().tolist(), self.tested.tolist(), strict=True
            )
        ]


def decide(outputs: list[Floats]) -> int | None:
    """The class with the highest score, or None where the model does not classify."""
    if len(outputs) != 1 or outputs[0].ndim != 2:
        return None
    return int(outputs[0].argmax())


def rank(scores: Floats, label: int) -> int:
    """How many classes come before ``label``; of equal scores the first is ahead."""
    flat = scores.ravel()
    if label >= flat.size:  # a class that the model does not know
        return int(flat.size)
    score = flat[label]
    return int((flat > score).sum() + (flat[:label] == score).sum())


def _decibels(power: float, noise: float) -> float | None:
    return 10 * log10(power / noise) if power > 0 else None
