"""The host reference against nncase's simulator and TFLite."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from compiled import FAMILIES, FEW, Compiled, Family, require_right
from graphs import graphs

from k210 import kmodel
from k210.errors import ModelError
from k210.kmodel import KmodelError
from k210.reference import Reference


def answers(each: Compiled) -> Iterator[list[bytes]]:
    """What the reference gives for each input."""
    return Reference(each.model).infer_many(each.inputs)


@pytest.mark.parametrize("name", FEW)
def test_outputs_are_those_of_nncases_simulator_or_tflites(
    few_kmodels: dict[str, Compiled], name: str
) -> None:
    require_right(few_kmodels[name], answers(few_kmodels[name]))


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES, ids=" ".join)
def test_all_networks_give_what_nncases_simulator_or_tflite_gives(
    family_kmodels: Callable[[Family], list[Compiled]], family: Family
) -> None:
    networks = family_kmodels(family)
    assert networks
    for each in networks:
        require_right(each, answers(each))


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
