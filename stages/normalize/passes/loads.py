"""Split convolutions whose weights the KPU cannot count, or that make too many maps.

The KPU loads weights in pieces and counts them in six bits: nncase lets the count wrap
beyond 64, silently. It makes at most 1024 channels; nncase moves wider layers to the
CPU. Both are mended exactly by computing parts of the channels one after another.
"""

from k210 import limits
from stages.normalize.graph import Graph, Node
from stages.normalize.passes.groups import concatenate

Changes = list[tuple[Node, str]]

WEIGHTS_BYTES = 30720
"""Room for one load of weights, as nncase 1.9 counts it."""

MAX_CHANNELS = 1024


def split(graph: Graph) -> Changes:
    """Compute the output channels of large convolutions in parts."""
    changes: Changes = []
    for node in list(graph.nodes):
        if node.kind != "CONV_2D" or node.kernel not in ((1, 1), (3, 3)):
            continue
        if (parts := _parts(node)) > 1:
            why = f"{loads(node)} loads of weights, {node.output.shape[3]} channels"
            pieces = _split(graph, node, parts)
            changes += [(piece, f"one of {parts} parts: {why}") for piece in pieces]
    return changes


def loads(node: Node, outputs: int | None = None) -> int:
    """How often the KPU loads weights for so many channels of a convolution."""
    count, height, width, inputs = node.weights.shape
    at_once = max(1, WEIGHTS_BYTES // (height * width * inputs))
    return -(-(outputs or count) // at_once)


def _parts(node: Node) -> int:
    """Into how many parts a convolution must be cut."""
    outputs, parts = node.output.shape[3], 1
    while not _fits(node, -(-outputs // parts)):
        parts += 1
    return parts


def _fits(node: Node, outputs: int) -> bool:
    return outputs <= MAX_CHANNELS and loads(node, outputs) <= limits.WEIGHT_LOADS


def _split(graph: Graph, node: Node, parts: int) -> list[Node]:
    outputs = node.output.shape[3]
    each = -(-outputs // parts)
    pieces = [
        node.part(graph, slice(start, min(start + each, outputs)))
        for start in range(0, outputs, each)
    ]
    graph.add(*pieces, before=node)
    concatenate(graph, node, pieces)
    return pieces
