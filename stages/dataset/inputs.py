"""How pictures become the model's input, on the chip and in training.

A mean and std that are single numbers are part of the range that the bytes stand
for. Where they differ by channel, the range takes the average mean and training sees
the rest as well; export folds that into the first convolution. Zero, with which
convolutions pad, is then as near to what it was as it can be: where only the std
differs, it is the same.
"""

import numpy as np
from numpy.typing import NDArray

from k210.manifest import Input
from k210.ranges import InputRange, average, effective_range
from stages.project.schema import Data


def input_range(settings: Data) -> InputRange:
    """What the bytes of the deployed model's input stand for."""
    mean, std = _numbers(settings.mean, 1), _numbers(settings.std, 1)
    return effective_range(
        settings.range, average(mean), 1.0 if per_channel(settings) else std[0]
    )


def per_channel(settings: Data) -> bool:
    """Whether the model is trained with a mean or std that differs by channel."""
    return (
        len({*_numbers(settings.mean, 1)}) > 1 or len({*_numbers(settings.std, 1)}) > 1
    )


def input_of(settings: Data) -> Input:
    """How pictures become the deployed model's input bytes."""
    return _input(settings, (0.0,) * settings.channels, (1.0,) * settings.channels)


def training_input_of(settings: Data) -> Input:
    """The same, and the floats that the model saw before export folded them away."""
    if not per_channel(settings):
        return input_of(settings)
    channels = settings.channels
    mean = _numbers(settings.mean, channels)
    rest = tuple(number - average(mean) for number in mean)
    return _input(settings, rest, _numbers(settings.std, channels))


def darkest(settings: Data) -> NDArray[np.float32]:
    """What byte 0 is to the model in training, by channel: what it is padded with."""
    spec = training_input_of(settings)
    pixel: NDArray[np.float32] = spec.to_float(np.zeros(spec.shape, np.uint8))[0, 0, 0]
    return pixel


def _input(settings: Data, mean: tuple[float, ...], std: tuple[float, ...]) -> Input:
    height, width = settings.size
    return Input(
        name="input",
        shape=(1, settings.channels, height, width),
        range=input_range(settings).effective,
        mean=mean,
        std=std,
        color=settings.color or ("grey" if settings.channels == 1 else "rgb"),
        resize=settings.resize,
    )


def _numbers(value: float | tuple[float, ...], count: int) -> tuple[float, ...]:
    """One number for each channel, of a setting that may be a single one."""
    return value if isinstance(value, tuple) else (value,) * count
