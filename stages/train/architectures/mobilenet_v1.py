"""MobileNetV1 (Howard et al., 2017), as deep as the picture allows.

The KPU does not compute maps under 4×4, so the blocks end before the one that
would make one: 224×224 takes all thirteen, 32×32 the first five.
"""

from typing import Any

from stages.project.schema import Model
from stages.train.architectures.parts import Parts, classify, widths, within

STEM = 32
BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
"""Filters and stride of each depthwise-separable block at alpha 1."""


def mobilenet_v1(settings: Model, shape: tuple[int, int, int], classes: int) -> Any:
    """An untrained classifier; ``alpha`` scales every layer's number of filters."""
    import keras

    parts, alpha = Parts.of(settings, "relu6"), settings.alpha
    least = settings.smallest_map
    inputs = keras.Input(shape, name="input")
    x = parts.conv(inputs, widths(alpha, STEM), stride=within(inputs, 2, least))
    for filters, stride in BLOCKS:
        if within(x, stride, least) != stride:
            break
        x = parts.depthwise(x, stride)
        x = parts.conv(x, widths(alpha, filters), kernel=1)
    outputs = classify(x, classes, settings.dropout)
    return keras.Model(inputs, outputs, name="mobilenet_v1")
