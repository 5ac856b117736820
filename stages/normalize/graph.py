"""A TFLite graph as it is edited: nodes and tensors that refer to one another.

The schema's object API refers by index, which every insertion would upset. Here a node
holds its tensors, so a pass edits plain lists; ``read`` and ``write`` translate. What
TFLite cannot say of a convolution, its padding on each side in pixels, is kept beside
it until the graph is written (``stages.normalize.lower``).
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210.errors import ModelError
from stages import tflite
from stages.normalize.geometry import Pixels

Array = NDArray[Any]

DTYPES: dict[str, Any] = {
    "FLOAT32": np.float32,
    "FLOAT16": np.float16,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}
"""Element types that a graph may hold."""

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_NUMBERS = {np.dtype(dtype): name for name, dtype in DTYPES.items()}


@dataclass(eq=False)
class Tensor:
    """A feature map or a constant; ``value`` is None where it is computed.

    ``origin`` is its index in the model that was read, as long as it holds the same
    numbers; ``turned`` says that they are rotated by 180 degrees in H and W.
    """

    name: str
    shape: tuple[int, ...]
    type: str = "FLOAT32"
    value: Array | None = None
    origin: int | None = None
    turned: bool = False

    @property
    def spatial(self) -> bool:
        """Whether it is a feature map, N×H×W×C, of more than one pixel."""
        return len(self.shape) == 4 and self.shape[1] * self.shape[2] > 1


@dataclass(frozen=True)
class Note:
    """What a pass did to a layer, and why."""

    by: str
    what: str


@dataclass(eq=False)
class Node:
    """One operator.

    ``padding`` is what TensorFlow called a convolution's padding, ``told`` the same in
    pixels, ``pixels`` its present one; a negative number skips rows or columns.
    """

    kind: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    operator: Any
    code: Any
    pixels: Pixels | None = None
    told: Pixels | None = None
    padding: str = ""
    notes: list[Note] = field(default_factory=list)

    @property
    def options(self) -> Any:
        """The schema's options of this kind of operator."""
        return self.operator.builtinOptions

    @property
    def source(self) -> Tensor:
        """Its first input."""
        tensor = self.inputs[0]
        assert tensor is not None
        return tensor

    @property
    def output(self) -> Tensor:
        """Its first output."""
        return self.outputs[0]

    @property
    def name(self) -> str:
        """What errors and tables call it: the name of its first output."""
        return self.output.name

    @property
    def convolves(self) -> bool:
        """Whether it is a convolution, depthwise or not."""
        return self.kind in CONVOLUTIONS

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself."""
        return self.kind == "DEPTHWISE_CONV_2D"

    @property
    def stride(self) -> tuple[int, int]:
        """Of a convolution or pooling: y, x."""
        return int(self.options.strideH), int(self.options.strideW)

    @property
    def dilation(self) -> tuple[int, int]:
        """Of a convolution: y, x."""
        return int(self.options.dilationHFactor), int(self.options.dilationWFactor)

    @property
    def kernel(self) -> tuple[int, int]:
        """Of a convolution or pooling: height, width."""
        if self.convolves:
            _, height, width, _ = self.weights.shape
            return height, width
        return int(self.options.filterHeight), int(self.options.filterWidth)

    @property
    def weights(self) -> Array:
        """A convolution's constant weights: O×H×W×I, or 1×H×W×C·M."""
        return constant(self, 1)

    def note(self, by: str, what: str) -> None:
        """Record what was done to it."""
        self.notes.append(Note(by, what))

    def part(self, graph: "Graph", channels: slice) -> "Node":
        """A convolution like this one that computes some of its channels."""
        weights = self.weights[channels]
        shape = (*self.output.shape[:3], len(weights))
        output = graph.fresh(self.output, "part", shape)
        inputs = list(self.inputs)
        inputs[1] = constant_tensor(f"{output.name}/weights", weights)
        if len(inputs) > 2 and inputs[2] is not None:
            bias = constant(self, 2)[channels]
            inputs[2] = constant_tensor(f"{output.name}/bias", bias)
        made = replace(self, inputs=inputs, outputs=[output], notes=list(self.notes))
        made.operator = copy.deepcopy(self.operator)
        return made


