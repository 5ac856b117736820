"""The flash writer, on a flash without a board before it."""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from flash_memory import PLENTY, SECTOR, FailingFlash, PowerCut
from hypothesis import given, settings
from hypothesis import strategies as st

from k210 import firmware
from k210.board import Done, FlashStep, Program
from k210.errors import BoardError
from k210.flash import flashing, ledger
from k210.flash.flash_map import Region
from k210.flash.flashing import Owner, Progress
from k210.flash.images import program_image
from k210.flash.slot import Slot, pack, size

FLASH_SIZE = 1 << 20
ID, OTHER_ID = "00112233445566aa", "00112233445566bb"
US = Owner("the test")
FORCED = Owner("the test", overwrite=True)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def flash(tmp_path: Path) -> Iterator[FailingFlash]:
    device = FailingFlash(tmp_path / "flash.bin", FLASH_SIZE)
    yield device
    device.close()


def data(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def region(address: int, length: int, seed: int = 1) -> Region:
    return Region(f"data {seed}", address, data(length, seed))


def put(flash: FailingFlash, *regions: Region, owner: Owner = US) -> int:
    flash.written.clear()
    return flashing.write(flash, ID, regions, owner)


def refusal(flash: FailingFlash, *regions: Region, owner: Owner = US) -> str:
    """What is said when these regions are refused; nothing is written then."""
    with pytest.raises(BoardError) as raised:
        put(flash, *regions, owner=owner)
    assert not flash.written
    return str(raised.value)


def slot_region(kmodel: bytes) -> Region:
    slot = Slot(kmodel, b"{}")
    image = bytearray(b"\xff" * size(slot))
    for offset, piece in pack(slot):
        image[offset : offset + len(piece)] = piece
    return Region("the model slot", 0x10000, bytes(image), guarded=True)


# what is written


def test_the_same_again_writes_nothing(flash: FailingFlash) -> None:
    assert put(flash, region(0x10000, 100_000)) == 25
    assert put(flash, region(0x10000, 100_000)) == 0
    assert not flash.written


def test_100_bytes_changed_rewrite_one_sector(flash: FailingFlash) -> None:
    before = bytearray(data(200_000))
    put(flash, Region("data", 0x10000, bytes(before)))
    before[50_000:50_100] = bytes(100)
    assert put(flash, Region("data", 0x10000, bytes(before))) == 1
    assert flash.written == {0x10000 + 50_000 // SECTOR * SECTOR}


def test_a_damaged_sector_of_ours_is_set_right(flash: FailingFlash) -> None:
    put(flash, region(0x10000, 100_000))
    flash.flash_write(0x14000, bytes(10))
    assert put(flash, region(0x10000, 100_000)) == 1
    assert flash.flash_read(0x10000, 100_000) == data(100_000)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 0x20000), st.integers(1, 9000)), min_size=1, max_size=4
    ),
    st.integers(0, 2**32),
)
def test_regions_come_to_lie_there_and_all_else_stays(
    tmp_path_factory: pytest.TempPathFactory,
    places: list[tuple[int, int]],
    seed: int,
) -> None:
    image = tmp_path_factory.mktemp("any") / "flash.bin"
    content = bytearray(data(1 << 18, seed))
    image.write_bytes(content)
    regions = [region(*place, number) for number, place in enumerate(places)]
    device = FailingFlash(image, 1 << 18)
    try:
        put(device, *regions, owner=FORCED)
    except BoardError as error:
        assert "reaches into" in str(error)  # noqa: PT017
        assert not device.written
        regions = []
    for each in regions:
        content[each.address : each.end] = each.data
    assert device.flash_read(0, 1 << 18) == content
    device.close()


def test_progress_ends_with_all_of_it(flash: FailingFlash) -> None:
    said: list[Progress] = []
    flashing.write(flash, ID, [region(0, 50_000)], US, said.append)
    assert [each.done for each in said] == sorted(each.done for each in said)
    assert said[-1].done == said[-1].total == 13 * SECTOR
    assert "KiB/s, 0 s left" in str(said[-1])


# what is refused, with nothing written


def test_regions_that_overlap_are_refused(flash: FailingFlash) -> None:
    said = refusal(flash, region(0x1000, 5000), region(0x2000, 10, 2))
    assert "data 1 (0x1000 to 0x2388) reaches into data 2 at 0x2000" in said


def test_a_slot_shares_its_sectors_with_nothing(flash: FailingFlash) -> None:
    slot = Region("the slot", 0x10000, data(5000), guarded=True)
    said = refusal(flash, slot, region(0x11800, 100))
    assert "the slot and data 1 share the sector at 0x11000" in said
    assert put(flash, slot, region(0x12000, 100)) == 3


def test_a_slot_that_begins_within_a_sector_is_refused(flash: FailingFlash) -> None:
    odd = Region("the slot", 0x10100, b"x", guarded=True)
    assert "does not begin at a multiple of 4096" in refusal(flash, odd)


def test_what_does_not_fit_is_refused(flash: FailingFlash) -> None:
    said = refusal(flash, region(FLASH_SIZE - 100, 101))
    assert "the flash ends at 0x100000" in said


def test_nothing_is_no_region(flash: FailingFlash) -> None:
    assert "is empty" in refusal(flash, Region("a file", 0, b""))


