"""The kmodel runtime, built for this machine: the same C as on the chip."""

import json
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from compiled import FAMILIES, FEW, Compiled, Family, require_right
from native_runtime import LoadedModel

from k210 import kmodel
from k210.reference import Reference

FUZZER = Path(__file__).parents[1] / "fuzz_native.py"
BAD_HEADER, UNSUPPORTED, TOO_MANY_LOADS, TOO_BIG = 2, 8, 12, 15
NO_MEMORY_STATUS, BAD_LAYER, OVERLAP = 16, 11, 13


def answers(each: Compiled) -> Iterator[list[bytes]]:
    """What the runtime gives for each input."""
    model = LoadedModel(each.model)
    assert model.status == 0
    for sample in each.inputs:
        status, outputs = model.infer([sample])
        assert status == 0
        yield outputs


@pytest.mark.parametrize("name", FEW)
def test_outputs_are_those_of_nncases_simulator_or_tflites(
    few_kmodels: dict[str, Compiled], name: str
) -> None:
    require_right(few_kmodels[name], answers(few_kmodels[name]))


@pytest.mark.parametrize("name", ["upsampled", "squeezed", "two_headed"])
def test_every_operation_gives_what_the_reference_gives(
    few_kmodels: dict[str, Compiled], name: str
) -> None:
    each = few_kmodels[name]
    expected = Reference(each.model).trace(each.inputs[0])
    found: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = {}
    LoadedModel(each.model).infer([each.inputs[0]], trace=found)
    assert found.keys() == {op for op in expected if "." not in op or op[0] == "k"}
    for op, values in found.items():
        assert np.array_equal(values, expected[op]), op


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES, ids=" ".join)
def test_all_networks_give_what_nncases_simulator_or_tflite_gives(
    family_kmodels: Callable[[Family], list[Compiled]], family: Family
) -> None:
    for each in family_kmodels(family):
        require_right(each, answers(each))


def test_a_model_says_what_it_needs(few_kmodels: dict[str, Compiled]) -> None:
    data = few_kmodels["two_headed"].model
    parsed, model = kmodel.parse(data), LoadedModel(data).model
    assert model.inputs == len(parsed.entry.inputs)
    assert model.outputs == len(parsed.entry.outputs)
    assert model.memory.kpu_ram == parsed.memory().kpu_ram
    scratch = parsed.memory().data - model.memory.inputs - model.memory.outputs
    assert model.memory.data == scratch
    assert 0 <= model.memory.working - scratch <= 32 * 1024


def test_inputs_and_outputs_are_described(few_kmodels: dict[str, Compiled]) -> None:
    data = few_kmodels["two_headed"].model
    entry = kmodel.parse(data).entry
    described = LoadedModel(data).tensors()
    for infos, tensors in zip(described, (entry.inputs, entry.outputs), strict=True):
        for info, tensor in zip(infos, tensors, strict=True):
            assert tuple(info.shape[: info.rank]) == tensor.shape
            assert info.type == tensor.range.dtype
            assert info.size == tensor.range.size


def test_garbage_in_the_tables_is_masked(few_kmodels: dict[str, Compiled]) -> None:
    each = few_kmodels["width-17"]
    parsed = kmodel.parse(each.model)
    dirty = bytearray(each.model)
    for _, conv in parsed.convs():
        for table in conv.batch_norm, conv.activation:
            start = parsed.file_offset(table)
            for at in range(start + 7, start + min(table.size, 128), 8):
                dirty[at] |= 0xF0
    seen: list[bytes] = []
    model = LoadedModel(bytes(dirty))
    model.on_layer = lambda _words, *tables: seen.extend(tables[1:])
    status, outputs = model.infer([each.inputs[0]])
    assert status == 0
    assert outputs[0] == each.outputs[0][0].tobytes()
    assert seen
    assert all(byte < 0x10 for table in seen for byte in table[7:128:8])


@pytest.fixture
def small(few_kmodels: dict[str, Compiled]) -> bytes:
    return few_kmodels["squeezed"].model


def changed(data: bytes, change: Callable[[bytearray], None]) -> LoadedModel:
    """The model after a change of its bytes."""
    copy = bytearray(data)
    change(copy)
    return LoadedModel(bytes(copy))


def first_layer(data: bytes) -> int:
    """Where the words of the first KPU layer are in the file."""
    return next(kmodel.parse(data).convs())[1].offset + 56


def test_something_else_is_not_a_kmodel() -> None:
    assert LoadedModel(b"\x89PNG" + bytes(60)).status == BAD_HEADER
    assert LoadedModel(b"").status == BAD_HEADER


def test_every_truncation_is_refused(small: bytes) -> None:
    for end in range(0, len(small), 97):
        assert LoadedModel(small[:end]).status != 0


def test_an_error_names_its_place(small: bytes) -> None:
    start = first_layer(small)
    model = changed(small, lambda data: data.__setitem__(start + 8 * 7 + 2, 3))
    assert model.status == BAD_LAYER
    assert model.model.error_offset == start - 56


def test_a_layer_that_overwrites_its_input_is_refused(small: bytes) -> None:
    start = first_layer(small)

    def overlap(data: bytearray) -> None:
        data[start + 12 : start + 16] = data[start + 8 : start + 12]

    assert changed(small, overlap).status == OVERLAP


def test_more_weight_loads_than_the_chip_counts_are_refused(small: bytes) -> None:
    start = first_layer(small)

    def grow(data: bytearray) -> None:
        struct.pack_into("<Q", data, start + 16, 511 | 511 << 32 | 511 << 48)

    assert changed(small, grow).status == TOO_MANY_LOADS


def test_too_little_memory_is_refused(small: bytes) -> None:
    model = LoadedModel(small)
    model.working_size = model.model.memory.working - 1
    sizes = [info.size for info in model.tensors()[0]]
    assert model.infer([bytes(size) for size in sizes])[0] == NO_MEMORY_STATUS


def fuzzed(count: int, seed: int, models: list[Path]) -> dict[str, int]:
    """Outcomes; an access outside memory would have ended the process."""
    command = [sys.executable, str(FUZZER), str(count), str(seed), *map(str, models)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ended by {done.returncode}: {done.stderr}"
    outcomes: dict[str, int] = json.loads(done.stdout)
    return outcomes


@pytest.fixture(scope="module")
def files(
    few_kmodels: dict[str, Compiled], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    folder = tmp_path_factory.mktemp("fuzzed")
    for name, each in few_kmodels.items():
        (folder / f"{name}.kmodel").write_bytes(each.model)
    return sorted(folder.iterdir())


def test_damaged_kmodels_end_in_a_status(files: list[Path]) -> None:
    outcomes = fuzzed(600, 1, files)
    assert len(outcomes) > 10
    assert outcomes["load 0"] > 20


def test_the_runtime_accepts_what_the_parser_accepts(files: list[Path]) -> None:
    refused = {key for key in fuzzed(600, 7, files) if key.startswith("refused")}
    assert refused <= {f"refused {UNSUPPORTED}", f"refused {TOO_BIG}"}


@pytest.mark.long
def test_ten_thousand_damaged_kmodels_end_in_a_status(files: list[Path]) -> None:
    outcomes = fuzzed(10_000, 1000, files)
    loaded = {key: count for key, count in outcomes.items() if key.startswith("load")}
    assert sum(loaded.values()) >= 10_000
