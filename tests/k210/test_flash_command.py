"""``python -m k210 flash``, on a virtual board."""

import random
from pathlib import Path

import pytest

from k210.__main__ import main
from k210.flash.images import PackageFile, program_in, write_package
from k210.virtual.nor import SIZE


def flash(folder: Path, *arguments: str) -> int:
    image = str(folder / "flash.bin")
    return main(["flash", "--port", "virtual", "--image", image, *arguments])


def test_it_writes_a_package_beside_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = random.Random(1).randbytes(SIZE)
    (tmp_path / "flash.bin").write_bytes(kept)
    program, data = b"a program", random.Random(2).randbytes(5000)
    files = [
        PackageFile(0, "program.bin", program, True),
        PackageFile(0x200800, "data.bin", data, False),
    ]
    write_package(tmp_path / "two.kfpkg", files)
    assert flash(tmp_path, str(tmp_path / "two.kfpkg")) == 2
    assert (tmp_path / "flash.bin").read_bytes() == kept
    assert "not blank at 0x0" in capsys.readouterr().err
    assert flash(tmp_path, str(tmp_path / "two.kfpkg"), "--force") == 0
    written = (tmp_path / "flash.bin").read_bytes()
    assert program_in(written) == program
    assert written[0x200800 : 0x200800 + 5000] == data
    assert written[0x200000:0x200800] == kept[0x200000:0x200800]
    assert written[0x200800 + 5000 :] == kept[0x200800 + 5000 :]


def test_what_does_not_fit_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(10))
    address = hex(SIZE - 4)
    assert flash(tmp_path, str(tmp_path / "data.bin"), "--address", address) == 2
    assert "choose a lower address" in capsys.readouterr().err


def test_a_dry_run_says_what_would_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(5000))
    where = ("--address", "0x200000")
    assert flash(tmp_path, str(tmp_path / "data.bin"), *where, "--dry-run") == 0
    assert "2 of 2 sectors would be written" in capsys.readouterr().out
    assert set((tmp_path / "flash.bin").read_bytes()) == {0xFF}
