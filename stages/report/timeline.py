"""The time of one inference along the network, operation by operation.

``check.json`` has it as ``timings: {source: "measured" | "modelled", seconds: {op id:
s}}``, as the device told it, the CPU's operations included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.report.columns import Columns, columns
from stages.report.layers import Operation

SLOWEST = 5


@dataclass(frozen=True)
class Times:
    """The time of one inference; ``source`` is "measured" or "modelled".

    ``slowest`` are the ops that take most: the op, milliseconds, fraction of the
    whole.
    """

    plot: Columns | None
    total_ms: float
    source: str
    slowest: tuple[tuple[Operation, float, float], ...]


def times(check: Mapping[str, Any], operations: Sequence[Operation]) -> Times:
    """Milliseconds per operation, as the device tells them."""
    told = check["timings"]
    found = {key: 1e3 * seconds for key, seconds in told["seconds"].items()}
    taken = [
        (op, found[op.record["id"]]) for op in operations if op.record["id"] in found
    ]
    total = sum(found.values())
    bars = [(op.place, ms, f"{_label(op)}: {ms:.3g} ms") for op, ms in taken]
    slowest = sorted(taken, key=lambda each: -each[1])[:SLOWEST]
    return Times(
        columns(bars, "ms"),
        total,
        told["source"],
        tuple((op, ms, ms / total) for op, ms in slowest if total),
    )


def _label(op: Operation) -> str:
    name = f" {op.name}" if op.name else ""
    return f"{op.record['id']} {op.record['kind']}{name}"
