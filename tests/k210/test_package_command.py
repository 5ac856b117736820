"""``python -m k210 package``."""

import random
from pathlib import Path

import pytest
from compiled import Compiled

from k210 import firmware
from k210.__main__ import main
from k210.flash import slot
from k210.flash.images import read_package


def package(path: Path, *arguments: str) -> int:
    return main(["package", str(path), *arguments])


def test_firmware_model_and_files_go_into_a_package(
    tmp_path: Path,
    few_kmodels: dict[str, Compiled],
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, data = few_kmodels["width-17"].model, random.Random(1).randbytes(5000)
    (tmp_path / "model.kmodel").write_bytes(model)
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "words.bin").write_bytes(data)
    target = tmp_path / "all.kfpkg"
    put = ["--model", str(tmp_path / "model.kmodel"), "--file"]
    put += [f"0x300000={tmp_path / 'words.bin'}", "--firmware"]
    assert package(target, *put, "--manifest", str(tmp_path / "manifest.json")) == 0
    program, slotted, words = read_package(target)
    assert (program.address, program.data) == (0, firmware.image())
    assert (words.address, words.contents) == (0x300000, data)
    lying = bytes(slotted.address) + slotted.contents
    found = slot.read(lambda at, size: lying[at : at + size], 0x100000, 1 << 24)
    assert (found.kmodel, found.manifest) == (model, b"{}")
    made = capsys.readouterr().out
    assert package(target) == 0
    assert capsys.readouterr().out == made
    assert "a program" in made.splitlines()[0]


def test_files_that_overlap_leave_no_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(bytes(100))
    files = [f"--file=10={tmp_path / 'a'}", f"--file=0x60={tmp_path / 'b'}"]
    assert package(tmp_path / "two.kfpkg", *files) == 2
    assert "reaches into" in capsys.readouterr().err
    assert not (tmp_path / "two.kfpkg").exists()


def test_a_file_beyond_any_flash_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_bytes(bytes(100))
    assert package(tmp_path / "x.kfpkg", f"--file=0xffffff={tmp_path / 'a'}") == 2
    assert "reaches beyond" in capsys.readouterr().err


def test_a_model_without_its_manifest_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert package(tmp_path / "x.kfpkg", "--model", "m.kmodel") == 2
    assert "--manifest" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_bytes(b"a")
    assert package(tmp_path / "no" / "x.kfpkg", f"--file=0={tmp_path / 'a'}") == 2
    assert "cannot be written" in capsys.readouterr().err
