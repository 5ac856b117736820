"""Whether a model's feature maps will fit the chip, told before it is compiled.

`kpu_layers` reads off a TFLite graph which layers nncase 1.9 will put on the KPU, and
the least that their maps must be there: what the CPU pads away or crops may make them
larger, never smaller. So `require_room` refuses only what cannot be compiled. That
the kmodel's own figures are as foretold is for the compile stage to check.
`sram_floor` tells the least of ordinary memory.

Facts: what nncase 1.9 makes of each kind of layer (compiled case by case). Stride 2 is
a full-size convolution and a selection that the layer itself writes, except after a
depthwise one, where the next 1×1 convolution makes the selection. An addition is a 1×1
convolution over both operands. A dense layer works on a map of 4×4.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from k210 import limits
from k210.errors import ModelError
from k210.kmodel.layer import ACTIVATION_BYTES, BATCH_NORM_BYTES
from k210.limits import Layer, Map, Sram
from stages import tflite

MAX_CHANNELS, MAX_HEIGHT, MAX_WIDTH, LEAST = 1024, 256, 512, 4

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
POOLS = ("MAX_POOL_2D", "AVERAGE_POOL_2D")
FUSED = (2, 4)
"""Sides, and strides, of the poolings that a convolution layer can do as it writes."""

ELEMENTWISE = (
    *("RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "HARD_SWISH", "LOGISTIC", "TANH"),
    *("EXP", "ADD", "SUB", "MUL", "DIV", "MINIMUM", "MAXIMUM", "ABS", "NEG", "SQUARE"),
)
"""Part of a layer's activation table where they see one map, and constants."""

