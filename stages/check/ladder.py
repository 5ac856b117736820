"""The arithmetic of the ladder: accuracies, their intervals, and differences."""

from dataclasses import dataclass, field
from math import log10, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


def wilson(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % confidence interval of the fraction ``right`` / ``count``."""
    p, z2 = right / count, Z95 * Z95
    centre = p + z2 / (2 * count)
    spread = Z95 * sqrt(p * (1 - p) / count + z2 / (4 * count * count))
    scale = 1 + z2 / count
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


@dataclass
class Step:
    """One step of the ladder, fed sample by sample.

    Compares with the ladder's first step: ``signal`` and ``noise`` sum the squares
    of the first step's outputs and of the differences from them.
    """

    name: str
    classes: int | None
    samples: int = 0
    right: int = 0
    labelled: int = 0
    agreeing: int = 0
    decisions: int = 0
    signal: float = 0.0
    noise: float = 0.0
    peak: float = 0.0
    absolute: float = 0.0
    values: int = 0
    confusion: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        size = self.classes or 0
        self.confusion = np.zeros((size, size), np.int64)

    def add(
        self, outputs: list[Floats], first: list[Floats], label: int | None
    ) -> None:
        """Count one sample: this step's outputs, the first step's, the label."""
        self.samples += 1
        decision, reference = decide(outputs), decide(first)
        if decision is not None:
            self.decisions += 1
            self.agreeing += decision == reference
            if label is not None:
                self.labelled += 1
                self.right += decision == label
                if decision < len(self.confusion):
                    self.confusion[label, decision] += 1
        for output, expected in zip(outputs, first, strict=True):
            difference = output.astype(np.float64) - expected
            self.signal += float(np.square(expected, dtype=np.float64).sum())
            self.noise += float(np.square(difference).sum())
            self.peak = max(self.peak, float(np.abs(expected).max()))
            self.absolute += float(np.abs(difference).sum())
            self.values += difference.size

    def row(self, is_first: bool) -> dict[str, object]:
        """The row of ``check.json``; null where there is nothing to say.

        SNR and PSNR are null for the first step, which is what the others are
        compared with, and where there is no difference at all.
        """
        compared = not is_first and self.noise > 0
        mean_square = self.noise / max(1, self.values)
        return {
            "step": self.name,
            "accuracy": self.right / self.labelled if self.labelled else None,
            "ci95": list(wilson(self.right, self.labelled)) if self.labelled else None,
            "agreement": None
            if is_first or not self.decisions
            else self.agreeing / self.decisions,
            "snr_db": _decibels(self.signal, self.noise) if compared else None,
            "psnr_db": _decibels(self.peak**2, mean_square) if compared else None,
            "l1": None if is_first else self.absolute / max(1, self.values),
        }


def decide(outputs: list[Floats]) -> int | None:
    """The class with the highest score, or None where the model does not classify."""
    if len(outputs) != 1 or outputs[0].ndim != 2:
        return None
    return int(outputs[0].argmax())


def _decibels(power: float, noise: float) -> float | None:
    return 10 * log10(power / noise) if power > 0 else None
