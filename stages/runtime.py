"""Run a TFLite model with plain kernels on the host, every feature map kept.

LiteRT's interpreter is TFLite's own, in a package that is there in half a second.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210.errors import ModelError
from stages.reasons import reason

Floats = NDArray[np.float32]
Outputs = list[Floats]

LOWEST = float(np.finfo(np.float32).min)
"""Stands for NaN, which is never the best score."""


def plain_interpreter(model: bytes) -> Any:
    """TFLite's plain kernels: delegates would hide the maps between layers."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    return Interpreter(
        model_content=model,
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )


class Runtime:
    """A loaded TFLite model of which any tensor can be read after a run.

    Args:
        model: the file's bytes.
        what: what errors call it.

    Raises:
        ModelError: TFLite refuses it.
    """

    def __init__(self, model: bytes, what: str) -> None:
        self._what = what
        try:
            self._interpreter = plain_interpreter(model)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"TFLite cannot run {what}: {reason(error)}") from None
        details = self._interpreter.get_input_details()
        self._inputs = [detail["index"] for detail in details]

    def run(self, *samples: Floats) -> None:
        """Compute with one sample for each input, float32 of the input's shape."""
        for index, sample in zip(self._inputs, samples, strict=True):
            self._interpreter.set_tensor(index, sample)
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            message = f"TFLite cannot run {self._what}: {reason(error)}"
            raise ModelError(message) from None

    def value(self, index: int) -> NDArray[Any]:
        """A copy of a tensor, by its index in the file."""
        values: NDArray[Any] = self._interpreter.get_tensor(index)
        return values


def reference(
    model: bytes, outputs: Sequence[int], samples: NDArray[np.float32]
) -> list[Outputs]:
    """What TFLite computes: the tensors of these indices, for each N×H×W×C sample."""
    runtime = Runtime(model, "the exported model")
    found = []
    for sample in samples:
        runtime.run(sample[np.newaxis])
        found.append([runtime.value(index) for index in outputs])
    return found


def planar(values: Floats) -> Floats:
    """A TFLite output in the order of a kmodel's: channels before rows."""
    return np.moveaxis(values, 3, 1) if values.ndim == 4 else values


def finite(values: Floats) -> Floats:
    """What is not a number is as far off as a float can be; its square is finite."""
    found: Floats = np.nan_to_num(values, nan=LOWEST)
    return found
