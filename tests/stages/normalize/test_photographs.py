"""Networks trained on photographs of hand signs keep what they have learnt."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_checkout
from foreign import SIGN_DIGITS, require_sign_digits
from numpy.typing import NDArray

from stages import dataset, project
from stages.interpret import Interpreter

PATIENCE_S = 1800
"""For one stage: the training takes two minutes on an idle machine."""

PROJECT = """\
project: {{name: signs}}
data:
  kind: folder
  path: {data}
  size: [64, 64]
  channels: 3
  resize: stretch
  split: {{by: folder, validation: 0}}
model: {{architecture: mobilenet_v1, alpha: 0.25, padding: same}}
train: {{epochs: 10}}
check: {{samples: 100}}
"""

pytestmark = [
    pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter"),
    pytest.mark.long,
    pytest.mark.timeout(3600),
]


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a project with TensorFlow's SAME padding leaves, up to the check."""
    require_sign_digits()
    root = tmp_path_factory.mktemp("signs") / "checkout"
    checkout = make_checkout(root, PROJECT.format(data=SIGN_DIGITS))
    stages = ("train", "export", "normalize", "quantize", "compile", "flash", "check")
    for stage in stages:
        command = [sys.executable, "-m", "stages", stage]
        subprocess.run(command, cwd=checkout.root, check=True, timeout=PATIENCE_S)
    return root / "build/signs"


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def test_the_network_is_rotated_and_equal_sample_by_sample(signs: Path) -> None:
    layers = read(signs / "normalize/layers.json")
    assert layers["rotation"] == 180
    assert layers["proof"]["difference"] <= 1e-5
    check = read(signs / "check/check.json")
    ladder = {row["step"]: row for row in check["ladder"]}
    assert ladder["normalized"]["agreement"] == 1
    assert ladder["normalized"]["accuracy"] == ladder["tflite"]["accuracy"]
    assert ladder["normalized"]["l1"] < 1e-5


def test_every_picture_comes_out_the_same(signs: Path) -> None:
    pictures = photographs(signs)
    before = outputs(signs / "export/model.tflite", pictures)
    turned = np.flip(pictures, (1, 2))
    after = outputs(signs / "normalize/model.tflite", turned)
    apart = np.abs(after - before).max(1)
    assert len(apart) > 300
    assert (apart <= 1e-5 * np.abs(before).max()).all()
    other = outputs(signs / "normalize/model.tflite", pictures)
    assert np.abs(other - before).max() > 0.1  # unless they are turned


def photographs(build: Path) -> NDArray[np.float32]:
    """The test pictures as the exported model takes them, N×H×W×C."""
    root = build.parents[1]
    settings = project.load(project.select(root, None), root)
    split = read(build / "train/split.json")
    test = dataset.load_recorded(settings.data, root, split).test
    spec = dataset.input_of(settings.data)
    return spec.to_float(spec.prepare_batch(test.images))


def outputs(model: Path, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    run = Interpreter(model).run
    return np.concatenate([run(each[np.newaxis])[0] for each in pictures])


def test_it_needs_fewer_regions_and_the_simulator_agrees(signs: Path) -> None:
    plain, *others = read(signs / "normalize/layers.json")["plans"]
    chosen = next(plan for plan in others if plan["rotation"])
    assert chosen["regions"] < plain["regions"]
    assert chosen["total"] < plain["total"]
    check = read(signs / "check/check.json")
    device = check["ladder"][-1]
    assert device["agreement"] > 0.9
