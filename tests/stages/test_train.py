import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import IMPORTED, Checkout, assert_refused

from stages import dataset
from stages.project import load, select

IMAGES = np.random.default_rng(0).integers(0, 256, (300, 28, 28), np.uint8)


def content(checkout: Checkout, project: str, name: str) -> Any:
    path = checkout.root / "build" / project / "train" / name
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_project_with_a_model_only_has_its_data_split(checkout: Checkout) -> None:
    checkout.write("pipeline.yaml", IMPORTED)
    checkout.write("model.tflite", "not looked at yet")
    assert checkout.stage("train").returncode == 0
    names = {path.name for path in (checkout.root / "build/imported/train").iterdir()}
    assert names == {"split.json", "summary.json", "run.json"}


def test_the_same_project_is_split_the_same_way_elsewhere(imported: Checkout) -> None:
    before = content(imported, "imported", "split.json")
    assert imported.stage("train").returncode == 0
    assert content(imported, "imported", "split.json") == before


def test_another_seed_splits_the_data_in_another_way(imported: Checkout) -> None:
    before = content(imported, "imported", "split.json")["splits"]
    imported.replace("kind: synthetic", "kind: synthetic, seed: 1")
    assert imported.stage("train").returncode == 0
    after = content(imported, "imported", "split.json")["splits"]
    assert all(before[name]["digest"] != after[name]["digest"] for name in before)


def test_the_record_of_the_split_is_the_split(imported: Checkout) -> None:
    data = load(select(imported.root, None), imported.root).data
    record = dataset.load(data, imported.root).record()
    assert content(imported, "imported", "split.json") == record


def test_training_leaves_a_row_of_history_per_epoch(deployed: Checkout) -> None:
    path = deployed.root / "build/tiny/train/history.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert all(0 <= float(row["val_accuracy"]) <= 1 for row in rows)


def test_training_measures_every_split(deployed: Checkout) -> None:
    summary = content(deployed, "tiny", "summary.json")
    for split in ("train", "validation", "test"):
        assert 0 <= summary[f"{split}_accuracy"] <= 1
    assert summary["epochs"] == 2
    assert summary["parameters"] > 1000


def test_the_trained_model_carries_no_optimizer(deployed: Checkout) -> None:
    import io
    import zipfile

    import h5py

    with zipfile.ZipFile(deployed.root / "build/tiny/train/model.keras") as archive:
        weights = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(weights, "r") as file:
        assert "optimizer" not in file


def test_training_without_labels_is_refused(checkout: Checkout) -> None:
    np.savez(checkout.root / "data.npz", images=IMAGES)
    checkout.replace("data: {", "data: {kind: npz, path: data.npz, ")
    assert_refused(checkout.stage("train"), "training needs labels", "model.file")


def test_a_damaged_data_file_is_refused(checkout: Checkout) -> None:
    (checkout.root / "data.npz").write_bytes(b"PK\x03\x04 but no more")
    checkout.replace("data: {", "data: {kind: npz, path: data.npz, ")
    assert_refused(checkout.stage("train"), "data.npz: not a readable .npz file")


def test_a_missing_data_file_is_refused(checkout: Checkout) -> None:
    checkout.replace("data: {", "data: {kind: npz, path: data.npz, ")
    assert_refused(checkout.stage("train"), "data.npz: no such file", "data.path")


def test_no_map_of_our_mobilenet_is_under_4x4(models: Path) -> None:
    text = (models / "smallest_maps.json").read_text(encoding="utf-8")
    smallest = json.loads(text)
    assert len(smallest) == 7
    assert all(min(sides) >= 4 for sides in smallest.values()), smallest


@pytest.mark.parametrize(
    ("alpha", "filters", "width"),
    [(1, 1024, 1024), (0.25, 32, 8), (0.25, 64, 16), (0.01, 32, 8), (0.3, 64, 16)],
)
def test_widths_are_multiples_of_eight(alpha: float, filters: int, width: int) -> None:
    from stages.train.architectures.parts import widths

    assert widths(alpha, filters) == width
