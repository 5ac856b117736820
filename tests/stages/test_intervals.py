import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.intervals import paired_drop, wilson

COUNTS = st.integers(1, 5000).flatmap(
    lambda count: st.tuples(st.integers(0, count), st.just(count))
)
FOUR = st.tuples(*[st.integers(0, 2000)] * 4).filter(any)


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


@pytest.mark.parametrize(
    ("counts", "published"),
    [
        ((36, 12, 2, 0), (0.0569, 0.3404)),  # Newcombe 1998, table II
        ((1, 1, 7, 12), (-0.507, -0.026)),  # Fagerland et al. 2014, table II
    ],
)
def test_drops_are_those_of_the_literature(
    counts: tuple[int, int, int, int], published: tuple[float, float]
) -> None:
    assert paired_drop(*counts) == pytest.approx(published, abs=5e-4)


@given(FOUR)
def test_a_drop_lies_in_its_interval(counts: tuple[int, int, int, int]) -> None:
    both, lost, gained, neither = counts
    low, high = paired_drop(*counts)
    assert -1 <= low <= (lost - gained) / sum(counts) <= high <= 1


@given(FOUR)
def test_the_interval_turns_round_with_the_models(
    counts: tuple[int, int, int, int],
) -> None:
    both, lost, gained, neither = counts
    low, high = paired_drop(both, gained, lost, neither)
    assert paired_drop(*counts) == pytest.approx((-high, -low), abs=1e-12)


@given(st.integers(20, 2000), st.integers(0, 20))
def test_models_that_err_together_leave_less_to_chance(both: int, each: int) -> None:
    together = paired_drop(both, 0, 0, 2 * each)
    apart = paired_drop(both, each, each, 0)
    assert together[1] <= apart[1] + 1e-12


@pytest.mark.parametrize("count", [60, 300, 1000])
@pytest.mark.parametrize(
    "shares",
    [
        (0.95, 0.01, 0.01, 0.03),
        (0.90, 0.05, 0.01, 0.04),
        (0.60, 0.15, 0.05, 0.20),
        (0.30, 0.05, 0.35, 0.30),
    ],
)
def test_19_intervals_of_20_hold_the_true_drop(
    count: int, shares: tuple[float, float, float, float]
) -> None:
    draws = np.random.default_rng(1).multinomial(count, shares, 4000)
    intervals = np.array([paired_drop(*map(int, draw)) for draw in draws])
    drop = shares[1] - shares[2]
    held = (intervals[:, 0] <= drop) & (drop <= intervals[:, 1])
    assert held.mean() >= 0.935
    # and what matters here: a model as good as its threshold seldom fails
    assert np.mean(intervals[:, 0] > drop) <= 0.04


def test_a_thousand_samples_tell_a_drop_of_4_points_from_one_of_1() -> None:
    shares = (0.9, 0.05, 0.01, 0.04)
    draws = np.random.default_rng(2).multinomial(1000, shares, 1000)
    told = [paired_drop(*map(int, draw))[0] > 0.01 for draw in draws]
    assert np.mean(told) > 0.95
