"""Mean, std and range cost the chip nothing, and change nothing but the border."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_checkout
from numpy.typing import NDArray

from k210.errors import ModelError
from stages import dataset, fold, tflite
from stages.interpret import Interpreter
from stages.project.schema import Data

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Floats = NDArray[np.float32]


def convert(path: Path, first: str, padding: str = "valid", bias: bool = True) -> Path:
    """A small classifier of 16×16 colour pictures that begins in some way."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(3)
    layers = keras.layers
    inputs = keras.Input((16, 16, 3), batch_size=1)
    x = {
        "convolution": layers.Conv2D(
            8, 3, padding=padding, use_bias=bias, bias_initializer="normal"
        ),
        "pointwise": layers.Conv2D(8, 1, bias_initializer="normal"),
        "depthwise": layers.DepthwiseConv2D(
            3, padding=padding, depth_multiplier=2, bias_initializer="normal"
        ),
        "pooling": layers.AveragePooling2D(2),
    }[first](inputs)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.ReLU()(x))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(4)(x))
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    return path


def outputs(path: Path, samples: Floats) -> list[list[Floats]]:
    return list(Interpreter(path).run_many(samples))


def folded(
    path: Path, mean: Sequence[float] = MEAN, std: Sequence[float] = STD
) -> Path:
    model = tflite.read(path)
    fold.fold(model, mean, std)
    target = path.with_name("folded.tflite")
    tflite.write(model, target)
    return target


def samples() -> tuple[Floats, Floats]:
    """Plain floats, and as the model saw them in training."""
    plain = np.random.default_rng(0).random((6, 16, 16, 3), np.float32)
    return plain, ((plain - MEAN) / STD).astype(np.float32)


@pytest.mark.parametrize(
    ("first", "bias"),
    [("convolution", True), ("convolution", False), ("depthwise", True)],
)
def test_without_padding_the_folded_model_is_the_same_function(
    tmp_path: Path, first: str, bias: bool
) -> None:
    path = convert(tmp_path / "model.tflite", first, bias=bias)
    plain, normalized = samples()
    after, before = outputs(folded(path), plain), outputs(path, normalized)
    np.testing.assert_allclose(np.stack(after), np.stack(before), atol=1e-5)
    assert fold.border_difference(after, before) < 1e-5


def test_a_border_that_differs_too_much_is_refused_with_a_way_out(
    tmp_path: Path,
) -> None:
    path = convert(tmp_path / "model.tflite", "convolution", padding="same")
    plain, normalized = samples()
    after, before = outputs(folded(path), plain), outputs(path, normalized)
    with pytest.raises(ModelError, match="change the outputs by 0.* pads with zeros"):
        fold.border_difference(after, before)


def test_a_model_that_begins_otherwise_is_refused_by_name(tmp_path: Path) -> None:
    path = convert(tmp_path / "model.tflite", "pooling")
    with pytest.raises(
        ModelError, match="gives its input to AVERAGE_POOL_2D '.*'; use one number"
    ):
        folded(path)


def test_weights_that_two_convolutions_share_change_for_the_first_only(
    tmp_path: Path,
) -> None:
    model = tflite.read(convert(tmp_path / "model.tflite", "convolution"))
    graph = model.subgraphs[0]
    convolutions = [
        op for op in graph.operators if tflite.operator_name(model, op) == "CONV_2D"
    ]
    first, second = convolutions
    second.inputs = np.array([second.inputs[0], *first.inputs[1:]], np.int32)
    before = tflite.constant(model, graph.tensors[first.inputs[1]])
    fold.fold(model, MEAN, STD)
    shared = tflite.constant(model, graph.tensors[second.inputs[1]])
    own = tflite.constant(model, graph.tensors[first.inputs[1]])
    assert before is not None
    assert shared is not None
    assert own is not None
    assert np.array_equal(shared, before)
    np.testing.assert_allclose(own, shared / STD, rtol=1e-6)


# settings


def data(**keys: Any) -> Data:
    return Data.model_validate({"color": "rgb", "size": [4, 4], **keys})


@pytest.mark.parametrize("mean", [0.5, [0.5, 0.5, 0.5]])
def test_one_number_for_all_channels_is_part_of_the_range(
    mean: float | Sequence[float],
) -> None:
    settings = data(mean=mean, std=0.5)
    spec = dataset.input_of(settings)
    assert not dataset.per_channel(settings)
    assert spec == dataset.training_input_of(settings)
    assert spec.range == pytest.approx((-256 / 255, 254 / 255))
    assert (spec.mean, spec.std) == ((0, 0, 0), (1, 1, 1))


