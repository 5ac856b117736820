"""What only silicon can settle, as questions: one KPU layer, one map, possible answers.

nncase's simulator leaves these open or may have them wrong; every answer is computed
with the arithmetic of `k210.kpu.plain`, changed in one place. The first one is the
simulator's, which the reference and the virtual board follow.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from k210.kmodel import ActivationTable, BatchNorm, Pool, Segment
from k210.kpu import Layer, plain
from k210.kpu.plain import Integers

Bytes = NDArray[np.uint8]
Compute = Callable[[Layer, Bytes], Bytes]

LEAST = -(2**35)
WIDE = 36
"""Bits of the accumulator and of what batch norm gives, as registers have them."""

SEED = 11


@dataclass(frozen=True)
class Probe:
    """A question to the chip.

    Attributes:
        name: a key.
        question: in words.
        layer: what is run.
        image: on what, u8 C×H×W.
        answers: words → the map that there is if they are true; the simulator's first.
        matters: what another answer than the simulator's means.
    """

    name: str
    question: str
    layer: Layer
    image: Bytes
    answers: Mapping[str, Bytes]
    matters: str


def probes() -> Iterator[Probe]:
    """All of them."""
    yield from _overflows()
    yield from _roundings()
    yield from _poolings()
    yield from _edges()


def _probe(
    name: str,
    question: str,
    layer: Layer,
    image: Bytes,
    answers: Mapping[str, Compute],
    matters: str,
) -> Probe:
    found = {words: compute(layer, image) for words, compute in answers.items()}
    return Probe(name, question, layer, image, found, matters)


# layers and maps


def _layer(
    segments: list[Segment] | None = None,
    norm: BatchNorm | None = None,
    weights: tuple[int, ...] = (129,),
    **more: int,
) -> Layer:
    """One channel in and out; by itself the identity."""
    chosen = {
        "kernel": 3 if len(weights) == 9 else 1,
        "pool": 0,
        "pad_value": 0,
        "arg_x": -128,
        "shr_x": 0,
        "arg_w": 0,
        "shr_w": 0,
        "arg_add": 0,
        **more,
    }
    entries = segments or [Segment(0, 2**14, 14, 0)]
    first = Segment(LEAST, 0, 0, 0)
    filled = [first, *entries, *(entries[-1:] * (15 - len(entries)))]
    return Layer(
        depthwise=False,
        weights=np.array(weights, np.uint8),
        batch_norm=np.frombuffer((norm or BatchNorm(1, 0, 0)).pack(), np.uint8),
        activation=np.frombuffer(ActivationTable(tuple(filled)).pack(), np.uint8),
        **chosen,
    )


def _ramp() -> Bytes:
    """Every byte once, 1×16×16."""
    return np.arange(256, dtype=np.uint8).reshape(1, 16, 16)


def _noise(height: int, width: int) -> Bytes:
    rng = np.random.default_rng(SEED)
    return rng.integers(1, 256, (1, height, width), np.uint8)


# beyond the width of the registers


def _wrapped(values: Integers) -> Integers:
    span = 1 << WIDE
    wrapped: Integers = (values + span // 2) % span - span // 2
    return wrapped


def _saturated(values: Integers) -> Integers:
    return np.clip(values, LEAST, -LEAST - 1)


def _unbounded(values: Integers) -> Integers:
    return values


LIMITS: Mapping[str, Callable[[Integers], Integers]] = {
    "is kept whole": _unbounded,
    "saturates at 36 bits": _saturated,
    "wraps at 36 bits": _wrapped,
}


def _overflows() -> Iterator[Probe]:
    steps = [Segment(2**bits, 0, 0, 8 * (bits - 18)) for bits in range(19, 33)]
    yield _probe(
        "accumulator",
        "a sum beyond 36 bits",
        _layer(steps, BatchNorm(2**12, 0, 15), arg_add=2**35 - 2**14, weights=(255,)),
        _ramp(),
        {words: _limited(limit, _unbounded) for words, limit in LIMITS.items()},
        "layers of large sums overflow on the chip; nncase's models stay 2^16 times "
        "below, so that no accuracy depends on it",
    )
    top = -LEAST - 1
    high = [Segment(top - (14 - n) * 2**25, 0, 0, 16 * n + 16) for n in range(15)]
    yield _probe(
        "batch_norm",
        "a batch norm beyond 36 bits",
        _layer(high, BatchNorm(2**22, 0, 0), arg_add=2**13 - 128),
        _ramp(),
        {words: _limited(_unbounded, limit) for words, limit in LIMITS.items()},
        "models whose batch norm comes near 2^35 lose accuracy on the chip; the "
        "largest that was seen is 2^33",
    )


def _limited(
    sums: Callable[[Integers], Integers], norms: Callable[[Integers], Integers]
) -> Compute:
    def compute(layer: Layer, image: Bytes) -> Bytes:
        acc = sums(plain.accumulated(layer, image))
        return plain.activated(layer, norms(plain.batch_normed(layer, acc)))

    return compute


# rounding


def _floor(product: Integers, shift: int) -> Integers:
    return product >> shift


def _to_zero(product: Integers, shift: int) -> Integers:
    cut: Integers = np.sign(product) * (np.abs(product) >> shift)
    return cut


def _to_even(product: Integers, shift: int) -> Integers:
    return np.rint(product / (1 << shift)).astype(np.int64)


def _half_up(product: Integers, shift: int) -> Integers:
    return (product + (1 << shift >> 1)) >> shift


def _half_away(product: Integers, shift: int) -> Integers:
    away: Integers = np.sign(product) * _half_up(np.abs(product), shift)
    return away


ROUNDINGS = {
    "is rounded down": _floor,
    "is cut towards zero": _to_zero,
    "is rounded to nearest, ties to even": _to_even,
    "is rounded to nearest, ties up": _half_up,
    "is rounded to nearest, ties away from zero": _half_away,
}


RISING = (
    "is rounded to nearest, ties to even",
    "is rounded down",
    "is rounded to nearest, ties up",
)
"""Of those, what differs where products are positive; the simulator's first."""

