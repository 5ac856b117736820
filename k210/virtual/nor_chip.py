"""The NOR flash as SPI sees it: its commands, and how long they keep it busy.

Facts: Winbond's data sheet of the W25Q128JV. As on the chip, a command that writes
needs "write enable" before it, and a busy flash answers nothing but its status.
"""

import hashlib
from collections.abc import Callable

from k210.virtual.clock import Clock, ticks
from k210.virtual.faults import FlashFaults, PowerCut
from k210.virtual.nor import (
    BLOCK_ERASE_SECONDS,
    PAGE,
    PAGE_PROGRAM_SECONDS,
    SECTOR,
    SECTOR_ERASE_SECONDS,
    NorFlash,
)

BUSY, WRITE_ENABLED = 1 << 0, 1 << 1
CHIP_ERASE_SECONDS = 40.0
STUCK_SECONDS = 1e6
HALF_ERASED = b"\xa5"
COMMAND_AND_ADDRESS = 4
PATIENT_POLLS = 3
POLLING_SECONDS = 100e-6
"""After so many looks at the status, none later than this after the one before, time
skips to when the flash is done; a program that looks less often does else meanwhile."""


class NorChip:
    """A flash on the bus; ``select``, then ``send`` and ``receive``, then ``release``.

    Args:
        flash: its array.
        clock: the time, for how long it is busy.

    Attributes:
        faults: what is to go wrong.
    """

    def __init__(self, flash: NorFlash, clock: Clock) -> None:
        self.flash, self._clock = flash, clock
        self.faults = FlashFaults()
        path = str(flash.path.absolute()).encode()
        self.unique_id = hashlib.sha256(path).digest()[:8]
        self._busy_until = 0
        self._write_enabled = False
        self._registers = bytearray(3)
        self._sent = bytearray()
        self._position = 0
        self._polls = 0
        self._polled_at = 0

    def select(self) -> None:
        """Chip select falls: a command begins."""
        self._sent.clear()
        self._position = 0

    def send(self, data: bytes) -> None:
        """Bytes to the flash."""
        self._sent += data

    def receive(self, length: int) -> bytes:
        """Bytes from the flash, after the command sent."""
        answer = self._answer(length)
        self._position += length
        return (answer + bytes(length))[:length]

    @property
    def busy(self) -> bool:
        """Whether it is erasing or programming."""
        return self._clock.now < self._busy_until

    def _answer(self, length: int) -> bytes:
        code, rest = self._sent[0], self._sent[1:]
        status = self._status()
        if code in (0x05, 0x35, 0x15):
            return bytes([status[(0x05, 0x35, 0x15).index(code)]]) * length
        if self.busy:
            return b""
        if code in (0x03, 0x0B, 0x3B):
            return self._read(length)
        answers = {
            0x9F: self.flash.jedec_id,
            0x90: bytes([self.flash.jedec_id[0], self.flash.jedec_id[2] - 1]),
            0xAB: bytes([self.flash.jedec_id[2] - 1]),
            0x4B: self.unique_id if len(rest) >= 4 else b"",
        }
        return answers.get(code, b"")[self._position :]

    def _status(self) -> bytes:
        now = self._clock.now
        waits = self.busy and now - self._polled_at <= ticks(POLLING_SECONDS)
        self._polls = self._polls + 1 if waits else 0
        self._polled_at = now
        if self._polls > PATIENT_POLLS and not self.faults.stuck:
            self._clock.skip_to(self._busy_until)
        first = BUSY if self.busy else 0
        first |= WRITE_ENABLED if self._write_enabled else 0
        return bytes([first | self._registers[0] & 0xFC, *self._registers[1:]])

    def _address(self) -> int:
        """The address of the command; the array's end wraps, as on the chip."""
        return int.from_bytes(self._sent[1:4], "big") % self.flash.size

    def _read(self, length: int) -> bytes:
        start = (self._address() + self._position) % self.flash.size
        head = self.flash.read(start, min(length, self.flash.size - start))
        return head + self.flash.read(0, length - len(head))

    def release(self) -> None:
        """Chip select rises: a command that writes takes effect."""
        if not self._sent or self.busy:
            return
        code = self._sent[0]
        if code in (0x06, 0x04):
            self._write_enabled = code == 0x06
        elif code in (0x66, 0x99, 0xFF):
            self._write_enabled = False
        elif self._write_enabled:
            self._write(code)

    def _write(self, code: int) -> None:
        erases: dict[int, tuple[Callable[[int], None], float]] = {
            0x20: (self.flash.erase_sector, SECTOR_ERASE_SECONDS),
            0xD8: (self.flash.erase_block, BLOCK_ERASE_SECONDS),
        }
        if code in erases and len(self._sent) >= COMMAND_AND_ADDRESS:
            erase, seconds = erases[code]
            erase(self._address())
            if self.faults.cuts_now():
                self._leave_half_erased()
            self._work(STUCK_SECONDS if self.faults.stuck else seconds)
        elif code in (0xC7, 0x60):
            self.flash.erase_chip()
            self._work(CHIP_ERASE_SECONDS)
        elif code == 0x02 and len(self._sent) > COMMAND_AND_ADDRESS:
            data = bytes(self._sent[COMMAND_AND_ADDRESS:])
            if self.faults.cuts_now():
                self.flash.program_page(self._address(), data[: len(data) // 2])
                raise PowerCut("the power failed in the middle of a page")
            self.flash.program_page(self._address(), data[-PAGE:])
            self._work(PAGE_PROGRAM_SECONDS)
        elif code in (0x01, 0x31, 0x11):
            first = (0x01, 0x31, 0x11).index(code)
            values = self._sent[1 : 4 - first]
            self._registers[first : first + len(values)] = values
            self._write_enabled = False

    def _leave_half_erased(self) -> None:
        """An erase cut short leaves bits as they like."""
        start = self._address() // SECTOR * SECTOR
        self.flash.write(start, HALF_ERASED * (SECTOR // 2))
        raise PowerCut("the power failed in the middle of an erase")

    def _work(self, seconds: float) -> None:
        self._write_enabled = False
        self._busy_until = self._clock.now + ticks(seconds)
        self._clock.expect(self._busy_until)
