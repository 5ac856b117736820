"""How far off a kmodel's outputs are, in decibels."""

import numpy as np
import pytest

from stages.normalize.fidelity import decibels

WANTED = np.ones((1, 2, 2, 2), np.float32)


def measured(outputs: object) -> float:
    return decibels([[WANTED]], [[np.asarray(outputs, "<f4").tobytes()]])


def test_equal_outputs_are_clean() -> None:
    assert measured(WANTED) > 300


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_an_output_that_is_not_a_number_is_as_far_off_as_can_be(value: float) -> None:
    assert measured(np.full(8, value)) < -700
