"""Each operation of the CPU with random operands: the runtime against the reference."""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from native_runtime import LoadedModel
from stackvm import (
    F32,
    INPUT,
    OUTPUT,
    U8,
    Code,
    Port,
    ints,
    kmodel,
    lea,
    paddings,
    push,
    real,
    tensor,
)

from k210.kmodel import DType, KmodelError, ResizeMode, parse
from k210.reference import Reference

Shape = tuple[int, ...]
Draw = Callable[[st.SearchStrategy[Any]], Any]

SHAPE, IN_STRIDES, OUT_STRIDES, OTHER, OTHER_STRIDES, THIRD = range(6)
ROOM = 1 << 16
"""Bytes of the input and of the output, more than any operation here touches."""

SECOND = ROOM // 2
"""Where in the input a second operand begins."""

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=5).map(tuple)
images = st.tuples(
    *(st.integers(1, 2), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
)
numbers = st.floats(-4, 4, width=32)


def loose_strides(draw: Draw, shape: Shape) -> Shape:
    """Strides of a tensor of this shape, in elements, with gaps between some."""
    room = [dim + draw(st.sampled_from((0, 0, 1, 3))) for dim in shape]
    assume(4 * math.prod(room) <= SECOND)
    return tuple(math.prod(room[axis + 1 :]) for axis in range(len(shape)))


@dataclass(frozen=True)
class Program:
    """Code of one operation from the input to the output."""

    text: bytes
    types: tuple[int, int] = (F32, F32)

    def model(self) -> bytes:
        ports = []
        for number in self.types:
            count = ROOM // DType(number).itemsize
            ports.append((Port(number, (count,)),))
        return kmodel(Code(ports[0], ports[1], self.text), bytes(8), 8)


def in_and_out(
    draw: Draw, shape: Shape, out: Shape, *, registers: bytes = b""
) -> bytes:
    """Fill the registers of an operation with one input; push its addresses."""
    filled = ints(SHAPE, *shape) + ints(IN_STRIDES, *loose_strides(draw, shape))
    filled += ints(OUT_STRIDES, *loose_strides(draw, out))
    return filled + registers + lea(INPUT) + lea(OUTPUT)


def immediates(*more: int) -> bytes:
    return bytes([SHAPE, IN_STRIDES, OUT_STRIDES, *more])


def copy(draw: Draw) -> Program:
    number = draw(st.sampled_from((U8, F32)))
    shape = draw(shapes)
    text = in_and_out(draw, shape, shape)
    return Program(text + tensor(0x09, bytes([number]) + immediates()), (number,) * 2)


def transpose(draw: Draw) -> Program:
    shape = draw(shapes)
    perm = draw(st.permutations(range(len(shape))))
    out = tuple(shape[axis] for axis in perm)
    text = in_and_out(draw, shape, out, registers=ints(OTHER, *perm))
    return Program(text + tensor(0x24, bytes([F32]) + immediates(OTHER)))


def slice_(draw: Draw) -> Program:
    shape = draw(shapes)
    bounds = []
    for dim in shape:
        begin = draw(st.integers(0, dim - 1))
        bounds.append(
            (begin, draw(st.integers(begin + 1, dim)), draw(st.integers(1, 3)))
        )
    out = tuple(-(-(end - begin) // step) for begin, end, step in bounds)
    begins, ends, steps = zip(*bounds, strict=True)
    registers = ints(OTHER, *begins) + ints(OTHER_STRIDES, *ends) + ints(THIRD, *steps)
    text = in_and_out(draw, shape, out, registers=registers)
    code = bytes([F32]) + immediates(OTHER, OTHER_STRIDES, THIRD)
    return Program(text + tensor(0x1E, code))


def pad(draw: Draw) -> Program:
    number = draw(st.sampled_from((U8, F32)))
    shape, mode = draw(shapes), draw(st.integers(0, 3))
    pads, out = [], []
    for dim in shape:
        most = {0: 4, 1: dim - 1, 2: dim, 3: 4}[mode]
        before, after = (draw(st.integers(-3, most)) for _ in range(2))
        interior = draw(st.sampled_from((0, 0, 0, 2))) if mode == 0 else 0
        pads.append((before, after, interior))
        out.append(dim + before + after + (dim - 1) * interior)
    assume(min(out) > 0)
    value = push(7) if number == U8 else real(draw(numbers))
    text = in_and_out(draw, shape, tuple(out), registers=paddings(0, *pads)) + value
    code = bytes([number]) + immediates(0, mode)
    return Program(text + tensor(0x13, code), (number,) * 2)


def quantize(draw: Draw) -> Program:
    shape = draw(st.one_of(shapes, st.just((3, 1000))))
    number = draw(st.sampled_from((U8, int(DType.I8))))
    text = in_and_out(draw, shape, shape) + real(draw(st.floats(1, 90, width=32)))
    text += push(0) if draw(st.booleans()) else real(draw(numbers))
    return Program(text + tensor(0x14, bytes([F32, number]) + immediates()), (F32, U8))


def dequantize(draw: Draw) -> Program:
    shape = draw(shapes)
    number = draw(st.sampled_from((U8, int(DType.I8))))
    text = in_and_out(draw, shape, shape) + real(draw(numbers), draw(numbers))
    return Program(text + tensor(0x0B, bytes([number, F32]) + immediates()), (U8, F32))


def lut1d(draw: Draw) -> Program:
    shape = draw(shapes)
    text = in_and_out(draw, shape, shape)
    text = text[: -len(lea(OUTPUT))] + lea(INPUT, SECOND) + lea(OUTPUT) + push(0, 255)
    code = bytes([U8]) + immediates() + struct.pack("<H", 256)
    return Program(text + tensor(0x10, code), (U8, U8))


def reduce(draw: Draw) -> Program:
    shape, kind = draw(shapes), draw(st.integers(0, 3))
    axes = draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))
    keep = draw(st.booleans())
    kept = [1 if axis in axes else dim for axis, dim in enumerate(shape)]
    if not keep:
        kept = [dim for axis, dim in enumerate(shape) if axis not in axes] or [1]
    text = in_and_out(draw, shape, tuple(kept), registers=ints(OTHER, *sorted(axes)))
    code = bytes([F32]) + immediates(kind, OTHER, keep)
    return Program(text + real(draw(numbers)) + tensor(0x17, code))


def softmax(draw: Draw) -> Program:
    shape = draw(shapes)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    code = bytes([F32]) + immediates() + struct.pack("<if", axis, draw(numbers))
    return Program(in_and_out(draw, shape, shape) + tensor(0x1F, code))


def binary(draw: Draw) -> Program:
    out, kind = draw(shapes), draw(st.integers(0, 6))
    registers, codes = b"", []
    for operand in range(2):
        cut = draw(st.integers(0, len(out) - 1)) if operand else 0
        shape = tuple(
            1 if draw(st.booleans()) and operand else dim for dim in out[cut:]
        )
        registers += ints(2 * operand, *shape)
        registers += ints(2 * operand + 1, *loose_strides(draw, shape))
        codes += [2 * operand, 2 * operand + 1]
    registers += ints(4, *out) + ints(5, *loose_strides(draw, out))
    clamp = draw(st.sampled_from(((-math.inf, math.inf), (-1.5, 2.5), (0.0, 6.0))))
    code = bytes([F32, *codes, 4, 5, kind]) + struct.pack("<2f", *clamp)
    addresses = lea(INPUT) + lea(INPUT, SECOND) + lea(OUTPUT)
    return Program(registers + addresses + tensor(0x01, code))


def window(draw: Draw, length: int, filter_: int) -> tuple[int, int, int, int, int]:
    """Padding before and after, stride, dilation, and how many positions it has."""
    before, after = draw(st.integers(-1, 2)), draw(st.integers(-1, 2))
    stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    room = length + before + after - (filter_ - 1) * dilation - 1
    assume(room >= 0)
    return before, after, stride, dilation, room // stride + 1


def conv2d(draw: Draw) -> Program:
    groups, batch = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    inputs, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 2)) * groups
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    kernel = outputs, inputs, draw(st.integers(1, 3)), draw(st.integers(1, 3))
    y, x = window(draw, height, kernel[2]), window(draw, width, kernel[3])
    shape, out = (batch, inputs * groups, height, width), (batch, outputs, y[4], x[4])
    registers = ints(0, *shape) + ints(1, *loose_strides(draw, shape))
    registers += ints(2, *kernel) + ints(3, *loose_strides(draw, kernel))
    registers += ints(4, draw(st.integers(1, 2))) + ints(5, *loose_strides(draw, out))
    addresses = (
        lea(INPUT) + lea(INPUT, SECOND) + lea(INPUT, SECOND + 8192) + lea(OUTPUT)
    )
    pads = push(y[0], y[1], 0) + push(x[0], x[1], 0)
    fields = groups, y[2], x[2], y[3], x[3], -2.0, 6.0
    code = struct.pack("<7B5H2f", F32, *range(6), *fields)
    return Program(registers + addresses + pads + tensor(0x06, code))


