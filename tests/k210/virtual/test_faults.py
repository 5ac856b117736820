"""Faults of the line and of the flash, as whoever uses the board meets them."""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from compiled import Compiled

from k210.board import BoardSpec
from k210.boards import TYPES
from k210.errors import BoardError
from k210.linked import LinkedBoard
from k210.reference import Reference
from k210.virtual.board import VirtualBoard
from k210.virtual.local import LocalPort
from k210.virtual.nor import BLOCK, SECTOR, NorFlash

SIZE = 1 << 18


@pytest.fixture
def port(tmp_path: Path) -> Iterator[LocalPort]:
    with NorFlash(tmp_path / "flash.bin", SIZE) as flash:
        yield LocalPort(VirtualBoard(flash, TYPES["virtual"]))


def opened(port: LocalPort) -> LinkedBoard:
    spec = BoardSpec("virtual", SIZE, Path("unused"), Path("unused"))
    return LinkedBoard(spec, port, lambda: None, True)


@pytest.mark.parametrize("longest", [0.02, 0.8])
def test_late_bytes_never_give_a_wrong_result(
    port: LocalPort, few_kmodels: dict[str, Compiled], longest: float
) -> None:
    rng = random.Random(1)
    late: list[float] = []

    def lateness() -> float:
        late.append(rng.uniform(0, longest) if rng.random() < 0.4 else 0.0)
        return late[-1]

    model = few_kmodels["width-17"]
    reference = Reference(model.model)
    board = opened(port)
    port.board.line.faults.lateness = lateness
    board.load(model.model)
    samples = model.inputs * 5
    for sample, outputs in zip(samples, board.infer_many(samples), strict=True):
        assert outputs == reference.infer(sample)
    assert sum(late) > longest


def test_bytes_that_are_late_arrive_in_order_and_in_time(port: LocalPort) -> None:
    line, clock = port.board.line, port.board.chip.machine.clock
    delays = iter((0.3, 0.0))
    line.faults.lateness = lambda: next(delays)
    line.transmit(b"first", line.host_baud)
    assert line.take() == b""
    line.transmit(b"second", line.host_baud)
    assert line.take() == b""
    clock.skip_to(line.next_departure or 0)
    assert line.take() == b"firstsecond"
    assert clock.seconds == pytest.approx(0.3, abs=0.01)


def test_a_full_flash_keeps_what_it_holds(port: LocalPort) -> None:
    board = opened(port)
    data = random.Random(2).randbytes(2 * SECTOR)
    board.flash_write(BLOCK, data[::-1])
    port.board.chip.nor.faults.protected_from = BLOCK + SECTOR
    board.flash_erase(BLOCK, 2 * SECTOR)
    board.flash_write(BLOCK, data)
    assert board.flash_read(BLOCK, SECTOR) == data[:SECTOR]
    assert board.flash_read(BLOCK + SECTOR, SECTOR) == data[::-1][SECTOR:]
    written = hashlib.sha256(data).hexdigest()
    assert board.flash_sha256(BLOCK, len(data)) != written


def test_an_erase_that_sticks_is_told(port: LocalPort) -> None:
    board = opened(port)
    port.board.chip.nor.faults.stuck = True
    with pytest.raises(BoardError, match="does not erase or program"):
        board.flash_erase(0, SECTOR)
