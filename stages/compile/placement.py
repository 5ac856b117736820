"""Which operation of a kmodel runs where, under which name, and why.

Kmodels carry no names. nncase's ``dump_asm`` leaves one ``runtime_ops.txt`` per
function, a line per instruction in the same order, which names them.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from k210.kmodel import Kmodel, Op, Repair
from stages.nncase_child import OpNames

WHY = {
    "kpu_upload": "into KPU RAM, in the KPU's layout",
    "kpu_download": "out of KPU RAM",
    "kpu_copy": "crops what the KPU padded",
    "call": "enters a region of KPU layers",
    "dequantize": "leaves the KPU: the CPU computes in float",
    "quantize": "back to the KPU's 8 bits",
    "pad": "padding or cropping that the KPU does not have",
    "conv2d": "a convolution that the KPU does not have",
    "reduce": "a mean or maximum over a map, which the KPU does not have",
    "reduce_window2d": "a pooling that the KPU cannot fuse",
    "softmax": "the KPU has no exponential",
    "binary": "arithmetic between two maps, which the KPU does not have",
    "transpose": "another order of axes than the KPU's",
    "copy": "brings parts of a tensor together",
    "slice": "takes a part of a tensor",
    "lut1d": "an activation after a CPU operation",
    "resize_image": "the KPU does not resize",
}


def layer_names(
    model: Kmodel, op_names: OpNames, tensors: Sequence[str]
) -> dict[str, str]:
    """The TFLite tensor that each KPU layer belongs to, by op id, where known."""
    names = _names_by_id(model.ops(), op_names)
    found = {op: _tensors(names.get(op, ""), tensors) for op, _ in model.convs()}
    return {op: matching[0] for op, matching in found.items() if matching}


def placement(
    model: Kmodel,
    op_names: OpNames,
    tensors: Sequence[str],
    repairs: Sequence[Repair] = (),
) -> dict[str, Any]:
    """What ``placement.json`` holds.

    Args:
        model: the parsed kmodel.
        op_names: nncase's names.
        tensors: the names of the TFLite model's tensors, which nncase's begin with.
        repairs: what was done to the kmodel since nncase made it.
    """
    ops = model.ops()
    names = _names_by_id(ops, op_names)
    memory = model.memory()
    kinds = Counter(op.kind for op in ops if op.where == "cpu" and op.kind != "call")
    return {
        "regions": sum(op.kind == "call" for op in ops),
        "kpu_layers": sum(op.kind == "kpu_conv2d" for op in ops),
        "cpu_ops": dict(sorted(kinds.items())),
        "memory": {
            "kpu_ram": memory.kpu_ram,
            "data": memory.data,
            "model": memory.model,
            "total": memory.total,
        },
        "repairs": [asdict(repair) for repair in repairs],
        "ops": [
            {
                "id": op.id,
                "kind": op.kind,
                "tensors": _tensors(names.get(op.id, ""), tensors),
                "where": op.where,
                "why": WHY.get(op.kind, ""),
                "shape": list(op.shape),
                "bytes": op.bytes,
                "macs": op.macs,
            }
            for op in ops
        ],
    }


def _names_by_id(ops: Sequence[Op], op_names: OpNames) -> dict[str, str]:
    """nncase's name of each op, where its listing has as many lines as the code."""
    found: dict[str, str] = {}
    _pair([op.id for op in ops if op.id.startswith("s")], op_names.get("main"), found)
    function = ""
    regions: dict[str, list[str]] = {}
    for op in ops:
        if op.kind == "call":
            function = found.get(op.id, "")
        elif op.id.startswith("k"):
            regions.setdefault(function, []).append(op.id)
    for function, ids in regions.items():
        _pair(ids, op_names.get(function), found)
    return found


def _pair(ids: list[str], names: list[str] | None, found: dict[str, str]) -> None:
    if names is not None and len(names) == len(ids):
        found.update(zip(ids, names, strict=True))


def _tensors(name: str, tensors: Sequence[str]) -> list[str]:
    """The TFLite tensor that an nncase name such as ``TENSOR/dequantize`` begins with.

    Names that nncase made up for helpers of its own are dropped.
    """
    matching = [tensor for tensor in tensors if tensor and name.startswith(tensor)]
    return [max(matching, key=len)] if matching else []
