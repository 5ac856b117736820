"""From the schema's object API to a graph and back."""

import copy
from typing import Any

import numpy as np

from k210.errors import ModelError
from stages import tflite
from stages.normalize.graph.graph import Graph
from stages.normalize.graph.nodes import DTYPES, Node, Tensor


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
