"""How a kmodel answers on held-out pictures, compared with the float model.

The pictures are of the validation split, or of the training split where there is none;
never of the test split, on which accuracy is measured at the end.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import log10
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from k210.errors import ModelError
from k210.kmodel import Kmodel
from k210.reference import Reference
from stages.runtime import Outputs, planar

LEAST_NOISE = 1e-30
"""Of squares, so that equal outputs have a ratio too."""


@dataclass(frozen=True)
class Tally:
    """What was counted on some pictures; two of them add up.

    ``right`` and ``float_right`` count those that kmodel and float model get right,
    ``labelled`` those that can be; ``decided`` those on which both choose a class and
    ``agreeing`` those on which they choose the same. ``signal`` and ``noise`` sum the
    squares of the float model's outputs and of the differences from them.
    """

    images: int = 0
    labelled: int = 0
    right: int = 0
    float_right: int = 0
    decided: int = 0
    agreeing: int = 0
    signal: float = 0.0
    noise: float = 0.0

    def __add__(self, other: "Tally") -> "Tally":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Tally(*(one + another for one, another in pairs))

    @property
    def accuracy(self) -> float | None:
        """Of the kmodel; None without labels."""
        return self.right / self.labelled if self.labelled else None

    @property
    def float_accuracy(self) -> float | None:
        """Of the float model; None without labels."""
        return self.float_right / self.labelled if self.labelled else None

    @property
    def agreement(self) -> float | None:
        """The part of the decisions that are the float model's; None without any."""
        return self.agreeing / self.decided if self.decided else None

    @property
    def snr_db(self) -> float:
        """The signal-to-noise ratio of the outputs."""
        return 10 * log10((self.signal + LEAST_NOISE) / (self.noise + LEAST_NOISE))


class Held(NamedTuple):
    """Held-out pictures: of which split, as the board takes them, what they show.

    ``samples`` is uint8 N×C×H×W, ``labels`` int64 N or None where there are none.
    """

    split: str
    samples: NDArray[np.uint8]
    labels: NDArray[np.int64] | None


class Scorer:
    """Knows what the float model answers, and judges kmodels by it.

    Args:
        held: the pictures.
        expected: the float model's outputs for each, N×H×W×C where they are maps.
    """

    def __init__(self, held: Held, expected: Iterable[Outputs]) -> None:
        self.held = held
        self._expected = [[planar(each) for each in outputs] for outputs in expected]

    def __len__(self) -> int:
        return len(self._expected)

    def score(
        self, model: Kmodel, start: int, stop: int, threads: int
    ) -> Iterator[Tally]:
        """Run the pictures from ``start`` to before ``stop``, each with its tally.

        Raises:
            ModelError: an output is NaN or infinite.
        """
        samples = (each.tobytes() for each in self.held.samples[start:stop])
        runs = Reference(model).infer_many(samples, threads)
        for index, raw in enumerate(runs, start):
            yield self._tally(index, [np.frombuffer(each, "<f4") for each in raw])

    def _tally(self, index: int, found: Outputs) -> Tally:
        expected = self._expected[index]
        if not all(np.isfinite(values).all() for values in found):
            raise ModelError("gives NaN or infinity for a held-out picture")
        signal = sum(float(np.square(one, dtype="f8").sum()) for one in expected)
        noise = sum(
            float(np.square(one.ravel().astype("f8") - other).sum())
            for one, other in zip(expected, found, strict=True)
        )
        if not _decides(expected):
            return Tally(1, signal=signal, noise=noise)
        decision, wanted = int(found[0].argmax()), int(expected[0].argmax())
        labels = self.held.labels
        label = None if labels is None else int(labels[index])
        return Tally(
            images=1,
            labelled=label is not None,
            right=decision == label,
            float_right=wanted == label,
            decided=1,
            agreeing=decision == wanted,
            signal=signal,
            noise=noise,
        )


def _decides(outputs: Outputs) -> bool:
    """Whether the outputs are the scores of classes."""
    return len(outputs) == 1 and outputs[0].ndim == 2
