"""The mask ROM: starts what is in flash, or serves the serial line (ISP).

Facts: the flash image and the frames as the vendor's flasher makes them. With IO16
low at reset the ROM serves the line; otherwise it copies the image at flash offset 0
to memory, checks its SHA-256 and jumps to it, and serves the line if it is no good.
What the ROM does after a wrong digest, and the answer to a memory read, are guesses.
"""

import hashlib
import struct
import zlib
from collections.abc import Callable
from enum import IntEnum

from k210 import slip
from k210.virtual.clock import ticks
from k210.virtual.core import Fault
from k210.virtual.line import Line, byte_ticks
from k210.virtual.machine import MEMORY_BASE, Machine
from k210.virtual.nor import NorFlash

FIRST_BAUD = 115200.0
REQUEST = struct.Struct("<HHIII")
GREETING_SIZE = 13
IMAGE_HEADER = struct.Struct("<BI")
DIGEST_SIZE = 32
AES_FLAG = 1
BOOT_BYTES_PER_SECOND = 3e6
"""How fast the ROM reads the flash; a guess."""

ROM_SECONDS = 2e-3
"""From the end of reset to the first thing the ROM does; a guess."""


class Op(IntEnum):
    """What a host can ask the ROM."""

    ECHO = 0xC1
    NOP = 0xC2
    MEMORY_WRITE = 0xC3
    MEMORY_READ = 0xC4
    MEMORY_BOOT = 0xC5
    BAUD = 0xC6


class Status(IntEnum):
    """How the ROM answers."""

    OK = 0xE0
    BAD_LENGTH = 0xE1
    BAD_CHECKSUM = 0xE2
    INVALID_COMMAND = 0xE3


class Rom:
    """The program that runs before any other.

    Args:
        machine: what it loads and starts.
        line: the serial line it serves.
        flash: what it boots from.

    Attributes:
        refusals: how many memory writes it will refuse yet, as if they came damaged.
    """

    def __init__(self, machine: Machine, line: Line, flash: NorFlash) -> None:
        self._machine, self._line, self._flash = machine, line, flash
        self._serving = False
        self._baud = FIRST_BAUD
        self._decoder = slip.Decoder()
        self.refusals = 0

    @property
    def serving(self) -> bool:
        """Whether it serves the line, rather than another program running."""
        return self._serving

    def stop(self) -> None:
        """Reset is held."""
        self._serving = False

    def start(self, isp: bool) -> None:
        """Reset is released, with IO16 low for ISP."""
        self._machine.clock.spend(ticks(ROM_SECONDS))
        self._baud = FIRST_BAUD
        self._decoder = slip.Decoder()
        self._serving = isp or not self._boot()

    def _boot(self) -> bool:
        """Start the image in flash; False if there is none that is whole."""
        header = self._flash.read(0, IMAGE_HEADER.size)
        flags, length = IMAGE_HEADER.unpack(header)
        end = IMAGE_HEADER.size + length
        if flags & AES_FLAG or not 0 < length <= self._flash.size - end:
            return False
        image = self._flash.read(0, end)
        self._machine.clock.spend(ticks(length / BOOT_BYTES_PER_SECOND))
        if self._flash.read(end, DIGEST_SIZE) != hashlib.sha256(image).digest():
            return False
        payload = image[IMAGE_HEADER.size :]
        self._machine.view(MEMORY_BASE, length, "the ROM's boot")[:] = payload
        self._machine.start(MEMORY_BASE)
        return True

    def serve(self) -> None:
        """Take what is on the line and answer it."""
        while self._serving and self._line.next_arrival is not None:
            for frame in self._decoder.feed(
                self._line.receive_until(slip.END, self._baud)
            ):
                self._answer(frame)

    def _answer(self, frame: bytes) -> None:
        op = frame[0]
        if len(frame) < REQUEST.size:
            greets = op == Op.NOP and len(frame) >= GREETING_SIZE
            self._reply(op, Status.OK if greets else Status.BAD_LENGTH)
            return
        _, _, crc, address, length = REQUEST.unpack_from(frame)
        if crc != zlib.crc32(frame[8:]):
            self._reply(op, Status.BAD_CHECKSUM)
            return
        handlers: dict[int, Callable[[int, int, bytes], None]] = {
            Op.ECHO: lambda *_: self._reply(op, Status.OK),
            Op.NOP: lambda *_: self._reply(op, Status.OK),
            Op.MEMORY_WRITE: self._write,
            Op.MEMORY_READ: self._read,
            Op.MEMORY_BOOT: self._start,
            Op.BAUD: self._set_baud,
        }
        if op not in handlers:
            self._reply(op, Status.INVALID_COMMAND)
            return
        handlers[op](address, length, frame[REQUEST.size :])

    def _reply(self, op: int, status: Status, data: bytes = b"") -> None:
        frame = slip.encode(bytes([op, status]) + data)
        self._line.transmit(frame, self._baud)
        self._machine.clock.spend(len(frame) * byte_ticks(self._baud))

    def _write(self, address: int, length: int, data: bytes) -> None:
        view = self._memory(Op.MEMORY_WRITE, address, length)
        if view is None:
            return
        if self.refusals:
            self.refusals -= 1
            self._reply(Op.MEMORY_WRITE, Status.BAD_CHECKSUM)
            return
        if length != len(data):
            self._reply(Op.MEMORY_WRITE, Status.BAD_LENGTH)
            return
        view[:] = data
        self._reply(Op.MEMORY_WRITE, Status.OK)

    def _read(self, address: int, length: int, _: bytes) -> None:
        view = self._memory(Op.MEMORY_READ, address, length)
        if view is not None:
            self._reply(Op.MEMORY_READ, Status.OK, bytes(view))

    def _memory(self, op: int, address: int, length: int) -> memoryview | None:
        """The memory a request names; None if it was refused for it."""
        try:
            return self._machine.view(address, length, "the ROM")
        except Fault:
            self._reply(op, Status.BAD_LENGTH)
            return None

    def _start(self, address: int, *_: object) -> None:
        if self._memory(Op.MEMORY_BOOT, address, 4) is not None:
            self._serving = False
            self._machine.start(address)

    def _set_baud(self, _address: int, _length: int, data: bytes) -> None:
        if len(data) == 4 and int.from_bytes(data, "little"):
            self._baud = float(int.from_bytes(data, "little"))
