import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import IMPORTED, Checkout
from jobs import SAMPLES, compile_job

from k210 import kmodel, limits
from k210.errors import ModelError
from k210.manifest import Manifest
from stages import compile as compile_stage
from stages import tflite
from stages.nncase_child import METHODS

BUILD = "build/imported"


def compiled(checkout: Checkout, name: str) -> bytes:
    return (checkout.root / BUILD / "compile" / name).read_bytes()


def placement(root: Path) -> Any:
    return json.loads(compiled(Checkout(root), "placement.json"))


# what comes out


def test_two_compiles_give_the_same_bytes(imported: Checkout) -> None:
    names = ("model.kmodel", "manifest.json", "placement.json")
    before = [compiled(imported, name) for name in names]
    assert imported.stage("compile").returncode == 0
    assert [compiled(imported, name) for name in names] == before


def test_the_kmodel_has_no_uninitialised_bits(imported_once: Path) -> None:
    data = compiled(Checkout(imported_once), "model.kmodel")
    assert kmodel.canonical(data) == data


def test_the_manifest_describes_the_kmodel(imported_once: Path) -> None:
    checkout = Checkout(imported_once)
    data = compiled(checkout, "model.kmodel")
    manifest = Manifest.from_json(compiled(checkout, "manifest.json"))
    entry = kmodel.parse(data).entry
    assert manifest.kmodel_sha256 == hashlib.sha256(data).hexdigest()
    assert [each.shape for each in manifest.inputs] == [
        each.shape for each in entry.inputs
    ]
    assert [each.shape for each in manifest.outputs] == [
        each.shape for each in entry.outputs
    ]
    assert manifest.memory["total"] <= limits.SRAM
    assert manifest.tools.keys() == {"nncase"}


def test_spatial_outputs_have_a_layout(checkout: Checkout, models: Path) -> None:
    job = compile_job(checkout, models / "spatial.tflite")
    compile_stage.run(job)
    manifest = Manifest.from_json(job.output("compile/manifest.json").read_bytes())
    (output,) = manifest.outputs
    assert (output.shape, output.layout) == ((1, 5, 32, 32), "NCHW")


def test_coloured_pictures_go_in_as_planes(checkout: Checkout, models: Path) -> None:
    job = compile_job(checkout, models / "coloured.tflite", (24, 40), channels=3)
    compile_stage.run(job)
    parsed = kmodel.parse(job.output("compile/model.kmodel").read_bytes())
    assert parsed.entry.inputs[0].shape == (1, 3, 24, 40)
    assert parsed.ops()[0].kind == "call"  # no transposition in front of the KPU


def test_the_placement_lists_the_ops_of_the_kmodel(imported_once: Path) -> None:
    parsed = kmodel.parse(compiled(Checkout(imported_once), "model.kmodel"))
    listed = placement(imported_once)["ops"]
    assert [op["id"] for op in listed] == [op.id for op in parsed.ops()]
    assert len({op["id"] for op in listed}) == len(listed)
    for op, expected in zip(listed, parsed.ops(), strict=True):
        assert (op["kind"], op["where"], op["bytes"], op["macs"]) == (
            expected.kind,
            expected.where,
            expected.bytes,
            expected.macs,
        )


def test_the_placement_counts_what_it_lists(imported_once: Path) -> None:
    content = placement(imported_once)
    kinds = Counter(op["kind"] for op in content["ops"])
    assert content["regions"] == kinds["call"]
    assert content["kpu_layers"] == kinds["kpu_conv2d"] == 3
    cpu = [op for op in content["ops"] if op["where"] == "cpu" and op["kind"] != "call"]
    assert content["cpu_ops"] == dict(sorted(Counter(op["kind"] for op in cpu).items()))
    memory = content["memory"]
    assert memory["total"] == memory["data"] + memory["model"]


def test_every_layer_on_the_kpu_is_named(imported_once: Path) -> None:
    graph = tflite.read(imported_once / BUILD / "normalize/model.tflite").subgraphs[0]
    known = {tflite.name(tensor) for tensor in graph.tensors}
    layers = [
        op for op in placement(imported_once)["ops"] if op["kind"] == "kpu_conv2d"
    ]
    names = [name for layer in layers for name in layer["tensors"]]
    assert len(set(names)) == len(layers)
    assert known.issuperset(names)


def test_every_op_says_why_it_is_there(imported_once: Path) -> None:
    for op in placement(imported_once)["ops"]:
        assert op["why"] or op["kind"] == "kpu_conv2d"


# where nncase's chatter goes


