"""Grouped convolutions and channel multipliers as plain convolutions.

nncase 1.9 loses the groups of a TFLite convolution without a word, and refuses a
depthwise one that makes several channels of each. A plain convolution with zeros
between the groups computes the same; on the KPU it costs no CPU operation, which taking
the channels apart would. Only where the zeros would take too much room are they.
"""

import numpy as np

from k210.errors import ModelError
from stages import tflite
from stages.normalize.graph import Array, Graph, Node, Tensor, constant_tensor, new_node

Changes = list[tuple[Node, str]]

LARGEST_DENSE = 1 << 20
"""Bytes of weights, zeros included, up to which groups are filled up with zeros."""


def ungroup(graph: Graph) -> Changes:
    """Make every convolution plain or depthwise with one channel each.

    Raises:
        ModelError: the channels of one do not divide into its groups.
    """
    changes: Changes = []
    for node in list(graph.nodes):
        if node.kind == "CONV_2D" and (groups := _groups(node)) > 1:
            if node.weights.size * groups <= LARGEST_DENSE:
                _fill(node, groups)
                changes.append((node, f"{groups} groups become one, zeros between"))
            else:
                changes += _split(graph, node, groups)
        elif node.depthwise and _multiplier(node) > 1:
            changes.append((node, f"{_multiplier(node)} outputs for each channel"))
            _widen(node)
    return changes


def _groups(node: Node) -> int:
    channels, outputs = node.source.shape[3], node.output.shape[3]
    groups, rest = divmod(channels, node.weights.shape[3])
    if rest or outputs % groups:
        raise ModelError(
            f"{node.name!r} convolves {channels} channels to {outputs} with weights "
            f"for {node.weights.shape[3]}, which is no whole number of groups; export "
            "the model again"
        )
    return groups


def _multiplier(node: Node) -> int:
    return int(node.output.shape[3] // node.source.shape[3])


def _fill(node: Node, groups: int) -> None:
    weights = node.weights
    outputs, height, width, inputs = weights.shape
    filled = np.zeros((outputs, height, width, inputs * groups), weights.dtype)
    each = outputs // groups
    for group in range(groups):
        rows = slice(group * each, (group + 1) * each)
        columns = slice(group * inputs, (group + 1) * inputs)
        filled[rows, :, :, columns] = weights[rows]
    _set_weights(node, filled)


def _widen(node: Node) -> None:
    """A depthwise convolution with a multiplier as a plain one, mostly zeros."""
    multiplier, channels = _multiplier(node), node.source.shape[3]
    _, height, width, outputs = node.weights.shape
    filled = np.zeros((outputs, height, width, channels), node.weights.dtype)
    every = np.arange(outputs)
    filled[every, :, :, every // multiplier] = np.moveaxis(node.weights[0], 2, 0)
    old = node.options
    plain = new_node(
        "CONV_2D",
        [],
        [],
        padding=old.padding,
        strideH=old.strideH,
        strideW=old.strideW,
        fusedActivationFunction=old.fusedActivationFunction,
        dilationHFactor=old.dilationHFactor,
        dilationWFactor=old.dilationWFactor,
    )
    node.kind, node.operator, node.code = plain.kind, plain.operator, plain.code
    _set_weights(node, filled)


def _set_weights(node: Node, weights: Array) -> None:
    old = node.inputs[1]
    assert old is not None
    node.inputs[1] = constant_tensor(old.name, weights)


def _split(graph: Graph, node: Node, groups: int) -> Changes:
    """Take the channels apart, convolve each group, put them together again."""
    inputs = _parts(graph, node, groups)
    outputs = []
    for group, part in enumerate(inputs):
        each = node.output.shape[3] // groups
        piece = graph.part(node, slice(group * each, (group + 1) * each))
        piece.inputs[0] = part
        outputs.append(piece)
    graph.add(*outputs, before=node)
    concatenate(graph, node, outputs)
    return [(piece, f"one of {groups} groups") for piece in outputs]


def _parts(graph: Graph, node: Node, groups: int) -> list[Tensor]:
    source = node.source
    shape = (*source.shape[:3], source.shape[3] // groups)
    parts = [graph.fresh(source, f"group_{index}", shape) for index in range(groups)]
    axis = constant_tensor(f"{node.name}/axis", np.array(3, np.int32))
    split = new_node("SPLIT", [axis, source], parts, numSplits=groups)
    graph.add(split, before=node)
    return parts


def concatenate(graph: Graph, node: Node, pieces: list[Node]) -> None:
    """Replace a convolution by its pieces' outputs, side by side in the channels."""
    none = tflite.schema().ActivationFunctionType.NONE
    joined = new_node(
        "CONCATENATION",
        [piece.output for piece in pieces],
        [node.output],
        axis=3,
        fusedActivationFunction=none,
    )
    graph.add(joined, before=node)
    graph.nodes.remove(node)
