"""Bounds-checked reading of a kmodel, and the one error all of it raises.

Every number in a kmodel is little-endian. Nothing here trusts the file: a read past
the end of the part being read, or a value that cannot be, is a `KmodelError` that
names the field and its file offset.
"""

import math
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import TypeVar

from k210.errors import ModelError

_U8 = struct.Struct("<B")
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_F32 = struct.Struct("<f")

RECOMPILE = "compile the model again with nncase 1.9 for target k210"

Enum = TypeVar("Enum", bound=IntEnum)


class KmodelError(ModelError):
    """The bytes are not a kmodel this project can run.

    `offset` is the file offset of the field that is wrong, `advice` what to do.
    """

    def __init__(self, offset: int, problem: str, advice: str = RECOMPILE) -> None:
        super().__init__(f"kmodel, offset {offset:#x}: {problem}; {advice}")
        self.offset = offset


class Reader:
    """A cursor over `data[start:end]` that never reads outside it.

    `what` names that part of the file in errors.
    """

    def __init__(self, data: bytes, start: int, end: int, what: str) -> None:
        self.data = data
        self.position = start
        self.end = end
        self.what = what

    @property
    def remaining(self) -> int:
        """Bytes between the cursor and the end of the part."""
        return self.end - self.position

    def take(self, size: int, field: str) -> int:
        """Step over `size` bytes of `field`; return the offset where they start."""
        start = self.position
        if size > self.remaining:
            raise KmodelError(start, f"{field} runs past the end of {self.what}")
        self.position = start + size
        return start

    def u8(self, field: str) -> int:
        """Read an unsigned byte."""
        return int(_U8.unpack_from(self.data, self.take(1, field))[0])

    def u16(self, field: str) -> int:
        """Read an unsigned 16-bit number."""
        return int(_U16.unpack_from(self.data, self.take(2, field))[0])

    def u32(self, field: str) -> int:
        """Read an unsigned 32-bit number."""
        return int(_U32.unpack_from(self.data, self.take(4, field))[0])

    def i32(self, field: str) -> int:
        """Read a signed 32-bit number."""
        return int(_I32.unpack_from(self.data, self.take(4, field))[0])

    def f32(self, field: str) -> float:
        """Read a float; infinities pass, NaN does not."""
        start = self.take(4, field)
        value = float(_F32.unpack_from(self.data, start)[0])
        if math.isnan(value):
            raise KmodelError(start, f"{field} of {self.what} is not a number")
        return value

    def u32s(self, count: int, field: str) -> tuple[int, ...]:
        """Read `count` unsigned 32-bit numbers."""
        start = self.take(4 * count, field)
        return struct.unpack_from(f"<{count}I", self.data, start)

    def bytes(self, size: int, field: str) -> bytes:
        """Read `size` raw bytes."""
        start = self.take(size, field)
        return self.data[start : self.position]

    def constant(self, wanted: int, field: str) -> None:
        """Read a u32 that has one legal value."""
        value = self.u32(field)
        if value != wanted:
            raise KmodelError(
                self.position - 4, f"{field} of {self.what} is {value}, not {wanted}"
            )

    def count(self, size: int, field: str) -> int:
        """Read how many entries of at least `size` bytes follow, and that they can."""
        value = self.u32(field)
        if value * size > self.remaining:
            raise KmodelError(
                self.position - 4,
                f"{field} of {self.what} is {value}, more than its bytes can hold",
            )
        return value

    def choice(self, kind: type[Enum], value: int, size: int, field: str) -> Enum:
        """Turn the number just read (`size` bytes) into a member of `kind`."""
        try:
            return kind(value)
        except ValueError:
            raise KmodelError(
                self.position - size, f"{field} of {self.what} is {value}, unknown"
            ) from None

    def zeros(self, size: int, field: str) -> None:
        """Step over padding, which nncase always writes as zeros."""
        start = self.take(size, field)
        if any(self.data[start : self.position]):
            raise KmodelError(start, f"{field} of {self.what} is not zero")

    def align(self, alignment: int, field: str) -> int:
        """Step over zero padding up to an aligned file offset; return its size."""
        size = -self.position % alignment
        self.zeros(size, field)
        return size


def disjoint(spans: Sequence[tuple[int, int]]) -> bool:
    """Whether no two of the (start, end) spans share a byte; empty ones never do."""
    ordered = sorted(span for span in spans if span[0] < span[1])
    return all(a[1] <= b[0] for a, b in zip(ordered, ordered[1:], strict=False))
