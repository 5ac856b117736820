"""Put the pixels that an odd map lacks where it is cheapest.

The KPU picks every second pixel of an even map only. On an odd one nncase has the CPU
add a row and a column in front of the convolution that has the stride, or of the 1×1
one behind a depthwise one. All channels of that map go through the CPU. It is the same
to convolve at full size and pick every second pixel later, behind the 1×1 convolutions
that follow, where a map has the fewest channels.
"""

from stages.normalize.geometry import Pixels
from stages.normalize.graph import Graph, Node, Tensor
from stages.normalize.lower import strided_slice

Changes = list[tuple[Node, str]]

PICK = (1, 2, 2, 1)


def postpone(graph: Graph) -> Changes:
    """Take the stride off convolutions of odd maps where a later map is smaller."""
    changes: Changes = []
    for node in list(graph.nodes):
        if not (node.convolves and _odd(node)):
            continue
        chain = _followers(graph, node)
        channels = [each.output.shape[3] for each in chain]
        best = min(range(len(chain)), key=channels.__getitem__)
        if channels[best] < node.source.shape[3]:
            _move(graph, chain[: best + 1])
            why = f"an odd map: its stride is behind {chain[best].name!r} now"
            changes.append((node, why))
    return changes


def _odd(node: Node) -> bool:
    """Whether it is a convolution that the KPU could compute, but for its odd map."""
    assert node.pixels is not None
    natural = node.kernel[0] // 2
    if node.stride != (2, 2) or node.kernel not in ((1, 1), (3, 3)):
        return False
    if (node.pixels.top, node.pixels.left) != (natural, natural):
        return False
    sizes = node.source.shape[1:3]
    if tuple(-(-size // 2) for size in sizes) != node.output.shape[1:3]:
        return False  # padded so far that it has pixels from beyond the map
    return any(size % 2 for size in sizes)


def _followers(graph: Graph, node: Node) -> list[Node]:
    """The convolution and the 1×1 ones that alone read what it makes, in turn."""
    chain = [node]
    while True:
        reader = graph.only_reader(chain[-1].output)
        if reader is None or reader.kind != "CONV_2D" or reader.kernel != (1, 1):
            return chain
        assert reader.pixels is not None
        if reader.stride != (1, 1) or any(reader.pixels.sides()):
            return chain
        chain.append(reader)


def _move(graph: Graph, chain: list[Node]) -> None:
    """Compute a chain of convolutions at full size and pick pixels of its last map."""
    first, last = chain[0], chain[-1]
    natural = first.kernel[0] // 2
    first.pixels = Pixels(natural, natural, natural, natural)
    first.options.strideH = first.options.strideW = 1
    picked = last.output
    source: Tensor | None = None
    for node in chain:
        shape = (*first.source.shape[:3], node.output.shape[3])
        large = graph.fresh(node.output, "full", shape)
        if source is not None:
            node.inputs[0] = source
        node.outputs, source = [large], large
    assert source is not None
    _, height, width, channels = source.shape
    node = strided_slice(
        source, picked, (0, 0, 0, 0), (1, height, width, channels), PICK
    )
    graph.nodes.insert(graph.nodes.index(last) + 1, node)
