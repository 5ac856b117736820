"""A plain network: pairs of 3×3 convolutions, the first of a pair strided.

At alpha 1 the pairs have 32, 64, 128 and 256 filters. Those that would make a map
under 4×4 do not stride.
"""

from typing import Any

from stages.project.schema import Model
from stages.train.architectures.parts import Parts, classify, widths, within

PAIRS = (32, 64, 128, 256)
"""Filters at alpha 1."""


def cnn(settings: Model, shape: tuple[int, int, int], classes: int) -> Any:
    """An untrained classifier; ``alpha`` scales every layer's number of filters."""
    import keras

    parts = Parts.of(settings, "relu")
    inputs = x = keras.Input(shape, name="input")
    for number, base in enumerate(PAIRS):
        filters = widths(settings.alpha, base)
        x = parts.conv(x, filters, stride=within(x, 2), name=f"pair{number}_conv1")
        x = parts.conv(x, filters, name=f"pair{number}_conv2")
    outputs = classify(x, classes, settings.dropout)
    return keras.Model(inputs, outputs, name="cnn")
