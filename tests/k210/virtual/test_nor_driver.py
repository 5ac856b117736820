"""The firmware's flash driver, on the virtual chip."""

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import device_programs
import pytest

from k210.virtual.chip import Chip
from k210.virtual.machine import MEMORY_BASE, State
from k210.virtual.nor import BLOCK, SECTOR, NorFlash


class Driver:
    """The driver's functions, through the program nor_commands.c."""

    def __init__(self, flash: NorFlash) -> None:
        self.chip = Chip(flash, lambda: None)
        image = device_programs.image("nor_commands")
        self.chip.machine.memory[: len(image)] = image
        self.chip.machine.start(MEMORY_BASE)

    def ask(
        self, code: str, address: int, length: int, data: bytes, size: int
    ) -> bytes:
        line = self.chip.line
        line.send(code.encode() + struct.pack("<II", address, length) + data)
        answer = b""
        for _ in range(3000):
            if self.chip.machine.run(200_000) is State.TIMED:
                self.chip.machine.skip_to_alarm()
            answer += line.take()
            if len(answer) >= size:
                break
        return answer

    def read(self, address: int, length: int) -> bytes:
        return self.ask("r", address, length, b"", length)

    def erase(self, address: int, length: int) -> bool:
        return self.ask("e", address, length, b"", 1) == b"\x01"

    def program(self, address: int, data: bytes) -> bool:
        return self.ask("p", address, len(data), data, 1) == b"\x01"


@pytest.fixture
def flash(tmp_path: Path) -> Iterator[NorFlash]:
    with NorFlash(tmp_path / "flash.bin", 1 << 20) as flash:
        yield flash


def test_it_reads_the_ids(flash: NorFlash) -> None:
    driver = Driver(flash)
    expected = flash.jedec_id + driver.chip.nor.unique_id
    assert driver.ask("i", 0, 0, b"", 11) == expected


@pytest.mark.parametrize(("address", "length"), [(0, 1), (5, 300), (4093, 129)])
def test_it_reads_any_range(flash: NorFlash, address: int, length: int) -> None:
    content = random.Random(1).randbytes(8192)
    flash.write(0, content)
    assert Driver(flash).read(address, length) == content[address : address + length]


@pytest.mark.parametrize(
    ("address", "length"), [(0, 1), (255, 2), (3, 700), (256, 256)]
)
def test_it_programs_any_range(flash: NorFlash, address: int, length: int) -> None:
    content = random.Random(2).randbytes(length)
    assert Driver(flash).program(address, content)
    assert flash.read(address, length) == content
    assert flash.read(address + length, 300) == b"\xff" * 300
    assert flash.read(0, address) == b"\xff" * address


@pytest.mark.parametrize("unit", [SECTOR, BLOCK])
def test_it_erases_a_unit_and_no_more(flash: NorFlash, unit: int) -> None:
    flash.write(0, bytes(4 * BLOCK))
    assert Driver(flash).erase(unit, unit)
    assert flash.read(0, unit) == bytes(unit)
    assert flash.read(unit, unit) == b"\xff" * unit
    assert flash.read(2 * unit, unit) == bytes(unit)


def test_writing_takes_the_time_of_the_flash(flash: NorFlash) -> None:
    driver = Driver(flash)
    driver.read(0, 1)
    before = driver.chip.machine.clock.seconds
    assert driver.erase(0, BLOCK)
    assert driver.chip.machine.clock.seconds - before == pytest.approx(0.152, abs=2e-3)