QUIRK = "is rounded down by one where it should go up"
"""What the simulator does with a negative product."""


def _roundings() -> Iterator[Probe]:
    yield _probe(
        "rising_segment",
        "a product of a rising segment between two steps",
        _layer([Segment(-1, 3, 3, 0)]),
        _ramp(),
        {words: _rounding(ROUNDINGS[words]) for words in RISING},
        "outputs differ by one step of 255",
    )
    yield _probe(
        "falling_segment",
        "a product of a falling segment between two steps",
        _layer([Segment(-1, -3, 3, 128)]),
        _ramp(),
        {QUIRK: plain.run, **{w: _rounding(way) for w, way in ROUNDINGS.items()}},
        "outputs differ by one step of 255 where a table falls (swish, hard-swish)",
    )
    yield _probe(
        "batch_norm_shift",
        "a negative product of a batch norm between two steps",
        _layer(norm=BatchNorm(-5, 200, 3)),
        _ramp(),
        {
            words: _normed(ROUNDINGS[words])
            for words in (
                "is rounded down",
                "is cut towards zero",
                "is rounded to nearest, ties to even",
            )
        },
        "next to nothing: sums are many bits wider than the steps of a table",
    )
    boundary = [Segment(16 * n, 0, 0, 16 * n) for n in range(1, 15)]
    yield _probe(
        "segment_start",
        "a value at the start of a segment",
        _layer(boundary),
        _ramp(),
        {
            "belongs to the one before": plain.run,
            "belongs to that segment": lambda layer, image: plain.activated(
                layer,
                plain.batch_normed(layer, plain.accumulated(layer, image)),
                strict=False,
            ),
        },
        "nothing but for tables that jump, which the compile stage refuses",
    )


def _rounding(way: plain.Rounding) -> Compute:
    def compute(layer: Layer, image: Bytes) -> Bytes:
        y = plain.batch_normed(layer, plain.accumulated(layer, image))
        return plain.activated(layer, y, way)

    return compute


