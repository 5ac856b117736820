"""The kmodel parser on programs for the CPU that are written here by hand."""

import math
import struct

import pytest
from stackvm import (
    DATA,
    F32,
    INPUT,
    KPU,
    OUTPUT,
    RDATA,
    U8,
    Code,
    Port,
    ints,
    kmodel,
    lea,
    paddings,
    push,
    real,
    strides,
    tensor,
    words,
)

from k210.kmodel import DType, KmodelError, TensorOp, parse

IMAGE = (1, 2, 4, 6)


def one_to_one(
    number: int,
    out: tuple[int, ...],
    immediates: bytes = b"",
    before: bytes = b"",
    after: bytes = b"",
    types: bytes = bytes([F32]),
) -> bytes:
    """Code of an operation from the input to DATA, shape registers 0 to 2 in use."""
    registers = ints(0, *IMAGE) + strides(1, IMAGE) + strides(2, out)
    addresses = lea(INPUT) + lea(DATA)
    encoded = tensor(number, types + bytes([0, 1, 2]) + immediates)
    return registers + before + addresses + after + encoded


def cpu_model(text: bytes, outputs: tuple[Port, ...] = (Port(F32, (1, 8)),)) -> bytes:
    code = Code((Port(F32, IMAGE),), outputs, text)
    return kmodel(code, bytes(1024), 4096)


def only_op(text: bytes) -> TensorOp:
    (op,) = parse(cpu_model(text)).program
    return op


WINDOW = struct.pack("<6H2f", 2, 3, 2, 1, 1, 1, -math.inf, math.inf)
ONE_TO_ONE = {
    "copy": (0x09, IMAGE, b"", b"", b""),
    "softmax": (0x1F, IMAGE, struct.pack("<if", -1, 1.0), b"", b""),
    "transpose": (0x24, (1, 4, 6, 2), b"\x03", ints(3, 0, 2, 3, 1), b""),
    "pad": (
        0x13,
        (1, 2, 3, 9),
        b"\x00\x00",
        paddings(0, (0, 0, 0), (0, 0, 0), (-1, 0, 0), (1, 2, 0)),
        real(0.5),
    ),
    "reduce": (0x17, (1, 2), b"\x00\x03\x00", ints(3, 2, 3), push(0)),
    "slice": (
        0x1E,
        (1, 1, 4, 2),
        b"\x03\x04\x05",
        ints(3, 0, 1, 0, 1) + ints(4, 1, 2, 4, 5) + ints(5, 1, 1, 1, 2),
        b"",
    ),
    "resize_image": (0x1B, (1, 2, 8, 12), b"\x00\x01\x01", push(8, 12), b""),
}


@pytest.mark.parametrize("kind", ONE_TO_ONE)
def test_an_operation_is_decoded_with_its_output_shape(kind: str) -> None:
    number, out, immediates, before, after = ONE_TO_ONE[kind]
    op = only_op(one_to_one(number, out, immediates, before, after))
    assert (op.kind, op.where, op.macs) == (kind, "cpu", 0)
    assert [buffer.shape for buffer in op.inputs] == [IMAGE]
    assert [buffer.shape for buffer in op.outputs] == [out]
    assert op.outputs[0].nbytes == op.outputs[0].size == 4 * math.prod(out)


def test_a_reduction_may_keep_its_dimensions() -> None:
    text = one_to_one(0x17, (1, 2, 1, 1), b"\x02\x03\x01", ints(3, 2, 3), real(-1.0))
    op = only_op(text)
    assert op.outputs[0].shape == (1, 2, 1, 1)
    assert op.scalars == {"op": 2, "keep_dims": 1, "init": -1.0}
    assert op.vectors == {"axis": (2, 3)}


def test_quantize_has_two_types() -> None:
    after = real(10.0, 3.0)
    text = one_to_one(0x14, IMAGE, after=after, types=bytes([F32, U8]))
    op = only_op(text)
    assert (op.inputs[0].dtype, op.outputs[0].dtype) == (DType.F32, DType.U8)
    assert op.scalars == {"scale": 10.0, "bias": 3.0}


def test_an_integer_zero_stands_for_a_float_zero() -> None:
    after = real(2.0) + push(0)
    text = one_to_one(0x0B, IMAGE, after=after, types=bytes([U8, F32]))
    assert only_op(text).scalars == {"scale": 2.0, "bias": 0.0}


