import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import IMPORTED, Checkout, assert_refused, make_checkout
from jobs import job_of

from k210.board import Board
from k210.errors import BoardError, UserError
from k210.flash import slot
from stages import check
from stages.boards import opened
from stages.graph import NAMES

KEYS = {"project", "engine", "board", "samples", "verdict", "ladder"}
STEP_KEYS = {
    "step",
    "unusable",
    "accuracy",
    "ci95",
    "agreement",
    "snr_db",
    "psnr_db",
    "l1",
}
NEW_STEP_KEYS = {"drop", "drop_ci95", "top_k", "per_class", "cosine"}


def content(root: Path, project: str) -> Any:
    path = root / "build" / project / "check/check.json"
    return json.loads(path.read_text(encoding="utf-8"))


def run_all(checkout: Checkout, model: Path) -> Any:
    """Run a brought model's stages; returns the finished check stage."""
    shutil.copyfile(model, checkout.root / "model.tflite")
    for stage in NAMES[: NAMES.index("check")]:
        done = checkout.stage(stage)
        assert done.returncode == 0, done.stderr
    return checkout.stage("check")


# a trained project


def test_the_ladder_of_a_trained_project_begins_with_keras(deployed_once: Path) -> None:
    ladder = content(deployed_once, "tiny")["ladder"]
    steps = [row["step"] for row in ladder]
    assert steps == ["float", "tflite", "normalized", "reference", "device"]


def test_every_step_of_a_labelled_project_has_an_accuracy(deployed_once: Path) -> None:
    for row in content(deployed_once, "tiny")["ladder"]:
        low, high = row["ci95"]
        assert low <= row["accuracy"] <= high


def test_float_steps_hardly_differ_and_the_board_a_little(deployed_once: Path) -> None:
    ladder = content(deployed_once, "tiny")["ladder"]
    noise = {row["step"]: row["snr_db"] for row in ladder}
    assert min(noise["tflite"], noise["normalized"]) > 90
    assert 10 < noise["device"] == noise["reference"] < 90


def test_the_confusion_counts_every_sample_of_the_board(deployed_once: Path) -> None:
    found = content(deployed_once, "tiny")
    confusion = np.array(found["confusion"])
    device = found["ladder"][-1]
    assert confusion.sum() == found["samples"] == 60
    assert np.trace(confusion) / 60 == pytest.approx(device["accuracy"])
    assert confusion.sum(axis=1).tolist() == [6] * 10  # the test split is balanced


def test_the_check_has_the_keys_that_others_rely_on(deployed_once: Path) -> None:
    found = content(deployed_once, "tiny")
    assert found.keys() >= KEYS
    assert (found["project"], found["verdict"]) == ("tiny", "pass")
    assert found["engine"] == "firmware"
    assert all(row.keys() == STEP_KEYS | NEW_STEP_KEYS for row in found["ladder"])


def test_the_devices_mistakes_are_listed_and_their_pictures_kept(
    deployed_once: Path,
) -> None:
    found = content(deployed_once, "tiny")
    confusion = np.array(found["confusion"])
    wrong = int(confusion.sum() - np.trace(confusion))
    worst = found["worst"]
    assert len(worst) == min(wrong, 24) > 0
    assert all(each["decision"] != each["label"] for each in worst)
    scores = [each["score"] for each in worst]
    assert scores == sorted(scores, reverse=True)
    listed = {each["index"] for each in (*worst, *found["disagreements"])}
    with np.load(deployed_once / "build/tiny/check/pictures.npz") as file:
        assert file["indices"].tolist() == sorted(listed)
        assert file["images"].shape == (len(listed), 28, 28, 1)


def test_the_run_ends_in_one_line(deployed_once: Path) -> None:
    done = Checkout(deployed_once).doit("check")
    last = done.stdout.splitlines()[-1]
    assert last.startswith("tiny: pass  device ")
    assert " ms modelled  " in last


# a brought model


def test_the_ladder_of_a_brought_model_begins_with_tflite(imported_once: Path) -> None:
    steps = [row["step"] for row in content(imported_once, "imported")["ladder"]]
    assert steps == ["tflite", "normalized", "reference", "device"]


def test_without_labels_only_the_agreement_is_measured(imported_once: Path) -> None:
    found = content(imported_once, "imported")
    first, *rest = found["ladder"]
    assert all(row["accuracy"] is row["ci95"] is None for row in found["ladder"])
    assert first["agreement"] is None
    assert all(0 <= row["agreement"] <= 1 for row in rest)
    assert found["confusion"] is None


def test_the_summary_has_every_step(imported_once: Path) -> None:
    path = imported_once / "build/imported/check/summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    for row in content(imported_once, "imported")["ladder"]:
        assert summary[f"{row['step']}_agreement"] == row["agreement"]
        assert summary[f"{row['step']}_snr_db"] == row["snr_db"]