ON_CPU = (*POOLS, "MEAN", "MUL", "SUB", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
"""Computed in float by the CPU, where no layer does them."""

FLOAT = 4
"""Bytes of a number on the CPU."""

Size = tuple[int, int, int]
"""Height, width and channels of a map."""


@dataclass(frozen=True)
class _Node:
    kind: str
    inputs: tuple[int, ...]  # without constants
    weights: tuple[int, ...]  # shape of the second operand, where that is a constant
    output: int
    operator: Any


class _Graph:
    """A TFLite graph as this module reads it."""

    def __init__(self, model: Any) -> None:
        graph = model.subgraphs[0]
        self._model, self._tensors = model, graph.tensors
        self.inputs = tflite.indices(graph.inputs)
        self.outputs = tflite.indices(graph.outputs)
        self.nodes = [self._node(operator) for operator in graph.operators]
        self._makers = {node.output: node for node in self.nodes}

    def _node(self, operator: Any) -> _Node:
        read = tflite.indices(operator.inputs)
        computed = tuple(number for number in read if self.constant(number) is None)
        weighed = len(read) > 1 and read[1] not in computed
        return _Node(
            tflite.operator_name(self._model, operator),
            computed,
            self.shape(read[1]) if weighed else (),
            int(operator.outputs[0]),
            operator,
        )

    def constant(self, tensor: int) -> Any:
        return tflite.constant(self._model, self._tensors[tensor])

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tflite.static_shape(self._tensors[tensor])

    def size(self, tensor: int) -> Size:
        """A map's size; anything else is one pixel."""
        shape = self.shape(tensor)
        return shape[1:] if len(shape) == 4 else (1, 1, math.prod(shape))

    def name(self, tensor: int) -> str:
        return tflite.name(self._tensors[tensor])

    def only_reader(self, tensor: int) -> _Node | None:
        readers = [node for node in self.nodes if tensor in node.inputs]
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None

    def unpadded(self, node: _Node) -> tuple[int, int]:
        """The map that a convolution is given, and what a PAD in front adds at most."""
        tensor = node.inputs[0]
        pad = self._makers.get(tensor)
        if pad is None or pad.kind != "PAD" or len(pad.inputs) != 1:
            return tensor, 0
        return pad.inputs[0], int(self.constant(pad.operator.inputs[1]).max())


def kpu_layers(model: Any) -> list[Layer]:
    """The KPU's layers in the order of the graph, maps no larger than they will be.

    Args:
        model: a ``ModelT``, float32, all shapes known.
    """
    return [layer for _, layer in _walk(_Graph(model)) if layer is not None]


def sram_floor(model: Any) -> Sram:
    """The least of SRAM that a model will take; arguments as in ``kpu_layers``."""
    graph = _Graph(model)
    weights, work = 0, [(0, "")]
    for node, layer in _walk(graph):
        count = math.prod(node.weights)
        if layer is not None and node.weights:
            outputs = graph.size(node.output)[2]
            weights += count + outputs * BATCH_NORM_BYTES + ACTIVATION_BYTES
        elif _on_cpu(graph, node, layer):
            weights += FLOAT * count
        work.append((_work(graph, node, layer), graph.name(node.output)))
    ends = sum(math.prod(graph.shape(tensor)) for tensor in graph.inputs)
    ends += FLOAT * sum(math.prod(graph.shape(tensor)) for tensor in graph.outputs)
    data, at = max(work)
    return Sram(weights, data, at, ends)


def _work(graph: _Graph, node: _Node, layer: Layer | None) -> int:
    """Bytes that the CPU works on at least, floats but for what it quantizes again."""
    read = [math.prod(graph.shape(tensor)) for tensor in node.inputs]
    if node.kind == "ADD" and layer is not None:
        return (FLOAT + 1) * sum(read)
    if not _on_cpu(graph, node, layer):
        return 0
    if node.kind in CONVOLUTIONS:  # pads as it reads
        read = [math.prod(graph.shape(graph.unpadded(node)[0]))]
    if node.output not in graph.outputs:
        read.append(math.prod(graph.shape(node.output)))
    return FLOAT * sum(read)


def _on_cpu(graph: _Graph, node: _Node, layer: Layer | None) -> bool:
    """Whether it is certain that the CPU computes a node, in float."""
    if layer is not None or node.kind not in CONVOLUTIONS:
        return layer is None and node.kind in ON_CPU
    options = node.operator.builtinOptions
    source = graph.size(node.inputs[0])
    whole = node.kind == "DEPTHWISE_CONV_2D" or node.weights[-1:] == source[2:]
    dilated = max(options.dilationHFactor, options.dilationWFactor) > 1
    return whole and not dilated


def _walk(graph: _Graph) -> Iterator[tuple[_Node, Layer | None]]:
    """The nodes that compute anything by themselves, and which KPU layers they are."""
    resident: dict[int, Map] = {}
    for node in graph.nodes:
        if node.output in resident:
            continue  # a pooling or activation that its convolution does
        layer = _layer(graph, node, resident)
        if layer is None and node.kind in ELEMENTWISE and node.inputs:
            maps = {resident.get(tensor) for tensor in node.inputs}
            if len(maps) == 1 and (same := maps.pop()) is not None:
                resident[node.output] = same
                continue
        yield node, layer


def require_room(model: Any) -> None:
    """Make sure that nothing keeps a model's maps from fitting the chip.

    Args:
        model: as in ``kpu_layers``.

    Raises:
        ModelError: they cannot fit: which layer's, what it needs, what would fit.
    """
    graph, layers = _Graph(model), kpu_layers(model)
    if found := limits.tight(layers):
        raise ModelError(_too_tight(graph, layers, found[0]))
    floor = sram_floor(model)
    if floor.total > limits.SRAM:
        raise ModelError(
            f"the model needs at least {_mib(floor.total)} of memory (weights "
            f"{_mib(floor.model)}, and {_mib(floor.data)} for the CPU's part at layer "
            f"{floor.at!r}) and the K210 has {limits.SRAM // limits.MIB}; use a "
            f"smaller {'alpha' if floor.model > floor.data else 'picture'}"
        )


def no_room(model: Any) -> str:
    """What to say of a model for which nncase has found no room in KPU RAM."""
    graph, layers = _Graph(model), kpu_layers(model)
    failed = limits.place(layers).failed
    worst = failed or max(layers, key=lambda layer: layer.bytes)
    return f"nncase found no room in KPU RAM: {_too_tight(graph, layers, worst)}"


def _too_tight(graph: _Graph, layers: list[Layer], layer: Layer) -> str:
    height, width, _ = graph.size(graph.inputs[0])
    fitting = limits.advice(layers, height, width)
    ways = [f"{each[0]}×{each[1]}" for each in fitting.sizes]
    ways = [f"inputs (height×width) of {' or '.join(ways)}"] if ways else []
    if fitting.channels is not None:
        ways.append(f"an alpha of {fitting.channels:.2f} times this one")
    what = " or ".join(ways) or "a smaller picture"
    have = f"there are {limits.KPU_RAM // limits.MIB}"
    if layer.bytes <= limits.KPU_RAM:
        have = "the maps before it leave no gap for both"
    return (
        f"layer {layer.name!r} needs {_mib(layer.bytes)} of KPU RAM, for its input "
        f"{layer.source} and its output {layer.target} at once, and {have}; "
        f"what would fit: {what}"
    )


def _mib(count: int) -> str:
    return f"{count / limits.MIB:.2f} MiB"


def _layer(graph: _Graph, node: _Node, resident: dict[int, Map]) -> Layer | None:
    """The node as a KPU layer, if it is one; what it leaves in KPU RAM is noted."""
    if node.kind in CONVOLUTIONS and _convolves(graph, node):
        return _convolution(graph, node, resident)
    if node.kind == "FULLY_CONNECTED" and len(node.inputs) == 1:
        outputs, inputs = node.weights
        sizes = (1, 1, inputs), (1, 1, outputs)
    elif node.kind == "ADD" and len(set(node.inputs)) == 2:
        height, width, channels = size = graph.size(node.output)
        if graph.size(node.inputs[0]) != graph.size(node.inputs[1]):
            return None
        sizes = (height, width, 2 * channels), size
    else:
        return None
    if max(sizes[0][2], sizes[1][2]) > MAX_CHANNELS or not _fits_registers(sizes[0]):
        return None
    name = graph.name(node.output)
    read, written = _map(f"{node.output} in", sizes[0]), _map(node.output, sizes[1])
    if node.kind == "ADD":
        resident[node.output] = written
    return Layer(name, read, written)


def _convolves(graph: _Graph, node: _Node) -> bool:
    """Whether a convolution runs on the KPU as one layer."""
    options = node.operator.builtinOptions
    source, target = graph.size(node.inputs[0]), graph.size(node.output)
    depthwise = node.kind == "DEPTHWISE_CONV_2D"
    return (
        len(node.inputs) == 1
        and node.weights[1:3] in ((1, 1), (3, 3))
        and (options.dilationHFactor, options.dilationWFactor) == (1, 1)
        and (depthwise or node.weights[3] == source[2])
        and (not depthwise or target[2] == source[2])
        and max(source[2], target[2]) <= MAX_CHANNELS
        and _fits_registers(source)
    )


def _fits_registers(size: Size) -> bool:
    return size[0] <= MAX_HEIGHT and size[1] <= MAX_WIDTH


def _convolution(graph: _Graph, node: _Node, resident: dict[int, Map]) -> Layer:
    options, natural = node.operator.builtinOptions, node.weights[1] // 2
    tensor, pad = graph.unpadded(node)
    source, target = graph.size(tensor), graph.size(node.output)
    read = resident.get(tensor) or _map(tensor, source)
    if pad > natural:  # the CPU pads, so that another map is uploaded
        read = _map(f"{tensor} padded", source)
    strides = options.strideH, options.strideW
    depthwise = node.kind == "DEPTHWISE_CONV_2D"
    left = node.output
    if strides == (2, 2) and not depthwise:
        size = target
    elif strides == (1, 1) and target[:2] == source[:2] and not depthwise:
        left = _pooled(graph, node.output)
        size = graph.size(left)
    else:
        size = (*source[:2], target[2])
    written = _map(node.output, size)
    if size[:2] == graph.size(left)[:2] or _selected_later(graph, node, strides):
        resident[node.output] = resident[left] = written
    return Layer(graph.name(node.output), read, written)


def _pooled(graph: _Graph, tensor: int) -> int:
    """What the pooling makes that a convolution layer does as it writes, if any."""
    reader = graph.only_reader(tensor)
    while reader is not None and reader.kind in ELEMENTWISE and len(reader.inputs) == 1:
        return _pooled(graph, reader.output)
    if reader is None or reader.kind not in POOLS:
        return tensor
    options = reader.operator.builtinOptions
    shape = options.filterHeight, options.filterWidth, options.strideH, options.strideW
    return reader.output if shape in [(side,) * 4 for side in FUSED] else tensor


def _selected_later(graph: _Graph, node: _Node, strides: tuple[int, int]) -> bool:
    """Whether a 1×1 convolution selects the pixels of a depthwise one with stride 2."""
    reader = graph.only_reader(node.output)
    return (
        strides == (2, 2)
        and reader is not None
        and reader.kind == "CONV_2D"
        and reader.weights[1:3] == (1, 1)
    )


def _map(name: object, size: Size) -> Map:
    height, width, channels = size
    return Map(str(name), channels, max(LEAST, height), max(LEAST, width))
