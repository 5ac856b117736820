import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k210.errors import BoardError
from k210.virtual.nor import (
    BLOCK,
    JEDEC_ID,
    PAGE,
    SECTOR,
    SIZE,
    NorFlash,
)

SMALL = 2 * BLOCK


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flash.bin"


@pytest.fixture
def flash(path: Path) -> Iterator[NorFlash]:
    with NorFlash(path, SMALL) as opened:
        yield opened


def test_a_missing_file_becomes_a_blank_flash_of_16_mib(path: Path) -> None:
    with NorFlash(path) as flash:
        assert flash.jedec_id == JEDEC_ID == bytes.fromhex("ef4018")
    assert path.stat().st_size == SIZE
    assert path.stat().st_blocks * 512 >= SIZE
    assert path.read_bytes() == b"\xff" * SIZE
    assert list(path.parent.iterdir()) == [path]


def test_a_smaller_flash_says_so_in_its_jedec_id(path: Path) -> None:
    with NorFlash(path, SIZE // 2) as flash:
        assert flash.jedec_id == bytes.fromhex("ef4017")


@pytest.mark.parametrize("size", [0, -BLOCK, SECTOR, 3 * BLOCK, 2 * SIZE])
def test_a_size_that_no_chip_has_is_refused(path: Path, size: int) -> None:
    with pytest.raises(BoardError, match="power of two"):
        NorFlash(path, size)
    assert not path.exists()


def test_a_file_of_another_size_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"precious")
    with pytest.raises(BoardError, match="has 8 bytes, not the 131072"):
        NorFlash(path, SMALL)
    assert path.read_bytes() == b"precious"


@pytest.mark.skipif(sys.platform == "win32", reason="limits are a Unix matter")
def test_a_full_disk_leaves_no_half_made_file(path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BLOCK + 1, hard))
    try:
        with pytest.raises(BoardError, match="free some space"):
            NorFlash(path, SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(path.parent.iterdir()) == []


def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "nowhere" / "flash.bin", tmp_path / "file" / "flash.bin"):
        with pytest.raises(BoardError, match=str(place)):
            NorFlash(place, SMALL)


def test_a_folder_is_no_flash(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="cannot be opened"):
        NorFlash(tmp_path, SMALL)


def test_programming_only_clears_bits(flash: NorFlash) -> None:
    flash.program_page(0x1000, b"\xf0")
    flash.program_page(0x1000, b"\x3c")
    assert flash.read(0x1000, 2) == b"\x30\xff"


def test_a_page_wraps_at_its_end(flash: NorFlash) -> None:
    flash.program_page(PAGE + 254, b"abcd")
    assert flash.read(PAGE + 254, 4) == b"ab\xff\xff"
    assert flash.read(PAGE, 3) == b"cd\xff"


def test_more_than_a_page_at_a_time_is_refused(flash: NorFlash) -> None:
    with pytest.raises(BoardError, match="at most 256"):
        flash.program_page(0, bytes(PAGE + 1))
    assert flash.read(0, PAGE) == b"\xff" * PAGE


def test_a_write_crosses_pages_without_wrapping(flash: NorFlash) -> None:
    data = bytes(range(256)) * 3
    flash.write(200, data)
    assert flash.read(199, len(data) + 2) == b"\xff" + data + b"\xff"


@pytest.mark.parametrize(("unit", "name"), [(SECTOR, "sector"), (BLOCK, "block")])
def test_erasing_takes_the_whole_unit_around_the_address(
    flash: NorFlash, unit: int, name: str
) -> None:
    flash.write(0, bytes(SMALL))
    getattr(flash, f"erase_{name}")(unit + 123)
    assert flash.read(0, SMALL) == bytes(unit) + b"\xff" * unit + bytes(
        SMALL - 2 * unit
    )


def test_wear_is_counted_per_sector(flash: NorFlash) -> None:
    flash.erase_sector(SECTOR)
    flash.erase_block(SECTOR)
    flash.erase_chip()
    assert flash.erases == [2, 3] + [2] * 14 + [1] * 16


def test_erasing_the_chip_blanks_it(flash: NorFlash) -> None:
    flash.write(0, bytes(SMALL))
    flash.erase_chip()
    assert flash.read(0, SMALL) == b"\xff" * SMALL


def test_the_digest_is_of_the_range(flash: NorFlash) -> None:
    flash.write(1000, b"model")
    assert flash.sha256(1000, 5) == hashlib.sha256(b"model").hexdigest()


