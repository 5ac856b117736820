"""A flash memory in a file, without a board before it, whose power may fail."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from k210.board import Done, Erase, FlashStep, Program
from k210.virtual.nor import NorFlash

SECTOR = 4096
PLENTY = 10**6


class PowerCut(Exception):
    """The board lost its power."""


class FailingFlash:
    """See ``k210.board.Flash``: one step after the other.

    Its power fails before one too many erasures and writes.

    Attributes:
        written: the sectors erased or programmed so far.
    """

    def __init__(self, image: Path, size: int, left: int = PLENTY) -> None:
        self._flash = NorFlash(image, size)
        self.left = left
        self.flash_size = size
        self.flash_read = self._flash.read
        self.flash_sha256 = self._flash.sha256
        self.close = self._flash.close
        self.written: set[int] = set()

    def _use_up(self, address: int, length: int) -> None:
        if self.left == 0:
            raise PowerCut
        self.left -= 1
        first = address - address % SECTOR
        self.written.update(range(first, address + length, SECTOR))

    def flash_erase(self, address: int, length: int) -> None:
        self._use_up(address, length)
        for sector in range(address, address + length, SECTOR):
            self._flash.erase_sector(sector)

    def flash_write(self, address: int, data: bytes) -> None:
        self._use_up(address, len(data))
        self._flash.write(address, data)

    def flash_run(self, steps: Iterable[FlashStep]) -> Iterator[Done]:
        for step in steps:
            digests: list[bytes] = []
            if isinstance(step, Program):
                self.flash_write(step.address, step.data)
            elif isinstance(step, Erase):
                self.flash_erase(step.address, step.length)
            else:
                end = step.address + step.length
                for at in range(step.address, end, SECTOR):
                    digests.append(hashlib.md5(self.flash_read(at, SECTOR)).digest())
            yield step, tuple(digests)
