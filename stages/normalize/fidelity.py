"""How near a compiled plan comes to the model that it was made of.

nncase 1.9 miscompiles more than is listed anywhere: crops and pads of maps that are odd
in one direction and even in the other, for one. A plan is therefore run before it is
believed, on a few pictures, and its outputs are compared with TFLite's.
"""

from collections.abc import Sequence

import numpy as np

from stages.runtime import Outputs, finite, planar

LEAST_NOISE = 1e-30
"""Of squares, so that equal outputs have a ratio too."""


def decibels(expected: Sequence[Outputs], found: Sequence[Sequence[bytes]]) -> float:
    """The signal-to-noise ratio of a kmodel's outputs, upright, against TFLite's."""
    signal = noise = 0.0
    for wanted, raw in zip(expected, found, strict=True):
        for one, other in zip(wanted, raw, strict=True):
            values = finite(np.frombuffer(other, "<f4")).astype(np.float64)
            signal += float(np.square(one, dtype=np.float64).sum())
            noise += float(np.square(planar(one).ravel() - values).sum())
    return 10 * float(np.log10((signal + LEAST_NOISE) / (noise + LEAST_NOISE)))


def turned(outputs: Sequence[Outputs], rotations: Sequence[bool]) -> list[Outputs]:
    """Outputs as a rotated model gives them: feature maps turned by 180 degrees."""
    return [
        [
            np.flip(values, (1, 2)) if turn else values
            for values, turn in zip(sample, rotations, strict=True)
        ]
        for sample in outputs
    ]
