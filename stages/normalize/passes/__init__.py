"""The passes, one file each, and the order they run in.

A pass edits a graph in place and returns what it did: pairs of a node and a phrase that
says what and why. Each leaves the graph's function as it was.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from stages.normalize.graph import Graph, Node
from stages.normalize.passes import (
    apart,
    constants,
    explicit,
    gates,
    groups,
    kernels,
    later,
    loads,
    pooling,
    refusals,
    rotation,
    slices,
    transposed,
    wide,
)

Change = tuple[Node, str]
Pass = Callable[[Graph], Iterable[Change]]

LEGAL: tuple[tuple[str, Pass], ...] = (
    ("constants", constants.fold),
    ("slices", slices.bound),
    ("geometry", explicit.explicit),
    ("gates", gates.fold),
    ("groups", groups.ungroup),
    ("pooling", pooling.reorder),
)
"""What every model goes through, in this order."""

CHOICES = ("rotation", "kernels", "later", "apart", "wide")
"""Passes that a plan has or has not."""

SHAPE: tuple[tuple[str, Pass], ...] = (
    ("rotation", rotation.turn),
    ("transposed", transposed.expand),
    ("kernels", kernels.embed),
    ("later", later.postpone),
    ("apart", apart.separate),
    ("wide", wide.divide),
    ("loads", loads.split),
    ("refusals", refusals.refuse),
)
"""What follows, those of CHOICES only in plans that have them."""


@dataclass(frozen=True)
class Applied:
    """One change: which pass, on which layer, what and why."""

    by: str
    layer: str
    what: str


def apply(graph: Graph, passes: Sequence[tuple[str, Pass]]) -> list[Applied]:
    """Run passes one after another; each node keeps a note of what was done to it.

    Raises:
        ModelError: a layer cannot be made exact or legal.
    """
    applied = []
    for name, step in passes:
        for node, what in step(graph):
            node.note(name, what)
            applied.append(Applied(name, node.name, what))
    return applied
