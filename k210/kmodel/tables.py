"""The arithmetic of activation tables, and what nncase 1.9 gets wrong in them.

A table is sixteen lines that meet: where one ends the next begins, to within the
rounding of their biases. nncase stores a slope as a signed 16-bit `mul` and a shift,
with `mul` normalised to 2^14 … 2^15 and rounded without a carry, so that a slope just
below a power of two becomes +32768, which reads as -32768: the line falls where it
should rise, and the layer's output ends at 0. And below the calibrated minimum, entry
0 gives 0 instead of what the function has there.

Facts: nncase 1.9's `quantizer.cpp` (`get_fixed_mul`) and `piecewise_regression.cpp`,
whose lines are chords of one continuous curve; an audit of 3048 tables in 270 kmodels,
in which lines met to within 0.99 steps wherever no slope had wrapped.
"""

from dataclasses import replace

from k210.kmodel.layer import ActivationTable, Segment

WRAPPED = -(2**15)
"""What +32768 reads as in 16 bits."""

SOUND_JUMP = 1.0
"""Steps by which two lines may miss each other: half for each one's rounded bias."""

_SLACK = 2**-5
"""Of a step: for the rounding of slopes (2^-15 of 255) and nncase's 32-bit floats."""

_UNDECIDED = 0.5
"""Steps within which a line fits its successor as well rising as falling."""

_TOP = 255


def unwrapped(table: ActivationTable) -> ActivationTable:
    """The table with wrapped slopes restored, all others as they were.

    Twice 16384 with one shift less is exactly the slope that wrapped, roundings
    included; a shift of 0 has no such twin and becomes 32767.
    """
    segments = list(table.segments)
    for index in range(1, len(segments)):
        if segments[index].mul == WRAPPED and _rises(segments, index):
            segments[index] = _restored(segments[index])
    return ActivationTable(tuple(segments))


def _restored(segment: Segment) -> Segment:
    if segment.shift == 0:
        return replace(segment, mul=-WRAPPED - 1)
    return replace(segment, mul=-WRAPPED // 2, shift=segment.shift - 1)


def _rises(segments: list[Segment], index: int) -> bool:
    """Whether a slope of -32768 is one of +32768 that has wrapped.

    It is where the line, read as rising, fits the next one better. The last line has
    no next one; it is believed to go on as its start lies to its predecessor's.
    """
    segment, before = segments[index], segments[index - 1]
    if index == len(segments) - 1:
        return segment.bias >= before.bias
    after = segments[index + 1]
    if after.x_start == segment.x_start:
        return True  # an empty line, never selected
    rise = (after.x_start - segment.x_start) * -WRAPPED / (1 << segment.shift)
    rising = abs(min(_TOP, segment.bias + rise) - after.bias)
    falling = abs(max(0, segment.bias - rise) - after.bias)
    if abs(rising - falling) > _UNDECIDED:
        return rising < falling
    among_rising = before.mul > 0 or after.mul > 0
    return rising < falling or (after.bias >= segment.bias and among_rising)


def continued(table: ActivationTable) -> ActivationTable:
    """The table whose entry 0 gives what entry 1 begins with.

    That is the function at the calibrated minimum: what it was measured to be is the
    best there is to say of what lies below. Where 0 was right (relu) nothing changes.
    """
    first, second, *rest = table.segments
    return ActivationTable((replace(first, bias=second.bias), second, *rest))


def worst_jump(table: ActivationTable) -> tuple[int, float]:
    """The line that misses its successor by most, and by how many steps too many.

    Steps are of 255, less those that rounding explains: a sound table has 0 or less.
    """
    pairs = zip(table.segments[1:], table.segments[2:], strict=False)
    jumps = [_excess(segment, after) for segment, after in pairs]
    worst = max(range(len(jumps)), key=jumps.__getitem__)
    return worst + 1, jumps[worst]


def _excess(segment: Segment, after: Segment) -> float:
    slope = segment.mul / (1 << segment.shift)
    end = segment.bias + (after.x_start - segment.x_start) * slope
    jump = abs(min(_TOP, max(0, end)) - after.bias)
    return jump - (SOUND_JUMP + abs(slope) + _SLACK)  # starts are rounded as well
