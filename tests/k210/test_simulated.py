from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from k210 import board, slot
from k210.board import Board, BoardSpec, Tensor
from k210.errors import BoardError, ModelError
from k210.simulated import SimulatedBoard
from k210.simulator import Simulator, describe
from k210.slot import Slot, SlotError

ADDRESS = 0x100000
SIZE = 0x800000
SECTOR = 4096
INPUT_BYTES = 3 * 32 * 32

Open = Callable[[], SimulatedBoard]


@pytest.fixture(scope="module")
def kmodel(compile_small: Callable[[str], tuple[bytes, str]]) -> bytes:
    return compile_small("residual")[0]


@pytest.fixture(scope="module")
def flashed(kmodel: bytes, tmp_path_factory: pytest.TempPathFactory) -> BoardSpec:
    """A board with a model in its slot."""
    folder = tmp_path_factory.mktemp("board")
    spec = BoardSpec("simulated", SIZE, folder / "flash.bin", folder / "log")
    device = SimulatedBoard(spec)
    for offset, data in slot.pack(Slot(kmodel, b"{}")):
        device.flash_write(ADDRESS + offset, data)
    device.close()
    return spec


@pytest.fixture(scope="module")
def loaded(flashed: BoardSpec) -> Iterator[SimulatedBoard]:
    """A board that has loaded the model of its slot."""
    device = SimulatedBoard(flashed)
    device.load(ADDRESS)
    yield device
    device.close()


@pytest.fixture
def blank(tmp_path: Path) -> Iterator[SimulatedBoard]:
    spec = BoardSpec("simulated", SIZE, tmp_path / "a/b/flash.bin", tmp_path / "log")
    device = SimulatedBoard(spec)
    yield device
    device.close()


def pictures(count: int) -> list[bytes]:
    rng = np.random.default_rng(count)
    return [rng.bytes(INPUT_BYTES) for _ in range(count)]


# opening


def test_a_board_is_opened_by_its_port(flashed: BoardSpec) -> None:
    device: Board = board.open(flashed)
    assert isinstance(device, SimulatedBoard)
    device.close()


def test_an_unknown_port_is_refused(tmp_path: Path) -> None:
    spec = BoardSpec("/dev/ttyUSB7", SIZE, tmp_path / "flash.bin", tmp_path / "log")
    with pytest.raises(BoardError, match="'/dev/ttyUSB7' is not known"):
        board.open(spec)


def test_a_new_board_has_a_blank_flash(blank: SimulatedBoard) -> None:
    assert blank.flash_size == SIZE
    assert blank.flash_read(SIZE - 16, 16) == b"\xff" * 16


def test_a_board_says_which_it_is(blank: SimulatedBoard) -> None:
    assert blank.identity() == {
        "kind": "simulated",
        "flash_id": "ef4017",  # the last byte is log2 of the size
        "flash_size": SIZE,
    }
    assert blank.engine == "nncase-simulator"


def test_reading_leaves_the_flash_image_untouched(flashed: BoardSpec) -> None:
    before = flashed.flash_image.stat().st_mtime_ns
    device = SimulatedBoard(flashed)
    device.flash_read(0, SIZE)
    device.flash_sha256(0, SIZE)
    device.close()
    assert flashed.flash_image.stat().st_mtime_ns == before


def test_a_board_can_be_closed_twice(flashed: BoardSpec) -> None:
    device = SimulatedBoard(flashed)
    device.load(ADDRESS)
    device.close()
    device.close()


# flash


def test_what_is_written_stays_when_the_board_is_opened_again(tmp_path: Path) -> None:
    spec = BoardSpec("simulated", SIZE, tmp_path / "flash.bin", tmp_path / "log")
    for data in (b"first", b"second"):
        device = SimulatedBoard(spec)
        device.flash_erase(SECTOR, SECTOR)
        device.flash_write(SECTOR, data)
        device.close()
    device = SimulatedBoard(spec)
    assert device.flash_read(SECTOR, 6) == b"second"
    device.close()


def test_erasing_takes_whole_sectors_and_no_more(blank: SimulatedBoard) -> None:
    blank.flash_write(0, bytes(4 * SECTOR))
    blank.flash_erase(SECTOR, 2 * SECTOR)
    expected = bytes(SECTOR) + b"\xff" * 2 * SECTOR + bytes(SECTOR)
    assert blank.flash_read(0, 4 * SECTOR) == expected


@pytest.mark.parametrize(("address", "length"), [(1, SECTOR), (SECTOR, 100)])
def test_erasing_parts_of_sectors_is_refused(
    blank: SimulatedBoard, address: int, length: int
) -> None:
    with pytest.raises(BoardError, match="erases in whole sectors of 4096 bytes"):
        blank.flash_erase(address, length)


@pytest.mark.parametrize("address", [-SECTOR, SIZE])
def test_erasing_outside_the_flash_is_refused(
    blank: SimulatedBoard, address: int
) -> None:
    with pytest.raises(BoardError, match="do not lie in the flash"):
        blank.flash_erase(address, SECTOR)


