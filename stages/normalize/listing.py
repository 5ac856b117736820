"""The list of layers: TensorFlow's padding, what was done to it, where it runs and why.

Edge TPU's compiler prints such a list of operators; here is also the reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from stages.normalize.graph import Graph, Node
from stages.normalize.placing import described, verdict
from stages.normalize.plans import Plan

Layer = dict[str, Any]

WHERE = {"kpu": "KPU", "kpu+copy": "KPU+crop", "kpu+cpu": "KPU+CPU", "cpu": "CPU"}
LONGEST_NAME = 28


def layers(plan: Plan) -> list[Layer]:
    """The convolutions of a plan for ``layers.json``, in the order of the graph."""
    return [_layer(plan.graph, node) for node in plan.graph.nodes if node.convolves]


def _layer(graph: Graph, node: Node) -> Layer:
    layer = described(graph, node)
    where, why = verdict(layer)
    told = node.told or layer.pixels
    return {
        **asdict(layer),
        "pixels": asdict(told),
        "given": asdict(layer.pixels),
        "changes": [asdict(note) for note in node.notes],
        "where": where,
        "why": why,
        "macs": layer.macs,
        "bytes": layer.weight_bytes,
    }


def terminal(document: Mapping[str, Any]) -> list[str]:
    """What ``layers.json`` holds as lines of text: layers, plans, advice."""
    head = f"{'convolution':<{LONGEST_NAME}}  {'map':<22}{'kernel':<10}{'TF pad':<9}"
    lines = [f"{head}{'given':<9}{'MMAC':>7}  {'runs on':<9} why"]
    lines += map(_line, document["layers"])
    chosen = document["plan"]
    lines += [_plan_line(plan, plan["name"] == chosen) for plan in document["plans"]]
    lines += [f"  not rotated: {refusal}" for refusal in document["refusals"][:1]]
    lines += map(_advice_line, document["advice"])
    return lines


def _advice_line(found: Mapping[str, Any]) -> str:
    """What the model would cost at a size at which no map is odd."""
    size = f"  no odd map with data.size {list(found['size'])}"
    if found.get("regions") is None:
        return f"{size}: {found['refused']}"
    return f"{size}: {found['regions']} regions, {found['total'] / 1024:.0f} KiB"


def _line(layer: Layer) -> str:
    maps = f"{_times(layer['input'])} → {_times(layer['output'])}"
    kernel = _times(layer["kernel"])
    if max(layer["stride"]) > 1:
        kernel += f"/{_times(layer['stride'])}"
    name = short(layer["name"])
    return (
        f"{name:<{LONGEST_NAME}}  {maps:<22}{kernel:<10}{_sides(layer['pixels']):<9}"
        f"{_sides(layer['given']):<9}{layer['macs'] / 1e6:>7.2f}  "
        f"{WHERE[layer['where']]:<9} {_reason(layer)}"
    )


def _reason(layer: Layer) -> str:
    passes = dict.fromkeys(note["by"] for note in layer["changes"])
    why: str = layer["why"]
    return why + (f" [{', '.join(passes)}]" if passes else "")


def _plan_line(plan: Mapping[str, Any], chosen: bool) -> str:
    mark = "*" if chosen else " "
    if plan["ms"] is None:
        return f"{mark} {plan['name']}: {plan['refused']}"
    text = (
        f"{mark} {plan['name']}: {plan['ms']:.2f} ms modelled, {plan['regions']} "
        f"regions, {plan['cpu_pads']} CPU pads, {plan['total'] / 1024:.0f} KiB"
    )
    if plan["snr_db"] is not None:
        text += f", {plan['snr_db']:.1f} dB"
    return f"{text}; {plan['refused']}" if plan["refused"] else text


def _sides(pixels: Mapping[str, int]) -> str:
    return " ".join(str(pixels[side]) for side in ("top", "bottom", "left", "right"))


def _times(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))


def short(name: str) -> str:
    """A tensor's name, its beginning left out if it is long."""
    last = name.split(";")[0]
    return last if len(last) <= LONGEST_NAME else f"…{last[1 - LONGEST_NAME :]}"
