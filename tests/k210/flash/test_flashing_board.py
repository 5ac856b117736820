"""The flash writer over the link, with times of the board's own clock."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flash_memory import FailingFlash

from k210 import firmware
from k210.board import BoardSpec, Digest, Erase, FlashStep, Program
from k210.boards import TYPES
from k210.errors import BoardError
from k210.flash import flashing
from k210.flash.flash_map import Region
from k210.flash.flashing import Owner, Progress
from k210.flash.images import program_image
from k210.linked import LinkedBoard
from k210.ports import open_port
from k210.virtual.board import VirtualBoard
from k210.virtual.local import LocalPort
from k210.virtual.nor import BLOCK, SECTOR, NorFlash
from k210.virtual.process import BoardProcess

SIZE = 1 << 19
ADDRESS, LENGTH = 0x20000, 3 * BLOCK
LINE = 200_000
"""Bytes a second at 2 Mbaud."""


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def array(tmp_path: Path) -> Iterator[NorFlash]:
    with NorFlash(tmp_path / "flash.bin", SIZE) as array:
        array.write(0, random.Random(2).randbytes(SIZE))
        yield array


def spec(array: NorFlash, baud: int = 2_000_000) -> BoardSpec:
    return BoardSpec("local", SIZE, array.path, array.path, "virtual", baud)


def opened(array: NorFlash) -> tuple[LinkedBoard, LocalPort]:
    port = LocalPort(VirtualBoard(array, TYPES["virtual"]))
    return LinkedBoard(spec(array), port, lambda: None, True), port


def write(board: LinkedBoard, data: bytes) -> int:
    flash_id = str(board.identity()["flash_id"])
    owner = Owner("the test", overwrite=True)
    return flashing.write(board, flash_id, [Region("data", ADDRESS, data)], owner)


def test_it_keeps_the_line_busy_and_leaves_alone_what_is_there(
    array: NorFlash,
) -> None:
    board, port = opened(array)
    clock = port.board.chip.machine.clock
    data = bytearray(random.Random(1).randbytes(LENGTH))
    start = clock.seconds
    assert write(board, bytes(data)) == LENGTH // SECTOR
    new = clock.seconds - start
    assert LENGTH / new > 0.9 * LINE
    assert array.read(ADDRESS, LENGTH) == data
    start = clock.seconds
    assert write(board, bytes(data)) == 0
    assert clock.seconds - start < 0.035 * new
    data[70_000:70_100] = bytes(100)
    assert write(board, bytes(data)) == 1
    assert array.read(ADDRESS, LENGTH) == data


def test_overlapped_steps_do_what_single_ones_do(
    array: NorFlash, tmp_path: Path
) -> None:
    chance = random.Random(4)
    steps: list[FlashStep] = []
    for _ in range(12):
        at = chance.randrange(SIZE // SECTOR - 4) * SECTOR
        length = chance.randrange(1, 4) * SECTOR
        data = chance.randbytes(chance.randrange(1, 3000))
        steps += [Erase(at, length)] if chance.random() < 0.5 else [Digest(at, length)]
        steps.append(Program(at + chance.randrange(SECTOR), data))
    (tmp_path / "plain.bin").write_bytes(array.read(0, SIZE))
    plain = FailingFlash(tmp_path / "plain.bin", SIZE)
    board, _ = opened(array)
    assert list(board.flash_run(steps)) == list(plain.flash_run(steps))
    assert array.read(0, SIZE) == plain.flash_read(0, SIZE)
    plain.close()


def test_what_is_interrupted_in_the_middle_is_finished_by_the_next(
    array: NorFlash,
) -> None:
    board, port = opened(array)
    data = random.Random(1).randbytes(BLOCK + 5 * SECTOR)
    region = Region("data", ADDRESS, data, guarded=True)

    def interrupt(progress: Progress) -> None:
        if progress.done > BLOCK // 2:
            raise KeyboardInterrupt

    flash_id = str(board.identity()["flash_id"])
    owner = Owner("the test", overwrite=True)
    with pytest.raises(KeyboardInterrupt):
        flashing.write(board, flash_id, [region], owner, interrupt)
    assert array.read(ADDRESS, SECTOR) == b"\xff" * SECTOR
    again = LinkedBoard(spec(array), port, lambda: None, False)
    written = flashing.write(again, flash_id, [region], Owner("the test"))
    assert 0 < written < len(data) // SECTOR
    assert array.read(ADDRESS, len(data)) == data


@pytest.mark.long
@pytest.mark.filterwarnings(  # pyserial's client forgets its socket
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_a_board_that_vanishes_is_told_and_finished_when_it_is_back(
    tmp_path: Path,
) -> None:
    image, log = tmp_path / "flash.bin", tmp_path / "log"
    data = random.Random(1).randbytes(BLOCK)
    region = Region("data", ADDRESS, data, guarded=True)

    def flash(process: BoardProcess, vanishes: bool) -> int:
        def tell(progress: Progress) -> None:
            if vanishes and progress.done:
                process.close()

        remote = BoardSpec(process.url, SIZE, image, log, "virtual")
        board = LinkedBoard(remote, open_port(process.url, 115200), process.close, True)
        try:
            return flashing.write(board, "a board", [region], Owner("the test"), tell)
        finally:
            board.close()

    with pytest.raises(BoardError, match="has gone|hung up|does not answer"):
        flash(BoardProcess(image, SIZE, "virtual", log), True)
    assert flash(BoardProcess(image, SIZE, "virtual", log), False)
    assert image.read_bytes()[ADDRESS : ADDRESS + BLOCK] == data


class BadAbove(LocalPort):
    """A line that is bad above a rate: of what it carries then, `spoil` is left."""

    def __init__(self, array: NorFlash, spoil: Callable[[bytes], bytes]) -> None:
        super().__init__(VirtualBoard(array, TYPES["virtual"]))
        self.spoil_bytes, self.good_up_to = spoil, 1_900_000

    def write(self, data: bytes) -> int:
        return super().write(self._spoilt(data))

    def read(self, size: int = 1) -> bytes:
        return self._spoilt(super().read(size))

    def _spoilt(self, data: bytes) -> bytes:
        return self.spoil_bytes(data) if self.baudrate > self.good_up_to else data


def test_a_rate_that_does_not_work_is_lowered(array: NorFlash) -> None:
    port = BadAbove(array, lambda data: bytes(byte ^ 0x55 for byte in data))
    board = LinkedBoard(spec(array), port, lambda: None, True)
    assert port.baudrate == 1_500_000
    assert board.flash_sha256(0, 100) == array.sha256(0, 100)


def test_a_rate_at_which_frames_are_lost_is_lowered(array: NorFlash) -> None:
    chance = random.Random(5)
    port = BadAbove(array, lambda data: data[: -1 if chance.random() < 0.3 else None])
    port.good_up_to = 2_000_000
    board = LinkedBoard(spec(array), port, lambda: None, True)
    port.good_up_to = 1_900_000
    data = random.Random(1).randbytes(BLOCK)
    write(board, data)
    assert port.baudrate == 1_500_000
    assert array.read(ADDRESS, BLOCK) == data


def test_a_flash_that_sticks_is_told_and_the_board_goes_on(array: NorFlash) -> None:
    board, port = opened(array)
    port.board.chip.nor.faults.stuck = True
    with pytest.raises(BoardError, match="does not erase or program"):
        write(board, bytes(SECTOR))
    assert board.identity()["flash_size"] == SIZE


class Unreset(VirtualBoard):
    """A board that must not be reset."""

    def set_control(self, name: str, level: bool) -> None:
        raise AssertionError(f"{name} was set to {level}")


def test_a_board_starts_on_its_own_from_what_was_written(array: NorFlash) -> None:
    board, _ = opened(array)
    region = Region("the firmware", 0, program_image(firmware.image()), aligned=True)
    flashing.write(board, "aa", [region], Owner("the test", overwrite=True))
    port = LocalPort(Unreset(array, TYPES["virtual"]))  # powered on again
    alone = LinkedBoard(spec(array), port, lambda: None, False)
    assert alone.flash_sha256(0, 100) == array.sha256(0, 100)
