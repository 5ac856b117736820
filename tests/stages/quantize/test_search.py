"""The search on a network whose channels are spoilt, by the stage itself."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Checkout, make_checkout
from fitted import SPEC, classifier, rescaled, values
from jobs import job_of
from numpy.typing import NDArray
from PIL import Image

from k210 import kmodel
from k210.reference import Reference
from stages import compile as compile_stage
from stages import dataset, project, quantize
from stages.artifacts import write_json
from stages.project.schema import Data

PIPELINE = """\
project: {name: spoilt}
data:
  kind: folder
  path: digits
  split: {by: folder}
  size: [32, 32]
  color: grey
model: {file: model.tflite}
quantize: {mse_weights: false, samples: 32, budget: 20}
"""
COUNTS = {"train": 300, "validation": 100, "test": 300}
POINT = 0.01

Pictures = NDArray[np.uint8]
Labels = NDArray[np.int64]


def write_pictures(folder: Path, images: Pictures, labels: Labels) -> None:
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[:, :, 0]).save(path)


def settle(checkout: Checkout, model: bytes) -> None:
    """What the stages before the search leave."""
    job = job_of(checkout, "quantize")
    data = project.load(project.select(checkout.root, None), checkout.root).data
    record = dataset.load(data, checkout.root).record()
    normalized = {"rotation": 0, "outputs": [{"name": "scores", "rotation": 0}]}
    for name, content in (
        ("train/split.json", record),
        ("normalize/layers.json", normalized),
    ):
        job.input(name).parent.mkdir(parents=True, exist_ok=True)
        write_json(job.input(name), content)
    job.input("normalize/model.tflite").write_bytes(model)


def search(checkout: Checkout) -> Path:
    """Run the stage; the folder with what it wrote."""
    job = job_of(checkout, "quantize")
    quantize.run(job)
    folder = checkout.root / "build/spoilt/quantize"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(job.output("quantize/plan.json").parent, folder)
    return folder


@dataclass(frozen=True)
class Spoilt:
    """A project whose model's channels are rescaled by up to 16, and the search's plan.

    ``test`` is uint8 N×1×32×32.
    """

    checkout: Checkout
    model: bytes
    plan: Mapping[str, Any]
    test: Pictures
    labels: Labels


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Spoilt:
    checkout = make_checkout(tmp_path_factory.mktemp("spoilt") / "co", PIPELINE)
    digits = dataset.load(Data(), checkout.root).train
    assert digits.labels is not None
    start = 0
    for name, count in COUNTS.items():
        images = digits.images[start : start + count]
        labels = digits.labels[start : start + count]
        write_pictures(checkout.root / "digits" / name, images, labels)
        start += count
    train = digits.take(np.arange(COUNTS["train"]))
    assert train.labels is not None
    graph = classifier(SPEC.prepare_batch(train.images), train.labels)
    model = rescaled(graph, 16)
    settle(checkout, model)
    folder = search(checkout)
    plan = json.loads((folder / "plan.json").read_bytes())
    return Spoilt(checkout, model, plan, SPEC.prepare_batch(images), labels)


def row_of(plan: Mapping[str, Any], **wanted: Any) -> Mapping[str, Any]:
    (row,) = (
        row
        for row in plan["search"]["candidates"]
        if all(row[key] == value for key, value in wanted.items())
    )
    found: Mapping[str, Any] = row
    return found


def test_channels_rescaled_by_up_to_16_come_back_within_a_point(
    spoilt: Spoilt,
) -> None:
    exact = values(spoilt.model, spoilt.test).argmax(1) == spoilt.labels
    job = job_of(spoilt.checkout, "compile")
    compile_stage.run(job)
    deployed = job.output("compile/model.kmodel").read_bytes()
    runs = Reference(deployed).infer_many(each.tobytes() for each in spoilt.test)
    scores = np.array([np.frombuffer(outputs[0], "<f4") for outputs in runs])
    right = scores.argmax(1) == spoilt.labels
    assert exact.mean() > 0.75
    assert right.mean() >= exact.mean() - POINT
    assert kmodel.canonical(deployed) == deployed


def test_the_choice_is_no_worse_than_the_default(spoilt: Spoilt) -> None:
    default, chosen = (
        spoilt.plan["search"]["candidates"][0],
        row_of(spoilt.plan, state="chosen"),
    )
    assert (default["method"], default["equalized"]) == ("no_clip", False)
    assert default["images"] == chosen["images"] == COUNTS["validation"]
    assert default["accuracy"] < 0.5 < chosen["accuracy"]
    assert chosen["equalized"]


def test_the_plan_is_the_chosen_row(spoilt: Spoilt) -> None:
    chosen = row_of(spoilt.plan, state="chosen")
    for key in ("method", "mse_weights", "equalized", "corrected", "samples"):
        assert spoilt.plan[key] == chosen[key]
    assert spoilt.plan["search"]["split"] == "validation"


def test_all_methods_were_tried_with_and_without_equalization(spoilt: Spoilt) -> None:
    rows = spoilt.plan["search"]["candidates"]
    tried = {(row["method"], row["equalized"]) for row in rows if row["images"]}
    assert tried == {
        (method, equalized)
        for method in ("no_clip", "l2", "cdf", "kld_m2")
        for equalized in (False, True)
    }
    assert not any(row["mse_weights"] for row in rows)  # the YAML says so
    assert {row["samples"] for row in rows} == {16, 32, 128}


def test_the_search_never_touches_the_test_pictures(
    spoilt: Spoilt, tmp_path: Path
) -> None:
    root = tmp_path / "poisoned"
    shutil.copytree(spoilt.checkout.root, root)
    poisoned, rng = Checkout(root), np.random.default_rng(0)
    shutil.rmtree(root / "digits/test")
    noise = rng.integers(0, 256, (COUNTS["test"], 28, 28, 1), np.uint8)
    write_pictures(root / "digits/test", noise, rng.permutation(spoilt.labels))
    settle(poisoned, spoilt.model)
    plan = json.loads((search(poisoned) / "plan.json").read_bytes())
    assert plan == spoilt.plan
