"""Write padding in pixels as TFLite can say it, in the form that nncase compiles best.

TFLite knows SAME and VALID. Everything else becomes a PAD in front of a VALID
convolution, which nncase reads as one with explicit padding, or a slice where pixels
are skipped. Of the paddings that mean the same, the symmetric one is written: on an
even map with stride 2 the KPU computes 3×3 padded by 1 on all sides without the CPU.
"""

import numpy as np

from stages import tflite
from stages.normalize.geometry import Pixels, friendliest, least_after, same_pixels
from stages.normalize.graph import (
    Graph,
    Node,
    Tensor,
    constant_tensor,
    new_node,
)

Ints = tuple[int, int, int, int]


def lower(graph: Graph) -> None:
    """Write each convolution's padding as TFLite can say it."""
    for node in list(graph.nodes):
        if node.convolves:
            assert node.pixels is not None
            _write(graph, node, node.pixels)


def settle(graph: Graph) -> None:
    """Decide on the friendliest of the paddings that mean the same."""
    for node in graph.nodes:
        if node.convolves:
            node.pixels = settled(node)


def settled(node: Node) -> Pixels:
    """A convolution's padding with what its stride leaves open decided."""
    assert node.pixels is not None
    top, bottom, left, right = node.pixels.sides()
    axes = zip(
        needed(node),
        node.stride,
        node.kernel,
        (top, left),
        (bottom, right),
        strict=True,
    )
    after = [friendliest(*axis) for axis in axes]
    return Pixels(top, after[0], left, after[1])


def needed(node: Node) -> tuple[int, int]:
    """The least padding at the bottom and on the right that a convolution needs."""
    assert node.pixels is not None
    top, _, left, _ = node.pixels.sides()
    axes = zip(
        node.source.shape[1:3],
        node.output.shape[1:3],
        node.kernel,
        node.stride,
        node.dilation,
        (top, left),
        strict=True,
    )
    bottom, right = (least_after(*axis) for axis in axes)
    return bottom, right


def _write(graph: Graph, node: Node, pixels: Pixels) -> None:
    schema = tflite.schema()
    if pixels.sides() == _same(node):
        node.options.padding = schema.Padding.SAME
        return
    node.options.padding = schema.Padding.VALID
    if min(pixels.sides()) < 0:
        crop(graph, node, pixels)
    if max(pixels.sides()) > 0:
        pad(graph, node, pixels)


def _same(node: Node) -> tuple[int, int, int, int]:
    axes = zip(
        node.source.shape[1:3], node.kernel, node.stride, node.dilation, strict=True
    )
    (top, bottom), (left, right) = (same_pixels(*axis) for axis in axes)
    return top, bottom, left, right


def crop(graph: Graph, node: Node, pixels: Pixels) -> None:
    """Slice off what no output reads and TFLite's VALID would begin with."""
    source = node.source
    top, bottom, left, right = (max(0, -side) for side in pixels.sides())
    batch, height, width, channels = source.shape
    ends = (batch, height - bottom, width - right, channels)
    shape = (batch, height - bottom - top, width - right - left, channels)
    cropped = graph.fresh(source, "cropped", shape)
    graph.add(strided_slice(source, cropped, (0, top, left, 0), ends), before=node)
    node.inputs[0] = cropped


def strided_slice(
    source: Tensor, cropped: Tensor, begins: Ints, ends: Ints, steps: Ints = (1,) * 4
) -> Node:
    """A slice of a feature map; all four bounds are positive and given."""
    bounds = [
        constant_tensor(f"{cropped.name}/{what}", np.array(numbers, np.int32))
        for what, numbers in (("begin", begins), ("end", ends), ("strides", steps))
    ]
    return new_node("STRIDED_SLICE", [source, *bounds], [cropped])


def pad(graph: Graph, node: Node, pixels: Pixels) -> None:
    """Put zeros around the map that a node reads."""
    source = node.source
    top, bottom, left, right = (max(0, side) for side in pixels.sides())
    amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
    batch, height, width, channels = source.shape
    shape = (batch, height + top + bottom, width + left + right, channels)
    padded = graph.fresh(source, "padded", shape)
    constant = constant_tensor(f"{padded.name}/paddings", amounts)
    graph.add(new_node("PAD", [source, constant], [padded]), before=node)
    node.inputs[0] = padded
