"""Where tensors live: locations, element types, ranges and strided views.

Facts: nncase 1.9 `memory_range` and the K210's KPU RAM layout (64-byte rows, narrow
maps put two or four channels in one row).
"""

import math
from dataclasses import dataclass
from enum import IntEnum

from k210.kmodel.binary import KmodelError, Reader

KPU_RAM_BYTES = 2 * 1024 * 1024
KPU_ROW_BYTES = 64
MAX_RANK = 8

Shape = tuple[int, ...]

RANGE_BYTES = 12
"""A memory range in the file: place, element type, module, start, size."""


class Location(IntEnum):
    """The memory a range lives in; each module has its own RDATA and DATA."""

    INPUT = 0
    OUTPUT = 1
    RDATA = 2
    DATA = 3
    KPU = 64


class DType(IntEnum):
    """Element types, with the numbers nncase gives them."""

    I8 = 0
    I16 = 1
    I32 = 2
    I64 = 3
    U8 = 4
    U16 = 5
    U32 = 6
    U64 = 7
    F16 = 8
    F32 = 9
    F64 = 10
    BF16 = 11

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return (1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 2)[self]


@dataclass(frozen=True, slots=True)
class MemoryRange:
    """`size` bytes from byte `start` of a location, holding elements of `dtype`."""

    location: Location
    dtype: DType
    start: int
    size: int

    @property
    def end(self) -> int:
        """First byte after the range."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Tensor:
    """A function's input or output: where it is bound and its shape (NCHW if 4-D)."""

    range: MemoryRange
    shape: Shape


@dataclass(frozen=True, slots=True)
class Buffer:
    """What one operation reads or writes.

    `module` is the module type whose `location` is meant. `offset` and `size` are in
    bytes; `strides` are in elements, or None for a feature map in KPU RAM, whose
    layout follows from its NCHW shape. `size` spans from the first byte to the last,
    gaps between strided elements and unused bytes of KPU rows included.
    """

    module: str
    location: Location
    offset: int
    dtype: DType
    shape: Shape
    strides: Shape | None
    size: int

    @property
    def end(self) -> int:
        """First byte after the buffer."""
        return self.offset + self.size

    @property
    def nbytes(self) -> int:
        """Bytes of the elements alone, as if dense."""
        return math.prod(self.shape) * self.dtype.itemsize


def dense_strides(shape: Shape) -> Shape:
    """Strides in elements of a dense row-major tensor."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def strided_size(shape: Shape, strides: Shape, dtype: DType) -> int:
    """Bytes from the first to the last element of a strided view."""
    last = sum((dim - 1) * step for dim, step in zip(shape, strides, strict=True))
    return (last + 1) * dtype.itemsize


def kpu_row_layout(width: int) -> tuple[int, int]:
    """Channels that share a KPU RAM row, and rows that one image line takes."""
    if width <= 16:
        return 4, 1
    if width <= 32:
        return 2, 1
    return 1, -(-width // KPU_ROW_BYTES)


def kpu_map_bytes(channels: int, height: int, width: int) -> int:
    """KPU RAM taken by one feature map, unused bytes of its rows included."""
    group, rows = kpu_row_layout(width)
    return rows * height * -(-channels // min(channels, group)) * KPU_ROW_BYTES


def kpu_buffer(offset: int, shape: Shape) -> Buffer:
    """A u8 NCHW feature map (or N of them, back to back) in KPU RAM."""
    batches, channels, height, width = shape
    size = batches * kpu_map_bytes(channels, height, width)
    return Buffer("k210", Location.KPU, offset, DType.U8, shape, None, size)


def read_range(reader: Reader, field: str) -> MemoryRange:
    """Read the RANGE_BYTES of a memory range."""
    location = reader.u8(f"location of {field}")
    place = reader.choice(Location, location, 1, f"location of {field}")
    number = reader.u8(f"datatype of {field}")
    dtype = reader.choice(DType, number, 1, f"datatype of {field}")
    reader.zeros(2, f"shared_module of {field}")
    start = reader.u32(f"start of {field}")
    return MemoryRange(place, dtype, start, reader.u32(f"size of {field}"))


def read_shape(reader: Reader, rank: int, field: str) -> Shape:
    """Read `rank` dimensions, each at least 1."""
    start = reader.position
    if rank > MAX_RANK:
        raise KmodelError(start, f"{field} has rank {rank}, above {MAX_RANK}")
    shape = reader.u32s(rank, field)
    if not all(shape):
        raise KmodelError(start, f"{field} has an empty dimension")
    return shape
