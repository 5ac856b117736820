"""The 1/6 of a hard-sigmoid goes into the convolution behind it.

A squeeze-and-excite gate is relu6(x + 3) · 1/6, multiplied with a map that a 1×1
convolution reads. nncase 1.9 often wraps the slope of the table that the constant ends
up in (a signed 16-bit field), which closes the gate for good. Where that convolution
alone reads the product, its weights take the constant instead.
"""

import numpy as np

from stages import tflite
from stages.normalize.graph import Graph, Node, Tensor, constant_tensor

Changes = list[tuple[Node, str]]


def fold(graph: Graph) -> Changes:
    """Move constant factors of gates into the weights of the convolution behind."""
    changes: Changes = []
    for node in list(graph.nodes):
        factor = _factor(node)
        if factor is None:
            continue
        product = graph.only_reader(node.output)
        reader = _convolution_behind(graph, product, node.output)
        if product is None or reader is None:
            continue
        value, gate = factor
        _scale(reader, value)
        _bypass(graph, node, gate, product)
        changes.append((reader, f"takes the factor {value:.4g} of the gate before it"))
    return changes


def _factor(node: Node) -> tuple[float, Tensor] | None:
    """The number that a MUL multiplies a computed map with, and the map."""
    if node.kind != "MUL" or _activated(node):
        return None
    for number, gate in (node.inputs, node.inputs[::-1]):
        if number is None or gate is None or gate.value is not None:
            continue
        if number.value is not None and number.value.size == 1:
            return float(number.value.ravel()[0]), gate
    return None


def _activated(node: Node) -> bool:
    none = tflite.schema().ActivationFunctionType.NONE
    return bool(node.options.fusedActivationFunction != none)


def _convolution_behind(
    graph: Graph, product: Node | None, gate: Tensor
) -> Node | None:
    """The 1×1 convolution that alone reads the product of the gate and a map."""
    if product is None or product.kind != "MUL" or _activated(product):
        return None
    others = [each for each in product.inputs if each is not gate]
    if len(others) != 1 or others[0] is None or others[0].value is not None:
        return None
    reader = graph.only_reader(product.output)
    if reader is None or reader.kind != "CONV_2D" or reader.kernel != (1, 1):
        return None
    return reader


def _scale(node: Node, factor: float) -> None:
    old = node.inputs[1]
    assert old is not None
    scaled = (node.weights.astype(np.float64) * factor).astype(np.float32)
    node.inputs[1] = constant_tensor(old.name, scaled)


def _bypass(graph: Graph, node: Node, gate: Tensor, product: Node) -> None:
    """Multiply with the gate as it is; the product is another map now."""
    product.inputs = [gate if each is node.output else each for each in product.inputs]
    graph.nodes.remove(node)
    scaled = graph.fresh(product.output, "unscaled", product.output.shape)
    graph.replace(product.output, scaled)
    product.outputs = [scaled]
