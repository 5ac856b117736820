"""Turn the whole network by 180 degrees, so that its padding is where the KPU's is.

TensorFlow's SAME pads an even map under a stride of 2 by (0,1): nothing first, one
pixel last. Of the rotated map that is (1,0), and as the last row and column of an even
map are never read, it is the KPU's (1,1). So every kernel and every padding is rotated,
once, and the picture with them; what is flattened is read in another order. An operator
that treats the beginning of a map differently from its end cannot be turned.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from k210.errors import ModelError
from stages import tflite
from stages.normalize.geometry import Pixels, least_after, same_pixels
from stages.normalize.graph import Graph, Node, Tensor, constant, constant_tensor
from stages.normalize.lower import crop, needed, pad

Changes = list[tuple[Node, str]]
ROWS, COLUMNS = 1, 2


class NotSymmetric(ModelError):
    """A layer would compute something else on a rotated map."""

    def __init__(self, node: Node, why: str) -> None:
        super().__init__(f"{node.name!r} ({node.kind}) cannot be rotated: {why}")


def turn(graph: Graph) -> Changes:
    """Rotate everything; the graph's input and its feature maps are turned then.

    Raises:
        NotSymmetric: an operator is not symmetric under rotation.
    """
    changes: Changes = []
    for tensor in graph.inputs:
        tensor.turned = tensor.spatial
    for node in list(graph.nodes):
        if any(each is not None and each.turned for each in node.inputs):
            rule = RULES.get(node.kind)
            if rule is None:
                raise NotSymmetric(node, "it is not known to be symmetric")
            if said := rule(graph, node):
                changes.append((node, said))
        elif any(tensor.spatial for tensor in node.outputs):
            raise NotSymmetric(node, "it makes a map of what is none")
        for tensor in node.outputs:
            tensor.turned = tensor.spatial
    return changes


def _convolution(graph: Graph, node: Node) -> str:
    assert node.pixels is not None
    bottom, right = needed(node)
    node.pixels = Pixels(bottom, node.pixels.top, right, node.pixels.left)
    if max(node.kernel) > 1:
        _replace(node, 1, np.flip(node.weights, (1, 2)))
        return "rotated with its kernel"
    return "rotated" if max(node.stride) > 1 else ""


def _transposed(graph: Graph, node: Node) -> str:
    assert node.pixels is not None
    node.pixels = node.pixels.turned()
    _replace(node, 1, np.flip(constant(node, 1), (1, 2)))
    return "rotated with its kernel"


def _replace(node: Node, position: int, value: Any) -> None:
    """Give a node a constant of its own; others may share the one it had."""
    tensor = node.inputs[position]
    assert tensor is not None
    made = constant_tensor(tensor.name, np.ascontiguousarray(value))
    node.inputs[position] = made


def _pooling(graph: Graph, node: Node) -> str:
    """Pooling knows only SAME and VALID: the rest is cropped, or padded with zeros."""
    same = node.options.padding == tflite.schema().Padding.SAME
    before, after = [], []
    sizes, outputs = node.source.shape[1:3], node.output.shape[1:3]
    for size, output, kernel, stride in zip(
        sizes, outputs, node.kernel, node.stride, strict=True
    ):
        first = same_pixels(size, kernel, stride, 1)[0] if same else 0
        before.append(least_after(size, output, kernel, stride, 1, first))
        after.append(first)
    if same and before == after:
        return ""
    if not any(before) and not any(after):
        node.options.padding = tflite.schema().Padding.VALID
        return ""
    return _shift_pooling(graph, node, Pixels(before[0], after[0], before[1], after[1]))


def _shift_pooling(graph: Graph, node: Node, pixels: Pixels) -> str:
    zeros = node.kind == "MAX_POOL_2D" and never_negative(graph, node.source)
    if max(pixels.sides()) > 0 and not zeros:
        raise NotSymmetric(node, "its padding is not, and no zeros may be pooled")
    node.options.padding = tflite.schema().Padding.VALID
    if min(pixels.sides()) < 0:
        crop(graph, node, pixels)
    if max(pixels.sides()) > 0:
        pad(graph, node, pixels)
    node.source.turned = True
    return "rotated, the map in front of it cropped or padded to suit"


def never_negative(graph: Graph, tensor: Tensor) -> bool:
    """Whether a map is the output of a ReLU, so that zeros change no maximum."""
    node = graph.producer(tensor)
    if node is None:
        return False
    if node.kind in ("RELU", "RELU6", "LOGISTIC"):
        return True
    fused = getattr(node.options, "fusedActivationFunction", 0)
    kinds = tflite.schema().ActivationFunctionType
    return fused in (kinds.RELU, kinds.RELU6)


def _pointwise(graph: Graph, node: Node) -> str:
    """Elementwise: constants that differ from pixel to pixel are rotated."""
    said = ""
    for position, tensor in enumerate(node.inputs):
        if tensor is None or tensor.turned:
            continue
        axes = tuple(
            axis
            for axis in (-3, -2)
            if len(tensor.shape) >= -axis and tensor.shape[axis] > 1
        )
        if axes and tensor.value is None:
            raise NotSymmetric(node, f"{tensor.name!r} differs along the map")
        if axes:
            _replace(node, position, np.flip(constant(node, position), axes))
            said = "its constant is rotated"
    return said


def _concatenation(graph: Graph, node: Node) -> str:
    if node.options.axis % 4 not in (ROWS, COLUMNS):
        return ""
    node.inputs.reverse()
    return "maps side by side change places"


def _reshape(graph: Graph, node: Node) -> str:
    if node.output.shape == node.source.shape:
        return ""
    if not _flattens(node):
        raise NotSymmetric(node, "it reads the map in another order")
    readers = graph.readers(node.output)
    if node.output in graph.outputs or not readers:
        raise NotSymmetric(node, "its output is the map, flattened")
    for reader in readers:
        if reader.kind != "FULLY_CONNECTED" or reader.source is not node.output:
            raise NotSymmetric(node, f"{reader.name!r} reads the flattened map")
        _permute(reader, node.source)
    node.output.origin = None  # the same numbers, but in another order
    return "flattens a rotated map; the weights behind it are permuted"


def _flattens(node: Node) -> bool:
    return int(np.prod(node.output.shape)) == max(node.output.shape)


def _permute(node: Node, tensor: Tensor) -> None:
    """Reorder a dense layer's weights, O×H·W·C, as the rotated map is flattened."""
    weights = constant(node, 1)
    spatial = weights.reshape(len(weights), *tensor.shape[1:])
    _replace(node, 1, np.flip(spatial, (1, 2)).reshape(weights.shape))