def reduce_window2d(draw: Draw) -> Program:
    shape, kind = draw(images), draw(st.integers(0, 3))
    filters = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    y, x = window(draw, shape[2], filters[0]), window(draw, shape[3], filters[1])
    text = in_and_out(draw, shape, (*shape[:2], y[4], x[4]))
    text = text[: -len(lea(OUTPUT))] + real(draw(numbers)) + lea(OUTPUT)
    text += push(y[0], y[1], 0) + push(x[0], x[1], 0)
    fields = *filters, y[2], x[2], y[3], x[3], -math.inf, math.inf
    code = bytes([F32, kind]) + immediates() + struct.pack("<6H2f", *fields)
    return Program(text + tensor(0x1A, code))


def resize_image(draw: Draw) -> Program:
    number = draw(st.sampled_from((U8, F32)))
    shape, flags = draw(images), [draw(st.integers(0, 1)) for _ in range(3)]
    size = draw(st.integers(1, 19)), draw(st.integers(1, 19))
    text = push(*size) + in_and_out(draw, shape, (*shape[:2], *size))
    return Program(
        text + tensor(0x1B, bytes([number]) + immediates(*flags)), (number,) * 2
    )


OPERATIONS = {
    operation.__name__: operation
    for operation in (
        *(copy, transpose, slice_, pad, quantize, dequantize, lut1d, reduce, softmax),
        *(binary, conv2d, reduce_window2d, resize_image),
    )
}


