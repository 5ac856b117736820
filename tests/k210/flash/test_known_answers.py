import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k210.flash.known_answers import known_answers, parse_known_answers
from k210.flash.slot import SlotError


def answer(size: int, value: float) -> tuple[bytes, list[bytes]]:
    return bytes(size), [np.array([value, 0.5], "<f4").tobytes()]


@given(st.integers(1, 200), st.lists(st.floats(-9, 9, width=32), min_size=1))
def test_a_block_is_read_as_it_was_written(size: int, values: list[float]) -> None:
    known = known_answers([answer(size, value) for value in values])
    assert parse_known_answers(known.pack()) == known


def test_three_answers_are_kept_of_a_small_model() -> None:
    assert len(known_answers([answer(100, 1.0)] * 9).inputs) == 3


def test_one_answer_is_kept_of_a_large_model() -> None:
    assert len(known_answers([answer(200_000, 1.0)] * 9).inputs) == 1


def test_an_output_may_differ_by_a_sixteenth_of_the_largest_value() -> None:
    assert known_answers([answer(4, -8.0)]).tolerance == 0.5


@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b[:20], lambda b: b""])
def test_a_block_cut_short_is_refused(spoil: object) -> None:
    block = known_answers([answer(4, 1.0)]).pack()
    assert callable(spoil)
    with pytest.raises(SlotError, match="run flash again"):
        parse_known_answers(spoil(block))
