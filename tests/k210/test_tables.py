"""Activation tables, broken as nncase breaks them, and mended."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k210.kmodel import ActivationTable, Segment
from k210.kmodel.tables import WRAPPED, continued, unwrapped, worst_jump

LOWEST = Segment(-(2**35), 0, 0, 0)
CERTAIN = 1.5
"""Steps that a line must rise by for its direction to be beyond doubt."""


def encoded(slope: float) -> tuple[int, int]:
    """The multiplier, as nncase rounds it but not cut to 16 bits, and the shift."""
    mantissa, exponent = math.frexp(slope)
    shift = min(43, 15 - exponent)
    return round(math.ldexp(slope, shift)), shift


def wrapping(mul: int) -> int:
    return mul - 2**16 if mul >= 2**15 else mul


def fits(mul: int, shift: int) -> tuple[int, int]:
    """The same slope within 16 bits, where it has one."""
    return (mul // 2, shift - 1) if mul == 2**15 else (mul, shift)


def table(
    curve: Sequence[tuple[int, float]], heights: float
) -> tuple[ActivationTable, ActivationTable]:
    """What nncase makes of a polygon that begins at `heights`, and what it should.

    `curve` has the width of each of the fifteen lines and by how much it rises.
    """
    x, y = -(2**20), heights
    broken, sound = [LOWEST], [LOWEST]
    for width, rise in curve:
        mul, shift = encoded(rise / width)
        bias = min(255, max(0, round(y)))
        broken.append(Segment(x, wrapping(mul), shift, bias))
        sound.append(Segment(x, *fits(mul, shift), bias))
        x, y = x + width, y + rise
    return ActivationTable(tuple(broken)), ActivationTable(tuple(sound))


@st.composite
def polygons(draw: st.DrawFn) -> tuple[list[tuple[int, float]], float]:
    """Fifteen lines within 0 … 255, many with a slope just below a power of two."""
    start = y = draw(st.floats(0, 255))
    lines = []
    for number in range(15):
        width = 2 ** draw(st.integers(8, 22))
        power = draw(st.sampled_from([2**k for k in range(8)]))
        goes_up = draw(st.booleans()) or number == 14  # the last one has no successor
        rise = power * draw(st.sampled_from([1 - 2**-17, 1 - 2**-18, 0.7, 1.0]))
        rise = rise if goes_up else -rise
        if not 0 <= y + rise <= 255 or abs(rise) < CERTAIN:
            rise = 0.0
        lines.append((width, rise))
        y += rise
    return lines, start


def at_end(table: ActivationTable, index: int) -> float:
    """What a line has come to where the next one begins."""
    segment, after = table.segments[index : index + 2]
    slope = segment.mul / (1 << segment.shift)
    return segment.bias + (after.x_start - segment.x_start) * slope


@given(polygons())
def test_what_wrapped_is_restored_and_nothing_else_changes(
    polygon: tuple[list[tuple[int, float]], float],
) -> None:
    broken, sound = table(*polygon)
    last = broken.segments[15]
    if last.bias < broken.segments[14].bias:  # nothing tells which way it goes
        broken, sound = (
            ActivationTable((*each.segments[:15], replace(last, mul=0, shift=0)))
            for each in (broken, sound)
        )
    assert unwrapped(broken) == sound


@given(polygons())
def test_unwrapped_twice_is_unwrapped_once(
    polygon: tuple[list[tuple[int, float]], float],
) -> None:
    once = unwrapped(table(*polygon)[0])
    assert unwrapped(once) == once


@given(polygons())
def test_a_restored_table_does_not_jump(
    polygon: tuple[list[tuple[int, float]], float],
) -> None:
    broken, sound = table(*polygon)
    assert worst_jump(sound)[1] <= 0
    assert worst_jump(unwrapped(broken))[1] <= 0


@given(st.binary(min_size=144, max_size=144))
def test_any_table_is_mended_to_one_that_stays_as_it_is(raw: bytes) -> None:
    once = continued(unwrapped(ActivationTable.unpack(raw)))
    assert continued(unwrapped(once)) == once


@given(st.binary(min_size=144, max_size=144))
def test_only_slopes_of_minus_32768_are_touched(raw: bytes) -> None:
    before = ActivationTable.unpack(raw)
    pairs = zip(before.segments, unwrapped(before).segments, strict=True)
    for old, new in pairs:
        assert old == new or old.mul == WRAPPED
        assert (old.x_start, old.bias) == (new.x_start, new.bias)


def lines(*segments: tuple[int, int, int, int]) -> ActivationTable:
    """A table that begins with these lines and goes on level with the last one."""
    *_, (x_start, _, _, bias) = segments
    level = Segment(x_start + 2**20, 0, 0, bias)
    count = 15 - len(segments)
    rest = [replace(level, x_start=level.x_start + n) for n in range(count)]
    return ActivationTable((LOWEST, *(Segment(*each) for each in segments), *rest))


def test_the_gate_of_a_mobilenet_rises_again() -> None:
    broken = lines((0, WRAPPED, 38, 0), (2**31, 0, 0, 246))
    mended = unwrapped(broken)
    assert mended.segments[1] == Segment(0, 16384, 37, 0)
    assert at_end(mended, 1) == 256
    segment, steps = worst_jump(broken)
    assert (segment, round(steps)) == (1, 246 - 1)


def test_a_line_that_falls_by_that_slope_goes_on_falling() -> None:
    falling = lines((0, WRAPPED, 38, 250), (2**29, 0, 0, 186))
    assert unwrapped(falling) == falling
    assert worst_jump(falling)[1] <= 0


def test_a_slope_without_a_shift_becomes_the_nearest_there_is() -> None:
    broken = lines((0, WRAPPED, 0, 0), (1, 0, 0, 255))
    assert unwrapped(broken).segments[1] == Segment(0, 32767, 0, 0)


def test_an_empty_line_is_restored_whatever_its_neighbours() -> None:
    broken = lines((0, WRAPPED, 15, 9), (0, 0, 0, 9))
    assert unwrapped(broken).segments[1].mul == 16384


@pytest.mark.parametrize(("bias", "mul"), [(100, 16384), (99, WRAPPED)])
def test_the_last_line_goes_on_as_it_began(bias: int, mul: int) -> None:
    level = [Segment(n, 0, 0, 100) for n in range(14)]
    last = Segment(99, WRAPPED, 30, bias)
    assert unwrapped(ActivationTable((LOWEST, *level, last))).segments[15].mul == mul


def test_below_the_minimum_the_value_at_the_minimum_holds() -> None:
    sigmoid = lines((0, 16384, 30, 97), (2**20, 0, 0, 113))
    assert continued(sigmoid).segments[0] == replace(LOWEST, bias=97)
    assert continued(sigmoid).segments[1:] == sigmoid.segments[1:]


def test_a_table_whose_lines_miss_each_other_is_told() -> None:
    segment, steps = worst_jump(lines((0, 0, 0, 10), (64, 0, 0, 10), (128, 0, 0, 19)))
    assert segment == 2
    assert 7.9 < steps < 8
