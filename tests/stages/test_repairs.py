"""What nncase gets wrong in activation tables, and that the compile stage mends it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bare import Samples, ask, compiled, expected, random_samples, simulated, snr_db
from conftest import Checkout
from jobs import compile_job

from k210 import kmodel
from k210.errors import ModelError
from k210.manifest import Manifest
from stages import compile as compile_stage
from stages import tflite
from stages.fit import require_sound
from stages.graph import STAGES
from stages.normalize.graph import read
from stages.normalize.plans import Compiler, Plan
from stages.repairs import in_words
from stages.runtime import reference

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter")

TRIED = 12
"""Calibration sets among which nncase is sure to be unlucky with one."""


def through_the_pipeline(
    checkout: Checkout, model: Path, calibration: Samples
) -> tuple[bytes, Any]:
    """The kmodel and the placement that the compile stage makes."""
    plan = {"samples": len(calibration)}
    job = compile_job(checkout, model, plan=plan, samples=calibration)
    compile_stage.run(job)
    data = job.output("compile/model.kmodel").read_bytes()
    manifest = Manifest.from_json(job.output("compile/manifest.json").read_bytes())
    assert manifest.kmodel_sha256 == hashlib.sha256(data).hexdigest()
    return data, json.loads(job.output("compile/placement.json").read_bytes())


def expected_outputs(model: Path, pictures: Samples) -> list[list[Any]]:
    floats = np.moveaxis(pictures, 1, 3).astype(np.float32) / np.float32(255)
    outputs = [each.origin for each in read(tflite.read(model)).outputs]
    return reference(model.read_bytes(), [n for n in outputs if n is not None], floats)


def unlucky(model: Path, count: int, log: Path) -> tuple[bytes, Samples]:
    """A calibration set of so many pictures with which nncase ruins a table."""
    for seed in range(TRIED):
        calibration = random_samples(count, 1, 32, 32, seed=seed)
        data = compiled(ask(model, calibration), log)
        found = kmodel.jumps(kmodel.parse(data))
        if any(jump.steps > 200 for jump in found):
            return data, calibration
    raise AssertionError(f"{model.name} compiles soundly with {TRIED} sets")


@pytest.mark.parametrize("name", ["gated", "scaled_relu", "scaled_relu6"])
def test_a_slope_that_wrapped_ruins_the_model_and_is_restored(
    checkout: Checkout, models: Path, tmp_path: Path, name: str
) -> None:
    model, log = models / f"{name}.tflite", tmp_path / "log"
    bare, calibration = unlucky(model, 8, log)
    mended, placed = through_the_pipeline(checkout, model, calibration)
    pictures = random_samples(4, 1, 32, 32, seed=99)
    reference = expected(model, pictures)
    assert snr_db(reference, simulated(bare, pictures, log)) < 12
    assert snr_db(reference, simulated(mended, pictures, log)) > 25
    assert len(mended) == len(bare)
    assert kmodel.jumps(kmodel.parse(mended)) == ()
    slopes = [each for each in placed["repairs"] if each["kind"] == "slope"]
    known = {op["id"] for op in placed["ops"] if op["kind"] == "kpu_conv2d"}
    assert slopes
    for each in slopes:
        assert known.issuperset(each["ops"])
        assert each["before"]["mul"] == -32768
        assert each["after"] == {
            "mul": 16384,
            "shift": each["before"]["shift"] - 1,
        }


def test_a_plan_is_measured_as_it_will_be_repaired(
    models: Path, tmp_path: Path
) -> None:
    path, log = models / "scaled_relu6.tflite", tmp_path / "log"
    _, calibration = unlucky(path, 4, log)
    compiler = Compiler(
        upright=calibration,
        turned=calibration,
        expected=expected_outputs(path, calibration),
        range=(0.0, 1.0),
        timeout=120,
        log=log,
    )
    plain = read(tflite.read(path))
    found = compiler.measure(Plan("as it is", plain, plain, []))
    assert found.refused is None
    assert found.snr_db is not None
    assert found.snr_db > 25


def test_what_is_repaired_is_said_in_one_line() -> None:
    slope = {"kind": "slope", "ops": ["k0.1"]}
    minimum = {"kind": "minimum", "ops": ["k0.1", "k0.3"]}
    canonical = {"kind": "canonical", "ops": []}
    assert in_words([canonical]) == ""
    assert in_words([canonical, slope]) == "1 wrapped slope in 1 activation table"
    told = "2 wrapped slopes and 1 value below the minimum in 2 activation tables"
    assert in_words([slope, slope, minimum]) == told


def test_the_line_of_the_compile_stage_tells_repairs() -> None:
    stage = next(stage for stage in STAGES if stage.name == "compile")
    assert (
        stage.describe({"repaired": "5 wrapped slopes"}) == "repaired 5 wrapped slopes"
    )
    assert stage.describe({"repaired": None}) == ""


def test_below_the_calibrated_minimum_a_gate_keeps_its_value(
    checkout: Checkout, models: Path, tmp_path: Path
) -> None:
    model, log = models / "smooth.tflite", tmp_path / "log"
    dull = random_samples(1, 1, 32, 32) // 4 + 96
    bare = compiled(ask(model, dull), log)
    mended, placed = through_the_pipeline(checkout, model, dull)
    assert "minimum" in {each["kind"] for each in placed["repairs"]}
    pictures = random_samples(4, 1, 32, 32, seed=1)
    reference = expected(model, pictures)
    alone = simulated(bare, pictures, log)
    below = (alone == 0) & (reference > 0.25)
    assert below.any()
    found = simulated(mended, pictures, log)
    assert np.abs(found - reference)[below].max() < np.abs(reference)[below].min() / 2
    assert snr_db(reference, found) > snr_db(reference, alone) + 3


def test_a_repaired_kmodel_is_repaired_to_itself(models: Path, tmp_path: Path) -> None:
    bare, _ = unlucky(models / "scaled_relu6.tflite", 4, tmp_path / "log")
    once, repairs = kmodel.repair(bare)
    twice, again = kmodel.repair(once)
    assert twice == once
    assert {each.kind for each in repairs} > {each.kind for each in again}
    before, after = kmodel.parse(bare), kmodel.parse(once)
    assert after == before  # all but the tables, which are constants
    changed = np.flatnonzero(np.frombuffer(bare, "u1") != np.frombuffer(once, "u1"))
    tables = [before.file_offset(conv.activation) for _, conv in before.convs()]
    for position in changed.tolist():
        assert any(start <= position < start + 144 for start in tables)


def test_a_table_that_cannot_be_mended_is_refused_by_name(
    models: Path, tmp_path: Path
) -> None:
    bare, _ = unlucky(models / "scaled_relu6.tflite", 4, tmp_path / "log")
    parsed = kmodel.parse(bare)
    (jump,) = kmodel.jumps(parsed)
    names = dict.fromkeys(jump.ops, "net/last")
    complaint = rf"for layer 'net/last' \({jump.ops[0]}\) is broken: segment"
    with pytest.raises(ModelError, match=complaint):
        require_sound(parsed, names)
    require_sound(kmodel.parse(kmodel.repair(bare)[0]))
