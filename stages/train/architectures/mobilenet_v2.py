"""MobileNetV2 (Sandler et al., 2018): inverted residuals with linear bottlenecks.

Small pictures keep all seventeen blocks; those that would make a map under 4×4 do
not stride. A residual stands where stride is 1 and the channels match.
"""

from typing import Any

from stages.project.schema import Model
from stages.train.architectures.parts import (
    Parts,
    channels,
    classify,
    divisible,
    within,
)

STEM, LAST = 32, 1280
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, filters at alpha 1, blocks, stride of the first block."""


def mobilenet_v2(settings: Model, shape: tuple[int, int, int], classes: int) -> Any:
    """An untrained classifier; ``alpha`` scales all layers but the last 1×1."""
    import keras

    parts, alpha = Parts.of(settings, "relu6"), settings.alpha
    inputs = keras.Input(shape, name="input")
    stem = divisible(STEM * alpha)
    x = parts.conv(inputs, stem, stride=within(inputs, 2), name="stem")
    number = 0
    for expansion, base, count, first in STAGES:
        filters = divisible(base * alpha)
        for stride in (first, *(1,) * (count - 1)):
            residual = stride == 1 and filters == channels(x)
            x = parts.inverted_residual(
                x,
                filters,
                within(x, stride),
                expansion * channels(x),
                residual,
                name=f"block{number}",
            )
            number += 1
    x = parts.conv(x, LAST, 1, name="last")
    outputs = classify(x, classes, settings.dropout)
    return keras.Model(inputs, outputs, name="mobilenet_v2")
