"""From anything TensorFlow can trace to float TFLite of one fixed shape."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from k210.errors import ModelError
from stages.reasons import reason

Call = Callable[[Any], Any]
"""From a float32 tensor N×H×W×C to a tensor, or to a list of them."""


def to_tflite(call: Call, shape: tuple[int, int, int], named: Path) -> bytes:
    """Freeze a function at a batch of one and convert it.

    nncase refuses variables, so they become constants before the converter sees them.

    Args:
        call: what to convert.
        shape: height, width and channels of its input.
        named: the file that the error speaks of.

    Returns:
        the TFLite file; its outputs are in the order of those of ``call``.

    Raises:
        ModelError: it has no such shape, or TFLite lacks one of its operators.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    spec = tf.TensorSpec([1, *shape], tf.float32, name="input")
    try:
        function = tf.function(call, autograph=False).get_concrete_function(spec)
        frozen = convert_variables_to_constants_v2(function)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
        data: bytes = converter.convert()
    except (ConverterError, tf.errors.OpError, TypeError, ValueError) as error:
        raise ModelError(
            f"{named}: TensorFlow cannot convert it to TFLite at "
            f"{'×'.join(map(str, shape))}: {reason(error)}; use other layers"
        ) from None
    return data
