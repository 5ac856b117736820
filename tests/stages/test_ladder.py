from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from k210.errors import ModelError
from stages.check.ladder import Step, decide, rank
from stages.intervals import paired_drop, wilson
from stages.runtime import Floats
from stages.verdict import failures, ladder_text, notes, summary_line, unusable

CLASSES = 4


def outputs(seed: int, count: int, scale: float) -> NDArray[np.float32]:
    """The outputs for some samples: float32 N×1×CLASSES."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((count, 1, CLASSES)) * scale).astype(np.float32)


def fed(
    found: NDArray[np.float32],
    expected: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
) -> Step:
    step = Step("device", CLASSES, top_k=2)
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
    before = expected[:, 0].argmax(1) == labels
    now = decisions == labels
    assert row["drop"] == pytest.approx(before.mean() - now.mean())
    assert row["drop_ci95"] == list(
        paired_drop(
            *(
                int(np.sum(c))
                for c in (before & now, before & ~now, ~before & now, ~before & ~now)
            )
        )
    )
    best = np.argsort(-found[:, 0], axis=1)[:, :2]
    assert row["top_k"] == np.mean((best == labels[:, None]).any(1))
    assert row["per_class"] == [
        np.mean(now[labels == label]) if (labels == label).any() else None
        for label in range(CLASSES)
    ]
    assert row["agreement"] == np.mean(decisions == expected[:, 0].argmax(1))
    assert row["l1"] == pytest.approx(np.abs(noise).mean())
    power = np.square(noise)
    one, other = found[:, 0].astype(np.float64), expected[:, 0].astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    assert row["cosine"] == pytest.approx(np.mean((one * other).sum(1) / lengths))
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


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_no_number_is_far_off_and_told(value: float) -> None:
    expected = outputs(0, 5, 1)
    found = expected.copy()
    found[3, 0, 2] = value
    step = fed(found, expected, np.zeros(5, np.int64))
    row: dict[str, Any] = step.row(is_first=False)
    assert row["unusable"] == 1
    assert row["snr_db"] < -700
    assert all(np.isfinite(row[key]) for key in ("psnr_db", "l1", "cosine"))
    first = fed(expected, expected, np.zeros(5, np.int64)).row(is_first=True)
    assert unusable([first, row]) == [
        "step device gives NaN or infinity for 1 sample(s)"
    ]


def test_outputs_of_other_shapes_are_not_compared() -> None:
    step = Step("device", CLASSES)
    with pytest.raises(ModelError, match=r"device gives an output of shape \(1, 3\)"):
        step.add([SCORES], [SCORES[:, :1]], 1)


def test_a_silent_first_step_has_no_ratio() -> None:
    silent = np.zeros((5, 1, CLASSES), np.float32)
    row = fed(outputs(0, 5, 1), silent, None).row(is_first=False)
    assert (row["snr_db"], row["psnr_db"]) == (None, None)
    assert row["l1"] is not None


def test_the_first_step_is_compared_with_nothing() -> None:
    same = outputs(0, 5, 1)
    row = fed(same, same, np.zeros(5, np.int64)).row(is_first=True)
    assert row["accuracy"] is not None
    compared = ("agreement", "snr_db", "psnr_db", "l1", "cosine", "drop", "drop_ci95")
    assert [row[key] for key in compared] == [None] * len(compared)


def test_without_labels_there_is_an_agreement_but_no_accuracy() -> None:
    row = fed(outputs(1, 5, 1), outputs(2, 5, 1), None).row(is_first=False)
    unknown = ("accuracy", "ci95", "drop", "drop_ci95", "top_k", "per_class")
    assert [row[key] for key in unknown] == [None] * len(unknown)
    assert row["agreement"] is not None


def test_as_many_best_scores_as_classes_are_nothing_to_count() -> None:
    step = Step("device", CLASSES, top_k=CLASSES)
    step.add([SCORES], [SCORES], 1)
    assert step.row(is_first=True)["top_k"] is None


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=6), st.data())
def test_a_rank_is_the_place_in_a_stable_order(
    scores: list[float], data: st.DataObject
) -> None:
    label = data.draw(st.integers(0, len(scores) - 1))
    row = np.array([scores], np.float32)
    order = np.argsort(-row[0], kind="stable").tolist()
    assert rank(row, label) == order.index(label)


def test_a_class_that_the_model_does_not_know_ranks_last() -> None:
    assert rank(SCORES, 3) == 3


def test_silence_has_no_direction() -> None:
    silent = np.zeros((5, 1, CLASSES), np.float32)
    assert fed(outputs(0, 5, 1), silent, None).row(is_first=False)["cosine"] is None


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


def row(
    step: str,
    accuracy: float | None,
    agreement: float | None,
    drop: float | None = None,
    drop_ci95: tuple[float, float] | None = None,
) -> dict[str, Any]:
    rest = {"snr_db": None, "psnr_db": None, "l1": None}
    interval = None if accuracy is None else [accuracy - 0.05, accuracy + 0.05]
    return {
        "step": step,
        "accuracy": accuracy,
        "agreement": agreement,
        "drop": drop,
        "drop_ci95": drop_ci95,
        "ci95": interval,
        **rest,
    }


LADDER = [
    row("float", 0.9, None),
    row("device", 0.8, 0.85, drop=0.1, drop_ci95=(0.061, 0.142)),
]


@pytest.mark.parametrize(
    ("thresholds", "misses"),
    [
        ((None, None, None), []),
        ((0.8, 0.11, 0.85), []),
        ((0.81, None, None), ["device accuracy 80.00% is below"]),
        ((None, 0.06, None), ["accuracy drops by 10.00% from float to device"]),
        ((None, 0.062, None), []),
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


def test_a_drop_that_chance_may_have_made_is_a_note_and_no_failure() -> None:
    (note,) = notes(LADDER, 0.062)
    assert "cannot tell it from chance (95 % interval 6.10% to 14.20%)" in note
    assert notes(LADDER, 0.06) == notes(LADDER, 0.1) == notes(LADDER, None) == []


FINISHED = {
    "project": "digits",
    "engine": "firmware",
    "samples": 20,
    "ladder": LADDER,
    "verdict": "fail",
    "failures": ["device accuracy is too low"],
    "notes": [],
    "timings": {"source": "modelled", "seconds": {"s0": 0.001, "k0.0": 0.000234}},
    "memory": {"total": 129536},
    "trace": None,
}


def test_a_run_is_summed_up_in_one_line() -> None:
    assert summary_line(FINISHED) == (
        "digits: fail  device 80.0 % (float 90.0 %, −10.0 [−14.2, −6.1])  "
        "1.23 ms modelled  126 KiB"
    )


@pytest.mark.parametrize(
    ("agreement", "words"), [(0.9, "agreement 90.0 %"), (None, "SNR unlimited")]
)
def test_without_labels_the_line_has_what_there_is(
    agreement: float | None, words: str
) -> None:
    ladder = [row("tflite", None, None), row("device", None, agreement)]
    line = summary_line({**FINISHED, "ladder": ladder})
    assert line.startswith(f"digits: fail  {words}  1.23 ms")


WRONG = {
    "step": "reference",
    "op": "k0.3",
    "tensor": "net/block/conv;net/block/bias",
    "cause": "wrapped slope",
    "words": "segment 3 falls",
    "snr_db": -1.5,
    "fall_db": 31.0,
    "range": [0.0, 6.0],
    "seen": [0.0, 5.5],
}


def test_the_line_says_where_it_goes_wrong() -> None:
    line = summary_line({**FINISHED, "trace": {"first_wrong": WRONG}})
    assert line.endswith("126 KiB  wrong from k0.3 block/conv on: wrapped slope")


def test_the_first_wrong_layer_stands_below_the_verdict() -> None:
    lines = ladder_text({**FINISHED, "trace": {"first_wrong": WRONG}}).splitlines()
    assert lines[-4:] == [
        "first wrong: k0.3 block/conv, on the step to reference",
        "  its signal-to-noise ratio is −1.5 dB, 31.0 less than that of its inputs",
        "  its bytes stand for 0 to 6, the float map has 0 to 5.5",
        "  segment 3 falls",
    ]


def test_notes_stand_below_the_verdict() -> None:
    lines = ladder_text({**FINISHED, "failures": [], "notes": ["too few"]})
    assert lines.splitlines()[-2:] == ["verdict: fail", "  note: too few"]


def test_the_ladder_is_a_table_with_a_verdict() -> None:
    first, heading, *rows, verdict, miss = ladder_text(FINISHED).splitlines()
    assert first == "digits: 20 test samples, device = firmware"
    assert heading.split()[:2] == ["step", "accuracy"]
    assert [line.split()[:2] for line in rows] == [
        ["float", "90.00%"],
        ["device", "80.00%"],
    ]
    assert len({len(line) for line in (heading, *rows)}) == 1
    assert (verdict, miss.strip()) == ("verdict: fail", "device accuracy is too low")


def test_what_was_not_measured_is_said() -> None:
    check = {**FINISHED, "ladder": [row("tflite", None, None)]}
    assert "tflite  not measured" in ladder_text(check)
