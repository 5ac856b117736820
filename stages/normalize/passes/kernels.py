"""Small kernels in a 3×3 one, which the KPU computes in the same time.

The KPU knows 1×1 and 3×3 kernels and takes as long for either. Any other whose taps lie
within one pixel of an output's own becomes a 3×3 one with zeros around: 2×2, 1×3, 3×1,
and a 1×1 with stride 2 that picks another pixel than the KPU would.
"""

import numpy as np

from stages.normalize.geometry import Pixels
from stages.normalize.graph import Graph, Node, constant_tensor

Changes = list[tuple[Node, str]]


def embed(graph: Graph) -> Changes:
    """Give every kernel that fits into 3×3 that size."""
    return [
        (node, f"its {'×'.join(map(str, size))} kernel becomes 3×3, with zeros")
        for node in graph.nodes
        if node.convolves and (size := node.kernel) and _embed(node)
    ]


def _embed(node: Node) -> bool:
    assert node.pixels is not None
    before = (node.pixels.top, node.pixels.left)
    if node.dilation != (1, 1) or node.kernel == (3, 3):
        return False
    if node.kernel == (1, 1) and (before == (0, 0) or max(node.stride) == 1):
        return False
    taps = list(zip(node.kernel, before, strict=True))
    if not all(first in (-1, 0, 1) and size <= 2 + first for size, first in taps):
        return False
    outputs, height, width, inputs = node.weights.shape
    top, left = (1 - first for first in before)
    larger = np.zeros((outputs, 3, 3, inputs), node.weights.dtype)
    larger[:, top : top + height, left : left + width] = node.weights
    old = node.inputs[1]
    assert old is not None
    node.inputs[1] = constant_tensor(old.name, larger)
    node.pixels = Pixels(1, 1, 1, 1)
    return True
