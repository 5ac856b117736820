"""Writing a model to a board whose flash or power fails."""

import random
from pathlib import Path

import pytest

from k210.board import BoardSpec
from k210.boards import TYPES
from k210.errors import BoardError
from k210.flash import flashing, slot
from k210.flash.flashing import Owner
from k210.flash.slot import Slot
from k210.linked import LinkedBoard
from k210.virtual.board import VirtualBoard
from k210.virtual.faults import PowerCut
from k210.virtual.local import LocalPort
from k210.virtual.nor import SECTOR, NorFlash
from stages import flash as flash_stage

SIZE = 1 << 18
ADDRESS = 0x10000
BESIDE = 0x8000
"""A region before the slot that nobody may touch."""

COMMANDS = 90
"""About as many as the write takes."""


def opened(array: NorFlash) -> tuple[LinkedBoard, LocalPort]:
    port = LocalPort(VirtualBoard(array, TYPES["virtual"]))
    spec = BoardSpec("virtual", SIZE, array.path, array.path)
    return LinkedBoard(spec, port, lambda: None, True), port


def contents(seed: int) -> Slot:
    return Slot(random.Random(seed).randbytes(14_000), b'{"manifest": 1}')


def write(board: LinkedBoard, wanted: Slot) -> None:
    flash_id = str(board.identity()["flash_id"])
    region = flash_stage.slot_region(wanted, ADDRESS)
    flashing.write(board, flash_id, [region], Owner("test"))


def cut_and_recover(path: Path, seed: int) -> None:
    """The power fails while a model replaces another; the next run sets it right."""
    generator = random.Random(seed)
    beside = generator.randbytes(1000)
    with NorFlash(path, SIZE) as array:
        array.erase_chip()
        array.write(BESIDE, beside)
        for offset, data in slot.pack(contents(seed)):
            array.write(ADDRESS + offset, data)
        board, port = opened(array)
        port.board.chip.nor.faults.writes_until_cut = generator.randrange(COMMANDS)
        wanted = contents(seed + 1)
        try:
            write(board, wanted)
        except PowerCut:
            board, _ = opened(array)
            write(board, wanted)
        flash_stage.verify(board, ADDRESS, wanted)
        assert array.read(BESIDE, len(beside)) == beside
        assert slot.read(array.read, ADDRESS, SIZE) == wanted


@pytest.mark.parametrize("seed", range(3))
def test_the_next_run_recovers_from_a_power_cut(tmp_path: Path, seed: int) -> None:
    cut_and_recover(tmp_path / "flash.bin", seed)


@pytest.mark.long
def test_it_recovers_a_hundred_times(tmp_path: Path) -> None:
    for seed in range(100):
        cut_and_recover(tmp_path / "flash.bin", 1000 + seed)


def test_a_cut_leaves_nothing_that_passes_for_a_model(tmp_path: Path) -> None:
    with NorFlash(tmp_path / "flash.bin", SIZE) as array:
        for offset, data in slot.pack(contents(1)):
            array.write(ADDRESS + offset, data)
        board, port = opened(array)
        port.board.chip.nor.faults.writes_until_cut = 20
        with pytest.raises(PowerCut):
            write(board, contents(2))
        board, _ = opened(array)
        with pytest.raises(BoardError, match="run flash again"):
            board.load(ADDRESS)


def test_an_erase_that_sticks_is_told(tmp_path: Path) -> None:
    with NorFlash(tmp_path / "flash.bin", SIZE) as array:
        board, port = opened(array)
        port.board.chip.nor.faults.stuck = True
        with pytest.raises(BoardError, match="does not erase or program"):
            board.flash_erase(0, SECTOR)
