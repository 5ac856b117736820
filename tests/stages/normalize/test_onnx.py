"""What nncase alone gets wrong of an ONNX file, the pipeline gets right."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bare import Floats, ask, compiled, random_samples, simulated, snr_db
from judged import Judge

from k210.child import Child
from stages.imports import Request
from stages.imports.worker import prepare

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter")

SIDE = 16
PICTURES = random_samples(3, 3, SIDE, SIDE)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    judge = Judge(tmp_path_factory.mktemp("nncase"))
    yield judge
    judge.close()


@pytest.fixture
def multiplied(tmp_path: Path) -> Path:
    """A depthwise convolution that makes two channels of each."""
    import onnx
    from imported_models import Onnx

    net = Onnx()
    x = net.add("Relu", net.conv("pictures", 3, 8))
    x = net.add("Relu", net.conv(x, 8, 16, group=8))
    made = net.model({"pictures": [1, 3, SIDE, SIDE]}, [net.conv(x, 16, 8)])
    path = tmp_path / "multiplied.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(made), path)
    return path


def expected(path: Path) -> Floats:
    """What onnxruntime computes for the pictures as 0 … 1."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    floats = PICTURES.astype(np.float32) / np.float32(255)
    found = [session.run(None, {"pictures": each[np.newaxis]})[0] for each in floats]
    outputs: Floats = np.concatenate(found).reshape(len(floats), -1)
    return outputs


def test_nncase_alone_loses_the_multiplier_of_an_onnx_convolution(
    multiplied: Path, tmp_path: Path
) -> None:
    asked = replace(ask(multiplied, PICTURES), onnx=True)
    found = simulated(compiled(asked, tmp_path / "log"), PICTURES, tmp_path / "log")
    assert snr_db(expected(multiplied), found) < 5


@pytest.mark.long
def test_the_pipeline_keeps_the_multiplier_of_an_onnx_convolution(
    multiplied: Path, tmp_path: Path, judge: Judge
) -> None:
    target = tmp_path / "target.tflite"
    floats = np.moveaxis(PICTURES, 1, 3).astype(np.float32) / np.float32(255)
    with Child(prepare, (), tmp_path / "log", "importing") as child:
        outcome = child.ask(
            Request(
                source=multiplied,
                target=target,
                folder=tmp_path,
                shape=(SIDE, SIDE, 3),
                samples=floats,
            ),
            120,
        )
    assert outcome.difference <= 1e-5 * outcome.scale
    _, found, proof = judge.best(target.read_bytes())
    assert found.snr_db is not None
    assert found.snr_db > 25
    assert proof.difference <= 1e-5
