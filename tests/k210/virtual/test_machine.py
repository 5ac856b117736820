import sys
from collections.abc import Iterator
from pathlib import Path

import device_programs
import pytest

from k210.errors import BoardError
from k210.virtual.chip import Chip
from k210.virtual.core import Fault
from k210.virtual.machine import MEMORY_BASE, UNCACHED_BASE, State
from k210.virtual.nor import BLOCK, NorFlash


@pytest.fixture
def chip(tmp_path: Path) -> Iterator[Chip]:
    with NorFlash(tmp_path / "flash.bin", BLOCK) as flash:
        yield Chip(flash, lambda: None)


def start(chip: Chip, name: str) -> None:
    """Have a chip run tests/firmware/NAME.c."""
    image = device_programs.image(name)
    chip.machine.memory[: len(image)] = image
    chip.machine.start(MEMORY_BASE)


def heard(chip: Chip) -> bytes:
    """What a chip sends until it waits for something from outside."""
    data = b""
    while (state := chip.machine.run()) is State.BUSY:
        data += chip.line.take()
    assert state is State.IDLE
    return data + chip.line.take()


def test_a_program_greets_over_the_serial_line(chip: Chip) -> None:
    start(chip, "hello")
    assert heard(chip) == b"hello, 1/3 = 0.333\n"


def test_a_program_reads_what_the_host_sends(chip: Chip) -> None:
    start(chip, "hello")
    heard(chip)
    chip.line.send(b"shout")
    chip.machine.elapse(1e-3)
    assert heard(chip) == b"SHOUT"


def test_a_wrong_baud_rate_garbles_what_is_sent(chip: Chip) -> None:
    start(chip, "hello")
    chip.line.host_baud = 9600
    garbled = heard(chip)
    assert len(garbled) == 19
    assert garbled != b"hello, 1/3 = 0.333\n"


def test_an_access_outside_names_address_and_pc(chip: Chip) -> None:
    start(chip, "hello")
    heard(chip)
    chip.line.send(b"!")
    chip.machine.elapse(1e-3)
    with pytest.raises(Fault, match=r"read 1 bytes at 0x12345678 \(pc 0x80000\w+\)"):
        chip.machine.run()


def test_two_runs_take_the_same_virtual_time(tmp_path: Path) -> None:
    times = []
    for number in range(2):
        with NorFlash(tmp_path / str(number), BLOCK) as flash:
            chip = Chip(flash, lambda: None)
        start(chip, "hello")
        chip.machine.run()
        times.append((chip.machine.clock.now, chip.machine.core.instructions))
    assert times[0] == times[1]


def test_the_instruction_budget_ends_a_program_that_does_not(chip: Chip) -> None:
    chip.machine.memory[:2] = bytes.fromhex("01a0")  # c.j .
    chip.machine.start(MEMORY_BASE)
    assert chip.machine.run(100_000) is State.BUSY
    assert 100_000 <= chip.machine.core.instructions < 100_010


def test_both_aliases_are_one_memory(chip: Chip) -> None:
    machine = chip.machine
    machine.view(UNCACHED_BASE + 64, 4, "a test")[:] = b"abcd"
    assert bytes(machine.view(MEMORY_BASE + 64, 4, "a test")) == b"abcd"
    with pytest.raises(Fault, match="a test: 4 bytes at 0x807ffffe do not lie"):
        machine.view(MEMORY_BASE + 0x7FFFFE, 4, "a test")


def test_without_unicorn_the_error_says_what_to_do(
    chip: Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "unicorn", None)
    with pytest.raises(BoardError, match="pip install unicorn"):
        chip.machine.start(MEMORY_BASE)
