import pytest
from hypothesis import given
from hypothesis import strategies as st

from k210.errors import UserError
from k210.ranges import effective_range


@given(
    mean=st.floats(-1e3, 1e3),
    std=st.floats(1e-3, 1e3),
    width=st.floats(1e-3, 1e3),
    zero_at=st.floats(0, 1),
)
def test_the_zero_point_is_whole_and_the_shift_at_most_half_a_step(
    mean: float, std: float, width: float, zero_at: float
) -> None:
    low = mean - zero_at * width
    wanted = (low - mean) / std, (low + width - mean) / std
    found = effective_range((low, low + width), mean, std)
    start, end = found.effective
    zero = -start / (end - start) * 255
    assert abs(zero - found.zero_point) < 1e-6
    assert 0 <= found.zero_point <= 255
    assert found.wanted == pytest.approx(wanted, rel=1e-6, abs=1e-6 * width / std)
    assert end - start == pytest.approx(wanted[1] - wanted[0], rel=1e-9)
    assert abs(found.shift) <= 0.5 + 1e-6
    step = (end - start) / 255
    assert abs(start - wanted[0]) <= (0.5 + 1e-6) * step


@pytest.mark.parametrize(
    "limits", [(0.0, 1.0), (0.0, 255.0), (-1.0, 0.9921875), (-128.0, 127.0), (-1.0, 0)]
)
def test_a_range_that_is_whole_already_stays_as_it_is(
    limits: tuple[float, float],
) -> None:
    found = effective_range(limits)
    assert found.effective == found.wanted == limits
    assert found.shift == 0


def test_minus_one_to_one_is_shifted_by_half_a_step() -> None:
    found = effective_range((0, 1), mean=0.5, std=0.5)
    assert found.zero_point == 128
    assert found.shift == pytest.approx(-0.5)
    assert found.effective == pytest.approx((-256 / 255, 254 / 255))


@pytest.mark.parametrize(
    ("limits", "mean"), [((0.5, 0.7), 0), ((0, 1), -1), ((0, 1), 2)]
)
def test_a_range_without_zero_is_refused(
    limits: tuple[float, float], mean: float
) -> None:
    with pytest.raises(UserError, match="real 0 must lie within what the model sees"):
        effective_range(limits, mean)