class Graph:
    """The only subgraph of a model; ``nodes`` are in an order of execution."""

    def __init__(
        self, nodes: list[Node], inputs: list[Tensor], outputs: list[Tensor]
    ) -> None:
        self.nodes, self.inputs, self.outputs = nodes, inputs, outputs

    def producer(self, tensor: Tensor | None) -> Node | None:
        """The node that computes a tensor."""
        for node in self.nodes:
            if tensor in node.outputs:
                return node
        return None

    def readers(self, tensor: Tensor) -> list[Node]:
        """The nodes that read a tensor."""
        return [node for node in self.nodes if tensor in node.inputs]

    def only_reader(self, tensor: Tensor) -> Node | None:
        """The node that alone reads a tensor, which is no output of the graph."""
        readers = self.readers(tensor)
        if len(readers) != 1 or tensor in self.outputs:
            return None
        return readers[0] if readers[0].inputs.count(tensor) == 1 else None

    def add(self, *nodes: Node, before: Node) -> None:
        """Put nodes in front of another one."""
        position = self.nodes.index(before)
        self.nodes[position:position] = nodes

    def replace(self, old: Tensor, new: Tensor) -> None:
        """Have everything that reads a tensor read another."""
        for node in self.nodes:
            node.inputs = [new if each is old else each for each in node.inputs]
        self.outputs = [new if each is old else each for each in self.outputs]

    def prune(self) -> int:
        """Drop nodes whose results nothing reads; returns how many."""
        wanted = set(self.outputs)
        kept = []
        for node in reversed(self.nodes):
            if wanted.intersection(node.outputs):
                wanted.update(each for each in node.inputs if each is not None)
                kept.append(node)
        dropped = len(self.nodes) - len(kept)
        self.nodes = kept[::-1]
        return dropped

    def copy(self) -> "Graph":
        """A graph that can be edited without changing this one.

        Constants are shared: passes replace them and never write into them.
        """
        tensors = {each for node in self.nodes for each in node.inputs if each}
        values = [each.value for each in tensors if each.value is not None]
        return copy.deepcopy(self, {id(value): value for value in values})

    @cached_property
    def _names(self) -> set[str]:
        return {tensor.name for node in self.nodes for tensor in node.outputs}

    def fresh(self, like: Tensor, suffix: str, shape: Iterable[int]) -> Tensor:
        """A new feature map named after another one."""
        name, number = f"{like.name}/{suffix}", 1
        while name in self._names:
            number += 1
            name = f"{like.name}/{suffix}_{number}"
        self._names.add(name)
        return Tensor(name, tuple(shape), like.type)


def constant(node: Node, position: int) -> Array:
    """The values of an input that must be constant.

    Raises:
        ModelError: they are computed.
    """
    tensor = node.inputs[position] if position < len(node.inputs) else None
    if tensor is None or tensor.value is None:
        raise ModelError(
            f"{node.name!r} ({node.kind}) computes what must be constant for the KPU "
            f"(its input {position}); freeze the model's weights before exporting it"
        )
    return tensor.value


def constant_tensor(name: str, value: Array) -> Tensor:
    """A constant."""
    return Tensor(name, value.shape, _NUMBERS[value.dtype], value)


def new_node(
    kind: str, inputs: list[Tensor | None], outputs: list[Tensor], **options: Any
) -> Node:
    """An operator, version 1, with options of the schema's names."""
    schema = tflite.schema()
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    number = getattr(schema.BuiltinOperator, kind)
    code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
    code.version = 1
    name = OPTIONS[kind]
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
    if name != "NONE":
        operator.builtinOptions = getattr(schema, f"{name}T")()
    for key, value in options.items():
        assert hasattr(operator.builtinOptions, key), key
        setattr(operator.builtinOptions, key, value)
    return Node(kind, inputs, outputs, operator, code)


OPTIONS = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "HARD_SWISH": "HardSwishOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "LOGISTIC": "NONE",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "PAD": "PadOptions",
    "RELU": "NONE",
    "RELU6": "NONE",
    "RELU_N1_TO_1": "NONE",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "SPLIT": "SplitOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "TANH": "NONE",
    "TRANSPOSE": "TransposeOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
}
"""What the schema calls the options of the operators that can be made."""


