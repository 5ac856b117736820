"""The trace as ``check.json`` has it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from k210.kmodel import Kmodel
from stages.check.cause import Cause
from stages.check.maps import Atlas, Layer
from stages.check.unlike import Suspect

SOUND_DB = 35.0
"""As good as a map of 8 bits is taken to be, even where nothing was lost before."""


def told(step: str, op: str | None, tensor: str, found: Cause) -> dict[str, Any]:
    """A ``first_wrong``: the step that leads to it, op and tensor, the cause."""
    return {"step": step, "op": op, "tensor": tensor, **_because(found)}


def _because(found: Cause) -> dict[str, str]:
    return {"cause": found.kind, "words": found.words}


def suspected(step: str, suspect: Suspect) -> dict[str, Any]:
    """A ``first_wrong`` in a float graph, which has no op."""
    entry = told(step, None, suspect.tensor, suspect.cause)
    return {**entry, "kind": suspect.kind, "snr_db": suspect.snr_db}


def row(atlas: Atlas, layer: Layer, layers: Sequence[Layer]) -> dict[str, Any]:
    """One layer of ``check.json``'s trace."""
    likeness = layer.likeness
    noise = {each.op.id: each.likeness.snr_db for each in layers}
    before = [noise.get(each) for each in atlas.before(layer.op.id)]
    best = min([SOUND_DB, *(each for each in before if each is not None)])
    snr = likeness.snr_db
    return {
        "op": layer.op.id,
        "tensor": layer.tensor,
        "gives": atlas.network.names[layer.number],
        "kind": layer.op.kind,
        "where": layer.op.where,
        "snr_db": _rounded(snr),
        "fall_db": 0.0 if snr is None else round(best - snr, 2),
        "range": likeness.range and [_rounded(end) for end in likeness.range],
        "seen": [_rounded(likeness.low), _rounded(likeness.high)],
        "steps": likeness.steps or None,
        "saturated": round(likeness.saturated, 5),
    }


def table(model: Kmodel, op_id: str) -> list[dict[str, int]]:
    """The activation table of a layer, segment by segment."""
    found = model.activation(dict(model.convs())[op_id])
    return [asdict(segment) for segment in found.segments]


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
