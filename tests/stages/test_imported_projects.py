import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Checkout, assert_refused
from foreign import made_by, mlperf_tiny, run_tflite, weight_cases

MINE = """\
project: {name: mine}
data: {kind: synthetic, size: [16, 16], channels: 3, split: {train: 16, test: 16}}
model: {file: good.onnx}
export: {samples: 8}
quantize: {method: no_clip, samples: 16}
check: {samples: 16}
"""
FURTHER = ("normalize", "quantize", "compile", "flash", "check")

STARTED = """\
project: {name: mine}
data: {split: {train: 64, validation: 16, test: 32}}
model: {alpha: 0.25, activation: relu, weights_from: mobilenet.tflite}
train: {epochs: 0}
quantize: {method: no_clip, samples: 16}
check: {samples: 32}
"""


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_by("imported_models.py", tmp_path_factory)


def run_stages(checkout: Checkout, *stages: str) -> dict[str, Any]:
    """Run stages one after the other; the summary of the last."""
    for stage in stages:
        done = checkout.stage(stage)
        assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (checkout.root / "build").glob(f"[a-z]*/{stages[-1]}")
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def rungs(checkout: Checkout, project: str = "mine") -> dict[str, Any]:
    path = checkout.root / "build" / project / "check" / "check.json"
    return {row["step"]: row for row in json.loads(path.read_text())["ladder"]}


def test_an_onnx_model_is_deployed(checkout: Checkout, models: Path) -> None:
    import onnxruntime

    checkout.write("pipeline.yaml", MINE)
    shutil.copy(models / "good.onnx", checkout.root)
    before = {*checkout.root.iterdir()}
    summary = run_stages(checkout, "train", "export")
    assert summary["max_difference"] < 1e-6
    assert (summary["samples"], summary["noise_samples"]) == (8, 8)
    assert "onnx2tf" in summary["tools"]
    assert {*checkout.root.iterdir()} - before == {checkout.root / "build"}
    target = checkout.root / "build" / "mine" / "export" / "model.tflite"
    pictures = np.random.default_rng(2).random((8, 16, 16, 3), np.float32)
    session = onnxruntime.InferenceSession(str(models / "good.onnx"))
    planes = np.ascontiguousarray(np.moveaxis(pictures, 3, 1))
    expected = [session.run(None, {"pictures": x[np.newaxis]})[0][0] for x in planes]
    (found,) = run_tflite(target, pictures)
    assert np.abs(found - np.array(expected)).max() < 1e-4

    run_stages(checkout, *FURTHER)
    steps = rungs(checkout)
    assert "float" not in steps
    assert steps["device"]["snr_db"] > 15


def test_an_import_that_differs_too_much_is_refused(
    checkout: Checkout, models: Path
) -> None:
    text = MINE.replace("samples: 8}", "samples: 8, tolerance: 1.0e-12}")
    checkout.write("pipeline.yaml", text.replace("good.onnx", "good_saved"))
    shutil.copytree(models / "good_saved", checkout.root / "good_saved")
    run_stages(checkout, "train")
    assert_refused(
        checkout.stage("export"), "differs from good_saved by", "export.tolerance"
    )
    assert not (checkout.root / "build" / "mine" / "export").exists()


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("cut.onnx", "not an ONNX file, or a damaged one"),
        ("lambda.keras", "is a Lambda"),
        ("empty_saved", "a folder without saved_model.pb is no SavedModel"),
    ],
)
def test_a_file_that_cannot_be_imported_ends_the_export_in_one_sentence(
    checkout: Checkout, models: Path, name: str, fragment: str
) -> None:
    (checkout.root / "models").symlink_to(models)
    checkout.write("pipeline.yaml", MINE.replace("good.onnx", f"models/{name}"))
    run_stages(checkout, "train")
    assert_refused(checkout.stage("export"), name, fragment)


def test_a_file_whose_lengths_lie_ends_the_export_in_one_sentence(
    checkout: Checkout, models: Path
) -> None:
    checkout.write("pipeline.yaml", MINE.replace("good.onnx", "lying.tflite"))
    shutil.copy(models / "lying.tflite", checkout.root)
    run_stages(checkout, "train")
    assert_refused(checkout.stage("export"), "lying.tflite", "not a valid")


@pytest.fixture
def started(checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights, from which the project of ``checkout`` starts and ends."""
    file = weight_cases(tmp_path_factory) / "mobilenet.tflite"
    shutil.copy(file, checkout.root)
    checkout.write("pipeline.yaml", STARTED)
    return file


@pytest.mark.long
def test_weights_from_a_file_need_no_training(
    checkout: Checkout, started: Path
) -> None:
    assert run_stages(checkout, "train")["epochs"] == 0
    build = checkout.root / "build" / "mine"
    assert (build / "train" / "history.csv").read_text() == "epoch,accuracy,loss\n"
    log = (build / "logs" / "train.log").read_text()
    assert "layer 'scores' (dense, 64×10) gets tensor" in log
    assert "network and mobilenet.tflite differ by" in log


@pytest.mark.long
def test_weights_from_a_file_come_back_unchanged(
    checkout: Checkout, started: Path
) -> None:
    run_stages(checkout, "train", "export")
    target = checkout.root / "build" / "mine" / "export" / "model.tflite"
    pictures = np.random.default_rng(2).random((8, 32, 32, 1), np.float32)
    (found,), (expected,) = (run_tflite(path, pictures) for path in (target, started))
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "data", "options"),
    [
        ("vww_96_float.tflite", "size: [96, 96], channels: 3", ""),
        ("pretrainedResnet.tflite", "size: [32, 32], channels: 3, range: [0, 255]", ""),
        (
            "kws_ref_model_float32.tflite",
            "size: [49, 10], channels: 1, range: [-128, 127]",
            ", dequantize: true",
        ),
    ],
)
def test_the_models_of_mlperf_tiny_are_deployed(
    checkout: Checkout, name: str, data: str, options: str
) -> None:
    shutil.copy(mlperf_tiny(name), checkout.root / name)
    text = MINE.replace("size: [16, 16], channels: 3", data)
    checkout.write("pipeline.yaml", text.replace("good.onnx", name + options))
    summary = run_stages(checkout, "train", "export")
    assert summary["max_difference"] <= 1e-6
    run_stages(checkout, *FURTHER)
    assert rungs(checkout)["device"]["snr_db"] > 10


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["good.keras", "keras2.h5", "good_saved", "spatial.onnx"]
)
def test_models_of_other_formats_are_deployed(
    checkout: Checkout, models: Path, name: str
) -> None:
    (checkout.root / "models").symlink_to(models)
    checkout.write("pipeline.yaml", MINE.replace("good.onnx", f"models/{name}"))
    run_stages(checkout, "train", "export", *FURTHER)
    assert rungs(checkout)["device"]["snr_db"] > 10
