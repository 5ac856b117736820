"""The CPU's operations in the host reference, against loops that say what they do."""

from collections.abc import Callable, Mapping
from math import ceil, floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from k210.errors import ModelError
from k210.kmodel import BinaryOp, Padding, PadMode, ReduceOp, ResizeMode, TensorOp
from k210.reference import elementwise, windows

Array = NDArray[Any]
F = np.float32
EVERYTHING = {"low": -np.inf, "high": np.inf}

small = st.integers(-3, 4)
seeds = st.integers(0, 2**32 - 1)


def made(
    bind: Callable[[TensorOp, list[Array], Array], Callable[[], None]],
    inputs: list[Array],
    shape: tuple[int, ...],
    dtype: Any = F,
    scalars: Mapping[str, float] | None = None,
    vectors: Mapping[str, tuple[int, ...]] | None = None,
    paddings: tuple[Padding, ...] = (),
) -> Array:
    """What an operation writes, into memory that held something else."""
    out = np.full(shape, 77, dtype)
    op = TensorOp(0, "", (), (), scalars or {}, vectors or {}, paddings)
    bind(op, inputs, out)()
    return out


def noise(seed: int, shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(seed).normal(0, 3, shape).astype(F)


# pad


@given(
    seeds,
    st.sampled_from(PadMode),
    st.lists(st.tuples(st.integers(4, 6), small, small), min_size=1, max_size=4),
)
def test_padding_adds_what_its_mode_says_and_crops_what_is_negative(
    seed: int, mode: PadMode, axes: list[tuple[int, int, int]]
) -> None:
    sizes, before, after = zip(*axes, strict=True)
    pads = list(zip(before, after, strict=True))
    shape = tuple(size + sum(pad) for size, pad in zip(sizes, pads, strict=True))
    if min(shape) < 1 or (mode == PadMode.REFLECT and max(*before, *after) > 3):
        return
    x = noise(seed, sizes)
    found = made(
        elementwise.pad,
        [x],
        shape,
        scalars={"mode": mode, "value": 1.5},
        paddings=tuple(Padding(*pad, 0) for pad in pads),
    )
    named: Any = mode.name.lower()
    more = {"constant_values": 1.5} if mode == PadMode.CONSTANT else {}
    grown = np.pad(x, [(max(0, a), max(0, b)) for a, b in pads], named, **more)
    ends = zip(grown.shape, pads, strict=True)
    cut = [slice(max(0, -a), n - max(0, -b)) for n, (a, b) in ends]
    assert np.array_equal(found, grown[tuple(cut)])


@given(st.integers(1, 5), small, small, st.integers(0, 3))
def test_padding_between_elements_spreads_them(
    size: int, before: int, after: int, between: int
) -> None:
    room = size + (size - 1) * between + before + after
    if room < 1:
        return
    expected = np.full(room, 9, np.uint8)
    for number in range(size):
        place = before + number * (between + 1)
        if 0 <= place < room:
            expected[place] = number
    found = made(
        elementwise.pad,
        [np.arange(size, dtype=np.uint8)],
        (room,),
        np.uint8,
        {"mode": PadMode.CONSTANT, "value": 9},
        paddings=(Padding(before, after, between),),
    )
    assert np.array_equal(found, expected)


# elementwise


@given(st.lists(st.floats(width=32), min_size=1, max_size=30))
def test_quantizing_rounds_halves_to_even_and_saturates(values: list[float]) -> None:
    x = np.array([*values, 0.5, 1.5, 2.5, 254.5, 255.5, -0.5], F)
    with np.errstate(all="ignore"):
        found = made(
            elementwise.quantize, [x], x.shape, np.uint8, {"scale": 1, "bias": 0}
        )
    for value, byte in zip(x.tolist(), found.tolist(), strict=True):
        if np.isnan(value):
            assert byte == 0
        else:
            assert byte == (round(value) if 0 <= value <= 255 else 255 * (value > 0))


@given(st.floats(-100, 100, width=32), st.floats(-100, 100, width=32))
def test_dequantizing_rounds_twice(scale: float, bias: float) -> None:
    x = np.arange(256, dtype=np.uint8)
    scalars = {"scale": scale, "bias": bias}
    found = made(elementwise.dequantize, [x], x.shape, scalars=scalars)
    expected = [F(F(byte) * F(scale)) + F(bias) for byte in range(256)]
    assert np.array_equal(found, np.array(expected, F))


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (BinaryOp.ADD, [3, 4, 5]),
        (BinaryOp.SUB, [-1, 0, 1]),
        (BinaryOp.MUL, [2, 4, 5]),
        (BinaryOp.DIV, [0.5, 1, 1.5]),
        (BinaryOp.MIN, [1, 2, 2]),
        (BinaryOp.MAX, [2, 2, 3]),
        (BinaryOp.POW, [1, 4, 5]),
    ],
)
def test_arithmetic_is_broadcast_and_clamped(
    op: BinaryOp, expected: list[float]
) -> None:
    a, b = np.array([[1], [2], [3]], F), np.array([2], F)
    scalars = {"op": op, "low": -1, "high": 5}
    found = made(elementwise.binary, [a, b], (3, 1), scalars=scalars)
    assert found[:, 0].tolist() == expected