def test_pooling_counts_windows() -> None:
    out = (1, 2, 2, 6)
    registers = ints(0, *IMAGE) + strides(1, IMAGE) + strides(2, out)
    operands = lea(INPUT) + real(0.0) + lea(DATA) + push(0, 0, 0) + push(1, 1, 0)
    op = only_op(registers + operands + tensor(0x1A, b"\x09\x02\x00\x01\x02" + WINDOW))
    assert op.outputs[0].shape == out
    assert [(pad.before, pad.after) for pad in op.paddings] == [(0, 0), (1, 1)]


def convolution(kernel: tuple[int, ...], out: tuple[int, ...], groups: int) -> bytes:
    registers = ints(0, *IMAGE) + strides(1, IMAGE) + ints(2, *kernel)
    registers += strides(3, kernel) + ints(4, 1) + strides(5, out)
    addresses = lea(INPUT) + lea(RDATA) + lea(RDATA, 512) + lea(DATA)
    padding = push(1, 1, 0) + push(0, 1, 0)
    immediates = struct.pack("<7B5H2f", F32, *range(6), groups, 1, 1, 1, 1, 0.0, 6.0)
    return registers + addresses + padding + tensor(0x06, immediates)


def test_a_float_convolution_counts_its_macs() -> None:
    op = only_op(convolution((4, 2, 3, 2), (1, 4, 4, 6), 1))
    assert op.outputs[0].shape == (1, 4, 4, 6)
    assert [buffer.shape for buffer in op.inputs] == [IMAGE, (4, 2, 3, 2), (4,)]
    assert op.macs == (4 * 4 * 6) * (2 * 3 * 2)


def test_a_grouped_convolution_sees_its_own_channels_only() -> None:
    assert only_op(convolution((4, 1, 3, 2), (1, 4, 4, 6), 2)).macs == 96 * 6


def test_a_binary_operation_broadcasts() -> None:
    registers = ints(0, *IMAGE) + strides(1, IMAGE) + ints(2, 6) + ints(3, 1)
    immediates = bytes([F32, 0, 1, 2, 3, 0, 1, 2]) + struct.pack("<2f", 0.0, 6.0)
    addresses = lea(INPUT) + lea(RDATA) + lea(DATA)
    op = only_op(registers + addresses + tensor(0x01, immediates))
    assert [buffer.shape for buffer in op.inputs] == [IMAGE, (6,)]
    assert op.outputs[0].shape == IMAGE
    assert op.scalars["op"] == 2


def test_a_lookup_reads_its_table() -> None:
    operands = lea(INPUT) + lea(RDATA, 8) + lea(DATA) + push(0, 255)
    registers = ints(0, *IMAGE) + strides(1, IMAGE) + strides(2, IMAGE)
    text = registers + operands + tensor(0x10, struct.pack("<4BH", U8, 0, 1, 2, 256))
    model = parse(cpu_model(text))
    table = model.program[0].inputs[1]
    assert (table.shape, table.dtype) == ((256,), DType.U8)
    assert model.file_offset(table) == model.stackvm.rdata.offset + 8
    assert model.constant(table) == bytes(256)