@pytest.mark.parametrize(("address", "length"), [(-1, 1), (0, -1), (SMALL - 1, 2)])
def test_nothing_outside_the_array_is_read(
    flash: NorFlash, address: int, length: int
) -> None:
    with pytest.raises(BoardError, match="correct the address or length"):
        flash.read(address, length)
    with pytest.raises(BoardError, match="correct the address or length"):
        flash.sha256(address, length)


def test_nothing_outside_the_array_is_changed(flash: NorFlash) -> None:
    with pytest.raises(BoardError, match="do not lie in the flash"):
        flash.write(SMALL - 1, b"ab")
    for address in (-1, SMALL):
        with pytest.raises(BoardError, match="do not lie in the flash"):
            flash.program_page(address, b"a")
        with pytest.raises(BoardError, match="do not lie in the flash"):
            flash.erase_sector(address)
        with pytest.raises(BoardError, match="do not lie in the flash"):
            flash.erase_block(address)
    assert flash.read(0, SMALL) == b"\xff" * SMALL
    assert not any(flash.erases)


def test_changes_outlive_the_object(path: Path) -> None:
    with NorFlash(path, SMALL) as flash:
        flash.write(5, b"kept")
        flash.flush()
        assert path.read_bytes()[5:9] == b"kept"
        flash.write(9, b"too")
    flash.close()
    assert path.read_bytes()[5:12] == b"kepttoo"


@pytest.mark.parametrize("readonly", [False, True])
def test_reading_leaves_the_time_of_the_file(path: Path, readonly: bool) -> None:
    NorFlash(path, SMALL).close()
    os.utime(path, (1000, 1000))
    with NorFlash(path, SMALL, readonly=readonly) as flash:
        flash.read(0, SMALL)
        flash.sha256(0, SMALL)
    assert path.stat().st_mtime == 1000


def test_a_flash_open_for_reading_cannot_be_changed(path: Path) -> None:
    NorFlash(path, SMALL).close()
    with NorFlash(path, SMALL, readonly=True) as flash:
        for change in (flash.erase_sector, flash.erase_block):
            with pytest.raises(BoardError, match="reading only"):
                change(0)
        for change_data in (flash.program_page, flash.write):
            with pytest.raises(BoardError, match="reading only"):
                change_data(0, b"")
        with pytest.raises(BoardError, match="reading only"):
            flash.erase_chip()


def test_reading_does_not_make_a_missing_file(path: Path) -> None:
    with pytest.raises(BoardError, match="cannot be opened"):
        NorFlash(path, SMALL, readonly=True)
    assert not path.exists()


class BytearrayFlash:
    """What the flash must do, in the plainest words."""

    def __init__(self) -> None:
        self.array = bytearray(b"\xff" * SMALL)

    def program_page(self, address: int, data: bytes) -> None:
        for i, byte in enumerate(data):
            self.array[address // PAGE * PAGE + (address + i) % PAGE] &= byte

    def write(self, address: int, data: bytes) -> None:
        for i, byte in enumerate(data):
            self.array[address + i] &= byte

    def erase_sector(self, address: int) -> None:
        start = address // SECTOR * SECTOR
        self.array[start : start + SECTOR] = b"\xff" * SECTOR

    def erase_block(self, address: int) -> None:
        start = address // BLOCK * BLOCK
        self.array[start : start + BLOCK] = b"\xff" * BLOCK


ADDRESSES = st.integers(0, SMALL - 1) | st.sampled_from(
    [0, PAGE - 1, PAGE, SECTOR - 1, SECTOR, BLOCK - 1, BLOCK, SMALL - PAGE, SMALL - 1]
)
OPERATIONS = st.one_of(
    st.tuples(st.just("program_page"), ADDRESSES, st.binary(max_size=PAGE)),
    st.tuples(st.just("write"), ADDRESSES, st.binary(max_size=3 * PAGE)),
    st.tuples(st.sampled_from(["erase_sector", "erase_block"]), ADDRESSES),
)


@settings(max_examples=60, deadline=None)
@given(operations=st.lists(OPERATIONS, max_size=25))
def test_any_sequence_leaves_what_a_plain_array_would_hold(
    operations: list[tuple[str, int, bytes] | tuple[str, int]],
) -> None:
    model = BytearrayFlash()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flash.bin"
        with NorFlash(path, SMALL) as flash:
            for name, address, *data in operations:
                clipped = [d[: SMALL - address] for d in data]
                getattr(flash, name)(address, *clipped)
                getattr(model, name)(address, *clipped)
                assert flash.read(0, SMALL) == model.array
        with NorFlash(path, SMALL, readonly=True) as again:
            assert again.read(0, SMALL) == model.array