def _normed(way: plain.Rounding) -> Compute:
    def compute(layer: Layer, image: Bytes) -> Bytes:
        norm = BatchNorm.unpack(layer.batch_norm.tobytes())
        acc = plain.accumulated(layer, image)
        return plain.activated(layer, way(acc * norm.mul, norm.shift) + norm.add)

    return compute


# pooling


def _poolings() -> Iterator[Probe]:
    for pool, side in ((Pool.MEAN_2_S2, 2), (Pool.MEAN_4_S4, 4)):
        yield _probe(
            f"mean_{side}",
            f"a mean of {side}×{side} pixels between two steps",
            _layer(pool=int(pool)),
            _noise(16, 16),
            {
                "is rounded down": plain.run,
                "is rounded to nearest, ties up": _mean(side, 0.5),
                "is rounded up": _mean(side, 1 - 1 / side**2),
            },
            "average poolings on the KPU are half a step larger than the simulator's",
        )
    for pool, at in ((Pool.LEFT_TOP_2_S2, 0), (Pool.RIGHT_TOP_2_S2, 1)):
        places = {
            "the upper left": (0, 0),
            "the upper right": (0, 1),
            "the lower left": (1, 0),
            "the lower right": (1, 1),
        }
        words = list(places)
        order = [words[at], *(each for each in words if each != words[at])]
        yield _probe(
            f"select_{'right' if at else 'left'}_odd",
            f"which of 2×2 pixels of an odd map pooling {int(pool)} takes",
            _layer(pool=int(pool)),
            _noise(9, 9),
            {each: _selected(*places[each]) for each in order},
            "strided convolutions on odd maps are shifted by a pixel on the chip; use "
            "an even data.size",
        )


def _mean(side: int, more: float) -> Compute:
    def compute(layer: Layer, image: Bytes) -> Bytes:
        full = plain.run(replace(layer, pool=0), image)
        _, height, width = full.shape
        tall, wide = height // side, width // side
        blocks = full[:, : tall * side, : wide * side].reshape(
            1, tall, side, wide, side
        )
        means: Bytes = np.floor(blocks.mean((2, 4)) + more).astype(np.uint8)
        return means

    return compute


def _selected(row: int, column: int) -> Compute:
    def compute(layer: Layer, image: Bytes) -> Bytes:
        full = plain.run(replace(layer, pool=0), image)
        return full[:, row : row // 2 * 2 + 8 : 2, column : column // 2 * 2 + 8 : 2]

    return compute


# edges


def _edges() -> Iterator[Probe]:
    yield _probe(
        "mean_2_by_1",
        "a mean of 2×2 pixels, stride 1, at the edge",
        _layer(pool=int(Pool.MEAN_2_S1)),
        _noise(16, 16),
        {
            "repeats the edge": plain.run,
            "takes zeros from outside": _sliding(0),
            "takes 255 from outside": _sliding(255),
        },
        "the last row and column of such poolings differ; the pipeline uses none",
    )
    around = (129, 130, 131, 132, 128, 133, 134, 135, 136)
    for width in (16, 17):
        yield _probe(
            f"border_{width}",
            f"a 3×3 kernel at the border of a map of {width} columns",
            _layer(weights=around, norm=BatchNorm(1, 0, 6), pad_value=77, arg_x=-128),
            _noise(8, width),
            {
                "sees the pad value": plain.run,
                "sees zeros": lambda layer, image: plain.run(
                    replace(layer, pad_value=0), image
                ),
                "sees the edge again": _edged,
            },
            "padded convolutions differ at every border: the whole model is off",
        )


def _sliding(outside: int) -> Compute:
    def compute(layer: Layer, image: Bytes) -> Bytes:
        full = plain.run(replace(layer, pool=0), image).astype(np.int64)
        edged = np.pad(full, ((0, 0), (0, 1), (0, 1)), constant_values=outside)
        corners = edged[:, :-1, :-1], edged[:, :-1, 1:], edged[:, 1:, :-1]
        windows = np.stack([*corners, edged[:, 1:, 1:]])
        means: Bytes = (windows.sum(0) // 4).astype(np.uint8)
        return means

    return compute


def _edged(layer: Layer, image: Bytes) -> Bytes:
    larger = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")
    return plain.run(layer, larger)[:, 1:-1, 1:-1]
