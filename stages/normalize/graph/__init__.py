"""A TFLite graph as it is edited: nodes and tensors that refer to one another.

The schema's object API refers by index, which every insertion would upset. Here a node
holds its tensors, so a pass edits plain lists; ``read`` and ``write`` translate.
"""

from stages.normalize.graph.form import positions, read, write
from stages.normalize.graph.graph import Graph
from stages.normalize.graph.nodes import (
    Array,
    Node,
    Note,
    Tensor,
    constant,
    constant_tensor,
    new_convolution,
    new_node,
)

__all__ = [
    "Array",
    "Graph",
    "Node",
    "Note",
    "Tensor",
    "constant",
    "constant_tensor",
    "new_convolution",
    "new_node",
    "positions",
    "read",
    "write",
]
