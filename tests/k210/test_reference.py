"""The host reference against nncase's simulator and TFLite."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiled import FEW, Compiled, compiled
from foreign import run_script
from graphs import graphs
from numpy.typing import NDArray

from k210 import kmodel
from k210.errors import ModelError
from k210.kmodel import KmodelError
from k210.reference import Reference

FAMILIES = (
    ("width-", "act-"),
    ("pool-", "case-1"),
    ("case-3x3_by", "case-d", "case-5"),
    ("case-3x3_d", "case-3x3_o", "case-3x3_p"),
    ("case-3x3_s", "case-3x3_t", "case-3x3_v", "case-a", "case-t"),
    ("residual", "concatenated", "squeezed", "on_the_cpu", "resized", "upsampled"),
    ("lenet", "tiny_yolo", "two_headed", "u_net", "autoencoder", "deep"),
    ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small"),
    ("mobilenet_v3_large", "resnet8", "ds_cnn", "cnn", "kpunet"),
)
"""All networks by how their names begin, in parts that take a minute or so."""

CRASHING = {"upsampled", "u_net"}
"""Networks whose kmodels crash nncase's simulator."""

LEAST_SNR_DB = 30
"""Between a kmodel and the float model that it was made from."""


def answers(each: Compiled) -> list[NDArray[np.float32]]:
    """What the reference gives: of each output, a row per sample."""
    found = list(Reference(each.model).infer_many(each.inputs))
    return [
        np.stack([np.frombuffer(raw, np.float32) for raw in column])
        for column in zip(*found, strict=True)
    ]


def require_equal(each: Compiled) -> None:
    """Equal bits, but for an exponential, whose last bit is the C library's."""
    found = answers(each)
    assert len(found) == len(each.outputs)
    exponential = any(op.kind == "softmax" for op in kmodel.parse(each.model).program)
    for values, expected in zip(found, each.outputs, strict=True):
        floats = expected.view(np.float32)
        if exponential:
            assert np.allclose(values, floats, rtol=1e-6, atol=1e-7), each.name
        else:
            assert np.array_equal(values.view(np.uint8), expected), each.name


def require_close(each: Compiled) -> None:
    """As near to the float model as 8 bits are."""
    for values, expected in zip(answers(each), each.tflite, strict=True):
        noise = values - expected.reshape(values.shape)
        snr = 10 * np.log10(np.square(expected).sum() / np.square(noise).sum())
        assert snr > LEAST_SNR_DB, each.name


@pytest.mark.parametrize("name", [name for name in FEW if name != "upsampled"])
def test_outputs_are_those_of_nncases_simulator(
    few_kmodels: dict[str, Compiled], name: str
) -> None:
    require_equal(few_kmodels[name])


def test_a_kmodel_that_crashes_nncases_simulator_agrees_with_tflite(
    few_kmodels: dict[str, Compiled],
) -> None:
    assert not few_kmodels["upsampled"].outputs
    require_close(few_kmodels["upsampled"])


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES, ids=" ".join)
def test_all_networks_give_what_nncases_simulator_or_tflite_gives(
    tmp_path: Path, family: tuple[str, ...]
) -> None:
    run_script("zoo_kmodels.py", tmp_path, *family)
    networks = list(compiled(tmp_path))
    assert networks
    for each in networks:
        assert bool(each.outputs) == (each.name not in CRASHING)
        (require_equal if each.outputs else require_close)(each)


@pytest.mark.long
def test_the_families_are_all_networks() -> None:
    names = [graph.name for graph in graphs()]
    beginnings = tuple(name for family in FAMILIES for name in family)
    assert [name for name in names if not name.startswith(beginnings)] == []
    assert len(set(names)) == len(names) > 100


# the public face


@pytest.fixture
def squeezed(few_kmodels: dict[str, Compiled]) -> Compiled:
    return few_kmodels["squeezed"]


def test_answers_come_in_the_order_of_the_samples(squeezed: Compiled) -> None:
    reference = Reference(squeezed.model)
    samples = squeezed.inputs * 5
    found = list(reference.infer_many(samples, threads=3))
    assert found == [reference.infer(sample) for sample in samples]


def test_samples_are_not_read_long_before_their_answers(squeezed: Compiled) -> None:
    taken = []

    def samples() -> Iterator[bytes]:
        for number in range(100):
            taken.append(number)
            yield squeezed.inputs[0]

    answers = Reference(squeezed.model).infer_many(samples(), threads=2)
    next(answers)
    assert len(taken) < 10


def test_no_run_sees_what_an_earlier_one_left(squeezed: Compiled) -> None:
    reference = Reference(squeezed.model)
    first = reference.infer(squeezed.inputs[0])
    reference.infer(squeezed.inputs[1])
    assert reference.infer(squeezed.inputs[0]) == first


def test_a_trace_has_every_op_in_its_shape(squeezed: Compiled) -> None:
    parsed = kmodel.parse(squeezed.model)
    trace = Reference(parsed).trace(squeezed.inputs[0])
    assert {op.id for op in parsed.ops()} <= set(trace)
    for op in parsed.ops():
        assert trace[op.id].shape == op.shape


def test_the_last_op_of_a_trace_is_the_output(squeezed: Compiled) -> None:
    reference = Reference(squeezed.model)
    trace: dict[str, Any] = reference.trace(squeezed.inputs[0])
    (output,) = reference.infer(squeezed.inputs[0])
    assert trace[reference.model.ops()[-1].id].tobytes() == output


def test_an_input_of_the_wrong_size_is_refused(squeezed: Compiled) -> None:
    reference = Reference(squeezed.model)
    with pytest.raises(ModelError, match="takes 768 bytes of input and was given 767"):
        reference.infer(squeezed.inputs[0][:-1])


def test_what_is_no_kmodel_is_refused(squeezed: Compiled) -> None:
    with pytest.raises(KmodelError):
        Reference(squeezed.model[:-8])


def test_a_model_for_a_larger_chip_is_refused(squeezed: Compiled) -> None:
    data = bytearray(squeezed.model)
    function = kmodel.parse(bytes(data)).entry
    data[function.offset + 8 : function.offset + 12] = b"\xff\xff\xff\x7f"
    with pytest.raises(ModelError, match="asks for 20.. MiB of working memory"):
        Reference(bytes(data))


def test_changed_kmodels_run_or_are_refused(few_kmodels: dict[str, Compiled]) -> None:
    rng = np.random.default_rng(0)
    names = rng.choice(["concatenated", "on_the_cpu", "two_headed"], 400)
    ended = [runs(few_kmodels[name], rng) for name in names]
    assert 0 < sum(ended) < len(ended)


def runs(each: Compiled, rng: np.random.Generator) -> bool:
    """Whether the network still runs with one byte of the CPU's program changed."""
    try:
        Reference(damaged(each.model, rng)).infer(each.inputs[0])
    except ModelError:
        return False
    return True


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """One byte of the CPU's program changed."""
    text = kmodel.parse(data).stackvm.text
    changed = bytearray(data)
    changed[text.offset + int(rng.integers(text.size))] ^= 1 << int(rng.integers(8))
    return bytes(changed)
