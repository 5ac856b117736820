"""Which output of a kmodel is which of the model.

nncase 1.9 lists outputs in an order of its own and names none.
"""

import math
from collections.abc import Mapping

import numpy as np

from k210.errors import ModelError
from k210.kmodel import Kmodel
from k210.reference import Reference
from stages import tflite
from stages.nncase_child import Request
from stages.runtime import Floats, finite, planar, reference

TOLD_APART_BY = 4
"""Samples by which outputs of the same size are told apart."""

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
    low, high = request.range
    floats = low + np.moveaxis(samples, 1, 3).astype(np.float32) * (high - low) / 255
    wanted = reference(request.model, indices, floats.astype(np.float32))
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


def _distance(wanted: Floats, raw: bytes) -> float:
    """How far an output is from the one that TFLite gives, of what that varies by."""
    values = finite(np.frombuffer(raw, "<f4")).astype(np.float64)
    gaps = np.abs(values - planar(wanted).ravel())
    return float(gaps.mean() / (np.ptp(wanted) + LEAST))


def _matched(pairs: Mapping[tuple[int, int], float], count: int) -> list[int]:
    """The nearest pairs first, each number once."""
    order = [-1] * count
    for number, other in sorted(pairs, key=lambda pair: pairs[pair]):
        if order[number] < 0 and other not in order:
            order[number] = other
    return order
