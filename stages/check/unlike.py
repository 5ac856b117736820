"""The first layer of a float graph that does not give what another graph gives.

Two graphs of one function share most of their feature maps, under whatever names: each
map of the one is looked for among the maps of the other. A map that is found nowhere
is still right where one that follows from it is found again: the other graph only does
not have it. Where nothing that follows is, the error begins.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.check import alternatives
from stages.check.cause import Cause
from stages.check.network import Network, Node

Array = NDArray[Any]
Maps = list[Array]
"""One map for each sample, 1×C×H×W."""

SAME_DB = 60.0
"""Signal over noise of maps that count as one; converters leave above 90 dB."""


@dataclass(frozen=True)
class Suspect:
    """Where it begins: the tensor, its node's kind, its likeness, the cause."""

    tensor: str
    kind: str
    snr_db: float
    cause: Cause


def first_unlike(
    network: Network,
    samples: Sequence[Array],
    known: Sequence[Maps],
    limits: tuple[float, float],
    turned: bool = False,
) -> Suspect | None:
    """The first node whose maps are not among those of another graph.

    Args:
        network: the graph in question.
        samples: what it takes, float32 1×H×W×C.
        known: the other graph's maps, for the same pictures.
        limits: what the bytes 0 and 255 of the input stand for.
        turned: whether this graph works on pictures turned by 180 degrees.
    """
    maps: dict[int, Maps] = {node.output: [] for node in network.nodes}
    for sample in samples:
        network.run(sample)
        for number, found in maps.items():
            found.append(_upright(network.planar(number), turned))
    likeness = {number: best(found, known) for number, found in maps.items()}
    right = {number for number, db in likeness.items() if db >= SAME_DB}
    explained = right | _leading_to(network, right)
    for node in network.nodes:
        sound = all(each in explained or each not in maps for each in node.inputs)
        if node.output not in explained and sound:
            node = _convolution_after(network, node)
            likely = _cause(network, node, samples, known, limits, turned)
            name = network.names[node.output]
            return Suspect(name, node.kind, likeness[node.output], likely)
    return None


def _upright(values: Array, turned: bool) -> Array:
    return np.flip(values, (2, 3)) if turned else values


def best(maps: Maps, known: Iterable[Maps]) -> float:
    """The signal-to-noise ratio towards the map that is most like it."""
    same = [each for each in known if each[0].shape == maps[0].shape]
    return max((_decibels(each, maps) for each in same), default=0.0)


def _decibels(expected: Maps, found: Maps) -> float:
    signal = noise = 0.0
    mean = np.mean([each.mean() for each in expected])
    for one, other in zip(expected, found, strict=True):
        signal += float(np.square(one - mean, dtype=np.float64).sum())
        noise += float(np.square(other - one, dtype=np.float64).sum())
    if noise <= 1e-12 * max(signal, 1e-12):
        return float("inf")
    return 10 * log10(signal / noise) if signal > 0 else 0.0


def _leading_to(network: Network, right: set[int]) -> set[int]:
    """The tensors from which a right one follows."""
    found: set[int] = set()
    for node in reversed(network.nodes):
        if node.output in right or node.output in found:
            found.update(node.inputs)
    return found


def _convolution_after(network: Network, node: Node) -> Node:
    """The convolution for which a node pads, or the node itself."""
    readers = network.readers(node.output) if node.kind == "PAD" else []
    return readers[0] if readers else node


def _cause(
    network: Network,
    node: Node,
    samples: Sequence[Array],
    known: Sequence[Maps],
    limits: tuple[float, float],
    turned: bool,
) -> Cause:
    ways = list(alternatives.of_padding(network, node.output))
    if network.input in _sources(network, node):
        ways += alternatives.of_input(network, node.output, limits)
    for way in ways:
        maps = [_upright(way.compute(sample), turned) for sample in samples]
        if best(maps, known) >= SAME_DB:
            return Cause(way.kind, way.words)
    return Cause("other weights", _channels(network, node, samples, known, turned))


def _sources(network: Network, node: Node) -> set[int]:
    """What a node reads, through the paddings in front of it."""
    found = set(node.inputs)
    for each in node.inputs:
        maker = network.makers.get(each)
        if maker is not None and maker.kind == "PAD":
            found.update(maker.inputs)
    return found


def _channels(
    network: Network,
    node: Node,
    samples: Sequence[Array],
    known: Sequence[Maps],
    turned: bool,
) -> str:
    """In how many channels a node differs from what is most like it."""
    maps: Maps = []
    for sample in samples:
        network.run(sample)
        maps.append(_upright(network.planar(node.output), turned))
    same = [each for each in known if each[0].shape == maps[0].shape]
    if not same:
        return "no map of that size is in the other graph: it is another network"
    nearest = max(same, key=lambda each: _decibels(each, maps))
    gaps = np.max(
        [np.abs(a - b).max((0, 2, 3)) for a, b in zip(nearest, maps, strict=True)], 0
    )
    off = int((gaps > 1e-4 * max(np.abs(each).max() for each in nearest)).sum())
    return (
        f"{off} of its {len(gaps)} channels differ: its weights, bias or options are "
        "not those of the model before"
    )
