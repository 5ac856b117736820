"""Compute what does not depend on the input, and drop what nothing reads.

Float16 weights behind DEQUANTIZE become float32, exactly; so does any other part of
the graph that hangs on constants alone, and SHAPE of a static map. TFLite itself
computes them.
"""

import numpy as np

from k210.errors import ModelError
from stages.normalize.graph import Array, Graph, Node, Tensor
from stages.normalize.runtime import evaluate

Changes = list[tuple[Node, str]]


def fold(graph: Graph) -> Changes:
    """Fold constants and prune.

    Raises:
        ModelError: the input is not one picture, or nothing is left to compute.
    """
    for tensor in graph.inputs:
        if tensor.shape and tensor.shape[0] != 1:
            raise ModelError(
                f"the input {tensor.name!r} takes {tensor.shape[0]} pictures at once; "
                "export the model with batch 1"
            )
    readers = _readers_of_constants(graph)
    _shapes(graph)
    _halves(graph)
    while _evaluate(graph):
        pass
    graph.prune()
    if not graph.nodes:
        raise ModelError(
            "the model's outputs do not depend on its input; export the whole model"
        )
    return [
        (node, "reads constants that were computed beforehand")
        for node in readers
        if node in graph.nodes
    ]


def _readers_of_constants(graph: Graph) -> list[Node]:
    """Nodes that compute with something computed from constants alone."""
    derived: set[Tensor] = set()
    found = []
    for node in graph.nodes:
        if _constant(node, derived) or node.kind == "SHAPE":
            derived.update(node.outputs)
        elif derived.intersection(each for each in node.inputs if each):
            found.append(node)
    return found


def _constant(node: Node, known: set[Tensor]) -> bool:
    inputs = [each for each in node.inputs if each is not None]
    return bool(inputs) and all(
        each.value is not None or each in known for each in inputs
    )


def _shapes(graph: Graph) -> None:
    for node in graph.nodes:
        if node.kind == "SHAPE":
            dtype = np.int64 if node.output.type == "INT64" else np.int32
            _settle(node.output, np.array(node.source.shape, dtype))
    graph.nodes = [node for node in graph.nodes if node.kind != "SHAPE"]


def _halves(graph: Graph) -> None:
    """DEQUANTIZE of float16, which TFLite would compute just so."""
    kept = []
    for node in graph.nodes:
        half = node.kind == "DEQUANTIZE" and node.source.type == "FLOAT16"
        if half and node.source.value is not None:
            _settle(node.output, node.source.value.astype(np.float32))
        else:
            kept.append(node)
    graph.nodes = kept


def _evaluate(graph: Graph) -> bool:
    """Have TFLite compute nodes whose inputs are all constant."""
    ready = [node for node in graph.nodes if _constant(node, set())]
    if not ready:
        return False
    outputs = [tensor for node in ready for tensor in node.outputs]
    values = evaluate(Graph(ready, [], outputs))
    for tensor, value in zip(outputs, values, strict=True):
        _settle(tensor, value)
    graph.nodes = [node for node in graph.nodes if node not in ready]
    return True


def _settle(tensor: Tensor, value: Array) -> None:
    tensor.value, tensor.shape, tensor.origin = value, value.shape, None
