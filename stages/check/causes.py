"""What is likely wrong with the layer at which the noise begins.

Tried in the order of how certain the answer is: bytes that cannot be right, then an
input or a padding with which the map would be, then ranges.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from k210 import kmodel
from k210.kmodel import Conv2d
from k210.kmodel.tables import WRAPPED, unwrapped
from stages.check import alternatives, ranges
from stages.check.alternatives import Alternative
from stages.check.cause import Cause, Sample
from stages.check.likeness import Likeness
from stages.check.maps import Atlas, Layer
from stages.check.weights import Strangers, float_weights, strangers

Array = NDArray[Any]

BETTER_DB = 8.0
"""By how much an alternative must fit better to be believed."""


def cause(
    atlas: Atlas,
    layer: Layer,
    samples: Sequence[Sample],
    limits: tuple[float, float],
) -> Cause:
    """The likeliest one for a layer whose inputs are right and whose map is not.

    Args:
        atlas: all layers.
        layer: the one in question.
        samples: pictures that show it.
        limits: what the bytes 0 and 255 of the model's input stand for.
    """
    for found in _tried(atlas, layer, samples, limits):
        return found
    return Cause("unknown", "what is wrong with it, none of the usual causes explains")


def _tried(
    atlas: Atlas,
    layer: Layer,
    samples: Sequence[Sample],
    limits: tuple[float, float],
) -> Iterator[Cause]:
    conv = layer.op.instruction
    if isinstance(conv, Conv2d):
        yield from _weights(atlas, layer.op.id, layer.tensor, isolated=True)
        yield from table_causes(atlas.model, layer.op.id)
    yield from _alternatives(atlas, layer, samples, limits)
    if isinstance(conv, Conv2d):
        yield from _weights(atlas, layer.op.id, layer.tensor, isolated=False)
        yield from ranges.of_input(atlas, layer.op, samples)
    yield from ranges.of_output(layer.likeness)
    if layer.op.where == "cpu":
        words = "the CPU computes it in float, and other than the float model does"
        yield Cause("cpu", words)


def _weights(atlas: Atlas, op_id: str, tensor: str, isolated: bool) -> Iterator[Cause]:
    found = changed_weights(atlas, op_id, tensor)
    if found is not None and found.isolated == isolated:
        yield weights_cause(found)


def changed_weights(atlas: Atlas, op_id: str, tensor: str) -> Strangers | None:
    """The weights of a layer that are not those of the float graph."""
    conv, number = atlas.ops[op_id].instruction, atlas.network.number(tensor)
    if number is None or not isinstance(conv, Conv2d):
        return None
    floats = float_weights(atlas.network, number)
    if floats is None or floats[1].shape != conv.weights.shape:
        return None
    return strangers(atlas.model, conv, floats[1])


def weights_cause(found: Strangers) -> Cause:
    """That in words."""
    if found.reversed_order:
        return Cause(
            "channel order",
            "its weights are those of the float model with its input channels in "
            "reverse: the order of the colours was changed before it was compiled",
        )
    place = ", ".join(map(str, found.index))
    return Cause(
        "weights",
        f"{found.count} of its {found.of} weights differ from those that were "
        f"compiled: byte {found.offset:#x} of the kmodel, weight ({place}), is "
        f"{found.found} and should be about {found.expected}; compile the model again",
    )


def table_causes(model: kmodel.Kmodel, op_id: str) -> Iterator[Cause]:
    """What cannot be right in the activation table of a layer."""
    conv = dict(model.convs())[op_id]
    table = model.activation(conv)
    if (mended := unwrapped(table)) != table:
        pairs = zip(table.segments, mended.segments, strict=True)
        wrapped = next(i for i, (old, new) in enumerate(pairs) if old != new)
        yield Cause(
            "wrapped slope",
            f"segment {wrapped} of its activation table falls where it should rise: "
            f"its slope has wrapped to {WRAPPED}; compile the model again, which "
            "repairs that",
        )
    for jump in kmodel.jumps(model):
        if op_id in jump.ops:
            yield Cause(
                "broken table",
                f"segment {jump.segment} of its activation table misses the next one "
                f"by {jump.steps:.0f} of 255 steps; compile the model again",
            )


def _alternatives(
    atlas: Atlas,
    layer: Layer,
    samples: Sequence[Sample],
    limits: tuple[float, float],
) -> Iterator[Cause]:
    network = atlas.network
    ways: list[Alternative] = []
    if any(each not in atlas.ops for each in atlas.before(layer.op.id)):
        ways += alternatives.of_input(network, layer.number, limits)
    ways += alternatives.of_padding(network, layer.number)
    rated = [(_rated(way, layer, samples), way) for way in ways]
    best = max(rated, key=lambda each: each[0], default=None)
    present = layer.likeness.snr_db
    if best and present is not None and best[0] > present + BETTER_DB:
        yield Cause(best[1].kind, best[1].words)


def _rated(way: Alternative, layer: Layer, samples: Sequence[Sample]) -> float:
    """How well what an operation gave fits an alternative, in dB."""
    likeness = Likeness(layer.op.shape[1], layer.likeness.known)
    for sample in samples:
        expected = way.compute(sample.floats)
        found = sample.traced[layer.op.id].reshape(layer.mapped)
        likeness.add(layer.window.of(found, *expected.shape[2:]), expected)
    found_db = likeness.snr_db
    return float("inf") if found_db is None else found_db
