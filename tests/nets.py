"""Small graphs with random weights, written without TensorFlow's converter.

The converter takes a second for each, folds PADs and refuses grouped convolutions; here
a graph is what a test says it is. What it computes is what TFLite makes of it.
"""

from typing import Any

import numpy as np

from stages import tflite
from stages.normalize.geometry import reach
from stages.normalize.graph import (
    Graph,
    Node,
    Tensor,
    constant_tensor,
    new_node,
    write,
)
from stages.normalize.runtime import serialize

Pair = tuple[int, int]


class Net:
    """A graph in the making; every method returns the tensor it adds."""

    def __init__(self, shape: tuple[int, int, int], seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.input = Tensor("input", (1, *shape))
        self.nodes: list[Node] = []
        self._constants = 0

    def graph(self, *outputs: Tensor) -> Graph:
        return Graph(self.nodes, [self.input], list(outputs))

    def model(self, *outputs: Tensor) -> Any:
        return write(self.graph(*outputs))

    def bytes(self, *outputs: Tensor) -> bytes:
        return serialize(self.graph(*outputs))

    def add_node(
        self,
        kind: str,
        inputs: list[Tensor | None],
        shape: tuple[int, ...],
        **options: Any,
    ) -> Tensor:
        output = Tensor(f"{kind.lower()}_{len(self.nodes)}", shape)
        self.nodes.append(new_node(kind, inputs, [output], **options))
        return output

    def constant(self, value: Any, dtype: Any = np.float32) -> Tensor:
        self._constants += 1
        name = f"constant_{self._constants}"
        return constant_tensor(name, np.asarray(value, dtype))

    def weights(self, *shape: int, inputs: int) -> Tensor:
        scale = (2 / inputs) ** 0.5
        return self.constant(self.rng.standard_normal(shape) * scale)

    def convolve(
        self,
        x: Tensor,
        filters: int,
        kernel: int | Pair = 3,
        stride: int | Pair = 1,
        padding: str = "SAME",
        dilation: int = 1,
        groups: int = 1,
        activation: str = "RELU",
    ) -> Tensor:
        (height, width), steps = _pair(kernel), _pair(stride)
        inputs = x.shape[3] // groups
        weights = self.weights(
            filters, height, width, inputs, inputs=height * width * inputs
        )
        shape = (1, *_sizes(x, (height, width), steps, padding, dilation), filters)
        return self._convolution(
            "CONV_2D", x, weights, shape, steps, padding, dilation, activation
        )

    def depthwise(
        self,
        x: Tensor,
        kernel: int | Pair = 3,
        stride: int | Pair = 1,
        padding: str = "SAME",
        dilation: int = 1,
        multiplier: int = 1,
        activation: str = "RELU",
    ) -> Tensor:
        (height, width), steps = _pair(kernel), _pair(stride)
        filters = x.shape[3] * multiplier
        weights = self.weights(1, height, width, filters, inputs=height * width)
        shape = (1, *_sizes(x, (height, width), steps, padding, dilation), filters)
        return self._convolution(
            "DEPTHWISE_CONV_2D",
            x,
            weights,
            shape,
            steps,
            padding,
            dilation,
            activation,
            depthMultiplier=multiplier,
        )

    def _convolution(
        self,
        kind: str,
        x: Tensor,
        weights: Tensor,
        shape: tuple[int, ...],
        stride: Pair,
        padding: str,
        dilation: int,
        activation: str,
        **more: Any,
    ) -> Tensor:
        bias = self.constant(self.rng.uniform(-0.2, 0.4, shape[3]))
        return self.add_node(
            kind,
            [x, weights, bias],
            shape,
            padding=getattr(tflite.schema().Padding, padding),
            strideH=stride[0],
            strideW=stride[1],
            dilationHFactor=dilation,
            dilationWFactor=dilation,
            fusedActivationFunction=_activation(activation),
            **more,
        )

    def transposed(
        self, x: Tensor, filters: int, kernel: int, stride: int, padding: str = "SAME"
    ) -> Tensor:
        more = 0 if padding == "SAME" else max(kernel - stride, 0)
        height, width = (size * stride + more for size in x.shape[1:3])
        inputs = x.shape[3]
        weights = self.weights(
            filters, kernel, kernel, inputs, inputs=kernel * kernel * inputs
        )
        shape = (1, height, width, filters)
        return self.add_node(
            "TRANSPOSE_CONV",
            [self.constant(shape, np.int32), weights, x],
            shape,
            padding=getattr(tflite.schema().Padding, padding),
            strideH=stride,
            strideW=stride,
        )

    def pad(self, x: Tensor, top: int, bottom: int, left: int, right: int) -> Tensor:
        amounts = [[0, 0], [top, bottom], [left, right], [0, 0]]
        _, height, width, channels = x.shape
        shape = (1, height + top + bottom, width + left + right, channels)
        return self.add_node("PAD", [x, self.constant(amounts, np.int32)], shape)

    def pool(
        self,
        x: Tensor,
        kind: str = "MAX",
        size: int = 2,
        stride: int = 2,
        padding: str = "VALID",
        activation: str = "NONE",
    ) -> Tensor:
        sizes = _sizes(x, (size, size), (stride, stride), padding, 1)
        return self.add_node(
            f"{kind}_POOL_2D",
            [x],
            (1, *sizes, x.shape[3]),
            padding=getattr(tflite.schema().Padding, padding),
            strideH=stride,
            strideW=stride,
            filterHeight=size,
            filterWidth=size,
            fusedActivationFunction=_activation(activation),
        )

    def activate(self, x: Tensor, kind: str, **options: Any) -> Tensor:
        return self.add_node(kind, [x], x.shape, **options)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        none = _activation("NONE")
        return self.add_node("ADD", [x, y], x.shape, fusedActivationFunction=none)

    def multiply(self, x: Tensor, y: Tensor) -> Tensor:
        none = _activation("NONE")
        shape = tuple(np.broadcast_shapes(x.shape, y.shape))
        return self.add_node("MUL", [x, y], shape, fusedActivationFunction=none)

    def concatenate(self, *maps: Tensor) -> Tensor:
        shape = (*maps[0].shape[:3], sum(each.shape[3] for each in maps))
        return self.add_node(
            "CONCATENATION",
            list(maps),
            shape,
            axis=3,
            fusedActivationFunction=_activation("NONE"),
        )

    def crop(
        self, x: Tensor, begin: tuple[int, ...], end: tuple[int, ...], **masks: int
    ) -> Tensor:
        sizes = zip(begin, end, x.shape, strict=True)
        shape = tuple(len(range(size)[b:e]) for b, e, size in sizes)
        bounds = [self.constant(each, np.int32) for each in (begin, end, (1,) * 4)]
        return self.add_node("STRIDED_SLICE", [x, *bounds], shape, **masks)

    def resize(self, x: Tensor, size: int, kind: str, half_pixel: bool) -> Tensor:
        sizes = self.constant([size, size], np.int32)
        shape = (1, size, size, x.shape[3])
        return self.add_node(kind, [x, sizes], shape, halfPixelCenters=half_pixel)

    def mean(self, x: Tensor, keep: bool = False) -> Tensor:
        shape = (1, 1, 1, x.shape[3]) if keep else (1, x.shape[3])
        axes = self.constant([1, 2], np.int32)
        return self.add_node("MEAN", [x, axes], shape, keepDims=keep)

    def flatten(self, x: Tensor) -> Tensor:
        shape = (1, int(np.prod(x.shape)))
        constant = self.constant(shape, np.int32)
        return self.add_node(
            "RESHAPE", [x, constant], shape, newShape=np.array(shape, np.int32)
        )

    def dense(self, x: Tensor, outputs: int) -> Tensor:
        weights = self.weights(outputs, x.shape[1], inputs=x.shape[1])
        bias = self.constant(self.rng.standard_normal(outputs))
        return self.add_node(
            "FULLY_CONNECTED",
            [x, weights, bias],
            (1, outputs),
            fusedActivationFunction=_activation("NONE"),
        )


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


def _activation(name: str) -> int:
    return int(getattr(tflite.schema().ActivationFunctionType, name))


def _sizes(x: Tensor, kernel: Pair, stride: Pair, padding: str, dilation: int) -> Pair:
    """The sizes that TFLite computes."""
    found = []
    for size, taps, step in zip(x.shape[1:3], kernel, stride, strict=True):
        lost = 0 if padding == "SAME" else reach(taps, dilation) - 1
        found.append(-(-(size - lost) // step))
    return found[0], found[1]
