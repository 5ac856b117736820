import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Checkout, assert_refused
from flash_memory import PLENTY, FailingFlash, PowerCut

from k210 import firmware
from k210.errors import BoardError
from k210.flash import flashing, slot
from k210.flash.flash_map import Region
from k210.flash.flashing import PIECE, Owner
from k210.flash.images import program_in
from k210.flash.slot import Slot, SlotError
from stages import flash

ADDRESS = 0x100000
SIZE = 0x800000
SECTOR = 4096
IMAGE = "build/imported/board/flash.bin"
FLASH_ID = "00112233445566aa"

OLD = Slot(b"old kmodel" * 2000, b'{"of": "the old"}')
NEW = Slot(b"new kmodel" * 2600, b'{"of": "the new"}')
RETOUCHED = Slot(b"old kmodel" * 1000 + b"new kmodel" * 1000, b'{"of": "the old"}')


Open = Callable[[int], FailingFlash]


@pytest.fixture
def board(tmp_path: Path) -> Open:
    """Open a board whose power lasts for some erasures and writes."""
    return lambda left: FailingFlash(tmp_path / "flash.bin", SIZE, left)


def region(contents: Slot) -> Region:
    return flash.slot_region(contents, ADDRESS)


def write(board: FailingFlash, contents: Slot) -> int:
    try:
        return flashing.write(board, FLASH_ID, [region(contents)], Owner("test"))
    finally:
        board.close()


def held(board: FailingFlash) -> Slot:
    try:
        return slot.read(board.flash_read, ADDRESS, SIZE)
    finally:
        board.close()


def summary(checkout: Checkout) -> Any:
    path = checkout.root / "build/imported/flash/summary.json"
    return json.loads(path.read_text(encoding="utf-8"))


# writing


@pytest.mark.parametrize("before", [None, OLD, RETOUCHED])
def test_what_is_written_is_what_is_read(board: Open, before: Slot | None) -> None:
    if before is not None:
        write(board(PLENTY), before)
    write(board(PLENTY), NEW)
    assert held(board(PLENTY)) == NEW


def test_a_blank_flash_gets_every_sector(board: Open) -> None:
    assert write(board(PLENTY), OLD) == slot.size(OLD) // SECTOR


def test_the_same_contents_are_not_written_twice(board: Open) -> None:
    write(board(PLENTY), OLD)
    assert write(board(0), OLD) == 0


def test_only_sectors_that_differ_are_written(board: Open) -> None:
    write(board(PLENTY), OLD)
    same = len(b"old kmodel" * 1000) // SECTOR  # whole sectors at the beginning
    changed = slot.size(OLD) // SECTOR - same - 1  # the manifest stays too
    assert write(board(PLENTY), RETOUCHED) == changed


def test_nothing_outside_the_slot_is_touched(board: Open) -> None:
    first = board(PLENTY)
    end = ADDRESS + slot.size(OLD)
    for place in (ADDRESS - SECTOR, end):
        first.flash_write(place, b"someone else's")
    write(first, OLD)
    after = board(PLENTY)
    for place in (ADDRESS - SECTOR, end):
        assert after.flash_read(place, 14) == b"someone else's"
    after.close()


def interrupted(board: Open, before: Slot | None, left: int) -> bool:
    """Write over what was there until the power fails; whether it did."""
    device = board(PLENTY)
    device.flash_erase(ADDRESS, slot.size(NEW))
    device.close()
    if before is not None:
        write(board(PLENTY), before)
    try:
        write(board(left), NEW)
    except PowerCut:
        return True
    return False


@pytest.mark.parametrize("before", [None, OLD])
def test_a_write_cut_short_anywhere_is_never_taken_for_a_model(
    board: Open, before: Slot | None
) -> None:
    left = 1  # with none at all the old model stands untouched
    while interrupted(board, before, left):
        with pytest.raises(SlotError):
            held(board(PLENTY))
        left += 1
    assert left > slot.size(NEW) // PIECE
    assert held(board(PLENTY)) == NEW


def test_a_write_cut_short_is_made_good_by_the_next(board: Open) -> None:
    assert interrupted(board, OLD, 4)
    write(board(PLENTY), NEW)
    assert held(board(PLENTY)) == NEW


# verifying


@pytest.mark.parametrize(("part", "offset"), [("kmodel", 0), ("manifest", 20480)])
def test_verification_notices_a_part_that_did_not_take(
    board: Open, part: str, offset: int
) -> None:
    write(board(PLENTY), OLD)
    device = board(PLENTY)
    device.flash_write(ADDRESS + SECTOR + offset, b"\0")
    with pytest.raises(BoardError, match=f"the {part} in flash at 0x10.* is not what"):
        flash.verify(device, ADDRESS, OLD)
    device.close()


def test_verification_passes_what_was_written(board: Open) -> None:
    write(board(PLENTY), OLD)
    device = board(PLENTY)
    flash.verify(device, ADDRESS, OLD)
    device.close()


# the stage


