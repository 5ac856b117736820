"""Networks trained on photographs of hand signs keep what they have learnt."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import make_checkout

DATA = Path(os.environ.get("K210_DATA", "missing")) / "sign-digits"

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
    pytest.mark.long,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not DATA.is_dir(), reason="$K210_DATA holds no sign-digits"),
]


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a project with TensorFlow's SAME padding leaves, up to the check."""
    root = tmp_path_factory.mktemp("signs") / "checkout"
    checkout = make_checkout(root, PROJECT.format(data=DATA))
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


def test_it_needs_fewer_regions_and_the_simulator_agrees(signs: Path) -> None:
    plain, *others = read(signs / "normalize/layers.json")["plans"]
    chosen = next(plan for plan in others if plan["rotation"])
    assert chosen["regions"] < plain["regions"]
    assert chosen["total"] < plain["total"]
    check = read(signs / "check/check.json")
    device = check["ladder"][-1]
    assert device["agreement"] > 0.9
