"""Candidates that fail, and time that runs out."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fitted import features, values
from nets import Net

from stages.console import Console
from stages.quantize import search
from stages.quantize.candidates import Candidate, Row
from stages.quantize.scoring import Held, Scorer
from stages.quantize.search import Found, Search, Space
from stages.quantize.trials import ALL, Trials

SAMPLES = np.random.default_rng(0).integers(0, 256, (16, 1, 32, 32), np.uint8)
BASE = Candidate("no_clip", False, False, False, 16)
GARBAGE = b"\x1c\0\0\0TFL3" + bytes(64)


def network(activation: str = "RELU") -> bytes:
    net = Net((32, 32, 1), seed=5)
    x = net.pool(net.convolve(net.input, 8, activation=activation))
    return net.bytes(net.dense(net.mean(net.convolve(x, 8)), 4))


def scorer(model: bytes) -> Scorer:
    labels = np.zeros(len(SAMPLES), np.int64)
    expected = ([scores[np.newaxis]] for scores in values(model, SAMPLES))
    return Scorer(Held("validation", SAMPLES, labels), expected)


Begin = Callable[[Callable[[Candidate], bytes], float], Trials]


@pytest.fixture
def begin(tmp_path: Path) -> Begin:
    def trials(model: Callable[[Candidate], bytes], budget: float) -> Trials:
        return Trials(
            model,
            lambda count: SAMPLES[:count],
            (0.0, 1.0),
            scorer(network()),
            budget,
            time.monotonic() + budget,
            tmp_path / "nncase.log",
        )

    return trials


def nothing(done: int, note: str) -> None:
    """Nobody watches."""


def run(trials: Trials, *ways: Candidate) -> list[Row]:
    rows = [Row(way) for way in ways]
    with trials:
        trials.run(rows, ALL, nothing)
    return rows


def way(method: str, **options: bool) -> Candidate:
    usual = {"mse_weights": False, "equalized": False, "corrected": False}
    return Candidate(method, **{**usual, **options}, samples=16)


def test_a_candidate_that_crashes_nncase_is_a_row_and_no_more(begin: Begin) -> None:
    model = network()

    def given(way: Candidate) -> bytes:
        return GARBAGE if way.equalized else model

    crashing = [way(method, equalized=True) for method in ("no_clip", "cdf")]
    *crashed, good = run(begin(given, 60), *crashing, way("cdf"))
    assert [row.state for row in crashed] == ["crashed"] * 2
    assert crashed[0].why == "nncase crashed (SIGSEGV)"
    assert (good.state, good.tally.images) == ("tried", len(SAMPLES))


def test_a_candidate_that_nncase_refuses_is_a_row_with_its_reason(
    begin: Begin,
) -> None:
    net = Net((32, 32, 1))
    x = net.convolve(net.input, 8)
    unknown = net.add_node("DEPTH_TO_SPACE", [x], (1, 64, 64, 2), blockSize=2)
    (row,) = run(begin(lambda way: net.bytes(unknown), 60), BASE)
    assert row.state == "refused"
    assert "Unsupported tflite opcode" in row.why
    assert row.tally.images == 0


def test_what_has_not_been_measured_in_time_is_late(begin: Begin) -> None:
    rows = run(begin(lambda way: network(), 0.01), BASE, way("cdf"))
    assert [row.state for row in rows] == ["late"] * 2


def test_without_any_measurement_the_first_candidate_is_taken(begin: Begin) -> None:
    trials = begin(lambda way: GARBAGE, 60)
    space = Space(BASE, (False,), lambda: False, 16)
    with trials:
        found = Search(space, trials, Console(io.StringIO(), "quantize")).run()
    assert found.chosen.candidate == BASE
    assert found.ended == search.NOTHING
    assert {row.state for row in found.rows} == {"crashed"}


def searched(trials: Trials) -> Found:
    space = Space(BASE, (False, True), lambda: True, 256)
    with trials:
        return Search(space, trials, Console(io.StringIO(), "quantize")).run()


def test_the_search_ends_with_a_first_candidate_that_is_as_good_as_float(
    begin: Begin,
) -> None:
    found = searched(begin(lambda way: network(), 120))
    assert found.ended == search.GOOD_ENOUGH
    (row,) = found.rows
    assert row.tally.agreement == 1


@pytest.mark.long
@pytest.mark.parametrize("budget", [3.0, 8.0])
def test_the_search_keeps_within_a_fifth_of_its_budget(
    begin: Begin, budget: float
) -> None:
    net, end = features()
    other = net.bytes(net.dense(end, 4))  # not what it is compared with
    trials = begin(lambda way: other, budget)
    began = time.monotonic()
    found = searched(trials)
    assert time.monotonic() - began <= 1.2 * budget
    assert "late" in {row.state for row in found.rows}
