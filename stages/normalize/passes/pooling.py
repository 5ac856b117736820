"""An activation behind a pooling goes in front of it.

nncase 1.9 has no code for an activation behind a pooling that it fused into a KPU
layer. A maximum commutes with anything that never falls; behind a mean goes a
convolution by 1 instead, which takes the activation into its table.
"""

import numpy as np

from stages import tflite
from stages.normalize.geometry import Pixels
from stages.normalize.graph import (
    Graph,
    Node,
    Tensor,
    new_convolution,
    new_node,
)

Changes = list[tuple[Node, str]]

POOLINGS = ("MAX_POOL_2D", "AVERAGE_POOL_2D")
RISING = ("RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "LEAKY_RELU")
"""Activations that never fall, as long as a leak's slope is not negative."""

ACTIVATIONS = (*RISING, "HARD_SWISH")


def reorder(graph: Graph) -> Changes:
    """Leave no activation directly behind a pooling."""
    changes: Changes = []
    for pool in [node for node in graph.nodes if node.kind in POOLINGS]:
        _unfuse(graph, pool)
        node = graph.only_reader(pool.output)
        if node is None or node.kind not in ACTIVATIONS:
            continue
        if pool.kind == "MAX_POOL_2D" and _rises(node):
            _swap(graph, pool, node)
            changes.append((pool, "the activation behind it goes in front of it"))
        else:
            _multiply(graph, node)
            changes.append((node, "a convolution by 1 in front of it takes it in"))
    return changes


def _rises(node: Node) -> bool:
    if node.kind == "LEAKY_RELU":
        return bool(node.options.alpha >= 0)
    return node.kind in RISING


def _unfuse(graph: Graph, pool: Node) -> None:
    """An activation fused into a pooling becomes a node of its own."""
    kinds = tflite.schema().ActivationFunctionType
    fused = pool.options.fusedActivationFunction
    names = {getattr(kinds, name): name for name in RISING if hasattr(kinds, name)}
    if fused not in names:
        return
    pool.options.fusedActivationFunction = kinds.NONE
    pooled = graph.fresh(pool.output, "pooled", pool.output.shape)
    position = graph.nodes.index(pool) + 1
    graph.nodes.insert(position, new_node(names[fused], [pooled], [pool.output]))
    pool.outputs = [pooled]


def _swap(graph: Graph, pool: Node, node: Node) -> None:
    """The activation's output is the pooling's now; what it made is a new map."""
    activated = graph.fresh(pool.source, "activated", pool.source.shape)
    graph.nodes.remove(node)
    graph.add(node, before=pool)
    pool.outputs, node.outputs = [node.output], [activated]
    node.inputs[0], pool.inputs[0] = pool.source, activated


def _multiply(graph: Graph, node: Node) -> None:
    """A depthwise 1×1 convolution by 1 in front of an activation."""
    made = identity(graph, node.source)
    graph.add(made, before=node)
    node.inputs[0] = made.output


def identity(graph: Graph, tensor: Tensor) -> Node:
    """A depthwise 1×1 convolution that computes a map once more."""
    channels = tensor.shape[3]
    return new_convolution(
        "DEPTHWISE_CONV_2D",
        tensor,
        np.ones((1, 1, 1, channels), np.float32),
        np.zeros(channels, np.float32),
        graph.fresh(tensor, "same", tensor.shape),
        Pixels(0, 0, 0, 0),
        depthMultiplier=1,
    )
