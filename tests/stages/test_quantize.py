import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import IMPORTED, Checkout, assert_refused
from jobs import job_of

from k210.errors import UserError
from k210.manifest import Input
from stages import dataset, quantize
from stages.artifacts import write_json
from stages.project import load, select
from stages.project.schema import Data


def samples_of(checkout: Checkout, project: str) -> Any:
    path = checkout.root / "build" / project / "quantize/calibration.npz"
    with np.load(path, allow_pickle=False) as archive:
        assert archive.files == ["samples"]
        return archive["samples"]


def plan_of(checkout: Checkout, project: str) -> Any:
    path = checkout.root / "build" / project / "quantize/plan.json"
    return json.loads(path.read_text(encoding="utf-8"))


def data_of(checkout: Checkout) -> Data:
    return load(select(checkout.root, None), checkout.root).data


@pytest.fixture(scope="module")
def digits(deployed_once: Path) -> dict[str, dict[bytes, int]]:
    """Per split: the samples as the board would get them, and their labels."""
    checkout = Checkout(deployed_once)
    settings = data_of(checkout)
    spec = Input(**plan_of(checkout, "tiny")["input"])
    found = {}
    for name, split in dataset.load(settings, deployed_once).splits().items():
        assert split.labels is not None
        batch = spec.prepare_batch(split.images)
        keys = (each.tobytes() for each in batch)
        found[name] = dict(zip(keys, split.labels.tolist(), strict=True))
    return found


def test_the_calibration_set_is_what_the_board_will_be_given(
    deployed_once: Path,
) -> None:
    samples = samples_of(Checkout(deployed_once), "tiny")
    assert samples.dtype == np.uint8
    assert samples.shape == (16, 1, 32, 32)
    assert not samples[:, :, :2].any()  # 28 rows of pixels, two of zeros on each side


def test_the_calibration_set_comes_from_the_training_split_only(
    deployed_once: Path, digits: dict[str, dict[bytes, int]]
) -> None:
    samples = samples_of(Checkout(deployed_once), "tiny")
    chosen = {sample.tobytes() for sample in samples}
    assert len(chosen) == 16
    assert chosen <= digits["train"].keys()


def test_the_calibration_set_is_balanced(
    deployed_once: Path, digits: dict[str, dict[bytes, int]]
) -> None:
    checkout = Checkout(deployed_once)
    samples = samples_of(checkout, "tiny")
    labels = [digits["train"][sample.tobytes()] for sample in samples]
    counts = np.bincount(labels, minlength=10)
    assert counts.max() - counts.min() <= 1
    assert plan_of(checkout, "tiny")["per_class"] == counts.tolist()


def test_the_plan_says_what_was_planned(imported: Checkout) -> None:
    plan = plan_of(imported, "imported")
    assert (plan["method"], plan["mse_weights"], plan["samples"]) == (
        "no_clip",
        False,
        16,
    )
    assert plan["input"]["shape"] == [1, 1, 32, 32]
    assert [output["shape"] for output in plan["outputs"]] == [[1, 10]]


def test_the_same_seed_draws_the_same_set(imported: Checkout) -> None:
    before = samples_of(imported, "imported")
    assert imported.stage("quantize").returncode == 0
    assert np.array_equal(samples_of(imported, "imported"), before)


def test_another_seed_draws_another_set(imported: Checkout) -> None:
    before = plan_of(imported, "imported")["samples_digest"]
    imported.replace("quantize: {", "quantize: {seed: 1, ")
    assert imported.stage("quantize").returncode == 0
    assert plan_of(imported, "imported")["samples_digest"] != before


def test_more_samples_than_training_pictures_are_refused(imported: Checkout) -> None:
    imported.replace("samples: 16}", "samples: 25}")
    assert_refused(imported.stage("quantize"), "asks for 25 pictures", "is 24")


def test_data_that_has_changed_since_the_training_is_refused(
    imported: Checkout,
) -> None:
    imported.replace("kind: synthetic", "kind: synthetic, seed: 1")
    assert_refused(imported.stage("quantize"), "is no longer what train/split.json")


def test_pictures_that_are_all_alike_are_refused(
    checkout: Checkout, models: Path
) -> None:
    np.savez(checkout.root / "data.npz", images=np.zeros((48, 32, 32), np.uint8))
    alike = IMPORTED.replace("kind: synthetic", "kind: npz, path: data.npz")
    checkout.write("pipeline.yaml", alike)
    job = job_of(checkout, "quantize")
    for name in ("train/split.json", "normalize/model.tflite"):
        job.input(name).parent.mkdir()
    record = dataset.load(data_of(checkout), checkout.root).record()
    write_json(job.input("train/split.json"), record)
    write_json(job.input("normalize/layers.json"), {"rotation": 0})
    shutil.copyfile(models / "plain.tflite", job.input("normalize/model.tflite"))
    normalized = {"rotation": 0, "outputs": [{"name": "scores", "rotation": 0}]}
    write_json(job.input("normalize/layers.json"), normalized)
    with pytest.raises(UserError, match="all pixels of the calibration set are 0"):
        quantize.run(job)
