"""Take strides and crops that the KPU does not have out of their convolutions.

A slice behind a convolution of full size picks the pixels instead. It is seldom faster,
but it spares nncase the crops of its own that it gets wrong at times: those of a VALID
convolution without activation in front of another one, for one.
"""

from stages.normalize.geometry import Pixels
from stages.normalize.graph import Graph, Node
from stages.normalize.lower import strided_slice

Changes = list[tuple[Node, str]]


def separate(graph: Graph) -> Changes:
    """Convolve at full size and slice, where the KPU would not pick the pixels."""
    changes: Changes = []
    for node in list(graph.nodes):
        if node.convolves and _possible(node):
            _separate(graph, node)
            changes.append((node, "what it picks of its map is a slice behind it now"))
    return changes


def _possible(node: Node) -> bool:
    if node.kernel not in ((1, 1), (3, 3)) or node.dilation != (1, 1):
        return False
    if _picked_by_kpu(node):
        return False
    sizes = zip(
        _begins(node),
        node.stride,
        node.output.shape[1:3],
        node.source.shape[1:3],
        strict=True,
    )
    return all(
        first >= 0 and first + (count - 1) * step < size
        for first, step, count, size in sizes
    )


def _picked_by_kpu(node: Node) -> bool:
    if _begins(node) != (0, 0):
        return False
    sizes = node.source.shape[1:3]
    if node.stride == (1, 1):
        return bool(sizes == node.output.shape[1:3])
    return node.stride == (2, 2) and all(size % 2 == 0 for size in sizes)


def _begins(node: Node) -> tuple[int, int]:
    """The pixels of a padded map of full size that are the first outputs."""
    assert node.pixels is not None
    natural = node.kernel[0] // 2
    return natural - node.pixels.top, natural - node.pixels.left


def _separate(graph: Graph, node: Node) -> None:
    natural, picked = node.kernel[0] // 2, node.output
    (top, left), (step_y, step_x) = _begins(node), node.stride
    _, high, wide, channels = picked.shape
    large = graph.fresh(picked, "full", (*node.source.shape[:3], channels))
    node.pixels = Pixels(natural, natural, natural, natural)
    node.options.strideH = node.options.strideW = 1
    node.outputs = [large]
    ends = (1, top + (high - 1) * step_y + 1, left + (wide - 1) * step_x + 1, channels)
    begins, steps = (0, top, left, 0), (1, step_y, step_x, 1)
    slicing = strided_slice(large, picked, begins, ends, steps)
    graph.nodes.insert(graph.nodes.index(node) + 1, slicing)
