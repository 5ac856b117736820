"""MobileNetV1 (Howard et al., 2017), as deep as the picture allows.

The KPU does not compute maps under 4×4, so the blocks end before the one that
would make one: 224×224 takes all thirteen, 32×32 the first five.
"""

from typing import Any

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

SMALLEST_MAP = 4
DIVISOR = 8


def widths(alpha: float, filters: int) -> int:
    """``filters`` scaled by ``alpha``, a multiple of 8 and at least 8."""
    return max(DIVISOR, round(filters * alpha / DIVISOR) * DIVISOR)


def mobilenet_v1(
    shape: tuple[int, int, int],
    classes: int,
    alpha: float,
    dropout: float,
    activation: str = "relu6",
    smallest_map: int = SMALLEST_MAP,
) -> Any:
    """An untrained classifier.

    Args:
        shape: height, width and channels of the input, float32.
        classes: number of outputs, a softmax over them.
        alpha: scales every layer's number of filters.
        dropout: fraction dropped before the last layer while training.
        activation: relu or relu6.
        smallest_map: rows or columns below which no block may bring a map.

    Returns:
        a ``keras.Model``.
    """
    import keras

    layers = keras.layers
    inputs = keras.Input(shape, name="input")
    smallest = min(shape[:2])
    stride = 2 if -(-smallest // 2) >= smallest_map else 1
    x = _convolution(inputs, widths(alpha, STEM), 3, stride, activation)
    smallest = -(-smallest // stride)
    for filters, stride in BLOCKS:
        smallest = -(-smallest // stride)
        if smallest < smallest_map:
            break
        x = _depthwise(x, stride, activation)
        x = _convolution(x, widths(alpha, filters), 1, 1, activation)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(dropout)(x)
    outputs = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="mobilenet_v1")


def _convolution(
    x: Any, filters: int, kernel: int, stride: int, activation: str
) -> Any:
    import keras

    x = keras.layers.Conv2D(
        filters, kernel, strides=stride, padding="same", use_bias=False
    )(x)
    return _activation(x, activation)


def _depthwise(x: Any, stride: int, activation: str) -> Any:
    import keras

    x = keras.layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(
        x
    )
    return _activation(x, activation)


def _activation(x: Any, kind: str) -> Any:
    """Batch norm with a short memory (training sets are small here) and ReLU."""
    import keras

    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    return keras.layers.ReLU(6.0 if kind == "relu6" else None)(x)
