"""Projects with pictures of one's own, run as a user runs them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import Checkout, assert_refused, make_checkout, outcomes
from PIL import Image

PROJECT = """\
project: {name: own}
data:
  kind: folder
  path: $OWN_PICTURES
  size: [32, 32]
  color: bgr
  resize: crop
  mean: 0.5
  std: 0.5
  split: {by: folder, validation: 0}
model: {alpha: 0.25}
train: {epochs: 2}
quantize: {method: no_clip, samples: 16}
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """Bright red and dark blue pictures of odd sizes, and a project of them."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 8)):
        for name, color in (("red", (200, 30, 0)), ("blue", (0, 20, 90))):
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 50, (40 + i, 52, 3), np.uint8)
                image = Image.fromarray(pixels + np.array(color, np.uint8))
                image.save(folder / f"{i}.jpg")
    monkeypatch.setenv("OWN_PICTURES", str(tmp_path / "pictures"))
    return make_checkout(tmp_path / "checkout", PROJECT)


@pytest.mark.long
def test_a_folder_of_pictures_gets_onto_the_board(own: Checkout) -> None:
    done = own.doit("check")
    assert done.returncode == 0, done.stdout + done.stderr
    check = json.loads((own.root / "build/own/check/check.json").read_text())
    steps = {step["step"]: step for step in check["ladder"]}
    assert check["samples"] == 16  # all there are: the YAML does not say how many
    assert check["classes"] == ["blue", "red"]
    assert steps["tflite"]["snr_db"] is None or steps["tflite"]["snr_db"] > 90
    assert steps["device"]["snr_db"] > 15
    assert steps["device"]["l1"] == steps["reference"]["l1"]
    spec = json.loads((own.root / "build/own/compile/manifest.json").read_text())
    assert spec["inputs"][0]["color"] == "bgr"
    assert {*outcomes(own.doit("check").stdout).values()} == {"up to date"}


def test_a_broken_picture_stops_the_training_by_name(own: Checkout) -> None:
    picture = Path(os.environ["OWN_PICTURES"]) / "train" / "red" / "3.jpg"
    picture.write_bytes(picture.read_bytes()[:300])
    done = own.stage("train")
    assert_refused(done, "1 of 56 pictures cannot be used: train/red/3.jpg cannot")


def test_a_variable_that_is_not_set_stops_the_run(
    own: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OWN_PICTURES")
    assert_refused(
        own.stage("train"), "data.path: the environment variable OWN_PICTURES is not"
    )
