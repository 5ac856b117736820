"""Kmodels of a single KPU layer, written by hand, u8 in and u8 out.

The layout is nncase 1.9's, as `k210.kmodel` reads it; nothing runs on the CPU but the
call of the one KPU function: upload, layer, download.
"""

import math
import struct
from collections.abc import Sequence

from k210.kmodel import DType, LayerRegisters, Location, dense_strides, kpu_map_bytes
from k210.kmodel.buffers import KPU_RAM_BYTES, KPU_ROW_BYTES
from k210.kpu import Layer

Shape = tuple[int, int, int]

MAGIC, VERSION = b"LDMK", 5
MODULE_HEADER, SECTION_HEADER = 48, 32
ALIGNMENTS = {"stackvm": 8, "k210": 256}
UPLOAD, DOWNLOAD, CONV2D = 0, 1, 2
LDC_I4, LEA_BUFFER, STSHAPE, TENSOR, CALL = 0x02, 0x17, 0x31, 0x5E, 0x03


def one_layer(layer: Layer, shape: Shape) -> bytes:
    """A kmodel that computes a layer on a map of this shape, C×H×W.

    Raises:
        ValueError: the layer does not take such a map.
    """
    outputs = layer.out_shape(shape)
    tables, places = _tables(layer)
    stackvm = _module("stackvm", (shape, outputs), b"", _call(shape, outputs))
    program = _program(layer, shape, outputs, places)
    start = 32 + len(stackvm)
    k210 = _module("k210", (shape, outputs), tables, program, start)
    header = struct.pack("<4s7I", MAGIC, VERSION, 32, 0, ALIGNMENTS["k210"], 2, 0, 0)
    return header + stackvm + k210


def registers(layer: Layer, shape: Shape) -> LayerRegisters:
    """The layer argument for a map of this shape at the start of KPU RAM."""
    target = kpu_map_bytes(*shape) // KPU_ROW_BYTES
    return layer.registers(shape, 0, target).completed()


def _tables(layer: Layer) -> tuple[bytes, tuple[tuple[int, int], ...]]:
    """Weights, batch norm and activation table as they lie; offset, size of each."""
    found, places = b"", []
    parts = (layer.weights, 8), (layer.batch_norm, 8), (layer.activation, 256)
    for values, alignment in parts:
        found += bytes(-len(found) % alignment)
        places.append((len(found), values.size))
        found += values.tobytes()
    return found, tuple(places)


def _program(
    layer: Layer, shape: Shape, outputs: Shape, places: Sequence[tuple[int, int]]
) -> bytes:
    (weights, norms, table), start = places, kpu_map_bytes(*shape)
    sizes = math.prod(shape), math.prod(outputs)
    source = _range(Location.KPU, DType.U8, 0, start)
    target = _range(Location.KPU, DType.U8, start, kpu_map_bytes(*outputs))
    given = _range(Location.INPUT, DType.U8, 0, sizes[0])
    taken = _range(Location.OUTPUT, DType.U8, 0, sizes[1])
    return b"".join(
        (
            struct.pack("<I", UPLOAD) + given + source + _words(1, *shape),
            struct.pack("<I", CONV2D),
            _range(Location.RDATA, DType.U8, *weights),
            _range(Location.RDATA, DType.U64, *norms),
            _range(Location.RDATA, DType.U8, *table),
            bytes(12) + _words(1) + registers(layer, shape).pack(),
            struct.pack("<I", DOWNLOAD) + target + taken + _words(1, *outputs),
        )
    )


def _call(shape: Shape, outputs: Shape) -> bytes:
    """Code of the entry: shapes and strides into registers, arguments, the call."""
    text = b""
    for register, each in ((0, (1, *shape)), (2, (1, *outputs))):
        for number, values in enumerate((each, dense_strides(each))):
            text += _push(*values) + bytes([STSHAPE, register + number, len(values)])
    for location, register in ((Location.INPUT, 0), (Location.OUTPUT, 2)):
        text += struct.pack("<BBBI", LEA_BUFFER, location, 0, 0)
        text += _push(DType.U8, register, register + 1)
    return text + struct.pack("<BHIHBB", TENSOR, CALL, 0, 1, 1, 1)


def _push(*values: int) -> bytes:
    return b"".join(struct.pack("<Bi", LDC_I4, value) for value in values)


def _words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def _range(location: Location, dtype: DType, start: int, size: int) -> bytes:
    return struct.pack("<BBHII", location, dtype, 0, start, size)


def _module(
    name: str,
    shapes: tuple[Shape, Shape],
    rdata: bytes,
    text: bytes,
    start: int = 32,
) -> bytes:
    """A module of one function, at file offset ``start``."""
    pools = [(Location.RDATA, len(rdata)), (Location.DATA, 0)]
    if name == "k210":
        pools.append((Location.KPU, KPU_RAM_BYTES))
    body = b"".join(struct.pack("<B3xI", *pool) for pool in pools)
    body += _function(start + MODULE_HEADER + len(body), shapes, len(text))
    for section, content in ((b".rdata", rdata), (b".text", text)):
        place = start + MODULE_HEADER + len(body) + SECTION_HEADER
        gap = -place % ALIGNMENTS[name]
        body += struct.pack("<16s4I", section, 0, gap, len(content), 0)
        body += bytes(gap) + content
    body += bytes(-(start + MODULE_HEADER + len(body)) % 8)
    counts = len(pools), 0, 2, 1, 0
    size = MODULE_HEADER + len(body)
    head = struct.pack("<16s8I", name.encode(), 1, MODULE_HEADER, size, *counts)
    return head + body


def _function(position: int, shapes: tuple[Shape, Shape], text: int) -> bytes:
    """The description of a function with one input and one output."""
    body = b""
    locations = Location.INPUT, Location.OUTPUT
    for location, shape in zip(locations, shapes, strict=True):
        body += _range(location, DType.U8, 0, math.prod(shape))
        body += _words(4, 1, *shape)
    body += bytes(-(position + 32 + len(body)) % 8)
    sizes = (math.prod(shape) for shape in shapes)
    return _words(32, 32 + len(body), *sizes, 1, 1, 0, text) + body
