"""The run cache and the outputs themselves, damaged, emptied and tampered with."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import BIN, Checkout, assert_refused, outcomes

from stages.artifacts import RunCache, Workspace, read_run

Damage = Callable[[Path], None]


def flip_a_bit_in_the_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit_in_the_record(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[200] ^= 0x10  # run.json comes first
    path.write_bytes(data)


def entry_of(checkout: Checkout, stage: str) -> Path:
    ws = Workspace(checkout.root, "tiny")
    run = read_run(ws, stage)
    assert run is not None
    return RunCache(ws).folder / f"{run.key}.zip"


@pytest.mark.parametrize(
    "damage",
    [flip_a_bit_in_the_middle, cut_in_half, empty, flip_a_bit_in_the_record],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_entry_is_dropped_and_the_stage_runs(
    deployed: Checkout, damage: Damage
) -> None:
    kmodel = deployed.root / "build/tiny/compile/model.kmodel"
    before = kmodel.read_bytes()
    entry = entry_of(deployed, "compile")
    deployed.doit("clean", "compile")
    damage(entry)
    assert deployed.doit("why").returncode == 0
    done = deployed.doit("flash")
    assert done.returncode == 0, done.stderr
    assert "cache: dropped a damaged entry" in done.stdout
    assert outcomes(done.stdout)["compile"] == "ran"
    assert outcomes(done.stdout)["flash"] == "up to date"
    assert kmodel.read_bytes() == before
    assert zipfile.ZipFile(entry).testzip() is None


def test_a_cache_without_room_costs_only_time(deployed: Checkout) -> None:
    no_room = {"K210_CACHE_MIB": "0.001"}
    deployed.replace("check: {", "flash: {slot: 0x200000}\ncheck: {")
    done = deployed.run(str(BIN / "doit"), "flash", env=no_room)
    assert outcomes(done.stdout)["flash"] == "ran", done.stdout + done.stderr
    assert not list((deployed.root / "build/.cache").iterdir())
    deployed.replace("0x200000", "0x100000")
    done = deployed.run(str(BIN / "doit"), "flash", env=no_room)
    assert done.returncode == 0, done.stderr
    assert outcomes(done.stdout)["flash"] == "ran"
    assert set(outcomes(deployed.doit("flash").stdout).values()) == {"up to date"}


def test_a_cache_size_that_is_no_number_is_refused(deployed: Checkout) -> None:
    wrong = {"K210_CACHE_MIB": "much"}
    deployed.doit("clean", "flash")
    for arguments in (["cache"], ["flash", "--fresh"]):
        done = deployed.run(str(BIN / "doit"), *arguments, env=wrong)
        assert_refused(done, "K210_CACHE_MIB=much: not a size")


def test_the_cache_is_listed_and_pruned(deployed: Checkout) -> None:
    listed = deployed.doit("cache")
    assert listed.returncode == 0, listed.stderr
    for stage in ("train", "compile", "check", "report"):
        assert f"  {stage} " in listed.stdout
    assert "8 results, " in listed.stdout
    assert "of 2048 MiB" in listed.stdout

    cut_in_half(entry_of(deployed, "export"))
    assert "  damaged" in deployed.doit("cache").stdout
    assert "dropped 0 results" in deployed.doit("cache", "prune").stdout
    assert "dropped 8 results" in deployed.doit("cache", "prune", "0").stdout
    assert "0 results, 0.0 of" in deployed.doit("cache").stdout
    done = deployed.doit("deploy")
    assert set(outcomes(done.stdout).values()) == {"up to date"}, done.stderr
    for wrong in (["prune", "x"], ["prune", "-1"], ["prune", "1", "2"], ["empty"]):
        assert_refused(deployed.doit("cache", *wrong), " ".join(wrong[1:]))


@pytest.mark.parametrize(
    ("stage", "output"),
    [("normalize", "normalize/model.tflite"), ("compile", "compile/model.kmodel")],
)
def test_a_tampered_output_is_refused_by_stages_and_put_right_by_doit(
    deployed: Checkout, stage: str, output: str
) -> None:
    path = deployed.root / "build/tiny" / output
    before = path.read_bytes()
    flip_a_bit_in_the_middle(path)
    done = deployed.stage("check")
    assert_refused(done, f"{output} is not what the stage wrote", stage)
    assert f"{output} is not what the stage wrote" in deployed.doit("why").stdout
    done = deployed.doit("deploy")
    assert done.returncode == 0, done.stderr
    assert outcomes(done.stdout).pop(stage) == "restored"
    assert path.read_bytes() == before

    flip_a_bit_in_the_middle(path)
    deployed.doit("cache", "prune", "0")
    assert outcomes(deployed.doit("flash").stdout)[stage] == "ran"
    assert path.read_bytes() == before


def test_a_flash_image_changed_by_hand_is_flashed_again(deployed: Checkout) -> None:
    image = deployed.root / "build/tiny/board/flash.bin"
    before = image.read_bytes()
    with image.open("r+b") as file:
        file.seek(0x100000 + 8192)
        file.write(bytes(100))
    assert_refused(deployed.stage("check"), "board/flash.bin is not what the stage")
    deployed.doit("cache", "prune", "0")
    done = deployed.doit("flash")
    assert outcomes(done.stdout)["flash"] == "ran"
    assert re.search(r"[12] of \d+ sectors written", done.stdout)
    assert image.read_bytes() == before


def test_results_of_two_runs_mixed_by_hand_are_refused(deployed: Checkout) -> None:
    """A normalize folder that is intact, but of another export, does not count."""
    kept = deployed.root / "kept"
    build = deployed.root / "build/tiny"
    (build / "quantize").rename(kept)
    deployed.replace("samples: 16}", "samples: 24}")
    assert deployed.doit("flash").returncode == 0
    (build / "quantize").rename(deployed.root / "other")
    kept.rename(build / "quantize")
    assert_refused(deployed.stage("check"), "compile/ was made from another quantize/")
    done = deployed.doit("flash")
    assert outcomes(done.stdout)["quantize"] == "restored"
    assert outcomes(done.stdout)["flash"] == "up to date"
