"""The firmware's runtime on the virtual chip: what a board would compute."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import mutants
import numpy as np
import pytest
from compiled import FAMILIES, FEW, Compiled, Family, require_right

from k210 import kmodel
from k210.commands.engines import ENGINES
from k210.errors import ModelError
from k210.limits import SRAM
from k210.reference import Reference
from k210.virtual.direct import DirectEngine
from k210.virtual.runtime import STATUS, Runtime, program

IMAGE_LIMIT = 64 * 1024
OVERHEAD_LIMIT = 128 * 1024
HOSTILE_WORK, HOSTILE_BUDGET = 2_000_000, 400_000_000
TOO_MANY_LOADS = 12


def answers(each: Compiled) -> Iterator[list[bytes]]:
    """What the firmware gives for each input."""
    return DirectEngine(kmodel.parse(each.model)).infer_many(each.inputs)


@pytest.mark.parametrize("name", FEW)
def test_outputs_are_those_of_nncases_simulator_or_tflites(
    few_kmodels: dict[str, Compiled], name: str
) -> None:
    require_right(few_kmodels[name], answers(few_kmodels[name]))


@pytest.mark.parametrize("name", FEW)
def test_every_operation_gives_what_the_reference_gives(
    few_kmodels: dict[str, Compiled], name: str
) -> None:
    each = few_kmodels[name]
    expected = Reference(each.model).trace(each.inputs[0])
    found = DirectEngine(kmodel.parse(each.model)).trace(each.inputs[0])
    assert found.keys() == expected.keys()
    for op, values in found.items():
        assert np.array_equal(values, expected[op]), op


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES, ids=" ".join)
def test_all_networks_give_what_nncases_simulator_or_tflite_gives(
    family_kmodels: Callable[[Family], list[Compiled]], family: Family
) -> None:
    for each in family_kmodels(family):
        require_right(each, answers(each))


def test_the_firmware_is_the_engine_that_runs_by_default() -> None:
    assert next(iter(ENGINES)) == "firmware"


def test_timings_name_every_operation(few_kmodels: dict[str, Compiled]) -> None:
    each = few_kmodels["squeezed"]
    model = kmodel.parse(each.model)
    engine = DirectEngine(model)
    engine.infer(each.inputs[0])
    timings = engine.timings()
    assert [op.id for op in model.ops()] == list(timings)
    assert all(seconds >= 0 for seconds in timings.values())
    assert 0.5 * engine.seconds < sum(timings.values()) <= engine.seconds


def test_layers_take_the_modelled_time(few_kmodels: dict[str, Compiled]) -> None:
    each = few_kmodels["width-17"]
    engine = DirectEngine(kmodel.parse(each.model))
    engine.infer(each.inputs[0])
    timings = engine.timings()
    for (op, _), layer in zip(engine.model.convs(), engine.runtime.layers, strict=True):
        assert layer.ticks / 400e6 <= timings[op] <= layer.ticks / 400e6 + 50e-6


def test_inferences_take_the_same_virtual_time(
    few_kmodels: dict[str, Compiled],
) -> None:
    each = few_kmodels["concatenated"]
    taken = []
    for _ in range(2):
        engine = DirectEngine(kmodel.parse(each.model))
        for sample in each.inputs:
            engine.infer(sample)
        taken.append((engine.seconds, engine.runtime.instructions))
    assert taken[0] == taken[1]


def test_the_runtime_is_small(few_kmodels: dict[str, Compiled]) -> None:
    assert len(program()) < IMAGE_LIMIT
    runtime = Runtime()
    for each in few_kmodels.values():
        assert runtime.load(each.model) == 0
        parsed = kmodel.parse(each.model)
        data = sum(pool.pool(kmodel.Location.DATA) for pool in parsed.modules)
        assert runtime.mailbox.needs_working - data < OVERHEAD_LIMIT / 2


def test_a_refused_kmodel_is_an_error_that_says_why(
    few_kmodels: dict[str, Compiled],
) -> None:
    model = kmodel.parse(few_kmodels["width-17"].model)
    _, conv = next(model.convs())
    damaged = bytearray(model.data)
    damaged[conv.offset + 56 + 12] = damaged[conv.offset + 56 + 8]
    damaged[conv.offset + 56 + 13] = damaged[conv.offset + 56 + 9]
    broken = kmodel.Kmodel(
        model.header,
        model.modules,
        model.entry,
        model.program,
        model.functions,
        bytes(damaged),
    )
    with pytest.raises(ModelError, match=f"overwrite its own.*byte {conv.offset}"):
        DirectEngine(broken)


def test_a_sample_of_the_wrong_size_is_refused(
    few_kmodels: dict[str, Compiled],
) -> None:
    engine = DirectEngine(kmodel.parse(few_kmodels["width-17"].model))
    with pytest.raises(ModelError, match="takes 408 bytes of input and was given 3"):
        engine.infer(b"abc")


def test_every_status_is_in_the_header() -> None:
    header = (Path(__file__).parents[3] / "firmware/include/kmodel.h").read_text()
    declared = [line for line in header.splitlines() if line.startswith("    KMODEL_")]
    codes = {int(line.split("=")[1].strip(" ,")) for line in declared if "=" in line}
    assert set(STATUS) | {0} == codes


class Victim:
    """A chip whose memory must not change but where the runtime may write."""

    CANARY = bytes(range(256)) * 4096

    def __init__(self) -> None:
        self.runtime = Runtime()
        self._memory = self.runtime.machine.memory
        self._memory[SRAM - len(self.CANARY) : SRAM] = self.CANARY

    def attack(self, mutant: bytes, rng: random.Random) -> bool:
        """Load and run a damaged kmodel; whether it was accepted.

        Any access outside the chip's memory, anything that the KPU does not forgive,
        and too many instructions are Faults.
        """
        status = self.runtime.load(mutant, HOSTILE_BUDGET)
        assert status in STATUS or status == 0
        mailbox = self.runtime.mailbox
        if status == 0 and mailbox.work <= HOSTILE_WORK and self._fits():
            inputs = [rng.randbytes(size) for size in self.runtime.input_sizes]
            outcome, _ = self.runtime.infer(inputs, budget=HOSTILE_BUDGET)
            assert outcome == 0
        image = self.runtime.image
        assert self._memory[SRAM - len(self.CANARY) : SRAM] == self.CANARY
        assert self._memory[: len(program())] == program()
        assert self._memory[image : image + len(mutant)] == mutant
        return status == 0

    def _fits(self) -> bool:
        sizes = (*self.runtime.input_sizes, *self.runtime.output_sizes)
        return self.runtime.mailbox.needs_working + sum(sizes) < SRAM // 2


def attack_all(models: list[bytes], count: int, seed: int) -> int:
    """How many of so many mutants at least were accepted; a chip for each model."""
    accepted = 0
    for number, data in enumerate(models):
        victim, rng = Victim(), random.Random(seed + number)
        for mutant in mutants.mutants(data, -(-count // len(models)), seed + number):
            accepted += victim.attack(mutant, rng)
    return accepted


def test_damaged_kmodels_harm_nothing_on_the_chip(
    few_kmodels: dict[str, Compiled],
) -> None:
    models = [each.model for each in few_kmodels.values()]
    assert attack_all(models, 300, 5) > 10


@pytest.mark.long
def test_ten_thousand_damaged_kmodels_harm_nothing_on_the_chip(
    few_kmodels: dict[str, Compiled],
) -> None:
    models = [each.model for each in few_kmodels.values()]
    assert attack_all(models, 10_000, 500) > 300
