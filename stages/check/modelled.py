"""What the kmodel itself tells without being run: time on the KPU, places in memory.

Times are those of ``k210.cost``, modelled; what the CPU does, the board times.
"""

from collections.abc import Iterable
from typing import Any

from k210 import cost
from k210.kmodel import Buffer, Kmodel, Location
from k210.kmodel.instructions import Conv2d

Span = list[int]
"""First byte in KPU RAM, and the first one after."""


def modelled(model: Kmodel) -> dict[str, Any]:
    """What ``check.json`` holds under ``modelled``.

    ``kpu_ms`` is one inference's, all KPU layers together; ``ops`` has an entry for
    each operation that takes time or KPU RAM: ``{id, ms, reads, writes}`` with null
    for what it does not.
    """
    entries = [
        {
            "id": op.id,
            "ms": round(cost.layer_ms(op.instruction), 5)
            if isinstance(op.instruction, Conv2d)
            else None,
            "reads": _span(op.inputs),
            "writes": _span(op.outputs),
        }
        for op in model.ops()
    ]
    return {
        "kpu_ms": round(cost.kpu_ms(model), 4),
        "ops": [each for each in entries if each["reads"] or each["writes"]],
    }


def memory(model: Kmodel) -> dict[str, int]:
    """Bytes in KPU RAM (peak) and in SRAM; ``total`` = model + data.

    ``data`` holds ``inputs`` and ``outputs``.
    """
    found = model.memory()
    return {
        "kpu_ram": found.kpu_ram,
        "data": found.data,
        "inputs": model.entry.input_pool_size,
        "outputs": model.entry.output_pool_size,
        "model": found.model,
        "total": found.total,
    }


def _span(buffers: Iterable[Buffer]) -> Span | None:
    spans = [each for each in buffers if each.location == Location.KPU]
    if not spans:
        return None
    return [min(each.offset for each in spans), max(each.end for each in spans)]
