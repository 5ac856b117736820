"""Writes kmodels with one stackvm module by hand, for tests."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from k210.kmodel import DType

INPUT, OUTPUT, RDATA, DATA, KPU = 0, 1, 2, 3, 64
U8, F32 = 4, 9


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def memory_range(location: int, dtype: int, start: int, size: int) -> bytes:
    return struct.pack("<BBHII", location, dtype, 0, start, size)


@dataclass(frozen=True)
class Port:
    """An input or output of a function."""

    dtype: int
    shape: tuple[int, ...]
    start: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape) * DType(self.dtype).itemsize


@dataclass(frozen=True)
class Code:
    """A function: its ports and its code."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    text: bytes

    def block(self, position: int) -> bytes:
        """The function as the file has it, at file offset `position`."""
        pools = [
            max((port.start + port.size for port in ports), default=0)
            for ports in (self.inputs, self.outputs)
        ]
        body = b""
        for location, ports in ((INPUT, self.inputs), (OUTPUT, self.outputs)):
            for port in ports:
                body += memory_range(location, port.dtype, port.start, port.size)
            for port in ports:
                body += words(len(port.shape), *port.shape)
        body += bytes(-(position + 32 + len(body)) % 8)
        counts = len(self.inputs), len(self.outputs)
        head = words(32, 32 + len(body), *pools, *counts, 0, len(self.text))
        return head + body


def kmodel(function: Code, rdata: bytes, data: int) -> bytes:
    """A file with one stackvm module, which has `data` bytes of working memory."""
    body = struct.pack("<B3xIB3xI", RDATA, len(rdata), DATA, data)
    body += function.block(80 + len(body))
    for name, content in ((b".rdata", rdata), (b".text", function.text)):
        gap = -(80 + len(body) + 32) % 8
        header = struct.pack("<16s4I", name, 0, gap, len(content), 0)
        body += header + bytes(gap) + content
    body += bytes(-(80 + len(body)) % 8)
    module = struct.pack("<16s8I", b"stackvm", 1, 48, 48 + len(body), 2, 0, 2, 1, 0)
    return struct.pack("<4s7I", b"LDMK", 5, 32, 0, 8, 1, 0, 0) + module + body


def push(*values: int) -> bytes:
    return b"".join(struct.pack("<Bi", 0x02, value) for value in values)


def real(*values: float) -> bytes:
    return b"".join(struct.pack("<Bf", 0x05, value) for value in values)


def lea(location: int, offset: int = 0) -> bytes:
    return struct.pack("<BBBI", 0x17, location, 0, offset)


def ints(register: int, *values: int) -> bytes:
    return push(*values) + bytes([0x31, register, len(values)])


def strides(register: int, shape: Sequence[int]) -> bytes:
    return ints(register, *(math.prod(shape[axis + 1 :]) for axis in range(len(shape))))


def paddings(register: int, *values: tuple[int, int, int]) -> bytes:
    flat = [each for padding in values for each in padding]
    return push(*flat) + bytes([0x32, register, len(values)])


def tensor(number: int, immediates: bytes) -> bytes:
    return struct.pack("<BH", 0x5E, number) + immediates
