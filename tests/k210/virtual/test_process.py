"""A virtual board in a process of its own, opened as any board is."""

import time
from pathlib import Path

import pytest

from k210 import board
from k210.board import BoardSpec
from k210.errors import BoardError
from k210.virtual.process import BoardProcess

SIZE = 1 << 20


def spec(folder: Path, port: str = "virtual") -> BoardSpec:
    return BoardSpec(port, SIZE, folder / "board" / "flash.bin", folder / "log")


def test_a_project_opens_it_as_any_board(tmp_path: Path) -> None:
    opened = board.open(spec(tmp_path))
    opened.flash_write(0x1000, b"kept")
    identity = opened.identity()
    opened.close()
    again = board.open(spec(tmp_path))
    assert again.flash_read(0x1000, 4) == b"kept"
    assert again.identity() == identity
    again.close()
    again.close()
    with pytest.raises(BoardError, match="closed"):
        again.flash_read(0, 1)


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    process = BoardProcess(tmp_path / "flash.bin", SIZE, "virtual", tmp_path / "log")
    process.close()
    end = time.monotonic() + 5
    while Path(f"/proc/{process.pid}").exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not Path(f"/proc/{process.pid}").exists()


def test_a_flash_image_of_another_size_is_told(tmp_path: Path) -> None:
    image = tmp_path / "board" / "flash.bin"
    image.parent.mkdir()
    image.write_bytes(bytes(100))
    with pytest.raises(BoardError, match="flash.bin"):
        board.open(spec(tmp_path))


def test_a_port_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="/dev/nothing cannot be opened"):
        board.open(spec(tmp_path, "/dev/nothing"))