COPY = one_to_one(0x09, IMAGE)
CAST = bytes([U8, F32])
SLICE = ints(3, 0, 0, 0, 0) + ints(4, 1, 2, -1, -1) + ints(5, 1, 1, 1, 1)
CROP = paddings(0, *[(-1, 0, 0)] * 4)
MIRROR = paddings(0, (0, 0, 0), (0, 2, 0), (0, 0, 0), (0, 0, 0))
MORE = paddings(0, (0, 0, 0), (3, -3, 0), (0, 0, 0), (0, 0, 0))
SPREAD = paddings(0, *[(0, 0, 1)] * 4)
SHORT_TABLE = one_to_one(
    0x10, IMAGE, b"\xff\x00", lea(INPUT), push(0, 255), bytes([U8])
)
BROKEN_CODE = [
    ("opcode 0x58", COPY + b"\x58"),
    (r"0x11 \(matmul\).*0x5e", COPY + tensor(0x11, b"")),
    (r"0xffff \(unknown\)", tensor(0xFFFF, b"")),
    ("runs past the end", COPY + b"\x02\x01\x00"),
    ("register 0, which is not set", tensor(0x09, COPY[-4:])),
    ("empty stack", COPY.replace(lea(DATA), b"")),
    ("left on the stack", push(1) + COPY),
    ("a dimension is not an integer", real(1.0) + b"\x31\x00\x01"),
    ("a dimension is not an integer", lea(INPUT) + b"\x31\x00\x01"),
    ("out is not an address", COPY.replace(lea(DATA), push(3))),
    ("in RDATA is out of place", COPY.replace(lea(DATA), lea(RDATA))),
    ("in KPU is out of place", COPY.replace(lea(DATA), lea(KPU))),
    ("location of a buffer", COPY.replace(lea(DATA), lea(9))),
    ("subresource", COPY.replace(lea(DATA), b"\x17\x03\x01" + bytes(4))),
    ("does not fit at 4000 in DATA", COPY.replace(lea(DATA), lea(DATA, 4000))),
    ("does not fit at 4 in INPUT", COPY.replace(lea(INPUT), lea(INPUT, 4))),
    ("not aligned", COPY.replace(lea(DATA), lea(DATA, 2))),
    ("not the shape", COPY.replace(ints(0, *IMAGE), ints(0, 1, 0, 4, 6))),
    ("rank 9", COPY.replace(ints(0, *IMAGE), ints(0, *[1] * 9))),
    ("strides", COPY.replace(strides(2, IMAGE), strides(2, IMAGE[1:]))),
    ("strides", COPY.replace(strides(2, IMAGE), ints(2, 48, 24, -6, 1))),
    ("not a number", one_to_one(0x0B, IMAGE, after=real(1, math.nan), types=CAST)),
    ("scale is not a float", one_to_one(0x0B, IMAGE, after=push(1, 0), types=CAST)),
    ("dtype", one_to_one(0x09, IMAGE, types=b"\x0c")),
    ("perm", one_to_one(0x24, IMAGE, b"\x03", ints(3, 0, 1, 1, 2))),
    ("axes", one_to_one(0x17, (1, 2), b"\x00\x03\x00", ints(3, 2, 2), push(0))),
    ("keep_dims is 2", one_to_one(0x17, (1, 2), b"\x00\x03\x02", ints(3, 2))),
    ("op of stackvm", one_to_one(0x17, (1, 2), b"\x04\x03\x02", ints(3, 2))),
    ("axis", one_to_one(0x1F, IMAGE, struct.pack("<if", 4, 1.0))),
    ("have shape", one_to_one(0x13, IMAGE, b"\x00\x00", CROP, real(0.0))),
    ("mirrors 2 of 2", one_to_one(0x13, IMAGE, b"\x00\x01", MIRROR, real(0.0))),
    ("mirrors 3 of 2", one_to_one(0x13, IMAGE, b"\x00\x02", MORE, real(0.0))),
    ("between elements", one_to_one(0x13, IMAGE, b"\x00\x03", SPREAD, real(0.0))),
    ("255 entries, not 256", SHORT_TABLE),
    ("outside the input", one_to_one(0x1E, IMAGE, b"\x03\x04\x05", SLICE)),
    ("groups", convolution((4, 2, 3, 2), (1, 4, 4, 6), 3)),
    ("which is not k210", tensor(0x03, struct.pack("<IHBB", 0, 1, 0, 1))),
]


@pytest.mark.parametrize(("message", "text"), BROKEN_CODE)
def test_code_that_cannot_run_is_refused(message: str, text: bytes) -> None:
    with pytest.raises(KmodelError, match=message):
        parse(cpu_model(text))


def test_an_unsupported_opcode_is_named_with_its_offset() -> None:
    data = cpu_model(COPY + b"\x58")
    with pytest.raises(KmodelError) as caught:
        parse(data)
    assert data[caught.value.offset] == 0x58
    assert f"{caught.value.offset:#x}" in str(caught.value)


def test_outputs_that_overlap_are_refused() -> None:
    outputs = (Port(F32, (1, 8)), Port(F32, (1, 8), start=16))
    with pytest.raises(KmodelError, match="two outputs.*overlap"):
        parse(cpu_model(COPY, outputs))


def test_more_outputs_than_a_call_can_pass_are_refused() -> None:
    outputs = tuple(Port(U8, (1,), start=index) for index in range(256))
    with pytest.raises(KmodelError, match="256 outputs"):
        parse(cpu_model(COPY, outputs))


def test_an_address_belongs_to_the_output_it_falls_into() -> None:
    outputs = (Port(F32, IMAGE), Port(F32, IMAGE, start=256))
    text = COPY.replace(lea(DATA), lea(OUTPUT, 256))
    assert parse(cpu_model(text, outputs)).program[0].outputs[0].offset == 256
    with pytest.raises(KmodelError, match="does not fit"):
        parse(cpu_model(COPY.replace(lea(DATA), lea(OUTPUT, 4)), outputs))


def test_two_modules_of_one_type_are_refused() -> None:
    cpu = cpu_model(COPY)
    twice = bytearray(cpu + cpu[32:])
    twice[20:24] = words(2)
    with pytest.raises(KmodelError, match="second stackvm"):
        parse(bytes(twice))
