import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import IMPORTED, Checkout
from convolutions import CASES, Case
from jobs import job_of
from nets import Net

from k210 import kmodel
from k210.child import Child
from k210.errors import ModelError
from stages import normalize, tflite
from stages.nncase_child import Request, prepare
from stages.normalize.geometry import Pixels, same_pixels
from stages.normalize.placing import Convolution, convolutions, verdict

MIDDLE = 1
"""Index of a case's convolution among the model's."""

NUMBERED = [
    pytest.param(number, case, id=case.name) for number, case in enumerate(CASES)
]

PLAIN = Convolution(
    name="x",
    depthwise=False,
    input=(32, 32, 8),
    output=(32, 32, 8),
    kernel=(3, 3),
    stride=(1, 1),
    dilation=(1, 1),
    padding="SAME",
    pixels=Pixels(1, 1, 1, 1),
    pointwise_next=True,
)


def of_case(models: Path, number: int) -> Convolution:
    found = convolutions(tflite.read(models / f"case{number}.tflite"))
    return found[MIDDLE]


# padding


def test_same_padding_is_tensorflows(models: Path) -> None:
    with np.load(models / "same.npz") as archive:
        assert len(archive.files) == 20 * 4 * 3 * 2
        for name in archive.files:
            size, kernel, stride, dilation = map(int, name.split("-"))
            before, _ = same_pixels(size, kernel, stride, dilation)
            outputs = np.arange(-(-size // stride))[:, np.newaxis] * stride
            taps = np.arange(kernel) * dilation
            position = outputs + taps - before
            inside = (position >= 0) & (position < size)
            expected = np.where(inside, position + 1, 0)
            assert np.array_equal(archive[name], expected), name


def test_same_padding_suffices_for_the_last_output(models: Path) -> None:
    for size in range(1, 40):
        for kernel, stride, dilation in ((3, 1, 1), (3, 2, 1), (5, 3, 1), (3, 1, 4)):
            before, after = same_pixels(size, kernel, stride, dilation)
            last = (-(-size // stride) - 1) * stride + (kernel - 1) * dilation
            assert last - before <= size - 1 + after
            assert after - before in (0, 1)


def test_a_pad_in_front_counts_as_padding_of_the_convolution(models: Path) -> None:
    path = models / "padded_in_front.tflite"
    _, padded = convolutions(tflite.read(path))
    assert padded.pixels == Pixels(1, 1, 1, 1)
    assert (padded.input, padded.padding) == ((32, 32, 8), "VALID")
    assert verdict(padded)[0] == "kpu"


# where a convolution runs


@pytest.fixture(scope="module")
def observed(
    models: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """What nncase makes of each case: the kinds of the ops, in order."""
    log = tmp_path_factory.mktemp("nncase") / "log"
    found = {}
    with Child(prepare, (), log, "nncase") as child:
        for number, case in enumerate(CASES):
            request = Request(
                model=(models / f"case{number}.tflite").read_bytes(),
                samples=np.random.default_rng(0).integers(
                    0, 256, (2, 8, *case.size), np.uint8
                ),
                method="no_clip",
                mse_weights=False,
                range=(0.0, 1.0),
            )
            parsed = kmodel.parse(child.ask(request, 60).kmodel)
            found[case.name] = [op.kind for op in parsed.ops()]
    return found


def where(kinds: list[str]) -> str:
    """Where all of a model runs up to its last KPU layer, in the stage's words."""
    if "conv2d" in kinds:
        return "cpu"
    end = len(kinds) - kinds[::-1].index("kpu_conv2d")
    between = [kind for kind in kinds[:end] if kind != "call"]
    if any(not kind.startswith("kpu_") for kind in between):
        return "kpu+cpu"
    return "kpu+copy" if "kpu_copy" in between else "kpu"


@pytest.mark.parametrize(("number", "case"), NUMBERED)
def test_nncase_does_what_is_said_of_a_case(
    observed: dict[str, list[str]], number: int, case: Case
) -> None:
    assert where(observed[case.name]) == case.where, observed[case.name]


@pytest.mark.parametrize(("number", "case"), NUMBERED)
def test_the_stage_foretells_what_nncase_does(
    models: Path, number: int, case: Case
) -> None:
    found, why = verdict(of_case(models, number))
    assert found == case.where, why
    assert why


@pytest.mark.parametrize(("number", "case"), NUMBERED)
def test_a_convolution_is_described_as_it_was_built(
    models: Path, number: int, case: Case
) -> None:
    found = of_case(models, number)
    assert found.input == (*case.size, 8)
    assert (found.kernel, found.stride, found.depthwise) == (
        case.kernel,
        case.stride,
        case.depthwise,
    )
    assert found.dilation == (case.dilation, case.dilation)
    assert found.pointwise_next == (case.then == "1x1")
    if case.pad is not None:
        assert found.pixels.sides() == case.pad


@pytest.mark.parametrize(
    ("channels", "expected"), [(1024, "kpu"), (1025, "cpu"), (2048, "cpu")]
)
def test_the_kpu_has_1024_channels(channels: int, expected: str) -> None:
    assert verdict(replace(PLAIN, input=(8, 8, channels)))[0] == expected
    assert verdict(replace(PLAIN, output=(8, 8, channels)))[0] == expected


# the stage


def test_what_is_neither_exact_nor_legal_is_refused(
    checkout: Checkout, models: Path
) -> None:
    checkout.write("pipeline.yaml", IMPORTED)
    job = job_of(checkout, "normalize")
    net = Net((32, 32, 1))
    model = net.bytes(net.convolve(net.input, 8, stride=4, dilation=3))
    job.input("export/model.tflite").parent.mkdir()
    job.input("export/model.tflite").write_bytes(model)
    with pytest.raises(ModelError, match=r"dilated by 3×3 with stride 4×4"):
        normalize.run(job)


def layers(root: Path) -> Any:
    path = root / "build/imported/normalize/layers.json"
    return json.loads(path.read_text(encoding="utf-8"))["layers"]


def test_the_layers_are_listed_in_order(imported_once: Path) -> None:
    first, second = layers(imported_once)
    assert (first["input"], first["output"]) == ([32, 32, 1], [32, 32, 16])
    assert (second["input"], second["output"]) == ([32, 32, 16], [16, 16, 24])
    assert (first["where"], second["where"]) == ("kpu", "kpu")
    assert second["pixels"] == {"top": 0, "bottom": 1, "left": 0, "right": 1}
    assert second["given"] == {"top": 1, "bottom": 1, "left": 1, "right": 1}


def test_the_summary_counts_the_layers(imported_once: Path) -> None:
    path = imported_once / "build/imported/normalize/summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    assert summary["convolutions"] == len(layers(imported_once))
    assert summary["kpu_convolutions"] == 2
    assert summary["cpu_paddings"] == 0
    assert summary["cpu_convolutions"] == 0


def test_the_manifest_knows_that_the_model_is_rotated(imported_once: Path) -> None:
    build = imported_once / "build/imported"
    manifest = json.loads((build / "compile/manifest.json").read_bytes())
    assert manifest["inputs"][0]["rotation"] == 180
    assert manifest["outputs"][0]["rotation"] == 0


def test_the_rotated_model_agrees_with_the_exported_one(imported_once: Path) -> None:
    check = json.loads((imported_once / "build/imported/check/check.json").read_bytes())
    ladder = {row["step"]: row for row in check["ladder"]}
    assert ladder["normalized"]["agreement"] == 1
    assert ladder["normalized"]["snr_db"] > 90
    assert ladder["reference"]["snr_db"] > 20


def test_the_proof_is_recorded(imported_once: Path) -> None:
    path = imported_once / "build/imported/normalize/layers.json"
    proof = json.loads(path.read_bytes())["proof"]
    assert proof["inputs"] > 10
    assert proof["maps"] >= 4
    assert proof["difference"] <= 1e-5
    assert proof["dynamic"] <= 1e-4
