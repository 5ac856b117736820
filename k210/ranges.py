"""Which real numbers the input's bytes stand for, as the chip can have it for free.

nncase quantizes the input as real = scale · (byte - zero point) with a whole zero
point. A range whose zero point is whole costs no operation; any other is shifted by
at most half a step, so that it is. Training, calibration and nncase all take the
shifted one.
"""

from collections.abc import Sequence
from typing import NamedTuple

from k210.errors import UserError

LAST_BYTE = 255
_WHOLE = 1e-9  # in steps: nearer than this to a whole number counts as whole


class InputRange(NamedTuple):
    """The real numbers that the bytes 0 and 255 stand for.

    wanted: as the settings have it. effective: with the whole zero point.
    """

    wanted: tuple[float, float]
    effective: tuple[float, float]
    zero_point: int

    @property
    def shift(self) -> float:
        """By how much the range was shifted, in steps (1/255 of its width)."""
        low, high = self.wanted
        return (self.effective[0] - low) / (high - low) * LAST_BYTE


def average(mean: Sequence[float]) -> float:
    """The mean that a range takes of one for each channel; the rest is in weights."""
    return mean[0] if len({*mean}) == 1 else sum(mean) / len(mean)


def effective_range(
    limits: tuple[float, float], mean: float = 0.0, std: float = 1.0
) -> InputRange:
    """The range that the model sees: (limits - mean) / std with a whole zero point.

    Args:
        limits: what the bytes 0 and 255 stand for before mean and std; rising.
        mean: subtracted from it.
        std: what the difference is divided by; above zero.

    Raises:
        UserError: real 0 is not within the range, not even after rounding.
    """
    low, high = ((limit - mean) / std for limit in limits)
    exact = -low / (high - low) * LAST_BYTE
    zero_point = round(exact)
    if not 0 <= zero_point <= LAST_BYTE:
        raise UserError(
            f"real 0 must lie within what the model sees, (range - mean) / std, and "
            f"that is [{low:.6g}, {high:.6g}]; widen the range or move the mean"
        )
    if abs(exact - zero_point) < _WHOLE:
        return InputRange((low, high), (low, high), zero_point)
    step = (high - low) / LAST_BYTE
    effective = (-zero_point * step + 0.0, (LAST_BYTE - zero_point) * step)
    return InputRange((low, high), effective, zero_point)