@pytest.fixture(scope="module")
def spatial(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("spatial") / "checkout"
    checkout = make_checkout(root, IMPORTED)
    done = run_all(checkout, models / "spatial.tflite")
    assert done.returncode == 0, done.stderr
    return root


def test_maps_are_compared_but_decide_nothing(spatial: Path) -> None:
    first, *rest = content(spatial, "imported")["ladder"]
    for row in rest:
        assert row["accuracy"] is row["agreement"] is None
        assert row["l1"] < 0.05


def test_maps_come_off_the_board_in_the_order_of_the_float_model(spatial: Path) -> None:
    device = content(spatial, "imported")["ladder"][-1]
    assert device["snr_db"] > 20  # with rows, columns or channels mixed up: under 5


def test_an_agreement_of_maps_is_refused(spatial: Path, tmp_path: Path) -> None:
    shutil.copytree(spatial, tmp_path / "checkout")
    checkout = Checkout(tmp_path / "checkout")
    checkout.replace("check: {", "check: {min_agreement: 0.5, ")
    assert_refused(checkout.stage("check"), "the model does not classify; take it out")


# a labelled one, and the verdict


@pytest.fixture(scope="module")
def failing(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A checkout with labels that the model cannot know, and its check's end."""
    root = tmp_path_factory.mktemp("failing") / "checkout"
    pipeline = IMPORTED.replace("kind: synthetic", "kind: npz, path: data.npz")
    pipeline = pipeline.replace("check: {", "check: {min_accuracy: 0.999, ")
    checkout = make_checkout(root, pipeline)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (48, 32, 32), np.uint8)
    np.savez(root / "data.npz", images=images, labels=np.arange(48) % 10)
    return root, run_all(checkout, models / "plain.tflite")


def test_a_missed_threshold_ends_in_status_1_and_a_verdict(failing: Any) -> None:
    root, done = failing
    assert done.returncode == 1
    assert "verdict: fail\n  device accuracy" in done.stdout
    assert done.stderr == ""


def test_a_missed_threshold_is_recorded(failing: Any) -> None:
    found = content(failing[0], "imported")
    assert found["verdict"] == "fail"
    assert len(found["failures"]) == 1
    assert found["thresholds"] == {
        "min_accuracy": 0.999,
        "max_drop": None,
        "min_agreement": None,
    }


def test_a_brought_model_has_an_accuracy_where_there_are_labels(failing: Any) -> None:
    for row in content(failing[0], "imported")["ladder"]:
        assert 0 <= row["accuracy"] < 0.999


# what is refused


@pytest.mark.parametrize("key", ["min_accuracy", "max_drop"])
def test_an_accuracy_without_labels_is_refused(imported: Checkout, key: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (48, 32, 32), np.uint8)
    np.savez(imported.root / "data.npz", images=images)
    imported.replace("kind: synthetic", "kind: npz, path: data.npz")
    imported.replace("check: {", f"check: {{{key}: 0.5, ")
    assert imported.stage("train").returncode == 0
    job = job_of(imported, "check")
    with pytest.raises(UserError, match="the data has no labels"):
        check.run(job)


def test_more_samples_than_test_pictures_are_refused(imported: Checkout) -> None:
    imported.replace("check: {samples: 20}", "check: {samples: 21}")
    assert_refused(imported.stage("check"), "asks for 21 pictures", "is 20")


Spoil = Callable[[Board], None]


def flash_another(board: Board) -> None:
    address = 0x100000
    held = slot.read(board.flash_read, address, board.flash_size)
    other = slot.Slot(held.kmodel + b"\0", held.manifest)
    board.flash_erase(address, slot.size(other))
    for offset, data in slot.pack(other):
        board.flash_write(address + offset, data)


def clear_bits(board: Board) -> None:
    board.flash_write(0x100000 + 4096 + 1000, bytes(50))


def erase(board: Board) -> None:
    board.flash_erase(0x100000, 4096)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (flash_another, "is not the compiled one; run the flash stage"),
        (clear_bits, "the kmodel in the model slot at 0x100000 is damaged"),
        (erase, "no model in the slot: run flash first"),
    ],
)
def test_a_board_that_does_not_hold_the_compiled_model_is_refused(
    imported: Checkout, spoil: Spoil, complaint: str
) -> None:
    job = job_of(imported, "check")
    with opened(job) as board:
        spoil(board)
    with pytest.raises(BoardError, match=complaint):
        check.run(job)


def test_a_flash_image_changed_by_hand_breaks_the_chain(imported: Checkout) -> None:
    with (imported.root / "build/imported/board/flash.bin").open("r+b") as image:
        image.seek(0x100000 + 5000)
        image.write(bytes(50))
    assert_refused(imported.stage("check"), "flash.bin is not what the stage wrote")
