from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.quantize.candidates import (
    LEAST_SAMPLES,
    Candidate,
    Row,
    first,
    further,
    good_enough,
    merit,
    ranked,
)
from stages.quantize.scoring import Tally

BASE = Candidate("no_clip", False, False, False, 64)
TALLIES = st.builds(
    Tally,
    images=st.just(50),
    labelled=st.just(50),
    right=st.integers(0, 50),
    decided=st.just(50),
    agreeing=st.integers(0, 50),
    signal=st.just(1.0),
    noise=st.sampled_from([0.1, 0.01, 0.001]),
)


def test_the_first_candidate_comes_first_and_none_comes_twice() -> None:
    ways = first(BASE, (False, True), (False, True))
    assert ways[0] == BASE
    assert len(set(ways)) == len(ways) == 16
    assert [way.method for way in ways][-4:] == ["l2"] * 4  # the slow ones last


def test_what_the_project_names_is_not_varied() -> None:
    ways = first(BASE, (False,), (False,))
    assert [way.method for way in ways] == ["no_clip", "cdf", "kld_m2", "l2"]


@pytest.mark.parametrize(
    ("samples", "most", "sizes"),
    [(64, 1000, [16, 256]), (64, 255, [16]), (128, 512, [32, 512]), (16, 64, [64])],
)
def test_sizes_that_make_no_sense_are_not_tried(
    samples: int, most: int, sizes: list[int]
) -> None:
    way = Candidate("cdf", True, False, False, samples)
    found = [other.samples for other in further(way, most) if not other.corrected]
    assert found == sizes
    assert min(found) >= LEAST_SAMPLES


@given(st.lists(TALLIES, min_size=1, max_size=8))
def test_the_best_is_the_most_accurate_then_the_nearest_to_float(
    tallies: list[Tally],
) -> None:
    rows = [Row(BASE, tally=tally) for tally in tallies]
    order = ranked(rows)
    assert all(merit(one) >= merit(other) for one, other in pairwise(order))
    best = max((t.accuracy, t.agreement, t.snr_db) for t in tallies)
    assert order[0] is next(row for row in rows if merit(row) == best)


def test_candidates_that_were_not_run_have_no_rank() -> None:
    assert ranked([Row(BASE)]) == []


@pytest.mark.parametrize(
    ("tally", "enough"),
    [
        (Tally(200, 200, 190, 190, 200, 199, 1.0, 0.1), True),
        (Tally(200, 200, 189, 190, 200, 199, 1.0, 0.1), False),
        (Tally(200, 200, 190, 190, 200, 198, 1.0, 0.1), False),
        (Tally(200, 0, 0, 0, 200, 200, 1.0, 0.1), True),
        (Tally(200, signal=1e5, noise=1.0), True),
        (Tally(200, signal=1e3, noise=1.0), False),
        (Tally(), False),
    ],
)
def test_good_enough_is_what_answers_as_the_float_model(
    tally: Tally, enough: bool
) -> None:
    assert good_enough(tally) is enough


@given(TALLIES, TALLIES)
def test_tallies_add_up(one: Tally, other: Tally) -> None:
    both = one + other
    assert both.images == 100
    assert both.right == one.right + other.right
    assert both.noise == pytest.approx(one.noise + other.noise)
