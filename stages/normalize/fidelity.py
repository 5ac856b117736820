"""How near a compiled plan comes to the model that it was made of.

nncase 1.9 miscompiles more than is listed anywhere: crops and pads of maps that are odd
in one direction and even in the other, for one. A plan is therefore run before it is
believed, on a few pictures, and its outputs are compared with TFLite's.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.normalize.runtime import Runtime

Floats = NDArray[np.float32]
Outputs = list[Floats]

LEAST_NOISE = 1e-30
"""Of squares, so that equal outputs have a ratio too."""


def reference(
    model: bytes, outputs: Sequence[int], samples: NDArray[np.float32]
) -> list[Outputs]:
    """What TFLite computes: the tensors of these indices, for each N×H×W×C sample."""
    runtime = Runtime(model, "the exported model")
    found = []
    for sample in samples:
        runtime.run(sample[np.newaxis])
        found.append([runtime.value(index) for index in outputs])
    return found


def decibels(expected: Sequence[Outputs], found: Sequence[Sequence[bytes]]) -> float:
    """The signal-to-noise ratio of a kmodel's outputs, upright, against TFLite's."""
    signal = noise = 0.0
    for wanted, raw in zip(expected, found, strict=True):
        for one, other in zip(wanted, raw, strict=True):
            values = _finite(np.frombuffer(other, "<f4"))
            signal += float(np.square(one, dtype=np.float64).sum())
            noise += float(np.square(_planar(one) - values).sum())
    return 10 * float(np.log10((signal + LEAST_NOISE) / (noise + LEAST_NOISE)))


def _finite(values: Floats) -> NDArray[np.float64]:
    """What is not a number is as far off as a float can be; its square is finite."""
    found: Floats = np.nan_to_num(values, nan=float(np.finfo(np.float32).max))
    return found.astype(np.float64)


def _planar(values: Floats) -> Floats:
    """A TFLite output in the order of a kmodel's: channels before rows."""
    return (np.moveaxis(values, 3, 1) if values.ndim == 4 else values).ravel()


def turned(outputs: Sequence[Outputs], rotations: Sequence[bool]) -> list[Outputs]:
    """Outputs as a rotated model gives them: feature maps turned by 180 degrees."""
    return [
        [
            np.flip(values, (1, 2)) if turn else values
            for values, turn in zip(sample, rotations, strict=True)
        ]
        for sample in outputs
    ]
