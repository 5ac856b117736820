"""Memory foretold from the graph, against what nncase and its kmodel come to."""

import json
from pathlib import Path
from typing import Any

import pytest
from bare import ask, compiled, random_samples
from conftest import Checkout
from jobs import compile_job

from k210 import kmodel, limits
from k210.child import ChildCrashed
from k210.errors import ModelError
from stages import compile as compile_stage
from stages import tflite
from stages.memory import kpu_layers, no_room, require_room, sram_floor

EXACT = ("padded_in_front", "gated", "spatial", "too_wide")
"""Models of which the very address is foretold at which KPU RAM ends."""

BOUNDED = ("plain", "grouped", "case8", "case36", "case49")
"""Those that the CPU pads, crops, or computes in part: their maps grow."""


@pytest.mark.parametrize("name", [*EXACT, *BOUNDED])
def test_what_is_foretold_is_what_the_kmodel_takes(
    models: Path, tmp_path: Path, name: str
) -> None:
    path = models / f"{name}.tflite"
    model = tflite.read(path)
    graph = model.subgraphs[0]
    _, height, width, channels = tflite.shape(graph.tensors[graph.inputs[0]])
    pictures = random_samples(1, channels, height, width)
    memory = kmodel.parse(compiled(ask(path, pictures), tmp_path / "log")).memory()
    layers = kpu_layers(model)
    assert max((each.bytes for each in layers), default=0) <= memory.kpu_ram
    if name in EXACT:
        assert limits.place(layers) == limits.Placed(memory.kpu_ram, None)
    floor = sram_floor(model)
    assert floor.model <= memory.model
    assert floor.data + floor.ends <= memory.data


def test_the_placement_has_what_was_foretold(checkout: Checkout, models: Path) -> None:
    job = compile_job(checkout, models / "padded_in_front.tflite")
    compile_stage.run(job)
    placed = json.loads(job.output("compile/placement.json").read_bytes())
    layers = kpu_layers(tflite.read(job.input("quantize/model.tflite")))
    assert placed["memory"]["kpu_ram"] == limits.place(layers).peak
    names = [op["tensors"][0] for op in placed["ops"] if op["kind"] == "kpu_conv2d"]
    assert [layer.name for layer in layers] == names


def test_a_layer_that_cannot_fit_is_refused_before_nncase_runs(
    checkout: Checkout, models: Path
) -> None:
    job = compile_job(checkout, models / "unfit.tflite", (256, 256))
    complaint = (
        r"layer '.*' needs 3\.00 MiB of KPU RAM, for its input 256×256×24 and its "
        r"output 256×256×24 at once, and there are 2; what would fit: inputs "
        r"\(height×width\) of 160×256 or 256×128 or 192×192 or an alpha of 0\.45 times"
    )
    with pytest.raises(ModelError, match=complaint):
        compile_stage.run(job)
    assert not job.log.exists() or "nncase" not in job.log.read_text()


def test_where_nncase_finds_no_room_the_tightest_layer_is_named(models: Path) -> None:
    model = tflite.read(models / "too_big.tflite")
    require_room(model)
    assert "no room in KPU RAM: layer '" in no_room(model)


def test_a_mobilenet_of_240_by_320_is_told_what_would_fit(models: Path) -> None:
    with pytest.raises(ModelError) as refused:
        require_room(tflite.read(models / "wide.tflite"))
    sentence = str(refused.value)
    assert "needs 2.11 MiB of KPU RAM" in sentence
    assert "input 120×160×48 and its output 120×160×48 at once" in sentence
    assert "inputs (height×width) of 192×320 or 240×256" in sentence
    assert "an alpha of 0.70 times this one" in sentence


def mobilenet(path: Path, alpha: float, height: int, width: int) -> Any:
    """A MobileNetV1 padded as the KPU pads."""
    from stages.conversion import to_tflite
    from stages.project.schema import Model
    from stages.train.architectures import build

    shape = height, width, 3
    network = build(Model(alpha=alpha, padding="kpu"), shape, 10)
    path.write_bytes(to_tflite(lambda x: network(x, training=False), shape, path))
    return tflite.read(path)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("alpha", "height", "width", "fits"),
    [
        (0.75, 192, 320, True),
        (0.75, 224, 320, False),  # its gaps are too small, though each layer fits
        (0.75, 240, 256, True),
        (0.75, 240, 288, False),
        (0.5, 240, 320, True),
    ],
)
def test_what_is_said_to_fit_does_and_a_little_more_does_not(
    tmp_path: Path, alpha: float, height: int, width: int, fits: bool
) -> None:
    path, log = tmp_path / "x.tflite", tmp_path / "log"
    layers = kpu_layers(mobilenet(path, alpha, height, width))
    placed = limits.place(layers)
    assert (placed.failed is None) == fits
    request = ask(path, random_samples(1, 3, height, width))
    if fits:
        memory = kmodel.parse(compiled(request, log)).memory()
        assert memory.kpu_ram == placed.peak
    else:
        with pytest.raises(ChildCrashed):
            compiled(request, log)
        assert "ran out of memory" in log.read_text()
