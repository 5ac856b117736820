"""Cross-layer equalization: channels rescaled so that they share a range well.

nncase quantizes a feature map with one scale for all its channels, and weights with one
for each output channel. Where channels differ much, the small ones keep few of the 8
bits. A positive factor moves through ReLU, so channel c of a layer's output can be
divided by s_c and what reads it multiplied by s_c without changing the network (Nagel
et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019;
here with the ranges of the maps on the calibration set in place of those of weights).

Depthwise weights have a scale for each channel already: all channels before them get
the same range. Before others, map and weights each get half of the imbalance. ReLU6
caps all channels at 6; one that the cap binds on the calibration set stays as it is,
and one that it does not is kept below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from k210.manifest import Input
from stages import tflite
from stages.quantize.network import (
    LINEAR,
    RELU,
    RELU6,
    Floats,
    Layer,
    Network,
    maps,
)

LIMIT = 1e-5
"""How much the outputs may change, as a part of their scale."""

LARGEST = 256.0
"""Factors are at most this, and at least its inverse."""

CAP = 6.0
MARGIN = 1 - 1e-3
"""Below which part of the cap a channel stays for sure."""


@dataclass(frozen=True)
class Equalized:
    """A rewritten model.

    Attributes:
        model: the TFLite file's bytes.
        maps: how many feature maps were rescaled.
        difference: how much the outputs change, as a part of their scale.
    """

    model: bytes
    maps: int
    difference: float

    @property
    def exact(self) -> bool:
        """Whether it computes the same as the model that it was made of."""
        return self.difference <= LIMIT


def equalized(
    model: bytes, spec: Input, samples: NDArray[np.uint8]
) -> Equalized | None:
    """A model with equalized channels; None where none can be.

    Args:
        model: a float TFLite file's bytes.
        spec: how bytes become its input.
        samples: the calibration set, uint8 N×C×H×W.
    """
    network = Network(model)
    found = {}
    for layer in network.layers:
        sinks = network.sinks(layer.output)
        if sinks and layer.activation in (LINEAR, RELU, RELU6):
            found[layer] = sinks
    peaks = _peaks(model, spec, samples, [layer.output for layer in found])
    changed = 0
    for layer, sinks in found.items():
        scales = factors(peaks[layer.output], sinks, layer.activation == RELU6)
        changed += not np.allclose(scales, 1)
        _rescale(layer, sinks, scales)
    if not changed:
        return None
    made = network.serialized()
    return Equalized(made, changed, _difference(model, made, spec, samples))


def factors(peaks: Floats, sinks: Sequence[Layer], capped: bool) -> Floats:
    """What each channel of a map is to be divided by.

    Args:
        peaks: each channel's largest magnitude.
        sinks: the layers that it goes to.
        capped: whether the map is made by ReLU6.
    """
    top = peaks.max(initial=0.0)
    if top == 0:
        return np.ones_like(peaks)
    shares = np.maximum(peaks / top, 1 / LARGEST)
    weighed = [_importance(sink) for sink in sinks if not sink.depthwise]
    if weighed:
        importance = np.maximum(np.max(weighed, axis=0), 1 / LARGEST**2)
        scales = np.sqrt(shares / importance)
        scales *= (shares / scales).max()  # the map's range stays as it was
    else:  # whatever a silent channel may do elsewhere, it is not amplified
        scales = np.where(peaks > top / LARGEST**2, shares, 1.0)
    scales = np.clip(scales, 1 / LARGEST, LARGEST)
    if capped:
        free = peaks < CAP * MARGIN
        scales = np.where(free, np.maximum(scales, peaks / (CAP * MARGIN)), 1.0)
    result: Floats = scales
    return result


def _importance(sink: Layer) -> Floats:
    """How much of its output channels' weight ranges each input channel takes."""
    size = np.abs(sink.weights)
    by_pair = size.max(axis=(1, 2)) if size.ndim == 4 else size
    rows = by_pair.max(axis=1, keepdims=True)
    shares: Floats = np.divide(
        by_pair, rows, where=rows > 0, out=np.zeros_like(by_pair)
    )
    largest: Floats = shares.max(axis=0)
    return largest


def _rescale(layer: Layer, sinks: Sequence[Layer], scales: Floats) -> None:
    by_output = scales if layer.depthwise else _in_front(scales, layer.weights.ndim)
    layer.weights = layer.weights / by_output
    layer.bias = layer.bias / scales
    for sink in sinks:
        sink.weights = sink.weights * scales


def _in_front(scales: Floats, rank: int) -> Floats:
    """Factors of the first of so many axes."""
    return scales.reshape(-1, *(1,) * (rank - 1))


def _peaks(
    model: bytes, spec: Input, samples: NDArray[np.uint8], wanted: list[int]
) -> dict[int, Floats]:
    """The largest magnitude of each channel of some maps, over the samples."""
    found: dict[int, Floats] = {}
    for values in maps(model, spec, samples, wanted):
        for index, each in values.items():
            peak = np.abs(each).max(axis=tuple(range(each.ndim - 1))).astype(np.float64)
            found[index] = np.maximum(found.get(index, 0.0), peak)
    return found


def _difference(
    before: bytes, after: bytes, spec: Input, samples: NDArray[np.uint8]
) -> float:
    """The largest difference of the outputs, as a part of their scale."""
    graph = tflite.unpack(before).subgraphs[0]
    wanted = tflite.indices(graph.outputs)
    scale = gap = 0.0
    pairs = zip(
        maps(before, spec, samples, wanted),
        maps(after, spec, samples, wanted),
        strict=True,
    )
    for expected, found in pairs:
        for index in wanted:
            scale = max(scale, float(np.abs(expected[index]).max()))
            gap = max(gap, float(np.abs(found[index] - expected[index]).max()))
    return gap / scale if scale else gap
