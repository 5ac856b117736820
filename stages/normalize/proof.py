"""Prove on every run that the normalized graph computes what the original does.

Both run with TFLite's plain kernels on the same inputs: pictures of the training set,
zeros, ones, an impulse at every border and in every corner, and noise. Compared are the
outputs and every feature map that both have: a classifier's outputs alone hardly depend
on their input, so long as its weights are random, and prove nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from k210.errors import ModelError
from stages.normalize.graph import Graph, Tensor, positions
from stages.normalize.runtime import Runtime, serialize

Floats = NDArray[np.float32]

LIMIT = 1e-5
"""The largest difference that is let pass, as a part of a map's largest value."""

NOISE = 2


@dataclass(frozen=True)
class Proof:
    """What was compared: how many inputs and maps, and where they differ most.

    ``difference`` is a part of the map's scale; ``outputs`` the same of the outputs,
    ``dynamic`` that as a part of what the outputs vary by from input to input.
    """

    inputs: int
    maps: int
    difference: float
    layer: str
    outputs: float
    dynamic: float


@dataclass
class _Pair:
    """A map of both graphs, its scale and the largest difference so far."""

    tensor: Tensor
    before: int
    after: int
    scale: float = 0.0
    difference: float = 0.0
    seen: list[Floats] = field(default_factory=list)

    @property
    def share(self) -> float:
        return _share(self.difference, self.scale)

    @property
    def dynamic(self) -> float:
        return _share(self.difference, float(np.ptp(self.seen, axis=0).max()))

    def count(self, expected: Floats, found: Floats) -> None:
        if self.tensor.turned:
            found = np.flip(found, (1, 2))
        finite = np.isfinite(expected)
        if not np.array_equal(finite, np.isfinite(found)):
            self.difference = float("inf")
        elif finite.any():
            gap = np.abs(found[finite] - expected[finite]).max()
            self.scale = max(self.scale, float(np.abs(expected[finite]).max()))
            self.difference = max(self.difference, float(gap))


def _share(difference: float, scale: float) -> float:
    if difference == 0:
        return 0.0
    return difference / scale if scale else float("inf")


def prove(original: bytes, normalized: Graph, samples: Sequence[Floats]) -> Proof:
    """Compare a lowered graph with the file that it was made of.

    Args:
        original: a TFLite file with one input.
        normalized: the graph; its tensors know which of the file's they are.
        samples: pictures as the file takes them, float32 1×H×W×C.

    Raises:
        ModelError: they differ by more than LIMIT; which layer does first.
    """
    before = Runtime(original, "the exported model")
    after = Runtime(serialize(normalized), "the normalized model")
    pairs = _pairs(normalized)
    (source,) = normalized.inputs
    for sample in samples:
        before.run(sample)
        after.run(np.flip(sample, (1, 2)) if source.turned else sample)
        for pair in pairs:
            expected = before.value(pair.before)
            pair.count(expected, after.value(pair.after))
            if pair.tensor in normalized.outputs:
                pair.seen.append(expected)
    return _judged(pairs, normalized, len(samples))


def _pairs(graph: Graph) -> list[_Pair]:
    index = positions(graph)
    return [
        _Pair(tensor, tensor.origin, index[tensor])
        for node in graph.nodes
        for tensor in node.outputs
        if tensor.origin is not None and tensor.type == "FLOAT32"
    ]


def _judged(pairs: Sequence[_Pair], graph: Graph, samples: int) -> Proof:
    for pair in pairs:
        if not pair.share <= LIMIT:
            raise ModelError(
                f"the normalized model differs from the exported one by "
                f"{pair.share:.1e} of the scale of {pair.tensor.name!r}, more than "
                f"{LIMIT:g}; this is a defect of the normalize stage: report it with "
                "the model"
            )
    worst = max(pairs, key=lambda pair: pair.share)
    outputs = [pair for pair in pairs if pair.tensor in graph.outputs]
    return Proof(
        inputs=samples,
        maps=len(pairs),
        difference=worst.share,
        layer=worst.tensor.name,
        outputs=max(pair.share for pair in outputs),
        dynamic=max(pair.dynamic for pair in outputs),
    )


def adversarial(shape: Sequence[int], low: float, high: float) -> list[Floats]:
    """Inputs that show what is wrong at a map's border, float32 of this shape.

    Zeros, the largest value, an impulse of it in the corners and amid the borders,
    noise between the smallest and the largest.
    """
    _, height, width, _ = shape
    rng = np.random.default_rng(0)
    flat = [np.full(shape, value, np.float32) for value in (0.0, high)]
    rows, columns = (0, height // 2, height - 1), (0, width // 2, width - 1)
    middle = (height // 2, width // 2)
    places = {(y, x) for y in rows for x in columns} - {middle}
    noise = [rng.uniform(low, high, shape).astype(np.float32) for _ in range(NOISE)]
    return [*flat, *(_impulse(shape, place, high) for place in sorted(places)), *noise]


def _impulse(shape: Sequence[int], place: tuple[int, int], value: float) -> Floats:
    picture = np.zeros(shape, np.float32)
    picture[:, place[0], place[1]] = value
    return picture
