"""The legal forms of a model: as it is, rotated, with strides moved off odd maps."""

from contextlib import suppress
from typing import Any

from stages.normalize.graph import Graph, read
from stages.normalize.lower import lower, settle
from stages.normalize.passes import CHOICES, LEGAL, SHAPE, Applied, apply
from stages.normalize.passes.rotation import NotSymmetric
from stages.normalize.placing import described, verdict
from stages.normalize.plans import Plan

VARIANTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("as it is", ()),
    ("3×3 kernels", ("kernels",)),
    ("wide layers in parts", ("kernels", "wide")),
    ("rotated", ("rotation", "kernels")),
    ("rotated, wide layers in parts", ("rotation", "kernels", "wide")),
    ("strides later", ("kernels", "wide", "later")),
    ("rotated, strides later", ("rotation", "kernels", "wide", "later")),
)
"""What plans are called, and which of the passes of CHOICES they have."""

FALLBACKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("picks apart", ("kernels", "wide", "apart")),
    ("rotated, picks apart", ("rotation", "kernels", "wide", "apart")),
)
"""What is tried besides where nncase gets all of them wrong."""

Place = tuple[object, ...]


def fallbacks(model: Any) -> list[Plan]:
    """Further plans for a ``ModelT`` that nncase miscompiles in every other form."""
    graph = read(model)
    prepared = apply(graph, LEGAL)
    plans = []
    for name, chosen in FALLBACKS:
        with suppress(NotSymmetric):
            plans.append(_plan(name, graph.copy(), prepared, chosen))
    return plans


def forms(model: Any) -> list[Plan]:
    """Plans for a ``ModelT``, first the one that leaves most as it is.

    A plan that is no different for the KPU from an earlier one is left out.

    Raises:
        ModelError: a layer can be made neither exact nor legal.
    """
    return forms_of(read(model))


def forms_of(graph: Graph) -> list[Plan]:
    """``forms`` of a graph, which is prepared on the way."""
    prepared = apply(graph, LEGAL)
    plans: list[Plan] = []
    seen: list[list[Place]] = []
    for name, chosen in VARIANTS:
        try:
            plan = _plan(name, graph.copy(), prepared, chosen)
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


def places(graph: Graph) -> list[Place]:
    """Where each convolution will run and why, its kernel and stride."""
    return [
        (*verdict(described(graph, node)), node.kernel, node.stride)
        for node in graph.nodes
        if node.convolves
    ]


def _plan(
    name: str, graph: Graph, prepared: list[Applied], chosen: tuple[str, ...]
) -> Plan:
    passes = [each for each in SHAPE if each[0] not in CHOICES or each[0] in chosen]
    applied = [*prepared, *apply(graph, passes)]
    settle(graph)
    lowered = graph.copy()
    lower(lowered)
    return Plan(name, graph, lowered, applied)
