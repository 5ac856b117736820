"""Networks written block by block in the YAML."""

from typing import Any

from stages.project.blocks import POOLS, adds_input, stride_of
from stages.project.inner import Block
from stages.project.schema import Model
from stages.train.architectures.parts import (
    Parts,
    activate,
    channels,
    classify,
    divisible,
)

EXPANSION = 6
"""How many times wider an inverted residual is inside, by default."""


def from_blocks(settings: Model, shape: tuple[int, int, int], classes: int) -> Any:
    """The classifier that ``model.blocks`` describes.

    That the blocks fit together was checked when the YAML was read. Layers are named
    after their block: ``block1_conv`` is in the first.
    """
    import keras

    inputs = x = keras.Input(shape, name="input")
    for number, block in enumerate(settings.blocks or (), 1):
        x = _block(x, block, settings, f"block{number}")
    outputs = classify(x, classes, settings.dropout)
    return keras.Model(inputs, outputs, name="blocks")


def _block(x: Any, block: Block, settings: Model, name: str) -> Any:
    import keras

    parts = Parts(
        block.activation or settings.activation or "relu",
        block.kernel or settings.kernel,
        settings.padding,
    )
    if block.kind == "dense":
        return _dense(x, block, parts, name)
    if block.kind in POOLS:
        layers, size = keras.layers, stride_of(block)
        of = (
            layers.MaxPooling2D if block.kind == "max_pool" else layers.AveragePooling2D
        )
        return of(size, name=f"{name}_pool")(x)
    if block.kind == "inverted_residual":
        return _inverted_residual(x, block, parts, name)
    y = _convolutions(x, block, parts, name)
    if block.squeeze_excite:
        reduced = divisible(channels(y) / 4)
        y = parts.squeeze_excite(y, reduced, name=f"{name}_se")
    if adds_input(block):
        y = keras.layers.Add(name=f"{name}_add")([x, y])
        y = activate(y, parts.activation, f"{name}_act")
    return y


def _dense(x: Any, block: Block, parts: Parts, name: str) -> Any:
    import keras

    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(name=f"{name}_mean")(x)
    x = keras.layers.Dense(block.filters, name=f"{name}_dense")(x)
    return activate(x, parts.activation, f"{name}_act")


def _inverted_residual(x: Any, block: Block, parts: Parts, name: str) -> Any:
    assert block.filters is not None
    expanded = (block.expand or EXPANSION) * channels(x)
    return parts.inverted_residual(
        x,
        block.filters,
        stride_of(block),
        expanded,
        residual=block.residual,
        squeezed=divisible(expanded / 4) if block.squeeze_excite else None,
        name=name,
    )


def _convolutions(x: Any, block: Block, parts: Parts, name: str) -> Any:
    """What the block computes before any squeeze-excite and addition."""
    stride, kernel = stride_of(block), parts.kernel
    last = "linear" if adds_input(block) else None
    if block.kind == "depthwise":
        return parts.depthwise(x, stride, activation=last, name=f"{name}_depthwise")
    assert block.filters is not None
    if block.kind == "separable":
        x = parts.depthwise(x, stride, name=f"{name}_depthwise")
        name = f"{name}_pointwise"
        return parts.conv(x, block.filters, 1, activation=last, name=name)
    if block.kind == "conv":
        name = f"{name}_conv"
        return parts.conv(x, block.filters, kernel, stride, last, name)
    x = parts.conv(x, block.filters, kernel, stride, name=f"{name}_conv1")
    return parts.conv(x, block.filters, kernel, activation=last, name=f"{name}_conv2")
