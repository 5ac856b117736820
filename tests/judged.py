"""What nncase makes of a graph, alone and normalized, against what TFLite computes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210 import kmodel
from k210.child import Child, ChildCrashed, ChildTimeout
from k210.errors import ModelError
from k210.reference import Reference
from k210.simulator import Simulator
from stages import tflite
from stages.compiling import repaired
from stages.memory import require_room
from stages.nncase_child import Request, Result, prepare
from stages.normalize.choice import decide
from stages.normalize.fidelity import decibels, turned
from stages.normalize.graph import Graph, read
from stages.normalize.plans import Figures, Plan, figures
from stages.normalize.proof import Proof, adversarial, prove
from stages.runtime import Outputs, reference

COUNT = 3


Mend = Callable[[bytes, Request], bytes]
"""What becomes of a kmodel of nncase's before it runs."""


class Judge:
    """Compiles and runs; one child process serves until nncase ends it."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "nncase.log"
        self._child: Child | None = None

    def close(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def _compile(self, model: bytes, samples: NDArray[np.uint8]) -> bytes:
        if self._child is None:
            self._child = Child(prepare, (), self._log, "nncase")
        try:
            result: Result = self._child.ask(_request(model, samples), 120)
        except (ChildCrashed, ChildTimeout):
            self.close()
            raise
        return result.kmodel

    def alone(self, model: bytes) -> Figures:
        """The model as nncase compiles it without our help."""
        return self._judge(model, model, False, lambda data, _: kmodel.canonical(data))

    def simulated(self, model: bytes) -> float:
        """The same model's decibels in nncase's own simulator.

        It does not honour the strides of what a KPU region is given; the firmware and
        the reference do.
        """
        data, samples = self.compiled(model), pictures(read(parsed(model)))
        simulator = Simulator(kmodel.canonical(data), self._log)
        try:
            outputs = simulator.infer([each.tobytes() for each in samples])
        finally:
            simulator.close()
        return decibels(_expected(model, samples), outputs)

    def normalized(self, model: bytes, plan: Plan) -> Figures:
        """A plan for the model, repaired as the compile stage does."""
        turn = plan.rotation == 180
        return self._judge(
            model,
            plan.serialized,
            turn,
            lambda data, request: repaired(data, request)[0],
        )

    def best(self, model: bytes) -> tuple[Plan, Figures, Proof]:
        """The plan that wins, as the stage would choose, and its proof."""
        choice = decide(parsed(model), lambda plan: self._measure(model, plan))
        return choice.plan, choice.figures, proof(model, choice.plan)

    def compiled(self, model: bytes) -> bytes:
        """The kmodel that nncase makes of a model without our help."""
        return self._compile(model, pictures(read(parsed(model))))

    def compiled_best(self, model: bytes) -> bytes:
        """The kmodel of the plan that wins."""
        plan, _, _ = self.best(model)
        return self.compiled(plan.serialized)

    def _measure(self, model: bytes, plan: Plan) -> Figures:
        try:
            require_room(parsed(plan.serialized))
            return self.normalized(model, plan)
        except ModelError as error:
            return Figures(refused=str(error))

    def _judge(self, original: bytes, model: bytes, turn: bool, mend: Mend) -> Figures:
        graph = read(parsed(original))
        samples = pictures(graph)
        fed = np.ascontiguousarray(np.flip(samples, (2, 3)) if turn else samples)
        found = kmodel.parse(mend(self._compile(model, fed), _request(model, fed)))
        outputs = Reference(found).infer_many([each.tobytes() for each in fed])
        rotations = [turn and each.spatial for each in graph.outputs]
        expected = turned(_expected(original, samples), rotations)
        noise = decibels(expected, list(outputs))
        return replace(figures(found), snr_db=noise)


def _request(model: bytes, samples: NDArray[np.uint8]) -> Request:
    return Request(model, samples, "no_clip", False, (0.0, 1.0))


def _expected(model: bytes, samples: NDArray[np.uint8]) -> list[Outputs]:
    """What TFLite makes of samples, N×C×H×W."""
    outputs = [each.origin for each in read(parsed(model)).outputs]
    floats = np.moveaxis(samples, 1, 3).astype(np.float32) / np.float32(255)
    return reference(model, [each for each in outputs if each is not None], floats)


def proof(model: bytes, plan: Plan) -> Proof:
    """Compare a plan with the model on adversarial inputs."""
    return prove(model, plan.lowered, adversarial(plan.graph.inputs[0].shape, 0, 1))


def parsed(model: bytes) -> Any:
    """The ``ModelT`` of a file's bytes."""
    return tflite.unpack(model)


def pictures(graph: Graph) -> NDArray[np.uint8]:
    """A few random pictures, uint8 N×C×H×W."""
    _, height, width, channels = graph.inputs[0].shape
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (COUNT, channels, height, width), np.uint8)
