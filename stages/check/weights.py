"""The weights of a KPU layer against the float ones that they were made of.

nncase quantizes the weights of each output channel by a scale of their own around 128,
so that bytes less 128 lie on a line through the float weights. Bytes off that line were
changed since; no sample needs to be run to find them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210.kmodel import Conv2d, Kmodel
from stages.check.network import LAYERS, Network, Node

Array = NDArray[Any]

ZERO = 128
SOUND_STEPS = 4.0
"""By how much a weight may miss its line; 2.5 was the most in 140 sound layers."""

REFITS = 4
FEW = 0.05
"""Of the weights: where more are off their lines, they are others altogether."""


@dataclass(frozen=True)
class Strangers:
    """Weights that are not what they were made of.

    ``index`` is the worst one's place (output, input, row, column), ``found`` and
    ``expected`` its bytes; ``offset`` where it lies in the kmodel. ``reversed_order``
    says that they fit once the input channels are taken in reverse.
    """

    count: int
    of: int
    index: tuple[int, ...]
    found: int
    expected: int
    offset: int
    reversed_order: bool

    @property
    def isolated(self) -> bool:
        """Whether the others are sound."""
        return self.count <= FEW * self.of


def strangers(model: Kmodel, conv: Conv2d, floats: Array) -> Strangers | None:
    """The weights that differ; None where all are what the float ones became.

    Args:
        model: the kmodel.
        conv: one of its layers.
        floats: O×I×H×W, as the layer's.
    """
    raw = np.frombuffer(model.constant(conv.weights), np.uint8)
    codes = raw.reshape(conv.weights.shape).astype(np.float64) - ZERO
    predicted, off = _compared(codes, floats)
    if not off.any():
        return None
    worst = np.unravel_index(
        np.argmax(np.where(off, np.abs(codes - predicted), -1)), codes.shape
    )
    flat = int(np.ravel_multi_index(worst, codes.shape))
    _, off_reversed = _compared(codes, floats[:, ::-1])
    return Strangers(
        int(off.sum()),
        int(off.size),
        tuple(int(each) for each in worst),
        int(codes[worst]) + ZERO,
        int(np.clip(round(float(predicted[worst])) + ZERO, 0, 255)),
        model.file_offset(conv.weights) + flat,
        not off_reversed.any() and floats.shape[1] > 1,
    )


def _compared(codes: Array, floats: Array) -> tuple[Array, Array]:
    """What the codes should be, and which of them are not."""
    shape = codes.shape
    codes, values = codes.reshape(len(codes), -1), floats.reshape(len(codes), -1)
    kept = (codes > -ZERO) & (codes < ZERO - 1)
    for _ in range(REFITS):
        products = np.where(kept, codes * values, 0.0).sum(1)
        squares = np.where(kept, values * values, 0.0).sum(1)
        predicted = values * (products / np.maximum(squares, 1e-30))[:, None]
        residuals = np.abs(codes - predicted)
        kept &= residuals < np.maximum(SOUND_STEPS, residuals.max(1, keepdims=True))
    clipped = np.clip(predicted, -ZERO, ZERO - 1)
    off = np.abs(codes - clipped) > SOUND_STEPS
    return predicted.reshape(shape), off.reshape(shape)


def float_weights(network: Network, tensor: int) -> tuple[Node, Array] | None:
    """The layer that makes a tensor, and its weights O×I×H×W; None for other nodes."""
    node = network.makers.get(tensor)
    if node is None or node.kind not in LAYERS or not node.constants:
        return None
    weights = node.constants[0]
    if node.kind == "CONV_2D":
        return node, weights.transpose(0, 3, 1, 2)
    if node.kind == "DEPTHWISE_CONV_2D":
        return node, weights.transpose(3, 0, 1, 2)
    return node, weights[:, :, None, None]