def test_writing_without_erasing_only_clears_bits(blank: SimulatedBoard) -> None:
    blank.flash_write(0, b"\xf0")
    blank.flash_write(0, b"\x3c")
    assert blank.flash_read(0, 1) == b"\x30"


# models


def test_the_model_in_flash_is_described(loaded: SimulatedBoard, kmodel: bytes) -> None:
    found = loaded.describe()
    assert found == describe(kmodel)
    assert found.inputs == (Tensor((1, 3, 32, 32), "u8"),)
    assert found.outputs == (Tensor((1, 10), "f32"),)
    assert (found.inputs[0].size, found.outputs[0].size) == (INPUT_BYTES, 40)


def test_outputs_are_the_bytes_of_the_tensors(loaded: SimulatedBoard) -> None:
    (output,) = loaded.infer(pictures(1)[0])
    scores = np.frombuffer(output, "<f4")
    assert scores.shape == (10,)
    assert scores.sum() == pytest.approx(1, abs=1e-3)


def test_many_inferences_are_as_many_single_ones(loaded: SimulatedBoard) -> None:
    samples = pictures(20)  # more than are sent to the simulator at a time
    outputs = list(loaded.infer_many(iter(samples)))
    assert outputs == [loaded.infer(sample) for sample in samples]
    assert len({output for (output,) in outputs}) == len(samples)


def test_no_samples_give_no_outputs(loaded: SimulatedBoard) -> None:
    assert list(loaded.infer_many([])) == []


def test_a_model_given_as_bytes_is_the_one_in_flash(
    loaded: SimulatedBoard, blank: SimulatedBoard, kmodel: bytes
) -> None:
    blank.load(kmodel)
    (picture,) = pictures(1)
    assert blank.infer(picture) == loaded.infer(picture)


@pytest.mark.parametrize("size", [0, INPUT_BYTES - 1, INPUT_BYTES + 1])
def test_an_input_of_another_size_is_refused(loaded: SimulatedBoard, size: int) -> None:
    with pytest.raises(ModelError, match=f"takes 3072 bytes .* was given {size}"):
        loaded.infer(bytes(size))


def test_a_refused_input_does_no_harm(loaded: SimulatedBoard) -> None:
    (picture,) = pictures(1)
    before = loaded.infer(picture)
    with pytest.raises(ModelError):
        list(loaded.infer_many([picture, b""]))
    assert loaded.infer(picture) == before


Act = Callable[[SimulatedBoard], object]


@pytest.mark.parametrize(
    "act",
    [
        lambda device: device.describe(),
        lambda device: device.infer(b""),
        lambda device: list(device.infer_many([b""])),
    ],
    ids=["describe", "infer", "infer_many"],
)
def test_without_a_model_nothing_can_be_asked(blank: SimulatedBoard, act: Act) -> None:
    with pytest.raises(ModelError, match="no model is loaded"):
        act(blank)


def test_a_reset_forgets_the_model(blank: SimulatedBoard, kmodel: bytes) -> None:
    blank.load(kmodel)
    blank.reset()
    with pytest.raises(ModelError, match="no model is loaded"):
        blank.describe()


def test_an_empty_slot_is_refused(blank: SimulatedBoard) -> None:
    with pytest.raises(SlotError, match="no model in the slot: run flash first"):
        blank.load(ADDRESS)


def test_a_damaged_slot_is_refused(blank: SimulatedBoard, kmodel: bytes) -> None:
    for offset, data in slot.pack(Slot(kmodel, b"{}")):
        blank.flash_write(ADDRESS + offset, data)
    blank.flash_write(ADDRESS + SECTOR, bytes(len(kmodel) // 2))
    with pytest.raises(SlotError, match="the kmodel in the model slot .* is damaged"):
        blank.load(ADDRESS)


@pytest.mark.parametrize("content", [b"", b"no kmodel", bytes(4096)])
def test_bytes_that_are_no_kmodel_are_refused(
    blank: SimulatedBoard, content: bytes
) -> None:
    with pytest.raises(ModelError, match="kmodel, offset"):
        blank.load(content)


def test_a_model_that_is_refused_leaves_the_loaded_one(
    blank: SimulatedBoard, kmodel: bytes
) -> None:
    blank.load(kmodel)
    with pytest.raises(SlotError):
        blank.load(ADDRESS)
    assert blank.describe() == describe(kmodel)


@pytest.mark.parametrize("what", ["trace", "timings"])
def test_what_a_simulated_board_cannot_do_is_said(
    blank: SimulatedBoard, what: str
) -> None:
    with pytest.raises(BoardError, match="a real one"):
        blank.trace([]) if what == "trace" else blank.timings()


def test_the_simulator_is_given_up_when_it_takes_too_long(
    kmodel: bytes, tmp_path: Path
) -> None:
    simulator = Simulator(kmodel, tmp_path / "log", timeout=1e-6)
    with pytest.raises(ModelError, match="nncase simulating the kmodel did not end"):
        simulator.infer(pictures(1))
    simulator.close()
