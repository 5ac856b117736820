"""From anything TensorFlow can trace to float TFLite of one fixed shape."""

from collections.abc import Callable
from typing import Any

Call = Callable[[Any], Any]
"""From a float32 tensor N×H×W×C to a tensor, or to a list of them."""


def to_tflite(call: Call, shape: tuple[int, int, int]) -> bytes:
    """Freeze a function at a batch of one and convert it.

    nncase refuses variables, so they become constants before the converter sees them.

    Args:
        call: what to convert.
        shape: height, width and channels of its input.

    Returns:
        the TFLite file; its outputs are in the order of those of ``call``.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    spec = tf.TensorSpec([1, *shape], tf.float32, name="input")
    function = tf.function(call, autograph=False).get_concrete_function(spec)
    frozen = convert_variables_to_constants_v2(function)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    data: bytes = converter.convert()
    return data