def test_numbers_by_channel_are_for_training_alone() -> None:
    settings = data(mean=MEAN, std=STD)
    plain, trained = dataset.input_of(settings), dataset.training_input_of(settings)
    assert dataset.per_channel(settings)
    assert (plain.mean, plain.std) == ((0, 0, 0), (1, 1, 1))
    assert plain.range == trained.range
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4), np.uint8)
    expected = (pixels.transpose(0, 2, 3, 1) / 255 - MEAN) / STD
    half_a_step = 0.5 / 255 / min(STD)
    assert np.abs(trained.to_float(pixels) - expected).max() <= half_a_step * 1.001
    darkest = trained.to_float(np.zeros((1, 3, 4, 4), np.uint8))[0, 0, 0]
    assert np.array_equal(dataset.darkest(settings), darkest)


def test_one_mean_with_a_std_by_channel_leaves_the_padding_as_it_was(
    tmp_path: Path,
) -> None:
    path = convert(tmp_path / "model.tflite", "convolution", padding="same")
    settings = data(mean=0.5, std=STD, size=[16, 16])
    plain, trained = dataset.input_of(settings), dataset.training_input_of(settings)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 16, 16), np.uint8)
    before = outputs(path, trained.to_float(pixels))
    after = outputs(folded(path, trained.mean, trained.std), plain.to_float(pixels))
    assert fold.border_difference(after, before) < 1e-5


PREPROCESSING: dict[str, dict[str, Any]] = {
    "plain": {},
    "scalar": {"mean": 0.5, "std": 0.25, "range": [-1, 1]},
    "channel": {"mean": [*MEAN], "std": [*STD], "range": [-1, 1]},
}


def test_mean_std_and_range_make_no_operation_on_the_cpu(tmp_path: Path) -> None:
    from k210 import kmodel
    from k210.child import Child
    from stages.compile.placement import placement
    from stages.nncase_child import Request, Result, prepare

    path = convert(tmp_path / "model.tflite", "pointwise")
    pixels = np.random.default_rng(0).integers(0, 256, (16, 3, 16, 16), np.uint8)
    placed = []
    with Child(prepare, (), tmp_path / "log", "compiling") as child:
        for keys in PREPROCESSING.values():
            settings = data(size=[16, 16], **keys)
            trained = dataset.training_input_of(settings)
            model = folded(path, trained.mean, trained.std).read_bytes()
            limits = dataset.input_of(settings).range
            request = Request(model, pixels, "no_clip", False, limits)
            result: Result = child.ask(request, 100)
            parsed = kmodel.parse(kmodel.canonical(result.kmodel))
            placed.append(placement(parsed, result.op_names, ()))
    assert placed[0]["cpu_ops"] == placed[1]["cpu_ops"] == placed[2]["cpu_ops"]
    for one in placed:  # the bytes go to the KPU as they are
        assert [op["kind"] for op in one["ops"]][:2] == ["call", "kpu_upload"]


PROJECT = """\
data:
  kind: synthetic
  size: [16, 16]
  color: rgb
  split: {train: 16, validation: 0, test: 4}
model: {file: ../model.tflite}
quantize: {method: no_clip, samples: 16}
check: {samples: 4}
"""


@pytest.mark.long
def test_a_project_with_mean_std_and_range_is_deployed_with_plain_floats(
    tmp_path: Path,
) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    convert(checkout.root / "model.tflite", "pointwise")
    checkout.write("projects/plain.yaml", PROJECT)
    for name, keys in PREPROCESSING.items():
        if keys:
            text = f"extends: plain.yaml\ndata: {json.dumps(keys)}\n"
            checkout.write(f"projects/{name}.yaml", text)
    done = checkout.doit(*(f"{name}:compile" for name in PREPROCESSING))
    assert done.returncode == 0, done.stdout + done.stderr

    def read(name: str, file: str) -> Any:
        return json.loads((checkout.root / "build" / name / file).read_text())

    placed = [read(name, "compile/placement.json") for name in PREPROCESSING]
    assert placed[0]["cpu_ops"] == placed[1]["cpu_ops"] == placed[2]["cpu_ops"]
    specs = {n: read(n, "compile/manifest.json")["inputs"][0] for n in PREPROCESSING}
    assert all(spec["mean"] == [0, 0, 0] for spec in specs.values())
    assert specs["plain"]["range"] == [0, 1]
    assert specs["scalar"]["range"] == pytest.approx([-1528 / 255, 512 / 255])
    zero = round((1 + sum(MEAN) / 3) / 2 * 255)
    expected = [-zero * 2 / 255, (255 - zero) * 2 / 255]
    assert specs["channel"]["range"] == pytest.approx(expected)
    plan = read("scalar", "quantize/plan.json")["range"]
    assert plan["wanted"] == [-6, 2]
    assert plan["effective"] == specs["scalar"]["range"]
    assert read("channel", "export/summary.json")["border_difference"] < 1e-5
