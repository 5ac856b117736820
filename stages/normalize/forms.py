"""The legal forms of a model: as it is, and rotated where that changes anything."""

from typing import Any

from stages.normalize.graph import Graph, read
from stages.normalize.lower import lower, settle
from stages.normalize.passes import LEGAL, ROTATION, Applied, apply
from stages.normalize.passes.rotation import NotSymmetric
from stages.normalize.placing import Where, described, verdict
from stages.normalize.plans import Plan


def forms(model: Any) -> list[Plan]:
    """Plans for a ``ModelT``, first the one that leaves most as it is.

    Raises:
        ModelError: a layer can be made neither exact nor legal.
    """
    graph = read(model)
    applied = apply(graph, LEGAL)
    settle(graph)
    plans = [_plan("as it is", graph, applied)]
    before = places(graph)
    if not any(where in ("kpu+cpu", "kpu+copy") for where in before):
        return plans
    turned = graph.copy()
    try:
        applied = [*applied, *apply(turned, [ROTATION])]
    except NotSymmetric as error:
        plans[0].refusals.append(str(error))
        return plans
    settle(turned)
    if places(turned) != before:
        plans.append(_plan("rotated", turned, applied))
    return plans


def places(graph: Graph) -> list[Where]:
    """Where each convolution will run."""
    return [
        verdict(described(graph, node))[0] for node in graph.nodes if node.convolves
    ]


def _plan(name: str, graph: Graph, applied: list[Applied]) -> Plan:
    lowered = graph.copy()
    lower(lowered)
    return Plan(name, graph, lowered, applied)
