"""Which output of a kmodel is which of the model.

nncase 1.9 lists outputs in an order of its own and names none.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from k210.errors import ModelError
from k210.kmodel import Kmodel
from k210.reference import Reference
from stages import tflite
from stages.nncase_child import Request
from stages.runtime import Floats, Runtime

TOLD_APART_BY = 4
"""Samples by which outputs of the same size are told apart."""

LARGEST = float(np.finfo(np.float32).max)
"""Stands for what is not a number."""

LEAST = 1e-12
"""Of what an output varies by, so that a constant one has a distance too."""


def output_order(parsed: Kmodel, request: Request) -> list[int]:
    """For each output of the model, the number it has in the kmodel.

    Where there are several they are told apart by what they compute, of which their
    sizes are a part.

    Raises:
        ModelError: the kmodel has no outputs of these sizes.
    """
    model = tflite.unpack(request.model)
    (graph,) = model.subgraphs
    indices = tflite.indices(graph.outputs)
    sizes = [math.prod(tflite.shape(graph.tensors[index])) for index in indices]
    given = [math.prod(each.shape) for each in parsed.entry.outputs]
    if sorted(sizes) != sorted(given):
        raise ModelError(
            f"nncase made a kmodel with outputs of {given} values where the model's "
            f"have {sizes}; take out the outputs that are not needed"
        )
    if len(indices) == 1:
        return [0]
    samples = request.samples[:TOLD_APART_BY]
    wanted = _computed(request, samples, indices)
    found = list(Reference(parsed).infer_many(each.tobytes() for each in samples))
    pairs = {
        (number, other): sum(
            _distance(values[number], outputs[other])
            for values, outputs in zip(wanted, found, strict=True)
        )
        for number, size in enumerate(sizes)
        for other, count in enumerate(given)
        if size == count
    }
    return _matched(pairs, len(indices))


def _computed(
    request: Request, samples: NDArray[np.uint8], indices: Sequence[int]
) -> list[list[Floats]]:
    """What TFLite gives for each sample: the tensors of these indices."""
    low, high = request.range
    floats = low + np.moveaxis(samples, 1, 3).astype(np.float32) * (high - low) / 255
    runtime = Runtime(request.model, "the model")
    found = []
    for each in floats.astype(np.float32):
        runtime.run(each[np.newaxis])
        found.append([runtime.value(index) for index in indices])
    return found


def _distance(wanted: Floats, raw: bytes) -> float:
    """How far an output is from the one that TFLite gives, of what that varies by."""
    planar = np.moveaxis(wanted, 3, 1) if wanted.ndim == 4 else wanted
    values = np.nan_to_num(np.frombuffer(raw, "<f4"), nan=LARGEST).astype(np.float64)
    return float(np.abs(values - planar.ravel()).mean() / (np.ptp(wanted) + LEAST))


def _matched(pairs: Mapping[tuple[int, int], float], count: int) -> list[int]:
    """The nearest pairs first, each number once."""
    order = [-1] * count
    for number, other in sorted(pairs, key=lambda pair: pairs[pair]):
        if order[number] < 0 and other not in order:
            order[number] = other
    return order
