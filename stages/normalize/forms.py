"""The legal forms of a model: as it is, rotated, with strides off odd maps."""

from typing import Any

from stages.normalize.graph import Graph, read
from stages.normalize.lower import lower, settle
from stages.normalize.passes import LATER, LEGAL, ROTATION, SHAPE, Applied, Pass, apply
from stages.normalize.passes.rotation import NotSymmetric
from stages.normalize.placing import Where, described, verdict
from stages.normalize.plans import Plan

VARIANTS: tuple[tuple[str, tuple[tuple[str, Pass], ...]], ...] = (
    ("as it is", ()),
    ("rotated", (ROTATION,)),
    ("strides later", (LATER,)),
    ("rotated, strides later", (ROTATION, LATER)),
)
"""What plans are called, and the passes that they have beyond the others."""


def forms(model: Any) -> list[Plan]:
    """Plans for a ``ModelT``, first the one that leaves most as it is.

    A plan that is no different for the KPU from an earlier one is left out.

    Raises:
        ModelError: a layer can be made neither exact nor legal.
    """
    graph = read(model)
    prepared = apply(graph, LEGAL)
    plans: list[Plan] = []
    seen: list[list[tuple[Where, int, int]]] = []
    for name, passes in VARIANTS:
        try:
            plan = _plan(name, graph.copy(), prepared, passes)
        except NotSymmetric as error:
            plans[0].refusals.append(str(error))
            continue
        placed = places(plan.graph)
        if placed not in seen:
            plans.append(plan)
            seen.append(placed)
        if all(where == "kpu" for where, *_ in seen[0]):
            break
    return plans


def places(graph: Graph) -> list[tuple[Where, int, int]]:
    """Where each convolution will run, and its stride."""
    return [
        (verdict(described(graph, node))[0], *node.stride)
        for node in graph.nodes
        if node.convolves
    ]


def _plan(
    name: str,
    graph: Graph,
    prepared: list[Applied],
    passes: tuple[tuple[str, Pass], ...],
) -> Plan:
    applied = [*prepared, *apply(graph, [*passes, *SHAPE])]
    settle(graph)
    lowered = graph.copy()
    lower(lowered)
    return Plan(name, graph, lowered, applied)