def test_what_nncase_prints_goes_to_the_log(imported: Checkout) -> None:
    done = imported.stage("compile")
    assert "Generate code" not in done.stdout + done.stderr
    log = (imported.root / BUILD / "logs/compile.log").read_text(encoding="utf-8")
    assert "Generate code" in log
    assert "MEMORY USAGES" in log


def test_nncase_leaves_no_files_in_the_checkout(imported: Checkout) -> None:
    before = set(imported.root.rglob("*"))
    assert imported.stage("compile").returncode == 0
    after = set(imported.root.rglob("*"))
    assert not [path for path in after if path.name.startswith("kmodel_info")]
    assert {path for path in after - before if ".cache" not in path.parts} == set()


# what is refused


@pytest.mark.parametrize(
    ("name", "size", "channels", "complaint"),
    [
        ("too_big", (224, 224), 3, "and the K210 has 6 MiB; use a smaller alpha"),
        (
            "too_wide",
            (8, 8),
            1,
            r"\(k0\.2\) of 512→512 channels loads its weights in 86",
        ),
        ("unfit", (256, 256), 1, "of KPU RAM, .* at once, and there are 2; what would"),
        ("transposed", (32, 32), 1, r"refuses .*Conv2DTranspose.*: replace that"),
        ("kernel_five", (32, 32), 1, "no layer on the KPU"),
        ("dense", (32, 32), 1, r"takes \[1, 64\] and the calibration samples"),
        ("infinite", (32, 32), 1, "gives NaN or infinity for calibration samples"),
        ("read_twice", (32, 32), 1, "its own runtime would refuse .* pad that"),
    ],
)
def test_a_model_that_does_not_run_on_the_chip_is_refused(
    checkout: Checkout,
    models: Path,
    name: str,
    size: tuple[int, int],
    channels: int,
    complaint: str,
) -> None:
    job = compile_job(checkout, models / f"{name}.tflite", size, channels)
    with pytest.raises(ModelError, match=complaint):
        compile_stage.run(job)


@pytest.mark.parametrize("name", ["full_integer", "dynamic_range", "float16"])
def test_a_quantized_model_never_reaches_nncase(
    checkout: Checkout, models: Path, name: str
) -> None:
    job = compile_job(checkout, models / f"{name}.tflite")
    with pytest.raises(ModelError, match="export it as float32"):
        compile_stage.run(job)


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros((SAMPLES - 1, 1, 32, 32), np.uint8),
        np.zeros((SAMPLES, 1, 32, 31), np.uint8),
        np.zeros((SAMPLES, 32, 32, 1), np.uint8),
        np.zeros((0, 1, 32, 32), np.uint8),
        np.zeros((SAMPLES, 1, 32, 32), np.float32),
        np.zeros((SAMPLES, 1, 32, 32), np.int8),
    ],
    ids=lambda samples: f"{samples.dtype}{samples.shape}",
)
def test_calibration_samples_that_the_plan_does_not_mean_are_refused(
    checkout: Checkout, models: Path, samples: Any
) -> None:
    job = compile_job(checkout, models / "plain.tflite", samples=samples)
    with pytest.raises(ModelError, match=r"the plan says uint8 \(4, 1, 32, 32\)"):
        compile_stage.run(job)


@pytest.mark.parametrize("method", ["kld_m0", "bogus", ""])
def test_a_method_that_does_not_work_is_refused(
    checkout: Checkout, models: Path, method: str
) -> None:
    job = compile_job(checkout, models / "plain.tflite", plan={"method": method})
    with pytest.raises(ModelError, match="is not one that works; choose from no_clip"):
        compile_stage.run(job)


def test_every_way_to_quantize_makes_another_model(
    checkout: Checkout, models: Path
) -> None:
    ways: list[Mapping[str, object]] = [{"method": method} for method in METHODS]
    made = set()
    for plan in (*ways, {"mse_weights": True}):
        job = compile_job(checkout, models / "plain.tflite", plan=plan)
        compile_stage.run(job)
        made.add(job.output("compile/model.kmodel").read_bytes())
    assert len(made) == len(METHODS) + 1


def test_a_compile_that_takes_too_long_is_given_up(
    checkout: Checkout, models: Path
) -> None:
    job = compile_job(
        checkout,
        models / "too_big.tflite",
        (224, 224),
        channels=3,
        plan={"samples": 200},  # nncase takes a minute for them
        samples=np.zeros((200, 3, 224, 224), np.uint8),
        pipeline=IMPORTED + "compile: {timeout: 1}\n",
    )
    with pytest.raises(ModelError, match="did not end within 1 s and was stopped"):
        compile_stage.run(job)
