"""The mask ROM of the virtual board, as k210.isp and what is in flash see it."""

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path

import device_programs
import pytest

from k210.boards import TYPES, BoardType
from k210.errors import BoardError
from k210.isp import MEMORY_BASE, Isp
from k210.virtual.board import VirtualBoard
from k210.virtual.local import LocalPort
from k210.virtual.nor import BLOCK, NorFlash

GREETING = b"hello, 1/3 = 0.333\n"


@pytest.fixture
def flash(tmp_path: Path) -> Iterator[NorFlash]:
    with NorFlash(tmp_path / "flash.bin", BLOCK) as flash:
        yield flash


def put_image(flash: NorFlash, payload: bytes) -> None:
    image = struct.pack("<BI", 0, len(payload)) + payload
    flash.write(0, image + hashlib.sha256(image).digest())


def entered(flash: NorFlash, kind: BoardType) -> tuple[Isp, LocalPort]:
    port = LocalPort(VirtualBoard(flash, kind))
    isp = Isp(port, kind)
    isp.enter()
    return isp, port


@pytest.mark.parametrize("name", ["dan", "kd233", "virtual"])
def test_every_wiring_resets_into_the_rom(flash: NorFlash, name: str) -> None:
    put_image(flash, device_programs.image("hello"))
    _, port = entered(flash, TYPES[name])
    assert port.board.rom.serving


def test_a_board_in_its_rom_starts_what_is_loaded(flash: NorFlash) -> None:
    isp, port = entered(flash, TYPES["virtual"])
    image = device_programs.image("hello")
    steps: list[int] = []
    isp.write_memory(MEMORY_BASE, image, lambda done, _: steps.append(done))
    assert isp.read_memory(MEMORY_BASE, 100) == image[:100]
    assert steps[-1] == len(image)
    isp.boot(MEMORY_BASE)
    assert port.read(len(GREETING)) == GREETING


def test_the_rom_goes_on_at_a_faster_rate(flash: NorFlash) -> None:
    isp, port = entered(flash, TYPES["virtual"])
    isp.speed_up()
    assert port.baudrate == TYPES["virtual"].rom_baud
    isp.write_memory(MEMORY_BASE, bytes(100), lambda *_: None)


def test_the_rom_refuses_memory_that_is_not_there(flash: NorFlash) -> None:
    isp, _ = entered(flash, TYPES["virtual"])
    with pytest.raises(BoardError, match="refuses request 0xc3 at 0x1000 "):
        isp.write_memory(0x1000, b"abcd", lambda *_: None)


def test_a_reset_starts_the_image_in_flash(flash: NorFlash) -> None:
    put_image(flash, device_programs.image("hello"))
    isp, port = entered(flash, TYPES["virtual"])
    isp.reset()
    assert port.read(len(GREETING)) == GREETING


def test_a_damaged_image_leaves_the_rom_serving(flash: NorFlash) -> None:
    put_image(flash, device_programs.image("hello"))
    flash.program_page(40, b"\0")
    assert VirtualBoard(flash, TYPES["virtual"]).rom.serving


def test_a_board_that_does_not_answer_is_named(
    flash: NorFlash, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k210.isp.GREETINGS", 2)
    put_image(flash, device_programs.image("hello"))
    port = LocalPort(VirtualBoard(flash, TYPES["kd233"]))
    with pytest.raises(BoardError, match="board.type .now dan."):
        Isp(port, TYPES["dan"]).enter()
