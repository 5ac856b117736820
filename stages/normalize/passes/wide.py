"""Split convolutions of more channels than a KPU layer has.

It makes at most 1024; nncase computes wider layers on the CPU, in float: far slower,
and a little more exact, so that it is a plan's choice.
"""

from stages.normalize.graph import Graph, Node
from stages.normalize.passes.loads import MAX_CHANNELS, in_parts, on_kpu

Changes = list[tuple[Node, str]]


def divide(graph: Graph) -> Changes:
    """Compute the output channels of wide convolutions in parts."""
    changes: Changes = []
    for node in list(graph.nodes):
        if on_kpu(node) and node.output.shape[3] > MAX_CHANNELS:
            changes += in_parts(graph, node)
    return changes
