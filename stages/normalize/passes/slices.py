"""Write the bounds of slices as plain positive numbers.

nncase 1.9 copies a row and a column too many where an end is negative, as Keras'
Cropping2D has it, and reads masks its own way. Begin, end and step of every axis are
therefore given, and nothing is left open.
"""

import numpy as np

from k210.errors import ModelError
from stages.normalize.graph import Graph, Node, constant, constant_tensor

Changes = list[tuple[Node, str]]


def bound(graph: Graph) -> Changes:
    """Make the bounds of every slice explicit.

    Raises:
        ModelError: one reverses its map, or its bounds are computed.
    """
    changes: Changes = []
    for node in graph.nodes:
        if node.kind == "STRIDED_SLICE" and _strided(node):
            changes.append(
                (node, "bounds from the end of an axis, which nncase misses")
            )
        elif node.kind == "SLICE":
            _sized(node)
    return changes


def _strided(node: Node) -> bool:
    """Returns whether a bound was negative or open."""
    begins, ends, steps = (constant(node, position) for position in (1, 2, 3))
    options = node.options
    if (steps < 0).any():
        raise ModelError(
            f"{node.name!r} is a slice that reverses an axis, which nncase does not "
            "support; take the reversal out of the model"
        )
    if options.ellipsisMask or options.newAxisMask:
        return False
    found = []
    for axis, size in enumerate(node.source.shape):
        bit = 1 << axis
        given = axis < len(begins)
        begin = None if not given or options.beginMask & bit else int(begins[axis])
        end = None if not given or options.endMask & bit else int(ends[axis])
        if given and options.shrinkAxisMask & bit:
            begin = int(begins[axis]) % size
            end = begin + 1
        step = int(steps[axis]) if given else 1
        found.append(slice(begin, end, step).indices(size))
    said = bool((begins < 0).any() or (ends < 0).any())
    for position, numbers in enumerate(zip(*found, strict=True), 1):
        _set(node, position, numbers)
    options.beginMask = options.endMask = 0
    return said


def _sized(node: Node) -> None:
    _set(node, 2, node.output.shape)


def _set(node: Node, position: int, numbers: tuple[int, ...]) -> None:
    old = node.inputs[position]
    assert old is not None
    value = np.array(numbers, constant(node, position).dtype)
    node.inputs[position] = constant_tensor(old.name, value)
