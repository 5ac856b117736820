import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k210.flash.images import (
    PackageError,
    PackageFile,
    program_image,
    program_in,
    read_package,
    write_package,
)


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_a_program_comes_back_from_its_image(program: bytes, behind: bytes) -> None:
    assert program_in(program_image(program) + behind) == program


@given(st.binary(max_size=60), st.integers(0, 499))
def test_a_damaged_image_holds_no_program(program: bytes, at: int) -> None:
    image = bytearray(program_image(program))
    image[at % len(image)] ^= 1
    assert program_in(bytes(image)) is None


def test_a_package_comes_back(tmp_path: Path) -> None:
    files = [
        PackageFile(0, "program.bin", b"program", True),
        PackageFile(0x200000, "data.bin", bytes(5000), False),
    ]
    write_package(tmp_path / "two.kfpkg", files)
    assert read_package(tmp_path / "two.kfpkg") == files
    assert program_in(files[0].contents) == b"program"


def test_bare_hex_addresses_are_read(tmp_path: Path) -> None:
    listing = '{"version": "0.1.0", "files": [{"address": 0x10, "bin": "a"}]}'
    with zipfile.ZipFile(tmp_path / "hex.kfpkg", "w") as archive:
        archive.writestr("flash-list.json", listing)
        archive.writestr("a", b"abc")
    assert read_package(tmp_path / "hex.kfpkg") == [PackageFile(16, "a", b"abc", False)]


def test_files_that_overlap_are_refused(tmp_path: Path) -> None:
    files = [PackageFile(0, "a", bytes(100), True), PackageFile(100, "b", b"b", False)]
    with pytest.raises(PackageError, match="a at 0x0 reaches into b at 0x64"):
        write_package(tmp_path / "two.kfpkg", files)


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.kfpkg").write_bytes(b"no zip")
    with pytest.raises(PackageError, match="make it anew"):
        read_package(tmp_path / "no.kfpkg")
