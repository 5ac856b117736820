"""What nncase gets wrong without a word, and the pipeline does not.

Each test first shows that nncase alone takes it; a graph's own such errors are the
normalize stage's, those of activation tables are in test_repairs.py.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bare import (
    ask,
    compiled,
    expected,
    random_samples,
    simulated,
    snr_db,
)
from conftest import Checkout
from jobs import compile_job

from k210 import kmodel
from k210.errors import ModelError
from k210.kmodel import DType, Kmodel, Location
from k210.manifest import Input, ManifestError
from stages import compile as compile_stage
from stages import project
from stages.project import ProjectError

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter")

PICTURES = random_samples(4, 1, 32, 32)


@pytest.fixture
def plain(models: Path) -> Path:
    return models / "plain.tflite"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def deployed(checkout: Checkout, model: Path, **settings: Any) -> bytes:
    job = compile_job(checkout, model, samples=PICTURES, **settings)
    compile_stage.run(job)
    return job.output("compile/model.kmodel").read_bytes()


def refusal(checkout: Checkout, model: Path, **settings: Any) -> str:
    with pytest.raises(ModelError) as refused:
        compile_stage.run(compile_job(checkout, model, **settings))
    return str(refused.value)


def complaints(checkout: Checkout, pipeline: str) -> str:
    """What is wrong with a pipeline.yaml."""
    checkout.write("pipeline.yaml", f"{pipeline}\n")
    with pytest.raises(ProjectError) as refused:
        project.load(project.select(checkout.root, None), checkout.root)
    return str(refused.value)


def layers(parsed: Kmodel) -> int:
    return len(list(parsed.convs()))


def test_a_counter_of_weight_loads_wraps(
    checkout: Checkout, models: Path, log: Path
) -> None:
    model, pictures = models / "too_wide.tflite", random_samples(1, 1, 8, 8)
    parsed = kmodel.parse(compiled(ask(model, pictures), log))
    wrapped = [
        (layer.weight_loads, layer.registers.load_time + 1)
        for _, layer in parsed.convs()
        if layer.weight_loads > 64
    ]
    assert wrapped == [(86, 22)]  # and the simulator does not notice
    sentence = refusal(checkout, model, size=(8, 8))
    assert "loads its weights in 86 pieces and the KPU counts to 64" in sentence
    assert "at most 384 output channels, or use several convolutions" in sentence


def test_a_method_that_does_not_exist_changes_nothing(
    checkout: Checkout, plain: Path, log: Path
) -> None:
    usual = ask(plain, PICTURES)
    misspelt = compiled(replace(usual, method="no_clpi"), log)
    assert misspelt == compiled(usual, log)
    assert "is not one that works" in refusal(
        checkout, plain, plan={"method": "no_clpi"}
    )
    told = complaints(checkout, "quantize: {method: no_clpi}")
    assert "pipeline.yaml:1:20: quantize.method" in told


def test_options_that_are_ignored_cannot_be_asked_for(
    checkout: Checkout, plain: Path, log: Path
) -> None:
    ignored = {"quant_type": "int16", "w_quant_type": "bogus", "split_w_to_act": True}
    alone = compiled(ask(plain, PICTURES, **ignored), log)
    assert alone == compiled(ask(plain, PICTURES), log)
    told = complaints(
        checkout, f"quantize: {{{', '.join(f'{k}: 1' for k in ignored)}}}"
    )
    for name in ignored:
        assert f"quantize.{name}: unknown key" in told


def test_an_unknown_input_type_makes_a_float_input(
    checkout: Checkout, plain: Path, log: Path
) -> None:
    alone = kmodel.parse(compiled(ask(plain, PICTURES, input_type="u8"), log))
    assert alone.entry.inputs[0].range.dtype == DType.F32
    parsed = kmodel.parse(deployed(checkout, plain))
    assert parsed.entry.inputs[0].range.dtype == DType.U8


def test_a_standard_deviation_of_zero_counts_as_one(
    checkout: Checkout, plain: Path, log: Path
) -> None:
    alone = compiled(ask(plain, PICTURES, std=[0.0]), log)
    assert alone == compiled(ask(plain, PICTURES), log)
    assert "pipeline.yaml:1:13: data.std" in complaints(checkout, "data: {std: 0}")
    with pytest.raises(ManifestError, match="std must be above zero"):
        Input(
            name="x",
            shape=(1, 1, 8, 8),
            range=(0, 1),
            mean=(0,),
            std=(0,),
            color="grey",
        )


def test_a_range_that_the_model_does_not_expect_is_applied(
    checkout: Checkout, models: Path, log: Path
) -> None:
    spatial = models / "spatial.tflite"
    reference = expected(spatial, PICTURES)
    alone = compiled(ask(spatial, PICTURES, input_range=[0.0, 255.0]), log)
    assert snr_db(reference, simulated(alone, PICTURES, log)) < 10
    right = deployed(checkout, spatial)  # the range is the data's, as trained with
    assert snr_db(reference, simulated(right, PICTURES, log)) > 25


def test_without_preprocessing_the_input_is_float(plain: Path, log: Path) -> None:
    floats = (PICTURES / np.float32(255)).astype(np.float32)
    asked = replace(
        ask(plain, PICTURES, preprocess=False), calibration=floats.tobytes()
    )
    (source,) = kmodel.parse(compiled(asked, log)).entry.inputs
    assert (source.range.dtype, source.shape) == (DType.F32, (1, 32, 32, 1))


def test_a_flat_input_stays_float_whatever_is_asked(
    checkout: Checkout, models: Path, log: Path
) -> None:
    dense = models / "dense.tflite"
    calibration = np.zeros((4, 64), np.float32).tobytes()  # it reads these as floats
    asked = replace(ask(dense, PICTURES, input_shape=[1, 64]), calibration=calibration)
    (source,) = kmodel.parse(compiled(asked, log)).entry.inputs
    assert source.range.dtype == DType.F32
    assert "takes [1, 64] and the calibration samples are" in refusal(checkout, dense)


def test_calibration_data_may_be_too_short(
    checkout: Checkout, plain: Path, log: Path
) -> None:
    short = replace(ask(plain, PICTURES[:3]), count=4)
    assert layers(kmodel.parse(compiled(short, log))) > 0
    sentence = refusal(checkout, plain, samples=PICTURES[:3])
    assert (
        "holds uint8 (3, 1, 32, 32) and the plan says uint8 (4, 1, 32, 32)" in sentence
    )


def test_without_quantization_nothing_runs_on_the_kpu(
    checkout: Checkout, plain: Path, log: Path
) -> None:
    alone = replace(ask(plain, PICTURES), calibration=None)
    assert layers(kmodel.parse(compiled(alone, log))) == 0
    assert layers(kmodel.parse(deployed(checkout, plain))) == 3


def test_the_memory_that_is_printed_leaves_kpu_ram_out(
    checkout: Checkout, plain: Path, log: Path
) -> None:
    parsed = kmodel.parse(compiled(ask(plain, PICTURES), log))
    printed = log.read_text(encoding="utf-8", errors="replace").lower()
    assert "memory usages" in printed
    assert "kpu" not in printed[printed.index("memory usages") :]
    assert parsed.k210 is not None
    assert parsed.k210.pool(Location.KPU) == 2 << 20  # whatever the model needs
    taken = kmodel.parse(deployed(checkout, plain)).memory().kpu_ram
    assert 0 < taken < 2 << 20


def test_a_model_larger_than_the_memory_is_accepted(
    checkout: Checkout, models: Path, log: Path
) -> None:
    model, pictures = models / "too_big.tflite", random_samples(1, 3, 224, 224)
    memory = kmodel.parse(compiled(ask(model, pictures), log)).memory()
    assert memory.total > 6 << 20
    sentence = refusal(checkout, model, size=(224, 224), channels=3)
    assert "and the K210 has 6 MiB" in sentence
