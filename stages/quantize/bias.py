"""Bias correction: what rounding the weights shifts on average is taken back.

nncase rounds each output channel's weights to 8 bits of a scale of its own. The error
times the mean of what the layer reads is a constant shift of the channel, and the bias
can make up for it (Nagel et al., 2019). Only layers that run on the KPU are rounded.

Facts: nncase 1.9's ``kpu_conv2d.cpp`` and ``quantizer.cpp``: bytes have the zero point
128 and the scale 2·max|w|/255; ``use_mse_quant_w`` widens that range by up to an eighth
in steps of 1/256 and keeps the one of the least squared error.
"""

import numpy as np
from numpy.typing import NDArray

from k210.manifest import Input
from stages import tflite
from stages.memory import kpu_layers
from stages.quantize.network import Floats, Layer, Network, maps

ZERO_POINT, LAST = 128, 255
WIDENINGS = np.arange(32) / 128
"""By which parts of it, on both sides together, the range is widened on trial."""


def corrected(
    model: bytes, spec: Input, samples: NDArray[np.uint8], mse_weights: bool
) -> bytes:
    """A model with corrected biases.

    Args:
        model: a float TFLite file's bytes.
        spec: how bytes become its input.
        samples: the calibration set, uint8 N×C×H×W.
        mse_weights: how nncase will round the weights.
    """
    network = Network(model)
    parsed = tflite.unpack(model)
    names = [tflite.name(each) for each in parsed.subgraphs[0].tensors]
    on_kpu = {layer.name for layer in kpu_layers(parsed)}
    layers = [each for each in network.layers if names[each.output] in on_kpu]
    means = _means(model, spec, samples, [layer.source for layer in layers])
    for layer in layers:
        error = rounded(layer, mse_weights) - layer.weights
        layer.bias = layer.bias - shift(error, means[layer.source], layer.depthwise)
    return network.serialized()


def rounded(layer: Layer, mse_weights: bool) -> Floats:
    """A layer's weights as the KPU will have them, of the same shape."""
    rows = layer.weights.reshape(-1, layer.weights.shape[-1]).T
    if not layer.depthwise:
        rows = layer.weights.reshape(len(layer.weights), -1)
    best = _rounded(rows, 0.0)
    for widening in WIDENINGS[1:] if mse_weights else ():
        other = _rounded(rows, widening)
        better = _squares(other - rows) < _squares(best - rows)
        best = np.where(better, other, best)
    if layer.depthwise:
        best = best.T
    return best.reshape(layer.weights.shape)


def _rounded(rows: Floats, widening: float) -> Floats:
    """Rows of weights in 8 bits of a scale of their own."""
    width = 2 * np.abs(rows).max(axis=1, keepdims=True) * (1 + widening)
    scale = np.where(width > 0, width, 1.0) / LAST
    values: Floats = np.clip(np.rint(rows / scale + ZERO_POINT), 0, LAST)
    return (values - ZERO_POINT) * scale


def _squares(errors: Floats) -> Floats:
    total: Floats = np.square(errors).sum(axis=1, keepdims=True)
    return total


def shift(error: Floats, means: Floats, depthwise: bool) -> Floats:
    """By how much errors of weights shift each output channel on average.

    Args:
        error: of the weights, in their shape.
        means: of each channel that the layer reads; its borders count as the rest.
        depthwise: whether the layer is.
    """
    by_pair = error.sum(axis=(1, 2)) if error.ndim == 4 else error
    total: Floats = by_pair[0] * means if depthwise else by_pair @ means
    return total


def _means(
    model: bytes, spec: Input, samples: NDArray[np.uint8], wanted: list[int]
) -> dict[int, Floats]:
    """The mean of each channel of some maps, over the samples."""
    found: dict[int, Floats] = {}
    for values in maps(model, spec, samples, wanted):
        for index, each in values.items():
            mean = each.mean(axis=tuple(range(each.ndim - 1)), dtype=np.float64)
            found[index] = found.get(index, 0.0) + mean / len(samples)
    return found
