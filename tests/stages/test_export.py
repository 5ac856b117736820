import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import IMPORTED, Checkout, assert_refused, make_checkout

from stages import tflite


@pytest.fixture(scope="module")
def split_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkout = make_checkout(tmp_path_factory.mktemp("split") / "checkout", IMPORTED)
    (checkout.root / "model.tflite").touch()
    done = checkout.stage("train")
    assert done.returncode == 0, done.stderr
    return checkout.root


@pytest.fixture
def split(split_once: Path, tmp_path: Path) -> Checkout:
    shutil.copytree(split_once, tmp_path / "checkout")
    return Checkout(tmp_path / "checkout")


def summary(checkout: Checkout, project: str) -> dict[str, float]:
    path = checkout.root / "build" / project / "export" / "summary.json"
    content: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return content


def test_a_float_model_is_taken_over_byte_for_byte(
    imported: Checkout, models: Path
) -> None:
    exported = imported.root / "build/imported/export/model.tflite"
    assert exported.read_bytes() == (models / "plain.tflite").read_bytes()


def test_a_brought_model_is_compared_with_its_own_runtime(imported: Checkout) -> None:
    found = summary(imported, "imported")
    assert found["noise_samples"] == 8
    assert found["max_difference"] < 1e-6


def test_a_missing_model_is_refused(split: Checkout) -> None:
    (split.root / "model.tflite").unlink()
    assert_refused(split.stage("export"), "model.tflite: no such file", "model.file")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "the file is empty"),
        (b"garbage" * 100, "not a TFLite file"),
        (b"TFL3", "not a TFLite file"),
        (b"\x1c\0\0\0TFL3", "damaged or truncated"),
        (b"\xff\xff\xff\xffTFL3" + bytes(200), "damaged or truncated"),
    ],
)
def test_a_file_that_is_no_tflite_model_is_refused(
    split: Checkout, content: bytes, complaint: str
) -> None:
    (split.root / "model.tflite").write_bytes(content)
    assert_refused(split.stage("export"), "model.tflite", complaint)


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.99])
def test_a_truncated_model_is_refused(
    split: Checkout, models: Path, kept: float
) -> None:
    content = (models / "plain.tflite").read_bytes()
    (split.root / "model.tflite").write_bytes(content[: int(len(content) * kept)])
    assert_refused(split.stage("export"), "damaged or truncated", "export it again")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("full_integer", "is a full-integer quantized model"),
        ("dynamic_range", "is a dynamic-range quantized model"),
        ("two_inputs", "has 2 inputs"),
        ("dense", "its input is [1, 64]; it must be [1, height"),
        ("coloured", "set data.size: [24, 40] and data.channels: 3"),
    ],
)
def test_a_model_that_cannot_be_deployed_is_refused(
    split: Checkout, models: Path, name: str, complaint: str
) -> None:
    shutil.copyfile(models / f"{name}.tflite", split.root / "model.tflite")
    assert_refused(split.stage("export"), "model.tflite", complaint)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(
    split: Checkout, models: Path, value: float
) -> None:
    model = tflite.read(models / "plain.tflite")
    tensor = next(
        tensor
        for tensor in model.subgraphs[0].tensors
        if tflite.shape(tensor) == (24, 3, 3, 16)
    )
    weights = tflite.constant(model, tensor)
    assert weights is not None
    changed = weights.copy()
    changed[3, 1, 2, 4] = value
    model.buffers[tensor.buffer].data = changed.ravel().view("uint8")
    tflite.write(model, split.root / "model.tflite")
    assert_refused(split.stage("export"), "contain NaN or infinity")


def without_inputs(graph: Any) -> None:
    graph.inputs = None


def without_operators(graph: Any) -> None:
    graph.operators = None
    graph.outputs = graph.inputs


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (without_inputs, "model.tflite: has 0 inputs"),
        (without_operators, "model.tflite: computes nothing"),
    ],
)
def test_half_a_model_is_refused(
    split: Checkout, models: Path, edit: Callable[[Any], None], complaint: str
) -> None:
    model = tflite.read(models / "plain.tflite")
    edit(model.subgraphs[0])
    tflite.write(model, split.root / "model.tflite")
    assert_refused(split.stage("export"), complaint)


def test_a_model_that_computes_infinity_is_refused(
    split: Checkout, models: Path
) -> None:
    shutil.copyfile(models / "infinite.tflite", split.root / "model.tflite")
    assert_refused(split.stage("export"), "gives NaN or infinity for a picture")


def test_a_refused_model_leaves_nothing_behind(split: Checkout, models: Path) -> None:
    shutil.copyfile(models / "two_inputs.tflite", split.root / "model.tflite")
    split.stage("export")
    names = {path.name for path in (split.root / "build/imported").iterdir()}
    assert names == {".lock", "logs", "train"}


def test_an_open_batch_size_becomes_one(split: Checkout, models: Path) -> None:
    shutil.copyfile(models / "open_batch.tflite", split.root / "model.tflite")
    done = split.stage("export")
    assert done.returncode == 0, done.stderr
    exported = tflite.read(split.root / "build/imported/export/model.tflite")
    tensors = exported.subgraphs[0].tensors
    assert all(min(tflite.shape(tensor), default=1) > 0 for tensor in tensors)


def test_a_trained_model_is_compared_with_keras(deployed: Checkout) -> None:
    assert 0 <= summary(deployed, "tiny")["max_difference"] < 1e-4


def test_a_trained_model_that_differs_too_much_is_refused(deployed: Checkout) -> None:
    deployed.replace("quantize:", "export: {tolerance: 1.0e-30}\nquantize:")
    assert_refused(deployed.stage("export"), "differs from Keras", "export.tolerance")
