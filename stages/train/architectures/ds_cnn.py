"""DS-CNN (Zhang et al., 2017: "Hello Edge"), for spectrograms of spoken words.

One convolution and four depthwise-separable blocks of 64 filters at alpha 1. The
original begins with a 10×4 kernel; the KPU has none over 3×3, so this one is 3×3.
"""

from typing import Any

from stages.project.schema import Model
from stages.train.architectures.parts import Parts, classify, widths, within

FILTERS, BLOCKS = 64, 4


def ds_cnn(settings: Model, shape: tuple[int, int, int], classes: int) -> Any:
    """An untrained classifier; ``alpha`` scales every layer's number of filters."""
    import keras

    parts, filters = Parts.of(settings, "relu"), widths(settings.alpha, FILTERS)
    inputs = keras.Input(shape, name="input")
    x = parts.conv(inputs, filters, stride=within(inputs, 2), name="stem")
    for number in range(BLOCKS):
        x = parts.depthwise(x, name=f"block{number}_depthwise")
        x = parts.conv(x, filters, 1, name=f"block{number}_pointwise")
    outputs = classify(x, classes, settings.dropout)
    return keras.Model(inputs, outputs, name="ds_cnn")
