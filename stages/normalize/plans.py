"""Compile the few legal forms of a model and keep the one that runs fastest.

What a pad or a rotation costs depends on what nncase makes of its neighbours, so it is
measured: each plan is compiled on a few pictures, repaired as the compile stage does,
and run on the host; its time is modelled by ``k210.cost``. ``stages.normalize.choice``
says which wins.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210 import cost, kmodel
from k210.errors import ModelError
from k210.kmodel import Kmodel
from k210.reference import Reference
from stages.compiling import compiled
from stages.fit import require_fit, require_sound
from stages.nncase_child import Request
from stages.normalize.fidelity import decibels, turned
from stages.normalize.graph import Graph
from stages.normalize.passes import Applied
from stages.normalize.runtime import serialize
from stages.runtime import Outputs


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

    ``refused`` says why the chip could not run it. ``ms`` is modelled; memory is in
    bytes; ``snr_db`` is that of the outputs, as nncase's simulator would give them.
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
    ``expected`` is what TFLite makes of each, or nothing where it is not to be tried;
    ``range`` is what their bytes stand for, ``timeout`` seconds for one plan.
    """

    upright: NDArray[np.uint8]
    turned: NDArray[np.uint8]
    expected: Sequence[Outputs]
    range: tuple[float, float]
    timeout: float
    log: Path

    def kmodel(self, plan: Plan) -> bytes:
        """What nncase makes of a plan, repaired.

        Raises:
            ModelError: its maps cannot fit, or nncase refuses it, crashes or takes too
                long.
        """
        samples = self._samples(plan)
        request = Request(plan.serialized, samples, "no_clip", False, self.range)
        what = f"nncase compiling the model {plan.name}"
        return compiled(request, self.log, what, self.timeout).kmodel

    def measure(self, plan: Plan) -> Figures:
        """Compile a plan, read off what it costs and try it."""
        try:
            parsed = kmodel.parse(self.kmodel(plan))
            found = figures(parsed)
            if not self.expected:
                return found
            return replace(found, snr_db=self._try(plan, parsed))
        except ModelError as error:
            return Figures(refused=str(error))

    def _samples(self, plan: Plan) -> NDArray[np.uint8]:
        return self.turned if plan.rotation else self.upright

    def _try(self, plan: Plan, parsed: Kmodel) -> float:
        """The signal-to-noise ratio of the outputs of a plan's kmodel."""
        runs = Reference(parsed).infer_many(map(bytes, self._samples(plan)))
        rotations = [tensor.turned for tensor in plan.graph.outputs]
        return round(decibels(turned(self.expected, rotations), list(runs)), 2)


def figures(parsed: Kmodel) -> Figures:
    """What a kmodel costs, and whether the chip could run it."""
    kinds = [op.kind for op in parsed.ops() if op.where == "cpu"]
    memory = parsed.memory()
    return Figures(
        refused=_refusal(parsed),
        ms=round(cost.model_ms(parsed), 3),
        regions=kinds.count("call"),
        cpu_ops=len(kinds) - kinds.count("call"),
        cpu_pads=kinds.count("pad"),
        total=memory.total,
        kpu_ram=memory.kpu_ram,
    )


def _refusal(parsed: Kmodel) -> str | None:
    """What the compile stage would say of a kmodel that it refuses."""
    try:
        require_fit(parsed)
        require_sound(parsed)
    except ModelError as error:
        return str(error)
    return None


def table(plans: Sequence[Plan], found: Sequence[Figures]) -> list[dict[str, Any]]:
    """The plans for ``layers.json``."""
    return [
        {"name": plan.name, "rotation": plan.rotation, **asdict(each)}
        for plan, each in zip(plans, found, strict=True)
    ]