def read(model: Any) -> Graph:
    """The graph of a ``ModelT``, which stays as it is.

    Raises:
        ModelError: it holds element types that are neither float nor whole numbers.
    """
    subgraph = model.subgraphs[0]
    tensors = [
        _tensor(model, index, each) for index, each in enumerate(subgraph.tensors)
    ]
    nodes = [_node(model, tensors, operator) for operator in subgraph.operators]
    ends = (tflite.indices(subgraph.inputs), tflite.indices(subgraph.outputs))
    inputs, outputs = ([tensors[index] for index in side] for side in ends)
    return Graph(nodes, inputs, outputs)


def _tensor(model: Any, index: int, tensor: Any) -> Tensor:
    name, kind = tflite.name(tensor), tflite.type_name(tensor)
    if kind not in DTYPES:
        raise ModelError(
            f"{name!r} holds {kind} values; export the model as float32 throughout"
        )
    shape = tflite.static_shape(tensor)
    if -1 in shape:
        raise ModelError(
            f"{name!r} has an open size ({list(shape)}); export the model with a "
            "static batch, height and width"
        )
    data = model.buffers[tensor.buffer].data
    value = None
    if data is not None and len(data):
        raw = np.ascontiguousarray(np.asarray(data, dtype=np.uint8))
        value = raw.view(DTYPES[kind]).reshape(shape)
    return Tensor(name, shape, kind, value, index if value is None else None)


def _node(model: Any, tensors: list[Tensor], operator: Any) -> Node:
    inputs = [] if operator.inputs is None else operator.inputs
    return Node(
        tflite.operator_name(model, operator),
        [tensors[index] if index >= 0 else None for index in inputs],
        [tensors[index] for index in tflite.indices(operator.outputs)],
        copy.deepcopy(operator),
        copy.copy(model.operatorCodes[operator.opcodeIndex]),
    )


def write(graph: Graph) -> Any:
    """The ``ModelT`` of a graph whose convolutions' padding TFLite can say."""
    schema = tflite.schema()
    model, subgraph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description = 3, b"normalized for the K210"
    model.subgraphs, model.operatorCodes = [subgraph], []
    model.buffers = [schema.BufferT()]
    tensors = _all_tensors(graph)
    index = {tensor: position for position, tensor in enumerate(tensors)}
    subgraph.name = b"main"
    subgraph.tensors = [_tensor_t(model, tensor) for tensor in tensors]
    subgraph.inputs = [index[tensor] for tensor in graph.inputs]
    subgraph.outputs = [index[tensor] for tensor in graph.outputs]
    subgraph.operators = [_operator_t(model, index, node) for node in graph.nodes]
    return model


def positions(graph: Graph) -> dict[Tensor, int]:
    """Each tensor's index in what ``write`` makes of a graph."""
    return {tensor: position for position, tensor in enumerate(_all_tensors(graph))}


def _all_tensors(graph: Graph) -> list[Tensor]:
    found = dict.fromkeys(graph.inputs)
    for node in graph.nodes:
        found.update(dict.fromkeys(each for each in node.inputs if each is not None))
        found.update(dict.fromkeys(node.outputs))
    found.update(dict.fromkeys(graph.outputs))
    return list(found)


def _tensor_t(model: Any, tensor: Tensor) -> Any:
    schema = tflite.schema()
    made = schema.TensorT()
    made.name, made.shape = tensor.name.encode(), list(tensor.shape)
    made.type = getattr(schema.TensorType, tensor.type)
    made.hasRank = True
    made.buffer = 0  # by convention the empty one
    if tensor.value is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(tensor.value), np.uint8)
        made.buffer = len(model.buffers)
        model.buffers.append(buffer)
    return made


def _operator_t(model: Any, index: dict[Tensor, int], node: Node) -> Any:
    made = copy.copy(node.operator)
    made.opcodeIndex = _code(model, node.code)
    made.inputs = [-1 if each is None else index[each] for each in node.inputs]
    made.outputs = [index[each] for each in node.outputs]
    return made


def _code(model: Any, code: Any) -> int:
    for position, each in enumerate(model.operatorCodes):
        if vars(each) == vars(code):
            return position
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