def sample(number: int, seed: int) -> bytes:
    """Random input bytes: bytes, or floats of moderate size, many of them equal."""
    rng = np.random.default_rng(seed)
    if number == U8:
        return rng.bytes(ROOM)
    values = rng.integers(-40, 40, ROOM // 4) / 13
    return values.astype(np.float32).tobytes()


def compare(name: str, draw: Draw, seed: int) -> None:
    """One operation with operands that are drawn, on the runtime and the reference."""
    program = OPERATIONS[name](draw)
    model = parse(program.model())
    given_bytes = sample(program.types[0], seed)
    expected = Reference(model.data).trace(given_bytes)["s0"]
    loaded = LoadedModel(model.data)
    found: dict[str, Any] = {}
    assert loaded.status == 0
    assert loaded.infer([given_bytes], trace=found)[0] == 0
    values = found["s0"]
    assert values.shape == expected.shape
    if name in ("softmax", "binary"):  # a last bit is the C library's
        assert np.allclose(values, expected, rtol=1e-6, atol=1e-7, equal_nan=True)
    else:
        assert values.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=12)
@given(data=st.data(), seed=st.integers(0, 99))
def test_an_operation_gives_what_the_reference_gives(
    name: str, data: st.DataObject, seed: int
) -> None:
    compare(name, data.draw, seed)


@pytest.mark.parametrize("scale", [3.0, -70.0, 2.0**31, 2.0**126])
@pytest.mark.parametrize("bias", [0.0, 0.5, 3.25])
def test_quantize_tells_all_floats_apart(scale: float, bias: float) -> None:
    """The smallest, those that differ in a bit, and others; each of them twice."""
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 1 << 32, ROOM // 8, np.uint32)
    bits[: 1 << 11] = np.arange(1 << 11) << 15
    flipped = rng.integers(0, 32, 1 << 12, np.uint32)
    bits[1 << 12 :] = np.float32(1.7).view(np.uint32) ^ np.uint32(1) << flipped
    values = np.tile(bits, 2).view(np.float32)
    with np.errstate(all="ignore"):
        integers = values * np.float32(scale) + np.float32(bias)
    values[abs(integers) >= 2.0**31] = 0  # no integer: every processor has its own way
    count = len(values)
    text = ints(SHAPE, count) + ints(IN_STRIDES, 1) + ints(OUT_STRIDES, 1)
    text += lea(INPUT) + lea(OUTPUT) + real(scale, bias)
    text += tensor(0x14, bytes([F32, U8]) + immediates())
    model = Program(text, (F32, U8)).model()
    with np.errstate(all="ignore"):
        (expected,) = Reference(model).infer(values.tobytes())
    status, (found,) = LoadedModel(model).infer([values.tobytes()])
    assert (status, found[:count]) == (0, expected[:count])


