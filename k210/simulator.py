"""nncase's own simulator of the chip, in a child process.

It ends its process on a damaged kmodel, so it never runs in ours; kmodels are
parsed before they get there.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from k210 import kmodel
from k210.board import Description, Tensor
from k210.child import Child
from k210.errors import ModelError

Outputs = list[bytes]

FIRST_ANSWER_S = 60.0
"""Time for the child to start, import nncase and load the model."""


class Simulator:
    """A loaded kmodel.

    Args:
        model: the kmodel's bytes.
        log: the file for nncase's chatter.
        timeout: seconds for one inference.

    Raises:
        ModelError: it is not a kmodel, or nncase does not load it.
    """

    def __init__(self, model: bytes, log: Path, timeout: float = 60.0) -> None:
        self.description = describe(model)
        shapes = [tensor.shape for tensor in self.description.inputs]
        self._timeout = timeout
        self._child = Child(
            prepare, (model, shapes), log, "nncase simulating the kmodel"
        )
        self._child.ask([], FIRST_ANSWER_S)

    def infer(self, samples: Sequence[bytes]) -> list[Outputs]:
        """The outputs for each sample, as the bytes of each output tensor.

        Raises:
            ModelError: an input has the wrong size, or the simulator crashed.
        """
        wanted = sum(tensor.size for tensor in self.description.inputs)
        for sample in samples:
            if len(sample) != wanted:
                raise ModelError(
                    f"the model takes {wanted} bytes of input and was given "
                    f"{len(sample)}"
                )
        answers: list[Outputs] = self._child.ask(
            list(samples), self._timeout * max(1, len(samples))
        )
        return answers

    def close(self) -> None:
        """End the child."""
        self._child.close()


def describe(model: bytes) -> Description:
    """What a kmodel takes and gives.

    Raises:
        KmodelError: it is not one.
    """
    entry = kmodel.parse(model).entry
    return Description(
        inputs=tuple(map(_tensor, entry.inputs)),
        outputs=tuple(map(_tensor, entry.outputs)),
    )


def _tensor(tensor: kmodel.Tensor) -> Tensor:
    return Tensor(tensor.shape, tensor.range.dtype.name.lower())


def prepare(
    model: bytes, shapes: list[tuple[int, ...]]
) -> Callable[[list[bytes]], list[Outputs]]:
    """In the child: load the model; returns what answers its inferences."""
    import nncase

    simulator = nncase.Simulator()
    try:
        simulator.load_model(model)
    except RuntimeError as error:
        raise ModelError(f"nncase does not load the kmodel: {error}") from None

    def run(samples: list[bytes]) -> list[Outputs]:
        return [one(sample) for sample in samples]

    def one(sample: bytes) -> Outputs:
        start = 0
        for index, shape in enumerate(shapes):
            count = int(np.prod(shape))
            array = np.frombuffer(sample, np.uint8, count, start).reshape(shape)
            # nncase aliases the array, and wants one that it may write to
            tensor = nncase.RuntimeTensor.from_numpy(array.copy())
            simulator.set_input_tensor(index, tensor)
            start += count
        try:
            simulator.run()
        except RuntimeError as error:
            raise ModelError(f"nncase does not run the kmodel: {error}") from None
        return [
            simulator.get_output_tensor(index).to_numpy().tobytes()
            for index in range(simulator.outputs_size)
        ]

    return run
