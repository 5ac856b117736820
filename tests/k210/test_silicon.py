"""What only silicon can tell, asked of the virtual board and of chips that differ."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from kpu_layers import Bytes, layers_with_maps

from k210 import kmodel, silicon
from k210.board import BoardSpec
from k210.boards import TYPES
from k210.kpu import Layer, plain
from k210.linked import LinkedBoard
from k210.reference import Reference
from k210.silicon.kmodels import one_layer
from k210.silicon.probes import Probe, probes
from k210.silicon.report import OTHER, judged
from k210.virtual.board import VirtualBoard
from k210.virtual.local import LocalPort
from k210.virtual.nor import NorFlash

PROBES = list(probes())
SIZE = 1 << 20


@given(layers_with_maps())
def test_a_kmodel_of_one_layer_computes_that_layer(case: tuple[Layer, Bytes]) -> None:
    layer, image = case
    channels, height, width = image.shape
    data = one_layer(layer, (channels, height, width))
    (found,) = Reference(data).infer(image.tobytes())
    assert found == plain.run(layer, image).tobytes()
    assert kmodel.parse(data).memory().model == len(data)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_the_first_answer_is_the_simulators(probe: Probe) -> None:
    first = next(iter(probe.answers.values()))
    assert np.array_equal(first, plain.run(probe.layer, probe.image))


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_no_two_answers_are_the_same(probe: Probe) -> None:
    for one, other in combinations(probe.answers.values(), 2):
        assert not np.array_equal(one, other)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_a_chip_that_gives_an_answer_is_understood(probe: Probe) -> None:
    for words, found in probe.answers.items():
        answer = judged(probe, found)
        assert answer.chip == words
        assert answer.agrees == (words == answer.simulator)


def test_an_answer_nobody_thought_of_is_called_so() -> None:
    probe = PROBES[0]
    answer = judged(probe, np.full_like(next(iter(probe.answers.values())), 7))
    assert answer.chip == OTHER
    assert "it gives 7 instead of" in answer.example


def test_the_virtual_board_follows_the_simulator(tmp_path: Path) -> None:
    with NorFlash(tmp_path / "flash.bin", SIZE) as flash:
        port = LocalPort(VirtualBoard(flash, TYPES["virtual"]))
        spec = BoardSpec("virtual", SIZE, flash.path, tmp_path / "log")
        answers = silicon.ask(LinkedBoard(spec, port, lambda: None, True))
    assert len(answers) == len(PROBES)
    assert all(answer.agrees for answer in answers)
    text = silicon.table(answers, modelled=True)
    assert "this chip says (modelled)" in text
    assert text.splitlines()[-1].startswith("the virtual board follows the simulator")


def test_what_differs_is_explained_below_the_table() -> None:
    probe = next(each for each in PROBES if each.name == "mean_2")
    rounded = probe.answers["is rounded to nearest, ties up"]
    *_, heading, line = silicon.table([judged(probe, rounded)], False).splitlines()
    assert heading == "1 of 1 answers are not the simulator's:"
    assert "average poolings on the KPU are half a step larger" in line


def test_the_answers_are_kept_under_the_boards_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    answer = judged(PROBES[0], next(iter(PROBES[0].answers.values())))
    path = silicon.save([answer], {"flash_id": "0123"}, "firmware", False)
    assert path == tmp_path / "k210/boards/0123/silicon.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["answers"][0]["chip"] == answer.simulator
    assert kept["modelled"] is False
