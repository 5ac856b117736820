"""One form of padding: pixels on each side, beside the convolution.

SAME, VALID, and a PAD of zeros in front of either become the same thing. So a model
whose author padded by hand is treated as one that left it to TensorFlow.
"""

from k210.errors import ModelError
from stages import tflite
from stages.normalize.geometry import Pixels, same_pixels
from stages.normalize.graph import Graph, Node, constant

Changes = list[tuple[Node, str]]


def explicit(graph: Graph) -> Changes:
    """Give every convolution its padding in pixels.

    Raises:
        ModelError: one is dilated and strided, where TensorFlow itself is of two minds,
            or its weights are computed.
    """
    changes: Changes = []
    for node in graph.nodes:
        if node.kind == "TRANSPOSE_CONV":
            node.pixels = _cropped(node)
        if not node.convolves:
            continue
        _require_one_meaning(node)
        same = node.options.padding == tflite.schema().Padding.SAME
        node.padding = "SAME" if same else "VALID"
        node.pixels = _same(node) if same else Pixels(0, 0, 0, 0)
        changes += [(node, "takes over the padding in front of it")] * (
            _absorb(graph, node)
        )
        node.told = node.pixels
    graph.prune()
    return changes


def _require_one_meaning(node: Node) -> None:
    if max(node.dilation) > 1 and max(node.stride) > 1:
        raise ModelError(
            f"{node.name!r} is a convolution dilated by {_times(node.dilation)} with "
            f"stride {_times(node.stride)}, for which TensorFlow's own layers compute "
            "different sizes; use one or the other"
        )
    constant(node, 1)


def _times(pair: tuple[int, int]) -> str:
    return "×".join(map(str, pair))


def _same(node: Node) -> Pixels:
    axes = zip(
        node.source.shape[1:3], node.kernel, node.stride, node.dilation, strict=True
    )
    (top, bottom), (left, right) = (same_pixels(*axis) for axis in axes)
    return Pixels(top, bottom, left, right)


def _cropped(node: Node) -> Pixels:
    """What a transposed convolution's output lacks on each side.

    TensorFlow's SAME is that of the convolution whose gradient it is.
    """
    same = node.options.padding == tflite.schema().Padding.SAME
    _, *kernel, _ = constant(node, 1).shape
    source = node.inputs[2]
    assert source is not None
    sides: list[int] = []
    sizes = zip(
        source.shape[1:3], node.output.shape[1:3], kernel, node.stride, strict=True
    )
    for size, output, taps, stride in sizes:
        surplus = (size - 1) * stride + taps - output
        first = max(surplus, 0) // 2 if same else 0
        sides += (first, surplus - first)
    node.padding = "SAME" if same else "VALID"
    return Pixels(*sides)


def _absorb(graph: Graph, node: Node) -> int:
    """Take PADs of zeros off the convolution's input; returns how many."""
    count = 0
    while (pad := graph.producer(node.source)) is not None:
        pixels = _zeros(pad)
        if pixels is None:
            break
        assert node.pixels is not None
        node.pixels = node.pixels.plus(pixels)
        node.inputs[0] = pad.source
        count += 1
    return count


def _zeros(node: Node) -> Pixels | None:
    """What a PAD adds to height and width, if that is zeros and nothing else."""
    if node.kind not in ("PAD", "PADV2"):
        return None
    amounts = node.inputs[1].value if node.inputs[1] else None
    if amounts is None or amounts.shape != (4, 2) or amounts[[0, 3]].any():
        return None
    if node.kind == "PADV2":
        value = node.inputs[2].value if node.inputs[2] else None
        if value is None or value.any():
            return None
    (top, bottom), (left, right) = amounts[1:3].tolist()
    return Pixels(top, bottom, left, right)
