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
from stages import check, dataset, flash
from stages import compile as compile_stage
from stages.artifacts import Workspace, write_json
from stages.normalize.graph import Node

SIDE, CLASSES, PICTURES, CALIBRATION = 16, 10, 40, 16

PIPELINE = f"""\
project: {{name: traced}}
data:
  kind: npz
  path: data.npz
  channels: 3
  size: [{SIDE}, {SIDE}]
  split: {{train: 16, validation: 0, test: 8}}
MODEL
export: {{samples: 4}}
quantize: {{method: no_clip, samples: 16}}
check: {{samples: 8}}
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


def trained() -> Any:
    """A Keras model with a stride and random weights."""
    import keras

    keras.utils.set_random_seed(4)
    layers = keras.layers
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(12, 3, padding="same", name="first")(inputs)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.Conv2D(16, 3, 2, "same", activation="relu", name="strided")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


def exported(model: Any, before: int = 0, flipped: bool = False) -> bytes:
    """That model as TFLite, written without the converter.

    Args:
        model: of `trained`.
        before: pixels above and left of the map that is convolved by strides.
        flipped: whether a channel of the first convolution has changed its sign.
    """
    net = Net((SIDE, SIDE, 3))
    x = net.convolve(net.input, 12, activation="RELU6")
    x = net.pad(x, before, 1, before, 1)
    x = net.convolve(x, 16, stride=2, padding="VALID")
    scores = net.dense(net.mean(x), CLASSES)
    first, _, strided, _, dense = net.nodes
    kernel, bias = _folded(model)
    if flipped:
        kernel[..., 5] *= -1
    give(first, kernel.transpose(3, 0, 1, 2), bias)
    kernel, bias = model.get_layer("strided").get_weights()
    give(strided, kernel.transpose(3, 0, 1, 2), bias)
    kernel, bias = model.layers[-1].get_weights()
    give(dense, kernel.T, bias)
    return net.bytes(scores)


def _folded(model: Any) -> tuple[Any, Any]:
    """The first convolution's weights and bias with its batch norm folded in."""
    kernel, bias = model.get_layer("first").get_weights()
    norm = model.layers[2]
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return kernel * scale, (bias - mean) * scale + beta


def give(node: Node, weights: Any, bias: Any) -> None:
    """Set the constants of a layer."""
    for tensor, values in zip(node.inputs[1:], (weights, bias), strict=True):
        assert tensor is not None
        tensor.value = np.ascontiguousarray(values, np.float32)


class Deployed:
    """A project whose stages have run as far as the test wants.

    Args:
        root: an empty folder.
        model: a TFLite file's bytes, taken as exported and as normalized.
        url: of a virtual board that runs already.
        keras: the Keras model that it was exported from, if the project trains one.
    """

    def __init__(self, root: Path, model: bytes, url: str, keras: Any = None) -> None:
        kind = "model: {file: model.tflite}" if keras is None else "model: {}"
        pipeline = PIPELINE.replace("URL", url).replace("MODEL", kind)
        self.checkout: Checkout = make_checkout(root, pipeline)
        images = pictures()
        labels = np.arange(len(images)) % CLASSES
        np.savez(root / "data.npz", images=images, labels=labels)
        (root / "model.tflite").write_bytes(model)
        self._train(keras)
        self.write("export/model.tflite", model)
        self.to_compile(model)

    def _train(self, keras: Any) -> None:
        """Split the data; the model is trained already."""
        job = job_of(self.checkout, "train")
        data = dataset.load(job.settings.data, self.checkout.root)
        self.write("train/split.json", json.dumps(data.record()).encode())
        if keras is not None:
            keras.save(self.path("train/model.keras"))

    def path(self, name: str) -> Path:
        return self.checkout.root / "build/traced" / name

    def write(self, name: str, data: bytes) -> None:
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_bytes(data)

    def to_compile(self, model: bytes) -> None:
        """Set the float model that nncase is given, which quantization leaves as is."""
        self.write("normalize/model.tflite", model)
        self.write("quantize/model.tflite", model)

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
