"""What is likely wrong with the layer at which the noise begins.

Tried in the order of how certain the answer is: bytes that cannot be right, then an
input or a padding with which the map would be, then ranges.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210 import kmodel
from k210.kmodel import Conv2d, Op
from k210.kmodel.tables import WRAPPED, unwrapped
from stages.check import alternatives
from stages.check.alternatives import Alternative
from stages.check.likeness import Likeness, steps_used
from stages.check.maps import Atlas, Layer
from stages.check.weights import Strangers, float_weights, strangers

Array = NDArray[Any]

BETTER_DB = 8.0
"""By how much an alternative must fit better to be believed."""

CUT_SHARE, CUT_REACH = 0.01, 0.05
"""Of values at an end of the range, and of the range that the float map exceeds it."""

FEW_STEPS = 48
"""Of 255: a map that nearly fits into so few is badly resolved."""

LOUD_SHARE = 0.5
"""Of the noise, in few channels of many."""


@dataclass(frozen=True)
class Cause:
    """A key for programs, and a sentence for people."""

    kind: str
    words: str


@dataclass(frozen=True)
class Sample:
    """One picture: what the float graph takes, what each operation made of it."""

    floats: Array
    traced: dict[str, Array]


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
        yield from _entries(atlas, layer.op, samples)
    yield from _ranges(layer.likeness)
    yield from _channels(layer.likeness)
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


def _entries(atlas: Atlas, op: Op, samples: Sequence[Sample]) -> Iterator[Cause]:
    """What is wrong with the range in which the CPU hands a layer its map."""
    entry = atlas.entry(op.id)
    if entry is None:
        return
    scale, bias = (entry.instruction.scalars[key] for key in ("scale", "bias"))  # type: ignore[union-attr]
    low, high = -bias / scale, (255 - bias) / scale
    sources = atlas.before(op.id)
    codes = [sample.traced[entry.id] for sample in samples]
    if len(sources) == 2:
        yield from _shared(atlas, sources, codes, (low, high))
    counts = _counted(codes)
    yield from _cut(counts, (low, high), _seen(atlas, sources), "its input")
    if (steps := steps_used(counts)) < FEW_STEPS:
        yield _wasted("its input", steps, (low, high))


def _counted(codes: Iterable[Array]) -> Array:
    """How often each byte occurs."""
    counts = np.zeros(256, np.int64)
    for each in codes:
        counts += np.bincount(each.ravel(), minlength=256)
    return counts


def _shared(
    atlas: Atlas,
    sources: Sequence[str],
    codes: Sequence[Array],
    limits: tuple[float, float],
) -> Iterator[Cause]:
    """Two operands in one range, of which one uses little."""
    half = codes[0].shape[1] // 2
    parts = slice(0, half), slice(half, None)
    steps = [steps_used(_counted(c[:, part] for c in codes)) for part in parts]
    if min(steps) < FEW_STEPS:
        quiet = sources[int(np.argmin(steps))]
        yield Cause(
            "shared range",
            f"its operands share the range {_span(limits)}, of which {quiet} "
            f"{_name(atlas, quiet)!r} uses {min(steps)} of 255 steps; scale the two "
            "branches alike, or calibrate without outliers",
        )


def _ranges(likeness: Likeness) -> Iterator[Cause]:
    limits = likeness.range
    if limits is None:
        return
    seen = likeness.low, likeness.high
    yield from _cut(likeness.codes, limits, seen, "its output")
    if likeness.steps < FEW_STEPS:
        yield _wasted("its output", likeness.steps, limits)


def _cut(
    counts: Any, limits: tuple[float, float], seen: tuple[float, float], what: str
) -> Iterator[Cause]:
    """Values beyond the range that calibration found."""
    reach = CUT_REACH * abs(limits[1] - limits[0])
    above = counts[255] / counts.sum() if seen[1] > max(limits) + reach else 0
    below = counts[0] / counts.sum() if seen[0] < min(limits) - reach else 0
    if (share := above + below) > CUT_SHARE:
        yield Cause(
            "calibration range",
            f"{share:.0%} of {what} lies at the ends of its range {_span(limits)} and "
            f"the float map reaches from {_span(seen)}: the table saturates, because "
            "the calibration pictures do not reach as far as these; calibrate with "
            "pictures like those the model will see",
        )


def _wasted(what: str, steps: int, limits: tuple[float, float]) -> Cause:
    return Cause(
        "wasted range",
        f"nearly all of {what} lies within {steps} of 255 steps of its range "
        f"{_span(limits)}: outliers among the calibration pictures have widened it",
    )


def _channels(likeness: Likeness) -> Iterator[Cause]:
    """Noise that few channels hold."""
    noises = likeness.noises(likeness.line)
    if len(noises) < 4 or not noises.sum():
        return
    loud = int(np.argmax(noises))
    share = noises[loud] / noises.sum()
    if share > LOUD_SHARE:
        yield Cause(
            "one channel",
            f"{share:.0%} of the noise is in channel {loud} of {len(noises)}: its "
            "batch norm or weights are wrong, or its values are far from the others'",
        )


def _seen(atlas: Atlas, sources: Sequence[str]) -> tuple[float, float]:
    """The least and the greatest value of what a layer works on."""
    likes = [each.likeness for each in atlas.layers() if each.op.id in sources]
    if not likes:
        return 0.0, 0.0
    return min(each.low for each in likes), max(each.high for each in likes)


def _name(atlas: Atlas, op_id: str) -> str:
    found = [each.tensor for each in atlas.layers() if each.op.id == op_id]
    return found[0] if found else "the model's input"


def _span(limits: tuple[float, float]) -> str:
    return f"{limits[0]:.3g} to {limits[1]:.3g}"