def test_flashing_again_writes_nothing(imported: Checkout) -> None:
    first = summary(imported)
    assert first["written"] == first["sectors"] > 2
    assert imported.stage("flash").returncode == 0
    again = summary(imported)
    assert (again["written"], again["sectors"]) == (0, first["sectors"])


def test_flashing_makes_a_damaged_flash_good(imported: Checkout) -> None:
    image = imported.root / IMAGE
    good = image.read_bytes()
    image.write_bytes(good[: ADDRESS + 5000] + b"\0\0" + good[ADDRESS + 5002 :])
    assert imported.stage("flash").returncode == 0
    assert summary(imported)["written"] == 2
    assert image.read_bytes() == good


def test_the_receipt_names_what_lies_where(imported: Checkout) -> None:
    build = imported.root / "build/imported"
    receipt = json.loads((build / "flash/receipt.json").read_text(encoding="utf-8"))
    image = (imported.root / IMAGE).read_bytes()
    for name, file in (("kmodel", "model.kmodel"), ("manifest", "manifest.json")):
        part = receipt["parts"][name]
        found = image[part["address"] : part["address"] + part["length"]]
        assert found == (build / "compile" / file).read_bytes()
    assert receipt["slot"] == ADDRESS
    assert receipt["engine"] == "firmware"


def test_the_slot_lies_where_the_project_says(imported: Checkout) -> None:
    imported.replace("check:", "flash: {slot: 0x200000}\ncheck:")
    assert imported.stage("flash").returncode == 0
    image = (imported.root / IMAGE).read_bytes()
    assert image[0x200000:0x200008] == slot.MAGIC


def test_a_model_that_ends_behind_the_flash_is_refused(imported: Checkout) -> None:
    imported.replace("check:", "flash: {slot: 0xFFD000}\ncheck:")
    assert_refused(imported.stage("flash"), "from 0xffd000", "lower flash.slot")


def test_a_flash_image_of_another_size_is_refused(imported: Checkout) -> None:
    imported.replace("check:", "board: {flash_size: 0x800000}\ncheck:")
    assert_refused(imported.stage("flash"), "has 16777216 bytes, not the 8388608")


def test_a_port_that_is_not_there_is_refused(imported: Checkout) -> None:
    imported.replace("check:", "board: {port: /dev/ttyNONE}\ncheck:")
    assert_refused(imported.stage("flash"), "the port /dev/ttyNONE cannot be opened")


def test_a_board_is_found_by_its_tag(imported: Checkout) -> None:
    imported.write("boards.yaml", "- {id: soft, port: virtual, tags: [camera]}\n")
    imported.replace("check:", "board: {tag: camera}\ncheck:")
    assert imported.stage("flash").returncode == 0
    assert (imported.root / "soft.bin").read_bytes()[ADDRESS:][:8] == slot.MAGIC
    assert imported.stage("check").returncode == 0
    imported.replace("tag: camera", "id: other")
    assert_refused(imported.stage("flash"), "no connected board", "board.id other")


def test_another_board_than_the_map_says_is_refused(imported: Checkout) -> None:
    entry = '{id: soft, port: virtual, flash_id: "0123456789abcdef"}'
    imported.write("boards.yaml", f"- {entry}\n")
    imported.replace("check:", "board: {id: soft}\ncheck:")
    assert_refused(imported.stage("flash"), "is not soft", "not 0123456789abcdef")
    assert set((imported.root / "soft.bin").read_bytes()) == {0xFF}


def test_a_model_can_be_only_loaded(imported: Checkout) -> None:
    image = imported.root / IMAGE
    image.write_bytes(b"\xff" * len(image.read_bytes()))
    imported.replace("check:", "flash: {mode: ram}\ncheck:")
    assert imported.stage("flash").returncode == 0
    assert set(image.read_bytes()) == {0xFF}
    assert imported.stage("check").returncode == 0


def test_somebody_elses_data_are_overwritten_only_if_that_is_said(
    imported: Checkout,
) -> None:
    image = imported.root / IMAGE
    image.write_bytes(bytes(len(image.read_bytes())))
    imported.replace("check:", "flash: {slot: 0x200000}\ncheck:")
    assert_refused(imported.stage("flash"), "not blank at 0x200000", "flash.overwrite")
    assert not any(image.read_bytes())
    imported.replace("slot: 0x200000", "slot: 0x200000, overwrite: true")
    assert imported.stage("flash").returncode == 0


def test_a_board_that_starts_alone_gets_the_firmware_too(imported: Checkout) -> None:
    imported.replace("check:", "flash: {mode: standalone}\ncheck:")
    assert imported.stage("flash").returncode == 0
    found = program_in((imported.root / IMAGE).read_bytes()[:0x40000])
    assert found == firmware.image()


@pytest.mark.parametrize("key", ["id", "tag"])
def test_a_board_without_a_port_is_refused(imported: Checkout, key: str) -> None:
    imported.replace("check:", f"board: {{{key}: ef4018}}\ncheck:")
    assert_refused(imported.stage("flash"), "name a board.port")
