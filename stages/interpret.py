"""Run a float TFLite model on the host, sample by sample."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210.errors import ModelError
from stages.reasons import reason

Floats = NDArray[np.float32]


class Interpreter:
    """A loaded model with one input.

    Args:
        path: the file.
        shape: height, width and channels that open sizes of the input are set to.

    Raises:
        ModelError: TFLite refuses the file.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int] | None = None) -> None:
        from ai_edge_litert import interpreter as litert

        self._path = path
        try:
            self._interpreter: Any = litert.Interpreter(str(path), num_threads=1)
            self._input = self._interpreter.get_input_details()[0]["index"]
            if shape is not None:
                self._interpreter.resize_tensor_input(self._input, [1, *shape])
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{path}: TFLite cannot run it: {reason(error)}") from None
        self._outputs = [
            detail["index"] for detail in self._interpreter.get_output_details()
        ]

    def run(self, sample: Floats) -> list[Floats]:
        """The outputs for one float32 sample of the input's shape.

        Raises:
            ModelError: an output is NaN or infinite.
        """
        self._interpreter.set_tensor(self._input, sample)
        self._interpreter.invoke()
        outputs = [self._interpreter.get_tensor(index) for index in self._outputs]
        if not all(np.isfinite(output).all() for output in outputs):
            raise ModelError(
                f"{self._path}: gives NaN or infinity for a picture of the data; "
                "its training has diverged, or data.range is not what it expects"
            )
        return outputs

    def run_many(self, samples: Iterable[Floats]) -> Iterator[list[Floats]]:
        """``run`` for each float32 H×W×C sample, given a batch of one."""
        for sample in samples:
            yield self.run(sample[np.newaxis])