UNSUPPORTED, BAD_OPERANDS, TOO_BIG = 8, 9, 15
LINE = ints(SHAPE, 4) + ints(IN_STRIDES, 1) + ints(OUT_STRIDES, 1)


def padded_line(mode: int, before: int, after: int, interior: int = 0) -> bytes:
    """Code that pads a line of four floats."""
    pads = paddings(0, (before, after, interior))
    code = bytes([F32]) + immediates(0, mode)
    return LINE + pads + lea(INPUT) + lea(OUTPUT) + real(0.0) + tensor(0x13, code)


def looked_up(entries: int) -> bytes:
    """Code that looks four bytes up in a table of so many entries."""
    addresses = lea(INPUT) + lea(INPUT, SECOND) + lea(OUTPUT) + push(0, entries - 1)
    code = bytes([U8]) + immediates() + struct.pack("<H", entries)
    return LINE + addresses + tensor(0x10, code)


READS_BESIDE = {
    "a table of 255 entries": (looked_up(255), U8, UNSUPPORTED),
    "a table of 257 entries": (looked_up(257), U8, UNSUPPORTED),
    "reflecting 4 of 4 in front": (padded_line(1, 4, -3), F32, BAD_OPERANDS),
    "reflecting 4 of 4 behind": (padded_line(1, -3, 4), F32, BAD_OPERANDS),
    "mirroring 5 of 4 in front": (padded_line(2, 5, 0), F32, BAD_OPERANDS),
    "mirroring 5 of 4 behind": (padded_line(2, 0, 5), F32, BAD_OPERANDS),
    "reflecting between elements": (padded_line(1, 0, 0, 1), F32, BAD_OPERANDS),
}


@pytest.mark.parametrize("name", READS_BESIDE)
def test_what_would_read_beside_its_input_is_refused_by_all(name: str) -> None:
    text, number, status = READS_BESIDE[name]
    model = Program(text, (number, number)).model()
    assert LoadedModel(model).status == status
    with pytest.raises(KmodelError):
        parse(model)


@pytest.mark.parametrize("register", [127, 128])
def test_registers_that_no_call_uses_are_refused_by_all(register: int) -> None:
    copied = bytes([F32, register, IN_STRIDES, OUT_STRIDES])
    text = LINE + ints(register, 4) + lea(INPUT) + lea(OUTPUT) + tensor(0x09, copied)
    model = Program(text).model()
    if register < 128:
        assert LoadedModel(model).status == 0
        assert parse(model).program
        return
    assert LoadedModel(model).status == TOO_BIG
    with pytest.raises(KmodelError, match="beyond the 128"):
        parse(model)


def exact_resize(number: int, mode: int, size: tuple[int, int]) -> bytes:
    """Resizes 1×1×16×16 with both of what TFLite lets nobody ask for at once."""
    shape, out = (1, 1, 16, 16), (1, 1, *size)
    strides = ints(IN_STRIDES, 256, 256, 16, 1)
    strides += ints(OUT_STRIDES, size[0] * size[1], size[0] * size[1], size[1], 1)
    text = ints(SHAPE, *shape) + strides + push(*size) + lea(INPUT) + lea(OUTPUT)
    text += tensor(0x1B, bytes([number]) + immediates(1, 1, mode))
    return kmodel(Code((Port(number, shape),), (Port(number, out),), text), bytes(8), 8)


@pytest.mark.parametrize("number", [U8, F32])
@pytest.mark.parametrize("mode", ResizeMode)
def test_corners_aligned_at_half_pixels_are_clipped_to_the_image(
    number: int, mode: int
) -> None:
    for size in ((2, 2), (3, 31), (16, 1), (1, 40)):
        model = exact_resize(number, mode, size)
        image = sample(number, 5)[: 256 * DType(number).itemsize]
        loaded = LoadedModel(model)  # a page that nobody may read is behind the image
        assert loaded.status == 0
        assert loaded.infer([image]) == (0, Reference(model).infer(image))


@pytest.mark.long
@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=400)
@given(data=st.data(), seed=st.integers(0, 9999))
def test_an_operation_always_gives_what_the_reference_gives(
    name: str, data: st.DataObject, seed: int
) -> None:
    compare(name, data.draw, seed)
