"""A transposed convolution as a plain one, its outputs put side by side.

nncase 1.9 compiles none. Of stride s, every output pixel is of one of s·s phases, and
those of one phase are a plain convolution of the input by every s-th tap. One
convolution computes all phases as channels; two reshapes and a transpose spread them.
"""

from typing import NamedTuple

import numpy as np

from stages.normalize.geometry import Pixels
from stages.normalize.graph import (
    Array,
    Graph,
    Node,
    Tensor,
    constant,
    constant_tensor,
    new_convolution,
    new_node,
)
from stages.normalize.lower import strided_slice

Changes = list[tuple[Node, str]]

_WEIGHTS, _MAP, _BIAS = 1, 2, 3
"""Which of the operator's inputs they are; 0 is the output's shape."""


def expand(graph: Graph) -> Changes:
    """Replace every TRANSPOSE_CONV."""
    changes: Changes = []
    for node in list(graph.nodes):
        if node.kind == "TRANSPOSE_CONV":
            made = _expand(graph, node)
            changes.append((made, "a transposed convolution, one channel per phase"))
    return changes


class _Axis(NamedTuple):
    """One axis: stride, taps, cropped at the beginning; taps by phase and offset."""

    stride: int
    kernel: int
    cropped: int

    @property
    def offsets(self) -> range:
        """Pixels of the input that the phases read, relative to their own."""
        found = [self.place(phase, tap) for phase, tap in self.taps()]
        return range(min(found), max(found) + 1)

    def taps(self) -> list[tuple[int, int]]:
        """Which tap belongs to which phase."""
        return [((tap - self.cropped) % self.stride, tap) for tap in range(self.kernel)]

    def place(self, phase: int, tap: int) -> int:
        """The pixel that a tap reads, relative to the output's own."""
        return (phase + self.cropped - tap) // self.stride


def _expand(graph: Graph, node: Node) -> Node:
    assert node.pixels is not None
    source = node.inputs[_MAP]
    assert source is not None
    weights = constant(node, _WEIGHTS)
    stride_y, stride_x = node.stride
    rows = _Axis(stride_y, weights.shape[1], node.pixels.top)
    columns = _Axis(stride_x, weights.shape[2], node.pixels.left)
    _, height, width, channels = node.output.shape
    high, wide = -(-height // stride_y), -(-width // stride_x)
    phases = (1, high, wide, stride_y * stride_x * channels)
    convolved = graph.fresh(node.output, "phases", phases)
    made = new_convolution(
        "CONV_2D",
        source,
        _phases(weights, rows, columns),
        _bias(node, phases[3]),
        convolved,
        Pixels(-rows.offsets[0], 0, -columns.offsets[0], 0),
        fusedActivationFunction=getattr(node.options, "fusedActivationFunction", 0),
    )
    made.padding = node.padding
    graph.add(made, before=node)
    spread = (1, high * stride_y, wide * stride_x, channels)
    _spread(graph, node, convolved, spread)
    graph.nodes.remove(node)
    return made


def _phases(weights: Array, rows: _Axis, columns: _Axis) -> Array:
    """The weights of all phases, (phase y, phase x, O)×H×W×I."""
    outputs, _, _, inputs = weights.shape
    size = (len(rows.offsets), len(columns.offsets))
    shape = (rows.stride, columns.stride, outputs, *size, inputs)
    made = np.zeros(shape, weights.dtype)
    for phase_y, tap_y in rows.taps():
        for phase_x, tap_x in columns.taps():
            y = rows.place(phase_y, tap_y) - rows.offsets[0]
            x = columns.place(phase_x, tap_x) - columns.offsets[0]
            made[phase_y, phase_x, :, y, x] = weights[:, tap_y, tap_x]
    return made.reshape(-1, *size, inputs)


def _bias(node: Node, channels: int) -> Array:
    """The bias of all phases; zeros where there is none."""
    given = node.inputs[_BIAS] if len(node.inputs) > _BIAS else None
    each: Array = np.zeros(node.output.shape[3], np.float32)
    if given is not None:
        each = constant(node, _BIAS)
    return np.tile(each, channels // len(each))


def _spread(
    graph: Graph, node: Node, convolved: Tensor, spread: tuple[int, int, int, int]
) -> None:
    """From phases as channels to one map, cropped to the output's size."""
    output = node.output
    _, high, wide, _ = convolved.shape
    _, height, width, channels = spread
    step_y, step_x = height // high, width // wide
    apart = graph.fresh(output, "apart", (high, wide, step_y, step_x * channels))
    turned = graph.fresh(output, "rows", (high, step_y, wide, step_x * channels))
    exact = spread == output.shape
    whole = output if exact else graph.fresh(output, "whole", spread)
    order = constant_tensor(f"{turned.name}/order", np.array([0, 2, 1, 3], np.int32))
    graph.add(
        reshape(convolved, apart),
        new_node("TRANSPOSE", [apart, order], [turned]),
        reshape(turned, whole),
        before=node,
    )
    if not exact:
        ends = (1, output.shape[1], output.shape[2], channels)
        graph.add(strided_slice(whole, output, (0, 0, 0, 0), ends), before=node)


def reshape(source: Tensor, output: Tensor) -> Node:
    """The same numbers in another shape."""
    shape = np.array(output.shape, np.int32)
    constants = constant_tensor(f"{output.name}/shape", shape)
    return new_node("RESHAPE", [source, constants], [output], newShape=shape)
