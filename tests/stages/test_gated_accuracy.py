"""Trained networks with hard-sigmoid gates: nncase alone ruins them, we do not."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from bare import Samples, ask, compiled, simulated
from conftest import REPOSITORY, Checkout, make_checkout
from foreign import DATA, require_sign_digits

from k210 import kmodel
from k210.manifest import Input
from stages import dataset, project

POINT = 0.01
STAGES = ("train", "export", "normalize", "quantize", "compile", "flash", "check")
HOUR_S = 3600

GATED = """\
project: {name: gated}
model:
  blocks:
    - {kind: conv, filters: 16, stride: 2}
    - {kind: conv, filters: 16, squeeze_excite: true}
    - {kind: conv, filters: 32, stride: 2, squeeze_excite: true}
    - {kind: conv, filters: 32, squeeze_excite: true}
train: {epochs: 6}
quantize: {method: no_clip, samples: 16}
check: {min_accuracy: null, max_drop: null}
"""
"""Digits, by a net with three gates."""

SEEDS = range(6)
"""Calibration sets; which ones nncase ruins is a matter of luck."""


def run(checkout: Checkout, name: str, *stages: str) -> None:
    for stage in stages:
        command = [sys.executable, "-m", "stages", stage, "--project", name]
        subprocess.run(command, cwd=checkout.root, timeout=2 * HOUR_S, check=True)


def ladder(build: Path) -> dict[str, float]:
    """Step → accuracy."""
    check = json.loads((build / "check/check.json").read_bytes())
    return {row["step"]: row["accuracy"] for row in check["ladder"]}


@dataclass(frozen=True)
class Trained:
    """What the pipeline has made of a project up to the quantize stage."""

    root: Path
    name: str
    log: Path

    @property
    def build(self) -> Path:
        return self.root / "build" / self.name

    def spec(self) -> Input:
        """The input as the exported model has it: upright."""
        plan = json.loads((self.build / "quantize/plan.json").read_bytes())
        return replace(Input(**plan["input"]), rotation=0)

    def data(self) -> dataset.Dataset:
        settings = project.load(project.select(self.root, self.name), self.root)
        split = json.loads((self.build / "train/split.json").read_bytes())
        return dataset.load_recorded(settings.data, self.root, split)

    def calibration(self, count: int, seed: int) -> Samples:
        """So many training pictures, drawn as the quantize stage draws them."""
        train = self.data().train
        order = dataset.balanced_order(train.labels, len(train), seed)
        return self.spec().prepare_batch(train.take(order[:count]).images)

    def alone(self, calibration: Samples) -> bytes:
        """What nncase makes of the exported model by itself."""
        model, limits = self.build / "export/model.tflite", list(self.spec().range)
        return compiled(ask(model, calibration, input_range=limits), self.log)

    def accuracy(self, model: bytes) -> float:
        """On the test pictures, by nncase's simulator."""
        test = self.data().test
        pictures = self.spec().prepare_batch(test.images)
        assert test.labels is not None
        decisions = simulated(model, pictures, self.log).argmax(1)
        return float(np.mean(decisions == test.labels))


@pytest.mark.long
@pytest.mark.timeout(3 * HOUR_S)
def test_a_mobilenetv3_keeps_its_accuracy_on_photographs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_sign_digits()
    monkeypatch.setenv("K210_DATA", str(DATA))
    checkout = make_checkout(tmp_path / "checkout", "{}\n")
    for name in ("sign-digits", "mobilenetv3"):
        source = REPOSITORY / "projects" / f"{name}.yaml"
        checkout.write(f"projects/{name}.yaml", source.read_text(encoding="utf-8"))
    checkout.replace(
        "check:", "train: {epochs: 30}\ncheck:", "projects/mobilenetv3.yaml"
    )
    run(checkout, "mobilenetv3", *STAGES)
    accuracies = ladder(checkout.root / "build/mobilenetv3")
    assert accuracies["float"] > 0.9
    assert abs(accuracies["device"] - accuracies["float"]) <= POINT
    trained = Trained(checkout.root, "mobilenetv3", tmp_path / "log")
    sets = (trained.calibration(128, seed) for seed in range(3))
    assert min(trained.accuracy(trained.alone(each)) for each in sets) < 0.5


@pytest.mark.long
@pytest.mark.timeout(HOUR_S)
def test_eight_pictures_calibrate_a_gated_net(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "checkout", GATED)
    run(checkout, "gated", *STAGES)
    trained = Trained(checkout.root, "gated", tmp_path / "log")
    exact = ladder(trained.build)["float"]
    assert exact > 0.9
    ruined = 0
    for seed in SEEDS:
        bare = trained.alone(trained.calibration(8, seed))
        ruined += trained.accuracy(bare) < exact - 10 * POINT
        repaired, _ = kmodel.repair(bare)
        assert trained.accuracy(repaired) >= exact - POINT
    assert ruined
