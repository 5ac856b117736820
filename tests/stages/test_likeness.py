"""How alike two maps are, against the plain way of computing it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.check.likeness import Likeness, Line, steps_used

SHAPE = (1, 3, 8, 8)

lines = st.tuples(st.floats(0.01, 4), st.floats(-3, 3)).map(lambda each: Line(*each))
seeds = st.integers(0, 2**32 - 1)


def codes(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(1, 255, SHAPE, np.uint8)


@given(lines, seeds)
def test_the_line_of_a_map_without_noise_is_found(line: Line, seed: int) -> None:
    likeness = Likeness(3, None)
    found = codes(seed)
    likeness.add(found, line.scale * found.astype(np.float64) + line.offset)
    fitted = likeness.fitted
    assert fitted is not None
    assert fitted.scale == pytest.approx(line.scale, rel=1e-6)
    assert fitted.offset == pytest.approx(line.offset, rel=1e-6, abs=1e-5)
    snr = likeness.snr_db
    assert snr is None or snr > 90


@given(lines, seeds, st.floats(0.05, 2))
def test_noise_is_what_subtracting_the_maps_gives(
    line: Line, seed: int, strength: float
) -> None:
    likeness, rng = Likeness(3, line), np.random.default_rng(seed)
    signal, noise = [], []
    for _ in range(3):
        found = rng.integers(0, 256, SHAPE, np.uint8)
        values = line.scale * found.astype(np.float64) + line.offset
        expected = values + rng.normal(0, strength * line.scale, SHAPE)
        likeness.add(found, expected)
        signal.append(expected)
        noise.append(values - expected)
    expected_db = 10 * np.log10(np.var(signal) / np.mean(np.square(noise)))
    assert likeness.snr_db == pytest.approx(expected_db, abs=1e-6)


def test_a_map_that_is_stuck_has_no_likeness() -> None:
    likeness = Likeness(3, None)
    expected = 0.5 + np.random.default_rng(0).normal(0, 0.01, SHAPE)
    likeness.add(np.zeros(SHAPE, np.uint8), expected)
    assert likeness.snr_db == pytest.approx(0, abs=1e-6)


def test_values_at_the_ends_do_not_bend_the_line() -> None:
    likeness = Likeness(3, None)
    values = np.random.default_rng(1).uniform(0, 2, SHAPE)
    likeness.add(np.clip(np.rint(values * 255), 0, 255).astype(np.uint8), values)
    fitted = likeness.fitted
    assert fitted is not None
    assert fitted.scale == pytest.approx(1 / 255, rel=1e-3)
    assert likeness.saturated == pytest.approx(0.5, abs=0.15)


def test_outliers_are_not_counted_among_the_steps() -> None:
    counts = np.zeros(256, np.int64)
    counts[10:20], counts[255] = 1000, 2
    assert steps_used(counts) == 10
