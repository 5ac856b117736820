"""Which sizes of pictures would suit a model whose maps are odd somewhere.

Where every map under a stride is even, nothing is added by the CPU. That is so for
multiples of the model's whole stride; the nearest below and above are tried: TFLite
works out the shapes, nncase compiles, and memory and regions are read off.
"""

from dataclasses import asdict, replace
from itertools import product
from typing import Any

import numpy as np

from k210.errors import ModelError
from stages.normalize.forms import forms_of
from stages.normalize.graph import Graph, Tensor, read
from stages.normalize.passes.explicit import explicit
from stages.normalize.plans import Compiler, Plan
from stages.normalize.runtime import shapes_at

Size = tuple[int, int]


def advice(
    original: bytes, model: Any, plan: Plan, compiler: Compiler
) -> list[dict[str, Any]]:
    """The nearest sizes without odd maps, and what the model costs there.

    Args:
        original: the exported file.
        model: the same as a ``ModelT``.
        plan: the plan that was chosen; others are not compiled for other sizes.
        compiler: how plans are compiled.

    Returns:
        Nothing where no map is odd, or the model is made for one size only.
    """
    graph = read(model)
    if not odd(graph):
        return []
    found = []
    for size in nearest(graph):
        if resized := _resized(original, model, size):
            found.append({"size": list(size), **_figures(resized, plan, compiler)})
    return found


def odd(graph: Graph) -> bool:
    """Whether a convolution has a stride over an odd map."""
    unpadded = graph.copy()
    explicit(unpadded)
    return any(
        stride > 1 and size > 1 and size % 2
        for node in unpadded.nodes
        if node.convolves
        for size, stride in zip(node.source.shape[1:3], node.stride, strict=True)
    )


def nearest(graph: Graph) -> list[Size]:
    """The nearest heights and widths that the model's strides divide."""
    _, height, width, _ = graph.inputs[0].shape
    steps = whole_stride(graph)
    pairs = zip((height, width), steps, strict=True)
    below_and_above = [
        sorted({max(step, size // step * step), -(-size // step) * step})
        for size, step in pairs
    ]
    high, wide = below_and_above
    return [pair for pair in product(high, wide) if pair != (height, width)]


def whole_stride(graph: Graph) -> Size:
    """The product of strides from the input to the smallest map: y, x."""
    steps: dict[Tensor, Size] = dict.fromkeys(graph.inputs, (1, 1))
    for node in graph.nodes:
        read_steps = [steps[each] for each in node.inputs if each in steps]
        if not read_steps:
            continue
        down, across = (max(axis) for axis in zip(*read_steps, strict=True))
        if node.convolves or node.kind.endswith("POOL_2D"):
            down, across = down * node.stride[0], across * node.stride[1]
        steps.update(dict.fromkeys(node.outputs, (down, across)))
    return (
        max(down for down, _ in steps.values()),
        max(across for _, across in steps.values()),
    )


def _resized(original: bytes, model: Any, size: Size) -> Graph | None:
    """The model's graph for pictures of another size, if it takes them."""
    graph = read(model)
    shapes = shapes_at(original, size)
    if shapes is None:
        return None
    for tensor in [
        *graph.inputs,
        *(out for node in graph.nodes for out in node.outputs),
    ]:
        if tensor.origin is not None:
            tensor.shape = shapes[tensor.origin]
    return None if odd(graph) else graph


def _figures(graph: Graph, like: Plan, compiler: Compiler) -> dict[str, Any]:
    """What a plan of the same name costs at this size."""
    try:
        plans = forms_of(graph)
    except ModelError as error:
        return {"refused": str(error)}
    named = {plan.name: plan for plan in plans}
    plan = named.get(like.name) or named.get("rotated") or plans[0]
    shape = (len(compiler.upright), *np.roll(graph.inputs[0].shape[1:], 1))
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    resized = replace(compiler, upright=noise, turned=noise, expected=[])
    return {"plan": plan.name, **asdict(resized.measure(plan))}
