from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stages.check.ladder import Floats, Step, decide, wilson
from stages.verdict import failures, ladder_text

COUNTS = st.integers(1, 5000).flatmap(
    lambda count: st.tuples(st.integers(0, count), st.just(count))
)
CLASSES = 4


@given(COUNTS)
def test_intervals_are_wilsons(counts: tuple[int, int]) -> None:
    from scipy.stats import binomtest

    interval = binomtest(*counts).proportion_ci(0.95, method="wilson")
    assert wilson(*counts) == pytest.approx((interval.low, interval.high), abs=1e-12)


@given(COUNTS)
def test_an_interval_holds_the_fraction_and_stays_between_0_and_1(
    counts: tuple[int, int],
) -> None:
    low, high = wilson(*counts)
    fraction, rounding = counts[0] / counts[1], 1e-12
    assert 0 <= low <= fraction + rounding
    assert fraction - rounding <= high <= 1


def outputs(seed: int, count: int, scale: float) -> NDArray[np.float32]:
    """The outputs for some samples: float32 N×1×CLASSES."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((count, 1, CLASSES)) * scale).astype(np.float32)


def fed(
    found: NDArray[np.float32],
    expected: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
) -> Step:
    step = Step("device", CLASSES)
    for index, (one, other) in enumerate(zip(found, expected, strict=True)):
        step.add([one], [other], None if labels is None else int(labels[index]))
    return step


SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.integers(1, 40), st.floats(1e-6, 1e6))
def test_a_step_is_what_numpy_computes(seed: int, count: int, scale: float) -> None:
    expected = outputs(seed, count, scale)
    found = expected + outputs(seed + 1, count, scale / 10)
    labels = np.random.default_rng(seed).integers(0, CLASSES, count)
    row: dict[str, Any] = fed(found, expected, labels).row(is_first=False)

    decisions = found[:, 0].argmax(1)
    noise = found.astype(np.float64) - expected
    signal = np.square(expected.astype(np.float64))
    assert row["step"] == "device"
    assert row["accuracy"] == np.mean(decisions == labels)
    assert row["ci95"] == list(wilson(int(np.sum(decisions == labels)), count))
    assert row["agreement"] == np.mean(decisions == expected[:, 0].argmax(1))
    assert row["l1"] == pytest.approx(np.abs(noise).mean())
    power = np.square(noise)
    assert row["snr_db"] == pytest.approx(10 * np.log10(signal.sum() / power.sum()))
    assert row["psnr_db"] == pytest.approx(
        10 * np.log10(signal.max() / power.mean()), abs=1e-9
    )


@given(SEEDS, st.integers(1, 40))
def test_a_step_counts_what_is_taken_for_what(seed: int, count: int) -> None:
    found = outputs(seed, count, 1)
    labels = np.random.default_rng(seed).integers(0, CLASSES, count)
    confusion = fed(found, found, labels).confusion
    for label in range(CLASSES):
        taken = found[labels == label, 0].argmax(1)
        expected = np.bincount(taken, minlength=CLASSES)
        assert confusion[label].tolist() == expected.tolist()


def test_a_step_that_does_not_differ_has_no_ratio() -> None:
    same = outputs(0, 5, 1)
    row = fed(same, same, None).row(is_first=False)
    assert (row["agreement"], row["l1"]) == (1.0, 0.0)
    assert (row["snr_db"], row["psnr_db"]) == (None, None)


def test_a_silent_first_step_has_no_ratio() -> None:
    silent = np.zeros((5, 1, CLASSES), np.float32)
    row = fed(outputs(0, 5, 1), silent, None).row(is_first=False)
    assert (row["snr_db"], row["psnr_db"]) == (None, None)
    assert row["l1"] is not None


def test_the_first_step_is_compared_with_nothing() -> None:
    same = outputs(0, 5, 1)
    row = fed(same, same, np.zeros(5, np.int64)).row(is_first=True)
    assert row["accuracy"] is not None
    assert [row[key] for key in ("agreement", "snr_db", "psnr_db", "l1")] == [None] * 4


def test_without_labels_there_is_an_agreement_but_no_accuracy() -> None:
    row = fed(outputs(1, 5, 1), outputs(2, 5, 1), None).row(is_first=False)
    assert (row["accuracy"], row["ci95"]) == (None, None)
    assert row["agreement"] is not None


MAP = np.zeros((1, 3, 4, 5), np.float32)
SCORES = np.array([[0.1, 0.7, 0.2]], np.float32)


@pytest.mark.parametrize(
    ("outputs", "decision"),
    [([SCORES], 1), ([MAP], None), ([SCORES, SCORES], None), ([SCORES[0]], None)],
)
def test_only_a_single_row_of_scores_is_a_decision(
    outputs: list[Floats], decision: int | None
) -> None:
    assert decide(outputs) == decision


def test_a_step_of_maps_has_neither_accuracy_nor_agreement() -> None:
    step = Step("device", CLASSES)
    step.add([MAP + 1], [MAP], 2)
    row = step.row(is_first=False)
    assert (row["accuracy"], row["agreement"], row["l1"]) == (None, None, 1.0)


# the verdict


def row(step: str, accuracy: float | None, agreement: float | None) -> dict[str, Any]:
    rest = {"ci95": None, "snr_db": None, "psnr_db": None, "l1": None}
    return {"step": step, "accuracy": accuracy, "agreement": agreement, **rest}


LADDER = [row("float", 0.9, None), row("device", 0.8, 0.85)]


@pytest.mark.parametrize(
    ("thresholds", "misses"),
    [
        ((None, None, None), []),
        ((0.8, 0.11, 0.85), []),
        ((0.81, None, None), ["device accuracy 80.00% is below"]),
        ((None, 0.05, None), ["accuracy drops by 10.00% from float to device"]),
        ((None, None, 0.86), ["device and float agree on 85.00%, less than"]),
        ((1.0, 0.0, 1.0), ["device accuracy", "accuracy drops", "agree on"]),
    ],
)
def test_each_missed_threshold_is_a_sentence(
    thresholds: tuple[float | None, float | None, float | None], misses: list[str]
) -> None:
    found = failures(LADDER, *thresholds)
    assert len(found) == len(misses)
    assert all(miss in sentence for miss, sentence in zip(misses, found, strict=True))


def test_the_ladder_is_a_table_with_a_verdict() -> None:
    check = {
        "project": "digits",
        "engine": "firmware",
        "samples": 20,
        "ladder": LADDER,
        "verdict": "fail",
        "failures": ["device accuracy is too low"],
    }
    first, heading, *rows, verdict, miss = ladder_text(check).splitlines()
    assert first == "digits: 20 test samples, device = firmware"
    assert heading.split()[:2] == ["step", "accuracy"]
    assert [line.split()[:2] for line in rows] == [
        ["float", "90.00%"],
        ["device", "80.00%"],
    ]
    assert len({len(line) for line in (heading, *rows)}) == 1
    assert (verdict, miss.strip()) == ("verdict: fail", "device accuracy is too low")


def test_what_was_not_measured_is_said() -> None:
    check = {
        "project": "digits",
        "engine": "firmware",
        "samples": 1,
        "ladder": [row("tflite", None, None)],
        "verdict": "pass",
        "failures": [],
    }
    assert "tflite  not measured" in ladder_text(check)
