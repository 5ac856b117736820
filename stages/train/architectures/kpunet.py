"""KPUNet: plain 3×3 convolutions, shaped after what they cost the KPU.

The KPU takes as long for a 3×3 convolution as for a 1×1 and pools 2×2 on the way out
for nothing (`k210.cost`), so there are no depthwise layers, no strides, which would
compute four times what they keep, and no additions, which the CPU would do. Wide maps
take one narrow layer each; the depth is where four channels share a row of KPU RAM,
in maps up to 16 wide. Padding is the KPU's own throughout.
"""

from typing import Any

from stages.project.blocks import SMALLEST_MAP
from stages.project.schema import Model
from stages.train.architectures.parts import Parts, classify, widths

STAGES = ((32, 1), (64, 1), (96, 1), (128, 2), (192, 2))
"""Filters at alpha 1 and convolutions of each stage; 2×2 pooling lies between."""


def kpunet(settings: Model, shape: tuple[int, int, int], classes: int) -> Any:
    """An untrained classifier; ``alpha`` scales every layer's number of filters."""
    import keras

    parts = Parts.of(settings, "relu")
    inputs = x = keras.Input(shape, name="input")
    for number, (filters, count) in enumerate(STAGES):
        if number:
            x = _halved(x, f"pool{number}")
        for layer in range(1, count + 1):
            name = f"stage{number}_conv{layer}"
            x = parts.conv(x, widths(settings.alpha, filters), name=name)
    outputs = classify(x, classes, settings.dropout)
    return keras.Model(inputs, outputs, name="kpunet")


def _halved(x: Any, name: str) -> Any:
    """The largest of each 2×2 pixels, unless the map would get too small."""
    import keras

    if min(x.shape[1:3]) // 2 < SMALLEST_MAP:
        return x
    return keras.layers.MaxPooling2D(2, name=name)(x)
