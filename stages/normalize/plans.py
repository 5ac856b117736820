"""Compile the few legal forms of a model and keep the one that runs fastest.

What a pad or a rotation costs depends on what nncase makes of its neighbours, so it is
measured: each plan is compiled in a child process on a few pictures and simulated, its
time is modelled by ``k210.cost``, and the least time, then the least memory wins, as
long as it has no more regions and CPU pads than the model as it is, and its outputs are
about as good as those of the best.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210 import cost, kmodel, limits
from k210.child import Child
from k210.errors import ModelError
from k210.simulator import Simulator
from stages.nncase_child import Request, Result, prepare
from stages.normalize.fidelity import Outputs, decibels, turned
from stages.normalize.graph import Graph
from stages.normalize.passes import Applied
from stages.normalize.runtime import serialize


@dataclass(frozen=True)
class Plan:
    """One form of the model: ``graph`` keeps its padding in pixels, ``lowered`` not."""

    name: str
    graph: Graph
    lowered: Graph
    applied: Sequence[Applied]
    refusals: list[str] = field(default_factory=list)

    @cached_property
    def serialized(self) -> bytes:
        """The TFLite file."""
        return serialize(self.lowered)

    @property
    def rotation(self) -> int:
        """Degrees by which pictures are to be turned: 0 or 180."""
        return 180 if any(tensor.turned for tensor in self.graph.inputs) else 0


@dataclass(frozen=True)
class Figures:
    """What a plan costs; all but ``refused`` are None where it does not compile.

    ``ms`` is modelled; memory is in bytes; ``snr_db`` is that of the outputs in
    nncase's simulator, before the compile stage repairs what can be.
    """

    refused: str | None = None
    ms: float | None = None
    regions: int | None = None
    cpu_ops: int | None = None
    cpu_pads: int | None = None
    total: int | None = None
    kpu_ram: int | None = None
    snr_db: float | None = None


@dataclass(frozen=True)
class Compiler:
    """How plans are compiled and tried.

    ``upright`` holds a few pictures, uint8 N×C×H×W, and ``turned`` the same rotated;
    ``expected`` is what TFLite makes of the first of them; ``range`` is what their
    bytes stand for, ``timeout`` seconds for one plan.
    """

    upright: NDArray[np.uint8]
    turned: NDArray[np.uint8]
    expected: Sequence[Outputs]
    range: tuple[float, float]
    timeout: float
    log: Path

    def kmodel(self, plan: Plan) -> bytes:
        """What nncase makes of a plan.

        Raises:
            ModelError: it refuses, crashes or takes too long.
        """
        samples = self._samples(plan)
        request = Request(plan.serialized, samples, "no_clip", False, self.range)
        what = f"nncase compiling the model {plan.name}"
        with Child(prepare, (), self.log, what) as child:
            result: Result = child.ask(request, self.timeout)
        return result.kmodel

    def measure(self, plan: Plan) -> Figures:
        """Compile a plan, read off what it costs and try it."""
        try:
            data = self.kmodel(plan)
            found = figures(data)
            if found.refused or not self.expected:
                return found
            return replace(found, snr_db=self._try(plan, kmodel.canonical(data)))
        except ModelError as error:
            return Figures(refused=str(error))

    def _samples(self, plan: Plan) -> NDArray[np.uint8]:
        return self.turned if plan.rotation else self.upright

    def _try(self, plan: Plan, data: bytes) -> float:
        """The signal-to-noise ratio of a plan's kmodel in nncase's simulator."""
        samples = self._samples(plan)[: len(self.expected)]
        simulator = Simulator(data, self.log, self.timeout)
        try:
            outputs = simulator.infer([sample.tobytes() for sample in samples])
        finally:
            simulator.close()
        rotations = [tensor.turned for tensor in plan.graph.outputs]
        return round(decibels(turned(self.expected, rotations), outputs), 2)


def figures(data: bytes) -> Figures:
    """What a kmodel costs.

    Raises:
        KmodelError: it cannot be read.
    """
    parsed = kmodel.parse(data)
    kinds = [op.kind for op in parsed.ops() if op.where == "cpu"]
    memory = parsed.memory()
    refused = None
    if memory.total > limits.SRAM:
        have = limits.SRAM // limits.MIB
        refused = f"needs {memory.total / limits.MIB:.2f} MiB and there are {have}"
    return Figures(
        refused=refused,
        ms=round(cost.model_ms(parsed), 3),
        regions=kinds.count("call"),
        cpu_ops=len(kinds) - kinds.count("call"),
        cpu_pads=kinds.count("pad"),
        total=memory.total,
        kpu_ram=memory.kpu_ram,
    )


def table(plans: Sequence[Plan], found: Sequence[Figures]) -> list[dict[str, Any]]:
    """The plans for ``layers.json``."""
    return [
        {"name": plan.name, "rotation": plan.rotation, **asdict(each)}
        for plan, each in zip(plans, found, strict=True)
    ]
