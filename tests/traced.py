"""Small colour networks taken from the compile stage to the check, faults and all.

The stages run in this process on files written by hand; what is planted between two of
them is what a user's mistake, a defect of nncase or a worn flash would leave there.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from conftest import Checkout, make_checkout
from jobs import job_of
from nets import Net
from numpy.typing import NDArray

from k210.manifest import Input
from stages import check, flash, train
from stages import compile as compile_stage
from stages.artifacts import Workspace, write_json

SIDE, CLASSES, PICTURES, CALIBRATION = 16, 10, 40, 16

PIPELINE = f"""\
project: {{name: traced}}
data:
  kind: npz
  path: data.npz
  channels: 3
  size: [{SIDE}, {SIDE}]
  split: {{train: 16, validation: 0, test: 12}}
model: {{file: model.tflite}}
export: {{samples: 4}}
quantize: {{samples: 16}}
check: {{samples: 12}}
board: {{port: URL, type: virtual}}
"""


def pictures() -> NDArray[np.uint8]:
    """Smooth random colours, N×H×W×C, whose channels differ in brightness."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (PICTURES, 4, 4, 3))
    fine = np.kron(coarse, np.ones((1, 4, 4, 1))) + rng.normal(
        0, 12, (PICTURES, SIDE, SIDE, 3)
    )
    return np.clip(fine * (1.0, 0.7, 0.4), 0, 255).astype(np.uint8)


def network(before: int = 0, reverse: bool = False) -> bytes:
    """Convolutions, an addition, a mean and a classifier.

    Args:
        before: pixels above and left of the map that is then convolved by strides.
        reverse: whether the first convolution takes its channels in reverse.
    """
    net = Net((SIDE, SIDE, 3), seed=3)
    x = net.convolve(net.input, 12)
    if reverse:
        weights = net.nodes[0].inputs[1]
        assert weights is not None
        assert weights.value is not None
        weights.value = np.ascontiguousarray(weights.value[..., ::-1])
    y = net.convolve(x, 12, 1)
    x = net.add(x, net.convolve(y, 12, activation="NONE"))
    x = net.pad(x, before, 1, before, 1)
    x = net.convolve(x, 16, stride=2, padding="VALID", activation="RELU6")
    return net.bytes(net.dense(net.mean(x), CLASSES))


class Deployed:
    """A project whose stages have run as far as the test wants.

    Args:
        root: an empty folder.
        model: a TFLite file's bytes, taken as exported and as normalized.
        url: of a virtual board that runs already.
    """

    def __init__(self, root: Path, model: bytes, url: str) -> None:
        self.checkout: Checkout = make_checkout(root, PIPELINE.replace("URL", url))
        images = pictures()
        labels = np.arange(len(images)) % CLASSES
        np.savez(root / "data.npz", images=images, labels=labels)
        (root / "model.tflite").write_bytes(model)
        self.run(train, "train")
        self.write("export/model.tflite", model)
        self.write("normalize/model.tflite", model)

    def path(self, name: str) -> Path:
        return self.checkout.root / "build/traced" / name

    def write(self, name: str, data: bytes) -> None:
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_bytes(data)

    def run(self, stage: Any, name: str) -> Any:
        """Run a stage and publish what it makes."""
        job = job_of(self.checkout, name)
        metrics = stage.run(job)
        Workspace(self.checkout.root, "traced").publish(name)
        return metrics

    def compile(
        self,
        calibration: NDArray[np.uint8] | None = None,
        plan: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Calibrate with these pictures, N×H×W×C, or good ones; gives the kmodel."""
        images = pictures()[:CALIBRATION] if calibration is None else calibration
        spec = Input(
            name="input",
            shape=(1, 3, SIDE, SIDE),
            range=(0.0, 1.0),
            mean=(0.0,) * 3,
            std=(1.0,) * 3,
            color="rgb",
            resize="pad",
        )
        output = {"name": "scores", "shape": [1, CLASSES], "labels": None}
        planned = {
            "method": "no_clip",
            "mse_weights": False,
            "samples": len(images),
            "input": vars(spec),
            "outputs": [{**output, "rotation": 0}],
            **(plan or {}),
        }
        folder = self.path("quantize")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "plan.json", planned)
        np.savez(folder / "calibration.npz", samples=images.transpose(0, 3, 1, 2))
        self.run(compile_stage, "compile")
        return self.path("compile/model.kmodel").read_bytes()

    def check(self) -> Any:
        """Flash what was compiled, and check it; gives ``check.json``."""
        self.run(flash, "flash")
        self.run(check, "check")
        return json.loads(self.path("check/check.json").read_bytes())
