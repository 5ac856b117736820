"""What counts as worse: what is beyond chance and noise, and nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.nightly.outcome import Outcome
from stages.nightly.regression import Finding, drop, judge, worse
from stages.nightly.rows import NewJob
from stages.nightly.settings import Regression
from stages.nightly.store import Store

LIMITS = Regression()
FIGURES: dict[str, Any] = {
    "samples": 1000,
    "accuracy": 0.95,
    "agreement": 0.99,
    "device_ms": 10.0,
    "timing": "modelled",
    "memory_kib": 100.0,
    "kmodel_kib": 50.0,
}


def names(earlier: list[dict[str, Any]], now: dict[str, Any]) -> list[str]:
    """The figures that are worse."""
    return [
        name
        for name, *_ in worse([FIGURES | e for e in earlier], FIGURES | now, LIMITS)
    ]


def test_the_same_is_not_worse() -> None:
    assert names([{}], {}) == []


def test_better_is_not_worse() -> None:
    assert names([{}], {"accuracy": 0.99, "device_ms": 1.0, "memory_kib": 1.0}) == []


def test_an_accuracy_that_chance_may_have_lowered_is_not_worse() -> None:
    assert names([{}], {"accuracy": 0.94}) == []


def test_an_accuracy_that_has_fallen_is_worse() -> None:
    assert names([{}], {"accuracy": 0.90}) == ["accuracy"]


def test_what_fell_on_few_samples_is_within_chance() -> None:
    few = {"samples": 20}
    assert names([few], {**few, "accuracy": 0.90}) == []


def test_growth_within_the_limit_is_not_worse() -> None:
    assert names([{}], {"device_ms": 10.9, "memory_kib": 104, "kmodel_kib": 52}) == []


@pytest.mark.parametrize("name", ["device_ms", "memory_kib", "kmodel_kib"])
def test_growth_beyond_the_limit_is_worse(name: str) -> None:
    assert names([{}], {name: FIGURES[name] * 1.2}) == [name]


def test_measured_times_are_judged_by_how_much_they_vary() -> None:
    times = [9.0, 11.0, 8.5, 11.5, 10.0]
    earlier = [{"timing": "measured", "device_ms": time} for time in times]
    assert names(earlier, {"timing": "measured", "device_ms": 12.0}) == []
    assert names(earlier, {"timing": "measured", "device_ms": 16.0}) == ["device_ms"]


def test_modelled_and_measured_times_are_not_compared() -> None:
    assert names([{}], {"timing": "measured", "device_ms": 99.0}) == []


@given(st.integers(1, 500), st.integers(1, 500), st.data())
def test_the_interval_of_a_drop_holds_it(
    count1: int, count2: int, data: st.DataObject
) -> None:
    right1 = data.draw(st.integers(0, count1))
    right2 = data.draw(st.integers(0, count2))
    low, high = drop(right1, count1, right2, count2)
    assert -1 <= low <= right1 / count1 - right2 / count2 <= high <= 1
    back = drop(right2, count2, right1, count1)
    assert back == pytest.approx((-high, -low))


def test_equal_models_seldom_look_worse() -> None:
    rng = np.random.default_rng(0)
    alarms = sum(
        drop(first, 1000, second, 1000)[0] > 0
        for first, second in rng.binomial(1000, 0.95, (2000, 2))
    )
    assert alarms / 2000 < 0.04  # one side of a 95 % interval: 2.5 %


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "history.sqlite")
    yield store
    store.close()


def night(store: Store, outcome: Outcome) -> list[Finding]:
    """What is worse in a run of one job with this outcome."""
    run = store.begin([NewJob("measure", "p", "a", ("a",), outcome)])
    findings = judge(store, run, LIMITS)
    store.finish(run, 0, {})
    return findings


def test_a_model_that_passed_and_fails_is_worse_until_it_passes(store: Store) -> None:
    good, bad = Outcome("pass", figures=FIGURES), Outcome("fail", "threshold", "low")
    assert night(store, good) == []
    for _ in range(2):
        (finding,) = night(store, bad)
        assert (finding.figure, finding.good_run) == ("verdict", 1)
    assert night(store, good) == []


def test_a_model_that_never_passed_is_not_worse(store: Store) -> None:
    assert night(store, Outcome("fail", "threshold", "low")) == []


def test_a_board_that_fails_makes_no_model_worse(store: Store) -> None:
    night(store, Outcome("pass", figures=FIGURES))
    assert night(store, Outcome("error", "board", "no answer")) == []
    assert night(store, Outcome("skipped")) == []


def test_the_last_good_run_may_lie_behind_errors(store: Store) -> None:
    night(store, Outcome("pass", figures=FIGURES))
    night(store, Outcome("error", "board", "no answer"))
    (finding,) = night(store, Outcome("pass", figures=FIGURES | {"accuracy": 0.5}))
    assert (finding.figure, finding.good_run) == ("accuracy", 1)
