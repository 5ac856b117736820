"""What may be wrong with the ranges that bytes stand for: cut, wasted or shared."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210.kmodel import Op
from stages.check.cause import Cause, Sample
from stages.check.likeness import Likeness, steps_used
from stages.check.maps import Atlas, Layer

Array = NDArray[Any]

CUT_SHARE, CUT_REACH = 0.01, 0.05
"""Of values at an end of the range, and of the range that the float map exceeds it."""

FEW_STEPS = 48
"""Of 255: a map that nearly fits into so few is badly resolved."""

LOUD_SHARE = 0.5
"""Of the noise, in few channels of many."""

QUIET, MANY = 0.04, 0.25
"""Of a range, what a channel uses that is hardly resolved; of channels, how many."""


def of_input(atlas: Atlas, op: Op, samples: Sequence[Sample]) -> Iterator[Cause]:
    """What is wrong with the range in which a KPU layer gets its map."""
    yield from _entered(atlas, op, samples)
    for source in atlas.before(op.id):
        found = atlas.ops.get(source)
        if found is not None and len(atlas.before(source)) == 2:
            yield from _entered(atlas, found, samples, shared_only=True)
    for layer in atlas.layers():
        if layer.op.id in atlas.before(op.id):
            yield from _uneven(layer)


def _entered(
    atlas: Atlas, op: Op, samples: Sequence[Sample], shared_only: bool = False
) -> Iterator[Cause]:
    """The range in which the CPU hands a layer its map, if it does."""
    entry = atlas.entry(op.id)
    if entry is None:
        return
    scale, bias = (entry.instruction.scalars[key] for key in ("scale", "bias"))  # type: ignore[union-attr]
    low, high = -bias / scale, (255 - bias) / scale
    sources = atlas.before(op.id)
    codes = [sample.traced[entry.id] for sample in samples]
    if len(sources) == 2:
        yield from _shared(atlas, sources, codes, (low, high))
    if shared_only:
        return
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


def of_output(likeness: Likeness) -> Iterator[Cause]:
    """What is wrong with the range that a layer's table maps to."""
    limits = likeness.range
    if limits is not None:
        seen = likeness.low, likeness.high
        yield from _cut(likeness.codes, limits, seen, "its output")
        if likeness.steps < FEW_STEPS:
            yield _wasted("its output", likeness.steps, limits)
    yield from _channels(likeness)


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


def _uneven(layer: Layer) -> Iterator[Cause]:
    """Channels of one map that are far smaller than others."""
    likeness = layer.likeness
    spans = likeness.highs - likeness.lows
    quiet = (spans > 0) & (spans < QUIET * (likeness.high - likeness.low))
    if likeness.range is not None and quiet.sum() >= MANY * len(spans):
        yield Cause(
            "uneven channels",
            f"{int(quiet.sum())} of the {len(spans)} channels of {layer.op.id} "
            f"{layer.tensor!r}, which it reads, use less than {QUIET:.0%} of the range "
            "that all share; equalize the channels, or train with batch norm",
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
