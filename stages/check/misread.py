"""Whether a brought model would know more if its input were prepared in another way.

No step of the ladder sees that: all of them are given the same wrong pictures. But the
labels do, where swapped colours or another range make clearly more answers right.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.check.alternatives import Compute, of_input
from stages.check.cause import Cause
from stages.check.network import Network
from stages.intervals import paired_drop

Array = NDArray[Any]

DOUBTFUL = 0.9
"""An accuracy below this may be the preparation's fault."""

LABELLED = 48
"""Pictures that are tried, each prepared in all ways."""

EXPLAINED = 0.5
"""Of the errors, that another way must mend: less may be another kind of chance."""

ADVICE = {
    "channel order": "correct data.color",
    "input range": "correct data.range",
    "rotation": "turn the pictures",
    "layout": "correct how the pictures were written",
    "rows and columns": "correct how the pictures were written",
}


def misread(
    network: Network,
    samples: Sequence[Array],
    labels: Sequence[int],
    limits: tuple[float, float],
) -> Cause | None:
    """The way of preparing pictures with which clearly more answers are right.

    Args:
        network: the exported model, a classifier.
        samples: what it is given, float32 1×H×W×C.
        labels: of each sample.
        limits: what the bytes 0 and 255 of the input stand for.
    """
    output = network.outputs[0]
    present = _right(network, samples, labels, None)
    best: Cause | None = None
    most = float(present.mean())
    for way in of_input(network, output, limits):
        found = _right(network, samples, labels, way.compute)
        mended = 1 - found.mean() <= EXPLAINED * (1 - present.mean())
        if mended and found.mean() > most and _surely(found, present):
            most = float(found.mean())
            best = Cause(
                way.kind,
                f"{present.mean():.0%} of {len(labels)} answers are right as the "
                f"pictures are prepared, and {most:.0%} where {_where(way.words)}; "
                f"{ADVICE[way.kind]}",
            )
    return best


def _where(words: str) -> str:
    """What an alternative fits, as a condition."""
    return words.removeprefix("it fits a picture whose ").removeprefix("it fits ")


def _right(
    network: Network,
    samples: Sequence[Array],
    labels: Sequence[int],
    compute: Compute | None,
) -> NDArray[np.bool_]:
    found = []
    for sample, label in zip(samples, labels, strict=True):
        if compute is None:
            network.run(sample)
            scores = network.planar(network.outputs[0])
        else:
            scores = compute(sample)
        found.append(int(scores.argmax()) == label)
    return np.array(found)


def _surely(found: NDArray[np.bool_], present: NDArray[np.bool_]) -> bool:
    """Whether more are right than chance would make, at 95 %."""
    both, neither = int((found & present).sum()), int((~found & ~present).sum())
    lost, gained = int((found & ~present).sum()), int((~found & present).sum())
    low, _ = paired_drop(both, lost, gained, neither)
    return low > 0
