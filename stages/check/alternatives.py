"""What a layer would give if something were otherwise: its input, or its padding.

Where a map is wrong and one of these fits it, that is what went wrong.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from stages import tflite
from stages.check.network import Network, Node, planar
from stages.memory import CONVOLUTIONS

Array = NDArray[Any]
Compute = Callable[[Array], Array]
"""From a float sample 1×H×W×C to a map 1×C×H×W."""

RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
"""That models are usually trained on."""


@dataclass(frozen=True)
class Alternative:
    """What may have happened: a key, words, and the map that there would be then."""

    kind: str
    words: str
    compute: Compute


def of_input(
    network: Network, tensor: int, limits: tuple[float, float]
) -> Iterator[Alternative]:
    """A tensor as it would be on another input.

    Args:
        network: the graph.
        tensor: which one of its tensors.
        limits: what the bytes 0 and 255 of the input stand for.
    """

    def run(change: Callable[[Array], Array], sample: Array) -> Array:
        network.run(np.ascontiguousarray(change(sample), np.float32))
        return network.planar(tensor)

    _, height, width, channels = network.shapes[network.input]
    if channels == 3:
        words = "it fits a picture whose red and blue are swapped"
        yield Alternative("channel order", words, partial(run, _swapped))
    words = "it fits a picture that is turned by 180 degrees"
    yield Alternative("rotation", words, partial(run, _turned))
    if channels > 1:
        words = "it fits a picture whose bytes are read pixel by pixel, not by planes"
        yield Alternative("layout", words, partial(run, _interleaved))
    if height == width:
        words = "it fits a picture whose rows and columns are swapped"
        yield Alternative("rows and columns", words, partial(run, _transposed))
    for low, high in RANGES:
        if (low, high) != limits:
            change = partial(_ranged, limits=limits, wanted=(low, high))
            words = f"it fits a picture whose bytes stand for {low:g} to {high:g}"
            yield Alternative("input range", words, partial(run, change))


def _swapped(sample: Array) -> Array:
    return sample[..., ::-1]


def _turned(sample: Array) -> Array:
    return np.flip(sample, (1, 2))


def _transposed(sample: Array) -> Array:
    return sample.transpose(0, 2, 1, 3)


def _interleaved(sample: Array) -> Array:
    return sample.transpose(0, 3, 1, 2).reshape(sample.shape)


def _ranged(
    sample: Array, limits: tuple[float, float], wanted: tuple[float, float]
) -> Array:
    share = (sample - limits[0]) / (limits[1] - limits[0])
    return share * (wanted[1] - wanted[0]) + wanted[0]


def of_padding(network: Network, tensor: int) -> Iterator[Alternative]:
    """A convolution's output if its map were padded in another way."""
    node = network.makers.get(tensor)
    if node is None or node.kind not in CONVOLUTIONS or len(node.inputs) != 1:
        return
    padded = _Padded(network, node)
    tall, wide = padded.kernel
    for corner in product(range(tall), range(wide)):
        if corner != padded.corner:
            words = (
                f"it fits a convolution that pads its map by {corner[0]} above and "
                f"{corner[1]} on the left, and this one pads by {padded.corner[0]} and "
                f"{padded.corner[1]}"
            )
            yield Alternative("padding", words, partial(padded.computed, corner))


class _Padded:
    """A convolution with what pads its map: itself, or an operator before it."""

    def __init__(self, network: Network, node: Node) -> None:
        self._network, self._node = network, node
        options, weights = node.options, node.constants[0]
        self.kernel = int(weights.shape[1]), int(weights.shape[2])
        self._strides = int(options.strideH), int(options.strideW)
        self._dilation = int(options.dilationHFactor), int(options.dilationWFactor)
        self._source = node.inputs[0]
        output = network.shapes[node.output]
        self._size = output[1], output[2]
        self.corner = (0, 0)
        before = network.makers.get(self._source)
        if before is not None and before.kind == "PAD":
            pads = before.constants[0]
            self.corner = int(pads[1][0]), int(pads[2][0])
            self._source = before.inputs[0]
        elif options.padding == tflite.schema().Padding.SAME:
            self.corner = self._same()

    def _same(self) -> tuple[int, int]:
        shape = self._network.shapes[self._source]
        found = []
        for axis in range(2):
            reach = (self.kernel[axis] - 1) * self._dilation[axis] + 1
            steps = (self._size[axis] - 1) * self._strides[axis]
            found.append(max(0, steps + reach - shape[1 + axis]) // 2)
        return found[0], found[1]

    def computed(self, corner: tuple[int, int], sample: Array) -> Array:
        """The output for a sample if that were the padding above and on the left."""
        self._network.run(sample)
        source = self._network.value(self._source)[0]
        return planar(self._convolved(source, corner)[np.newaxis])

    def _convolved(self, source: Array, corner: tuple[int, int]) -> Array:
        spread = [
            (taps - 1) * gap + 1
            for taps, gap in zip(self.kernel, self._dilation, strict=True)
        ]
        room = [
            (size - 1) * step + reach
            for size, step, reach in zip(self._size, self._strides, spread, strict=True)
        ]
        whole = np.zeros((*room, source.shape[2]), np.float32)
        tall = min(source.shape[0], room[0] - corner[0])
        wide = min(source.shape[1], room[1] - corner[1])
        top, left = corner
        whole[top : top + tall, left : left + wide] = source[:tall, :wide]
        views = sliding_window_view(whole, spread, (0, 1))  # type: ignore[call-overload]
        steps, gaps = self._strides, self._dilation
        views = views[:: steps[0], :: steps[1], :, :: gaps[0], :: gaps[1]]
        return self._activated(self._summed(views))

    def _summed(self, views: Array) -> Array:
        weights = self._node.constants[0]
        if self._node.kind == "CONV_2D":
            found = np.einsum("yxcij,oijc->yxo", views, weights, optimize=True)
        else:
            times = weights.shape[3] // views.shape[2]
            views = np.repeat(views, times, axis=2)
            found = np.einsum("yxcij,ijc->yxc", views, weights[0], optimize=True)
        for bias in self._node.constants[1:]:
            found = found + bias
        return np.asarray(found)

    def _activated(self, values: Array) -> Array:
        kinds = tflite.schema().ActivationFunctionType
        kind = self._node.options.fusedActivationFunction
        if kind in (kinds.RELU, kinds.RELU6):
            top = 6.0 if kind == kinds.RELU6 else np.inf
            return np.clip(values, 0.0, top)
        return values
