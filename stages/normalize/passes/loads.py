"""Split convolutions whose loads of weights the KPU cannot count.

It loads weights in pieces and counts them in six bits: nncase lets the count wrap
beyond 64, silently. Computing parts of the channels one after another is exact.
"""

from k210 import limits
from stages.normalize.graph import Graph, Node
from stages.normalize.passes.groups import concatenate

Changes = list[tuple[Node, str]]

WEIGHTS_BYTES = 30720
"""Room for one load of weights, as nncase 1.9 counts it."""

MAX_CHANNELS = 1024
"""Of one KPU layer; nncase computes wider ones on the CPU, without loads."""


def split(graph: Graph) -> Changes:
    """Compute the output channels of layers with too many loads in parts."""
    changes: Changes = []
    for node in list(graph.nodes):
        if on_kpu(node) and node.output.shape[3] <= MAX_CHANNELS:
            changes += in_parts(graph, node)
    return changes


def on_kpu(node: Node) -> bool:
    """Whether it is a convolution of a kernel that the KPU has; no depthwise one."""
    return node.kind == "CONV_2D" and node.kernel in ((1, 1), (3, 3))


def in_parts(graph: Graph, node: Node) -> Changes:
    """Compute a convolution in as many parts as the KPU needs."""
    if (parts := _parts(node)) == 1:
        return []
    why = f"{loads(node)} loads of weights, {node.output.shape[3]} channels"
    pieces = _split(graph, node, parts)
    return [(piece, f"one of {parts} parts: {why}") for piece in pieces]


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
        graph.part(node, slice(start, min(start + each, outputs)))
        for start in range(0, outputs, each)
    ]
    graph.add(*pieces, before=node)
    concatenate(graph, node, pieces)
    return pieces