def test_what_somebody_else_wrote_is_left_alone(flash: FailingFlash) -> None:
    flash.flash_write(0x14000, b"a factory's program")
    said = refusal(flash, region(0x10000, 100_000))
    assert "the flash is not blank at 0x14000 (1 sectors of 25)" in said
    assert "--force" in said
    assert put(flash, region(0x10000, 100_000), owner=FORCED) == 25


def test_a_factory_program_does_not_matter_to_the_slot(flash: FailingFlash) -> None:
    flash.flash_write(0, data(50_000))
    assert put(flash, slot_region(b"kmodel")) == 3


def test_another_board_on_the_same_port_is_refused(flash: FailingFlash) -> None:
    owner = Owner("the test", "/dev/ttyUSB0")
    flashing.write(flash, OTHER_ID, [region(0, 10)], owner)
    said = refusal(flash, region(0, 10), owner=owner)
    assert f"the id {ID}, not {OTHER_ID}" in said
    forced = Owner("the test", "/dev/ttyUSB0", overwrite=True)
    put(flash, region(0, 10), owner=forced)
    put(flash, region(0, 10), owner=owner)  # this is the one from now on


# what is ours


def test_a_larger_model_may_replace_a_smaller_one(flash: FailingFlash) -> None:
    put(flash, slot_region(data(9000)))
    assert put(flash, slot_region(data(20_000, 2))) == 7


def test_ours_is_no_longer_ours_when_its_head_has_changed(flash: FailingFlash) -> None:
    put(flash, region(0x10000, 100_000))
    flash.flash_erase(0x10000, SECTOR)
    flash.flash_write(0x10000, b"another tool's header")
    assert "not blank" in refusal(flash, region(0x10000, 100_000, 2))


def test_a_region_within_one_of_ours_is_ours(flash: FailingFlash) -> None:
    put(flash, region(0x10000, 100_000))
    assert put(flash, region(0x14000, 5000, 2)) == 2


def test_a_slot_that_another_computer_wrote_is_ours(
    flash: FailingFlash, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put(flash, slot_region(data(9000)))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    assert put(flash, slot_region(data(9000, 2))) == 4


def test_our_firmware_is_ours(
    flash: FailingFlash, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = program_image(firmware.image())
    put(flash, Region("the firmware", 0, program, aligned=True))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    changed = program[:-1] + bytes([program[-1] ^ 1])
    assert put(flash, Region("the firmware", 0, changed, aligned=True)) == 1


def test_a_damaged_ledger_knows_nothing(flash: FailingFlash, state: Path) -> None:
    put(flash, region(0, 5000))
    path = state / "k210/boards" / f"{ID}.json"
    path.write_text("[")
    assert "not blank" in refusal(flash, region(0, 5000, 2))


def test_the_ledger_tells_what_lies_where(flash: FailingFlash) -> None:
    put(flash, region(0x10000, 5000))
    put(flash, region(0x20000, 5000, 2), region(0x11000, 10, 3))
    entries = ledger.Ledger(ID).entries
    assert [(each.name, each.address, each.length) for each in entries] == [
        ("data 3", 0x11000, SECTOR),
        ("data 2", 0x20000, 2 * SECTOR),
    ]
    assert {each.state for each in entries} == {ledger.WHOLE}
    assert {each.project for each in entries} == {"the test"}


# what goes wrong


def test_a_write_that_is_stopped_anywhere_is_finished_by_the_next(
    flash: FailingFlash,
) -> None:
    before, after = slot_region(data(90_000)), slot_region(data(90_000, 2))
    left, cut = 0, True
    while cut:
        flash.left = PLENTY
        put(flash, before, owner=FORCED)
        flash.left, cut = left, False
        try:
            put(flash, after)
        except PowerCut:
            cut = True
        flash.left = PLENTY
        put(flash, after)
        assert flash.flash_read(after.address, len(after.data)) == after.data
        left += 1
    assert left > 10


class ForgetfulFlash(FailingFlash):
    """Loses some of what is programmed, as often as `lapses` says."""

    lapses = 0

    def flash_run(self, steps: Iterable[FlashStep]) -> Iterator[Done]:
        return super().flash_run(map(self._lapse, steps))

    def _lapse(self, step: FlashStep) -> FlashStep:
        if isinstance(step, Program) and self.lapses:
            self.lapses -= 1
            return Program(step.address, b"\xff" + step.data[1:])
        return step


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[ForgetfulFlash]:
    device = ForgetfulFlash(tmp_path / "worn.bin", FLASH_SIZE)
    yield device
    device.close()


def test_what_did_not_take_is_written_again(forgetful: ForgetfulFlash) -> None:
    forgetful.lapses = 2
    put(forgetful, region(0x10000, 50_000))
    assert forgetful.flash_read(0x10000, 50_000) == data(50_000)


def test_a_flash_that_never_takes_it_is_told(forgetful: ForgetfulFlash) -> None:
    forgetful.lapses = PLENTY
    with pytest.raises(BoardError, match="at 0x10000, nor after 3 tries"):
        put(forgetful, region(0x10000, 50_000))
    forgetful.lapses = 0
    put(forgetful, region(0x10000, 50_000))  # half of it is still ours
