"""What MobileNetV3 small and large have in common (Howard et al., 2019).

Inverted residuals with squeeze-excite and hard-swish. The original has 5×5 kernels in
its later blocks, which the KPU does not; here they are 3×3 unless ``model.kernel``
says otherwise. A block that would make a map under 4×4 does not stride; a residual
stands where stride is 1 and the channels match.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from stages.project.schema import Model
from stages.train.architectures.parts import (
    Parts,
    activate,
    channels,
    classify,
    divisible,
    within,
)

STEM = 16


class Block(NamedTuple):
    """One inverted residual, at alpha 1."""

    expansion: float
    filters: int
    squeeze: bool
    activation: str
    stride: int


def mobilenet_v3(
    settings: Model,
    shape: tuple[int, int, int],
    classes: int,
    blocks: Sequence[Block],
    head: int,
    name: str,
) -> Any:
    """An untrained classifier; ``alpha`` scales the blocks' filters.

    Args:
        settings: the ``model`` section; its activation, if any, is used throughout.
        shape: height, width and channels of the input.
        classes: number of outputs.
        blocks: the inverted residuals.
        head: width of the dense layer before the scores.
        name: of the model.
    """
    import keras

    parts = Parts.of(settings, "hard_swish")
    inputs = keras.Input(shape, name="input")
    x = parts.conv(inputs, STEM, stride=within(inputs, 2), name="stem")
    for number, block in enumerate(blocks):
        x = _block(x, block, settings, f"block{number}")
    x = parts.conv(x, divisible(6 * channels(x)), 1, name="last")
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(head, name="head")(x)
    x = activate(x, parts.activation, "head_act")
    outputs = classify(x, classes, settings.dropout)
    return keras.Model(inputs, outputs, name=name)


def _block(x: Any, block: Block, settings: Model, name: str) -> Any:
    filters = divisible(block.filters * settings.alpha)
    expanded = divisible(channels(x) * block.expansion)
    return Parts.of(settings, block.activation).inverted_residual(
        x,
        filters,
        within(x, block.stride),
        expanded,
        residual=block.stride == 1 and filters == channels(x),
        squeezed=divisible(expanded / 4) if block.squeeze else None,
        name=name,
    )