def _dense(graph: Graph, node: Node) -> str:
    if node.options.keepNumDims:
        return ""
    if constant(node, 1).shape[1] != np.prod(node.source.shape):
        raise NotSymmetric(node, "it reads the map in another order")
    _permute(node, node.source)
    return "its weights are permuted"


def _reduction(graph: Graph, node: Node) -> str:
    axes = {int(axis) % 4 for axis in np.atleast_1d(constant(node, 1))}
    along = axes & {ROWS, COLUMNS}
    if len(along) == 1:
        raise NotSymmetric(node, "it reduces only rows or only columns")
    if not along and not all(len(each.shape) == 4 for each in node.outputs):
        raise NotSymmetric(node, "its output is a map without channels")
    return ""


def _padding(graph: Graph, node: Node) -> str:
    amounts = constant(node, 1).copy()
    amounts[1:3] = amounts[1:3, ::-1]
    _replace(node, 1, amounts)
    return "its padding is rotated"


def _resize(graph: Graph, node: Node) -> str:
    sizes = zip(node.source.shape[1:3], node.output.shape[1:3], strict=True)
    whole = all(after % before == 0 for before, after in sizes)
    options = node.options
    if options.alignCorners:
        if node.kind == "RESIZE_BILINEAR":
            return ""
    elif node.kind == "RESIZE_BILINEAR":
        if options.halfPixelCenters:
            return ""
    elif whole:
        return ""
    raise NotSymmetric(node, "it samples asymmetrically; set half_pixel_centers")


def _strided_slice(graph: Graph, node: Node) -> str:
    begins, ends, steps = (constant(node, position).copy() for position in (1, 2, 3))
    masks = node.options
    if masks.ellipsisMask or masks.newAxisMask or masks.shrinkAxisMask:
        raise NotSymmetric(node, "it changes the number of axes")
    for axis in (ROWS, COLUMNS):
        size = node.source.shape[axis]
        if node.output.shape[axis] == size and steps[axis] == 1:
            continue
        bit = 1 << axis
        if steps[axis] < 1 or (masks.beginMask | masks.endMask) & bit:
            raise NotSymmetric(node, "its bounds are open")
        last = begins[axis] + (node.output.shape[axis] - 1) * steps[axis]
        begins[axis], ends[axis] = size - 1 - last, size - begins[axis]
    _replace(node, 1, begins)
    _replace(node, 2, ends)
    return "its bounds are mirrored"


def _slice(graph: Graph, node: Node) -> str:
    begins = constant(node, 1).copy()
    for axis in (ROWS, COLUMNS):
        size, taken = node.source.shape[axis], node.output.shape[axis]
        begins[axis] = size - begins[axis] - taken
    _replace(node, 1, begins)
    return "its bounds are mirrored"


def _unchanged(graph: Graph, node: Node) -> str:
    return ""


def _split(graph: Graph, node: Node) -> str:
    axis = int(constant(node, 0 if node.kind == "SPLIT" else 2)) % 4
    if axis in (ROWS, COLUMNS):
        raise NotSymmetric(node, "it cuts the map")
    return ""


Rule = Callable[[Graph, Node], str]
"""Turns a node of one kind, and says what it did, if anything."""

RULES: dict[str, Rule] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "TRANSPOSE_CONV": _transposed,
    "MAX_POOL_2D": _pooling,
    "AVERAGE_POOL_2D": _pooling,
    "CONCATENATION": _concatenation,
    "RESHAPE": _reshape,
    "FULLY_CONNECTED": _dense,
    "PAD": _padding,
    "PADV2": _padding,
    "MIRROR_PAD": _padding,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "STRIDED_SLICE": _strided_slice,
    "SLICE": _slice,
    "SPLIT": _split,
    "SPLIT_V": _split,
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"), _reduction),
    **dict.fromkeys(
        (
            *("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW"),
            *("SQUARED_DIFFERENCE", "PRELU"),
        ),
        _pointwise,
    ),
    **dict.fromkeys(
        (
            *("RELU", "RELU6", "LEAKY_RELU", "LOGISTIC", "TANH", "HARD_SWISH"),
            *("ELU", "ABS", "EXP", "LOG", "NEG", "SQRT", "RSQRT", "SQUARE", "FLOOR"),
            *("CEIL", "ROUND", "SIN", "COS", "SOFTMAX", "LOG_SOFTMAX"),
            *("L2_NORMALIZATION", "CAST"),
        ),
        _unchanged,
    ),
}
