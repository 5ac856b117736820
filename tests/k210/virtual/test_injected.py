"""Faults that the command line of the virtual board names."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from k210.boards import TYPES
from k210.errors import BoardError
from k210.isp import MEMORY_BASE, Isp
from k210.virtual.board import VirtualBoard
from k210.virtual.faults import PowerCut
from k210.virtual.injected import inject, parse
from k210.virtual.local import LocalPort
from k210.virtual.nor import BLOCK, NorFlash

BAUD = 115200.0
DATA = bytes(range(256)) * 40


@pytest.fixture
def board(tmp_path: Path) -> Iterator[VirtualBoard]:
    with NorFlash(tmp_path / "flash.bin", BLOCK) as flash:
        yield VirtualBoard(flash, TYPES["virtual"])


def heard(board: VirtualBoard, data: bytes) -> bytes:
    """What the host hears of what the chip says."""
    board.line.transmit(data, BAUD)
    return board.line.take()


def test_bytes_are_lost_here_and_there_and_each_time_the_same(
    board: VirtualBoard, tmp_path: Path
) -> None:
    inject(board, [parse("drop-bytes=100")])
    found = heard(board, DATA)
    assert 50 <= len(DATA) - len(found) <= 200
    with NorFlash(tmp_path / "other.bin", BLOCK) as flash:
        other = VirtualBoard(flash, TYPES["virtual"])
        inject(other, [parse("drop-bytes=100")])
        assert (
            b"".join(heard(other, DATA[i : i + 7]) for i in range(0, len(DATA), 7))
            == found
        )


def test_after_so_many_bytes_nothing_is_heard(board: VirtualBoard) -> None:
    inject(board, [parse("hang-after=300")])
    assert heard(board, DATA[:200]) == DATA[:200]
    assert heard(board, DATA[:200]) == DATA[:100]
    assert heard(board, DATA) == b""
    board.line.send(DATA)
    assert board.line.backlog == 0


def test_the_rom_refuses_so_many_writes_to_memory(board: VirtualBoard) -> None:
    inject(board, [parse("rom-e2=4")])  # a request is made three times
    isp = Isp(LocalPort(board), TYPES["virtual"])
    isp.enter()
    with pytest.raises(BoardError, match="0xe2"):
        isp.write_memory(MEMORY_BASE, b"code", lambda *_: None)
    isp.write_memory(MEMORY_BASE, b"code", lambda *_: None)
    assert isp.read_memory(MEMORY_BASE, 4) == b"code"


def test_the_power_fails_in_the_middle_of_a_write(board: VirtualBoard) -> None:
    inject(board, [parse("cut-power=2")])
    faults = board.chip.nor.faults
    assert [faults.cuts_now() for _ in range(3)] == [False, False, True]
    assert issubclass(PowerCut, BoardError)


@pytest.mark.parametrize("text", ["drop-bytes", "drop-bytes=0", "fire=1", "rom-e2=x"])
def test_what_is_no_fault_is_refused(text: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "k210", "virtual", str(tmp_path / "flash.bin")]
    done = subprocess.run(
        [*command, "--fault", text], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert f"{text!r} is no fault; they are cut-power=N" in done.stderr
