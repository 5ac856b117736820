"""Operations of the CPU in which each output element depends on few input elements."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from k210.kmodel import BinaryOp, PadMode, ReduceOp, TensorOp
from k210.reference.arrays import Array, Step, clamped, require, require_type

_BINARY: dict[int, Callable[[Array, Array], Array]] = {
    BinaryOp.ADD: operator.add,
    BinaryOp.SUB: operator.sub,
    BinaryOp.MUL: operator.mul,
    BinaryOp.DIV: operator.truediv,
    BinaryOp.MIN: np.minimum,
    BinaryOp.MAX: np.maximum,
    BinaryOp.POW: np.power,
}


def copy(op: TensorOp, inputs: list[Array], out: Array) -> Step:
    """The same elements elsewhere."""
    (source,) = inputs
    return lambda: np.copyto(out, source)


def transpose(op: TensorOp, inputs: list[Array], out: Array) -> Step:
    """Axes in another order: output axis i is input axis perm[i]."""
    source = inputs[0].transpose(op.vectors["perm"])
    return lambda: np.copyto(out, source)


def slice_(op: TensorOp, inputs: list[Array], out: Array) -> Step:
    """Every step-th element from begin to end of each axis."""
    bounds = (op.vectors[name] for name in ("begins", "ends", "steps"))
    source = inputs[0][tuple(slice(*each) for each in zip(*bounds, strict=True))]
    return lambda: np.copyto(out, source)


def dequantize(op: TensorOp, inputs: list[Array], out: Array) -> Step:
    """x · scale + bias as float32, rounded after each of the two."""
    (source,) = inputs
    require(source.dtype in (np.uint8, np.int8), f"it reads {source.dtype}")
    require_type(np.float32, out)
    scale, bias = np.float32(op.scalars["scale"]), np.float32(op.scalars["bias"])
    first = np.iinfo(source.dtype).min
    codes = np.arange(first, first + 256).astype(np.float32)
    table = codes * scale + bias
    return lambda: np.copyto(out, table[source.astype(np.intp) - first])


def quantize(op: TensorOp, inputs: list[Array], out: Array) -> Step:
    """x · scale + bias to the nearest integer, ties to even, within its type's range.

    What is not a number becomes the least one, as on x86.
    """
    (source,) = inputs
    require_type(np.float32, source)
    require(out.dtype in (np.uint8, np.int8), f"it writes {out.dtype}")
    scale, bias = np.float32(op.scalars["scale"]), np.float32(op.scalars["bias"])
    low, high = (np.float32(end) for end in _range_of(out))

    def run() -> None:
        values = source * scale
        values += bias
        np.rint(values, out=values)
        np.fmin(np.fmax(values, low, out=values), high, out=values)
        np.copyto(out, values, casting="unsafe")

    return run


def _range_of(array: Array) -> tuple[int, int]:
    bounds = np.iinfo(array.dtype)
    return bounds.min, bounds.max


def lut1d(op: TensorOp, inputs: list[Array], out: Array) -> Step:
    """A table of 256 bytes, looked up by each byte."""
    source, table = inputs
    require_type(np.uint8, source, out)
    return lambda: np.copyto(out, table[source])


def binary(op: TensorOp, inputs: list[Array], out: Array) -> Step:
    """Arithmetic between two tensors, broadcast as numpy does, then clamped."""
    a, b = inputs
    require_type(np.float32, a, b, out)
    kind = BinaryOp(int(op.scalars["op"]))
    require(kind in _BINARY, f"it is {kind.name}")
    compute = _BINARY[kind]
    low, high = np.float32(op.scalars["low"]), np.float32(op.scalars["high"])
    return lambda: np.copyto(out, clamped(compute(a, b), low, high))


def softmax(op: TensorOp, inputs: list[Array], out: Array) -> Step:
    """exp((x − max) · beta) over its sum, which is added up one by one."""
    (source,) = inputs
    require_type(np.float32, source, out)
    axis, beta = int(op.scalars["axis"]), np.float32(op.scalars["beta"])

    def run() -> None:
        shifted = (source - source.max(axis=axis, keepdims=True)) * beta
        powers = np.exp(shifted.astype(np.float64)).astype(np.float32)
        sums = np.add.accumulate(powers, axis=axis).take([-1], axis=axis)
        np.copyto(out, powers / sums)

    return run


def reduce(op: TensorOp, inputs: list[Array], out: Array) -> Step:
    """Mean, sum, minimum or maximum over some axes; sums are added up one by one."""
    (source,) = inputs
    require_type(np.float32, source, out)
    axes = op.vectors["axis"]
    kept = [axis for axis in range(source.ndim) if axis not in axes]
    ordered = source.transpose(*kept, *sorted(axes))
    shape = tuple(source.shape[axis] for axis in kept)
    kind, init = int(op.scalars["op"]), np.float32(op.scalars["init"])
    count = np.float32(source.size // max(1, int(np.prod(shape))))

    def run() -> None:
        rows = ordered.reshape(*shape, -1)
        if kind == ReduceOp.MIN:
            found = rows.min(axis=-1)
        elif kind == ReduceOp.MAX:
            found = rows.max(axis=-1)
        else:
            first = np.full((*shape, 1), init, np.float32)
            both = np.concatenate([first, rows], axis=-1)
            found = np.add.accumulate(both, axis=-1)[..., -1]
        if kind == ReduceOp.MEAN:
            found = found / count
        np.copyto(out, found.reshape(out.shape))

    return run


def pad(op: TensorOp, inputs: list[Array], out: Array) -> Step:
    """Elements added before, after and between; negative ones crop."""
    (source,) = inputs
    mode, pads = PadMode(int(op.scalars["mode"])), op.paddings
    if mode == PadMode.CONSTANT:
        return _padded_by_value(op, source, out)
    indices = []
    for axis, each in enumerate(pads):
        index = _mirrored(np.arange(out.shape[axis]) - each.before, source, axis, mode)
        indices.append(index)
    return lambda: np.copyto(out, source[np.ix_(*indices)])


def _mirrored(index: Array, source: Array, axis: int, mode: PadMode) -> Array:
    """Which input elements lie at these places, those outside being repeated."""
    last = source.shape[axis] - 1
    if mode == PadMode.EDGE:
        return index.clip(0, last)
    itself = mode == PadMode.REFLECT  # is not repeated
    before = -index - (0 if itself else 1)
    after = 2 * last - index + (0 if itself else 1)
    return np.where(index < 0, before, np.where(index > last, after, index))


def _as_element(value: float, dtype: np.dtype[Any]) -> Array:
    """A number as an element; of an integer too large the low bits."""
    whole = np.issubdtype(dtype, np.integer)
    return np.array(int(value) if whole else value).astype(dtype)


def _padded_by_value(op: TensorOp, source: Array, out: Array) -> Step:
    value = _as_element(op.scalars["value"], out.dtype)
    into, taken = [], []
    for size, room, each in zip(source.shape, out.shape, op.paddings, strict=True):
        step = each.interior + 1
        first = max(0, -(each.before // step)) if each.before < 0 else 0
        end = max(first, min(size, -(-(room - each.before) // step)))
        start = each.before + first * step
        taken.append(slice(first, end))
        into.append(slice(start, start + (end - first) * step, step))
    where, what = out[tuple(into)], source[tuple(taken)]

    def run() -> None:
        kept = what.copy()
        out.fill(value)
        np.copyto(where, kept)

    return run
