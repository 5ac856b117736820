"""Which tensors an operation of the stackvm module touches, and their shapes.

Only the input shape is in the file; the output shape follows from the operands the
way nncase 1.9's kernels compute it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from k210.kmodel.buffers import DType, Shape
from k210.kmodel.tensor_ops import Padding, PadMode

LUT_LENGTH = 256
"""Entries of a table that is looked up by bytes."""


@dataclass(slots=True)
class Operands:
    """Everything one tensor instruction carries, by name."""

    scalars: dict[str, float]
    vectors: dict[str, tuple[int, ...]]
    paddings: tuple[Padding, ...]
    dtypes: dict[str, DType]

    def number(self, name: str) -> int:
        """An integer immediate or operand."""
        return int(self.scalars[name])


@dataclass(frozen=True, slots=True)
class View:
    """One tensor of an operation: the names of its address and strides, and its type.

    `strides` None means dense.
    """

    address: str
    strides: str | None
    shape: Shape
    dtype: DType


Views = tuple[list[View], View]


class ShapeError(ValueError):
    """The operands of a tensor operation contradict each other."""


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ShapeError(problem)


def _one_to_one(shape_of: Callable[[Operands], Shape]) -> Callable[[Operands], Views]:
    """Operations with one input `in` and one output `out` of a computed shape."""

    def views(op: Operands) -> Views:
        source = op.dtypes["dtype" if "dtype" in op.dtypes else "in_dtype"]
        target = op.dtypes["dtype" if "dtype" in op.dtypes else "out_dtype"]
        read = View("in", "in_strides", op.vectors["shape"], source)
        return [read], View("out", "out_strides", shape_of(op), target)

    return views


def _same(op: Operands) -> Shape:
    return op.vectors["shape"]


def _softmax(op: Operands) -> Shape:
    shape = op.vectors["shape"]
    _require(-len(shape) <= op.number("axis") < len(shape), "axis is not a dimension")
    return shape


def _pad(op: Operands) -> Shape:
    shape = op.vectors["shape"]
    _require(len(op.paddings) == len(shape), "paddings and shape differ in rank")
    _require(all(pad.interior >= 0 for pad in op.paddings), "interior is negative")
    mode = PadMode(op.number("mode"))
    if mode != PadMode.CONSTANT:
        interior = any(pad.interior for pad in op.paddings)
        _require(not interior, "only a constant goes between elements")
    for dim, pad in zip(shape, op.paddings, strict=True):
        most = max(pad.before, pad.after)
        _require(most <= _reach(mode, dim), f"it mirrors {most} of {dim} elements")
    return tuple(
        dim + pad.before + pad.after + (dim - 1) * pad.interior
        for dim, pad in zip(shape, op.paddings, strict=True)
    )


def _reach(mode: PadMode, dim: int) -> float:
    """How many elements before and after those of a dimension a padding can fill."""
    return {PadMode.REFLECT: dim - 1, PadMode.SYMMETRIC: dim}.get(mode, math.inf)


def _reduce(op: Operands) -> Shape:
    shape, axes = op.vectors["shape"], op.vectors["axis"]
    _require(
        all(0 <= axis < len(shape) for axis in axes) and len(set(axes)) == len(axes),
        "axes are not distinct dimensions",
    )
    if op.scalars["keep_dims"]:
        return tuple(1 if axis in axes else dim for axis, dim in enumerate(shape))
    return tuple(dim for axis, dim in enumerate(shape) if axis not in axes) or (1,)


def _slice(op: Operands) -> Shape:
    shape = op.vectors["shape"]
    begins, ends = op.vectors["begins"], op.vectors["ends"]
    steps = op.vectors["steps"]
    _require(
        len(begins) == len(ends) == len(steps) == len(shape), "bounds differ in rank"
    )
    bounds = list(zip(shape, begins, ends, steps, strict=True))
    _require(
        all(0 <= begin < end <= dim and step > 0 for dim, begin, end, step in bounds),
        "bounds lie outside the input",
    )
    return tuple(-(-(end - begin) // step) for _, begin, end, step in bounds)


def _transpose(op: Operands) -> Shape:
    shape, perm = op.vectors["shape"], op.vectors["perm"]
    _require(sorted(perm) == list(range(len(shape))), "perm is not a permutation")
    return tuple(shape[axis] for axis in perm)


def _resize(op: Operands) -> Shape:
    shape = op.vectors["shape"]
    _require(len(shape) == 4, "an image has four dimensions")
    return (*shape[:2], op.number("out_h"), op.number("out_w"))


def _windowed(op: Operands, shape: Shape, kernel: tuple[int, int]) -> tuple[int, int]:
    """Height and width that a sliding window leaves of an NCHW shape."""
    _require(len(shape) == 4, "a windowed operation needs four dimensions")
    _require(all(pad.interior == 0 for pad in op.paddings), "interior padding")
    sizes = []
    for axis, name in enumerate(("h", "w")):
        stride, dilation = op.number(f"stride_{name}"), op.number(f"dilation_{name}")
        _require(stride > 0 and dilation > 0, "stride or dilation is 0")
        pad = op.paddings[axis]
        room = shape[2 + axis] + pad.before + pad.after
        sizes.append((room - (kernel[axis] - 1) * dilation - 1) // stride + 1)
    return sizes[0], sizes[1]


def _reduce_window(op: Operands) -> Shape:
    shape = op.vectors["shape"]
    kernel = op.number("filter_h"), op.number("filter_w")
    _require(min(kernel) > 0, "an empty window")
    return (*shape[:2], *_windowed(op, shape, kernel))


def _conv2d(op: Operands) -> Views:
    shape, kernel = op.vectors["shape"], op.vectors["kernel"]
    dtype = op.dtypes["dtype"]
    _require(len(kernel) == 4, "a kernel has four dimensions")
    height, width = _windowed(op, shape, (kernel[2], kernel[3]))
    groups = op.number("groups")
    _require(
        groups > 0 and shape[1] == groups * kernel[1] and kernel[0] % groups == 0,
        "channels, kernel and groups do not match",
    )
    inputs = [
        View("in", "in_strides", shape, dtype),
        View("weights", "kernel_strides", kernel, dtype),
        View("bias", "bias_strides", kernel[:1], dtype),
    ]
    out = (shape[0], kernel[0], height, width)
    return inputs, View("out", "out_strides", out, dtype)


def _binary(op: Operands) -> Views:
    a, b, out = (op.vectors[name] for name in ("a_shape", "b_shape", "out_shape"))
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)
    joined = tuple(x if y == 1 else y if x in (1, y) else 0 for x, y in pairs)
    _require(joined == out, "shapes do not broadcast to the output")
    dtype = op.dtypes["dtype"]
    inputs = [View("a", "a_strides", a, dtype), View("b", "b_strides", b, dtype)]
    return inputs, View("out", "out_strides", out, dtype)


def _lut1d(op: Operands) -> Views:
    inputs, out = _one_to_one(_same)(op)
    length = op.number("table_len")
    _require(length == LUT_LENGTH, f"its table has {length} entries, not {LUT_LENGTH}")
    table = View("table", None, (length,), out.dtype)
    return [*inputs, table], out


_TOUCHED: Mapping[str, Callable[[Operands], Views]] = {
    "binary": _binary,
    "conv2d": _conv2d,
    "copy": _one_to_one(_same),
    "dequantize": _one_to_one(_same),
    "lut1d": _lut1d,
    "pad": _one_to_one(_pad),
    "quantize": _one_to_one(_same),
    "reduce": _one_to_one(_reduce),
    "reduce_window2d": _one_to_one(_reduce_window),
    "resize_image": _one_to_one(_resize),
    "slice": _one_to_one(_slice),
    "softmax": _one_to_one(_softmax),
    "transpose": _one_to_one(_transpose),
}


def touched(kind: str, operands: Operands) -> Views:
    """What an operation reads, and what it writes.

    Raises ShapeError if its operands contradict each other.
    """
    return _TOUCHED[kind](operands)
