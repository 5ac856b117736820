"""Which operation wrote what, and what the bytes of a file are."""

from collections.abc import Mapping

import pytest
from compiled import Compiled

from k210.kmodel import Kmodel, parse, part_at
from k210.kmodel.flow import INPUT, sources
from k210.silicon.kmodels import one_layer
from k210.silicon.probes import probes


@pytest.fixture(scope="module")
def single() -> Kmodel:
    """One layer, no operation on the CPU."""
    probe = next(probes())
    channels, height, width = probe.image.shape
    return parse(one_layer(probe.layer, (channels, height, width)))


def test_a_layer_reads_what_was_uploaded_of_the_input(single: Kmodel) -> None:
    assert sources(single) == {
        "k0.0": (INPUT,),
        "k0.1": ("k0.0",),
        "k0.2": ("k0.1",),
    }


def before(model: Kmodel) -> Mapping[str, set[str]]:
    """What ran before each operation."""
    ids = [op.id for op in model.ops()]
    return {each: {INPUT, *ids[:place]} for place, each in enumerate(ids)}


@pytest.mark.parametrize("name", ["concatenated", "squeezed", "two_headed"])
def test_everything_that_is_read_was_written_before(
    few_kmodels: dict[str, Compiled], name: str
) -> None:
    model = parse(few_kmodels[name].model)
    found, earlier = sources(model), before(model)
    assert found.keys() == {op.id for op in model.ops() if op.kind != "call"}
    for op_id, read in found.items():
        assert read
        assert set(read) <= earlier[op_id]


def test_a_concatenation_is_read_in_the_order_of_its_parts(
    few_kmodels: dict[str, Compiled],
) -> None:
    found = sources(parse(few_kmodels["concatenated"].model))
    assert max(len(read) for read in found.values()) == 3


def test_a_gate_and_what_it_multiplies_come_together(
    few_kmodels: dict[str, Compiled],
) -> None:
    model = parse(few_kmodels["squeezed"].model)
    (product,) = [op.id for op in model.ops() if op.kind == "binary"]
    assert len(sources(model)[product]) == 2


def test_every_byte_belongs_to_something(single: Kmodel) -> None:
    ((op_id, conv),) = single.convs()
    for what, buffer in (
        ("weights", conv.weights),
        ("batch norm", conv.batch_norm),
        ("activation table", conv.activation),
    ):
        start = single.file_offset(buffer)
        assert part_at(single, start) == f"the {what} of {op_id}"
        assert part_at(single, start + buffer.size - 1) == f"the {what} of {op_id}"
    assert part_at(single, 0) == "the headers"
    assert (
        part_at(single, single.stackvm.text.offset) == "the code of the stackvm module"
    )
