"""ResNet-8, as MLPerf Tiny has it for image classification (Banbury et al., 2021).

Three residual blocks of two 3×3 convolutions; the later two halve the map and bring
the shortcut to their shape by a 1×1 convolution. At alpha 1: 16, 32, 64 filters.
"""

from typing import Any

from stages.project.schema import Model
from stages.train.architectures.parts import (
    Parts,
    activate,
    channels,
    classify,
    widths,
    within,
)

STEM = 16
BLOCKS = ((16, 1), (32, 2), (64, 2))
"""Filters at alpha 1 and stride."""


def resnet8(settings: Model, shape: tuple[int, int, int], classes: int) -> Any:
    """An untrained classifier; ``alpha`` scales every layer's number of filters."""
    import keras

    parts, alpha = Parts.of(settings, "relu"), settings.alpha
    inputs = keras.Input(shape, name="input")
    x = parts.conv(inputs, widths(alpha, STEM), name="stem")
    for number, (filters, stride) in enumerate(BLOCKS):
        x = _block(x, parts, widths(alpha, filters), within(x, stride), number)
    outputs = classify(x, classes, settings.dropout)
    return keras.Model(inputs, outputs, name="resnet8")


def _block(x: Any, parts: Parts, filters: int, stride: int, number: int) -> Any:
    import keras

    name = f"block{number}"
    y = parts.conv(x, filters, stride=stride, name=f"{name}_conv1")
    y = parts.conv(y, filters, activation="linear", name=f"{name}_conv2")
    if stride != 1 or channels(x) != filters:
        x = parts.conv(x, filters, 1, stride, "linear", f"{name}_shortcut")
    x = keras.layers.Add(name=f"{name}_add")([x, y])
    return activate(x, parts.activation, f"{name}_act")