def test_arithmetic_that_nncase_does_not_have_is_refused() -> None:
    scalars = {**EVERYTHING, "op": BinaryOp.FLOOR_MOD}
    with pytest.raises(ModelError, match="FLOOR_MOD"):
        made(elementwise.binary, [noise(0, (2,))] * 2, (2,), scalars=scalars)


@given(seeds, st.integers(-3, 2), st.floats(0.125, 3, width=32))
def test_a_softmax_sums_to_one_and_keeps_the_order(
    seed: int, axis: int, beta: float
) -> None:
    x = noise(seed, (2, 3, 5))
    scalars = {"axis": axis, "beta": beta}
    found = made(elementwise.softmax, [x], x.shape, scalars=scalars)
    assert np.allclose(found.sum(axis=axis), 1, atol=1e-6)
    assert np.array_equal(found.argmax(axis=axis), x.argmax(axis=axis))


@given(seeds, st.sampled_from(ReduceOp), st.sets(st.integers(0, 3), min_size=1))
def test_a_reduction_adds_up_one_by_one(
    seed: int, op: ReduceOp, axes: set[int]
) -> None:
    x = noise(seed, (2, 3, 4, 5))
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    scalars = {"op": op, "init": 0, "keep_dims": 1}
    vectors = {"axis": tuple(axes)}
    found = made(elementwise.reduce, [x], shape, scalars=scalars, vectors=vectors)
    expected: dict[tuple[int, ...], Any] = {}
    for index, value in np.ndenumerate(x):
        kept = tuple(0 if axis in axes else i for axis, i in enumerate(index))
        expected[kept] = _combined(op, expected.get(kept), value)
    count = F(x.size // len(expected))
    for kept, value in expected.items():
        assert found[kept] == (value / count if op == ReduceOp.MEAN else value)


def _combined(op: ReduceOp, before: Any, value: Any) -> Any:
    if before is None:
        return value
    if op == ReduceOp.MIN:
        return min(before, value)
    return max(before, value) if op == ReduceOp.MAX else F(before + value)


@given(seeds, st.permutations(range(4)))
def test_a_transposition_and_a_slice_move_the_elements(
    seed: int, perm: list[int]
) -> None:
    x = noise(seed, (2, 3, 4, 5))
    moved = made(
        elementwise.transpose,
        [x],
        tuple(x.shape[axis] for axis in perm),
        vectors={"perm": tuple(perm)},
    )
    assert np.array_equal(moved, x.transpose(perm))
    bounds = {"begins": (0, 1, 0, 1), "ends": (1, 3, 4, 5), "steps": (1, 1, 2, 3)}
    part = made(elementwise.slice_, [x], (1, 2, 2, 2), vectors=bounds)
    assert np.array_equal(part, x[0:1, 1:3, 0:4:2, 1:5:3])


# windows


@st.composite
def windowed(draw: st.DrawFn) -> tuple[dict[str, float], tuple[Padding, ...]]:
    """Strides, dilations, kernel and padding of both axes."""
    scalars: dict[str, float] = {}
    for axis in "hw":
        scalars[f"stride_{axis}"] = draw(st.integers(1, 3))
        scalars[f"dilation_{axis}"] = draw(st.integers(1, 2))
        scalars[f"filter_{axis}"] = draw(st.integers(1, 3))
    pads = st.tuples(st.integers(-1, 2), st.integers(-1, 2))
    return scalars, tuple(Padding(*draw(pads), 0) for _ in "hw")


def places(
    scalars: dict[str, float], padding: Padding, axis: str, size: int
) -> list[list[int]]:
    """For each window the positions of its taps; those outside are -1."""
    step, gap, taps = (
        int(scalars[f"{name}_{axis}"]) for name in ("stride", "dilation", "filter")
    )
    room = size + padding.before + padding.after - (taps - 1) * gap - 1
    starts = (number * step - padding.before for number in range(room // step + 1))
    looks = ([start + tap * gap for tap in range(taps)] for start in starts)
    return [[at if 0 <= at < size else -1 for at in look] for look in looks]


@given(seeds, windowed(), st.sampled_from([1, 2, 4]))
def test_a_convolution_adds_products_to_the_bias_in_order(
    seed: int, window: tuple[dict[str, float], tuple[Padding, ...]], groups: int
) -> None:
    scalars, paddings = window
    x, bias = noise(seed, (1, 4, 6, 7)), noise(seed + 1, (4,))
    taps = int(scalars["filter_h"]), int(scalars["filter_w"])
    weights = noise(seed + 2, (4, 4 // groups, *taps))
    rows = places(scalars, paddings[0], "h", 6)
    columns = places(scalars, paddings[1], "w", 7)
    expected = np.empty((1, 4, len(rows), len(columns)), F)
    for o, oy, ox in np.ndindex(*expected.shape[1:]):
        value = bias[o]
        for i, ky, kx in np.ndindex(*weights.shape[1:]):
            y, at = rows[oy][ky], columns[ox][kx]
            if min(y, at) >= 0:
                channel = o // (4 // groups) * (4 // groups) + i
                value = F(value + F(x[0, channel, y, at] * weights[o, i, ky, kx]))
        expected[0, o, oy, ox] = min(max(value, F(-4)), F(4))
    found = made(
        windows.conv2d,
        [x, weights, bias],
        expected.shape,
        scalars={**scalars, "groups": groups, "low": -4, "high": 4},
        paddings=paddings,
    )
    assert np.array_equal(found, expected)


@given(seeds, windowed(), st.sampled_from(ReduceOp))
def test_a_pooling_sees_only_what_is_in_the_map(
    seed: int, window: tuple[dict[str, float], tuple[Padding, ...]], op: ReduceOp
) -> None:
    scalars, paddings = window
    x = noise(seed, (1, 2, 6, 7))
    rows = places(scalars, paddings[0], "h", 6)
    columns = places(scalars, paddings[1], "w", 7)
    init = {ReduceOp.MIN: 99.0, ReduceOp.MAX: -99.0}.get(op, 0.0)
    shape = 1, 2, len(rows), len(columns)
    with np.errstate(invalid="ignore"):  # a window may see nothing
        found = made(
            windows.reduce_window2d,
            [x],
            shape,
            scalars={**scalars, **EVERYTHING, "op": op, "init": init},
            paddings=paddings,
        )
    for c, oy, ox in np.ndindex(*shape[1:]):
        seen = [x[0, c, y, at] for y in rows[oy] for at in columns[ox] if y >= 0 <= at]
        value: Any = F(init)
        for each in seen:
            value = _combined(op, value, each)
        if op == ReduceOp.MEAN and seen:
            value /= F(len(seen))
        assert found[0, c, oy, ox] == value or (op == ReduceOp.MEAN and not seen)


@given(
    seeds,
    st.sampled_from(ResizeMode),
    st.booleans(),
    st.booleans(),
    st.sampled_from([F, np.uint8]),
    st.tuples(*[st.integers(1, 9)] * 4),
)
def test_resizing_is_float_arithmetic_whatever_the_elements(
    seed: int,
    mode: ResizeMode,
    corners: bool,
    half: bool,
    dtype: Any,
    sizes: tuple[int, int, int, int],
) -> None:
    height, width, tall, wide = sizes
    x = np.abs(noise(seed, (1, 2, height, width)) * 20).astype(dtype)
    scalars = {"mode": mode, "align_corners": corners, "half_pixel": half}
    found = made(windows.resize_image, [x], (1, 2, tall, wide), dtype, scalars)
    for oy, ox in np.ndindex(tall, wide):
        y, at = _place(oy, height, tall, scalars), _place(ox, width, wide, scalars)
        if mode == ResizeMode.NEAREST:
            near = _nearest(y, height, scalars), _nearest(at, width, scalars)
            assert np.array_equal(found[0, :, oy, ox], x[0, :, near[0], near[1]])
        else:
            assert np.array_equal(found[0, :, oy, ox], _between(x[0], y, at))


def _place(number: int, size: int, out: int, scalars: dict[str, Any]) -> Any:
    """Where an output row lies among the input rows, in float32."""
    scale = F(size) / F(out)
    if scalars["align_corners"] and out > 1:
        scale = F(size - 1) / F(out - 1)
    if scalars["mode"] == ResizeMode.NEAREST:
        return (F(number) + F(0.5 if scalars["half_pixel"] else 0)) * scale
    return (
        (F(number) + F(0.5)) * scale - F(0.5)
        if scalars["half_pixel"]
        else F(number) * scale
    )


def _nearest(place: Any, size: int, scalars: dict[str, Any]) -> int:
    whole: int = floor(place + F(0.5)) if scalars["align_corners"] else floor(place)
    return min(whole, size - 1)


def _between(x: Array, y: Any, at: Any) -> Array:
    """Four pixels, each by how near it is."""
    last_y, last_x = x.shape[1] - 1, x.shape[2] - 1
    top, left = min(max(floor(y), 0), last_y), min(max(floor(at), 0), last_x)
    bottom, right = min(ceil(y), last_y), min(ceil(at), last_x)
    dy, dx = y - F(top), at - F(left)
    value = x[:, top, left] * ((F(1) - dy) * (F(1) - dx))
    value = value + x[:, bottom, left] * (dy * (F(1) - dx))
    value = value + x[:, top, right] * ((F(1) - dy) * dx)
    value = value + x[:, bottom, right] * (dy * dx)
    rounded: Array = (value + F(0.5 if x.dtype == np.uint8 else 0)).astype(x.dtype)
    return rounded


def test_elements_of_other_types_are_refused() -> None:
    doubles: list[Array] = [np.zeros(4)]
    for bind in (elementwise.quantize, elementwise.softmax, windows.resize_image):
        with pytest.raises(ModelError, match="float64"):
            made(bind, doubles, (4,))
