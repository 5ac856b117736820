"""A kmodel in words: what it takes and gives, and each operation in order.

`as_dict` is for programs, `as_text` for people. Both name operations by their ids, as
traces, timings and `placement.json` do. Times are modelled (`k210.cost`).
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from enum import IntEnum
from typing import Any

from k210 import cost
from k210.kmodel import (
    BinaryOp,
    Buffer,
    Conv2d,
    Kmodel,
    Location,
    Module,
    Op,
    Padding,
    PadMode,
    ReduceOp,
    ResizeMode,
    Tensor,
    TensorOp,
    digest,
)
from k210.limits import KPU_RAM, SRAM

_KIB = 1024
_CHOICES: Mapping[tuple[str, str], type[IntEnum]] = {
    ("binary", "op"): BinaryOp,
    ("reduce", "op"): ReduceOp,
    ("reduce_window2d", "op"): ReduceOp,
    ("pad", "mode"): PadMode,
    ("resize_image", "mode"): ResizeMode,
}
"""Operands that are numbers of a choice."""

_USUAL = {
    **dict.fromkeys(("groups", "stride_h", "stride_w", "dilation_h", "dilation_w"), 1),
    "table_len": 256,
}
"""Operands that are left out if they have this value, as are clamps to infinity."""


def as_dict(model: Kmodel) -> dict[str, Any]:
    """All of it, ready for JSON; offsets and sizes in bytes, times in milliseconds."""
    memory = model.memory()
    return {
        "bytes": len(model.data),
        "sha256": hashlib.sha256(model.data).hexdigest(),
        "canonical_sha256": digest(model.data),
        "alignment": model.header.alignment,
        "modules": [_module(each) for each in model.modules],
        "inputs": [_tensor(each) for each in model.entry.inputs],
        "outputs": [_tensor(each) for each in model.entry.outputs],
        "memory": {**asdict(memory), "total": memory.total},
        "modelled_ms": modelled_ms(model),
        "ops": [_op(model, each) for each in model.ops()],
    }


def modelled_ms(model: Kmodel) -> dict[str, float]:
    """Modelled milliseconds of an inference: on the KPU, moving data, on the CPU."""
    spent = dict.fromkeys(("kpu", "dma", "cpu"), 0.0)
    for op in model.ops():
        spent[op.where] += cost.op_ms(op)
    return {**spent, "total": sum(spent.values())}


def _module(module: Module) -> dict[str, Any]:
    return {
        "type": module.type,
        "bytes": module.size,
        "rdata": module.rdata.size,
        "text": module.text.size,
        "pools": {each.location.name.lower(): each.size for each in module.mempools},
        "functions": len(module.functions),
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    bounds = tensor.range
    dtype = bounds.dtype.name.lower()
    return {"dtype": dtype, "shape": list(tensor.shape), "bytes": bounds.size}


def _op(model: Kmodel, op: Op) -> dict[str, Any]:
    found = {
        "id": op.id,
        "kind": op.kind,
        "where": op.where,
        "shape": list(op.shape),
        "bytes": op.bytes,
        "macs": op.macs,
        "modelled_ms": cost.op_ms(op),
        "inputs": [_buffer(each) for each in op.inputs],
        "outputs": [_buffer(each) for each in op.outputs],
    }
    instruction = op.instruction
    if isinstance(instruction, Conv2d):
        found["layer"] = _layer(model, instruction)
    elif isinstance(instruction, TensorOp):
        found["scalars"] = {n: _finite(v) for n, v in instruction.scalars.items()}
        found["vectors"] = {n: list(v) for n, v in instruction.vectors.items()}
        found["paddings"] = [asdict(each) for each in instruction.paddings]
        if instruction.function is not None:
            found["function"] = instruction.function
    return found


def _finite(value: float) -> float | str:
    """JSON has no infinity."""
    return value if math.isfinite(value) else str(value)


def _buffer(buffer: Buffer) -> dict[str, Any]:
    return {
        "module": buffer.module,
        "location": buffer.location.name.lower(),
        "offset": buffer.offset,
        "dtype": buffer.dtype.name.lower(),
        "shape": list(buffer.shape),
        "strides": buffer.strides and list(buffer.strides),
        "bytes": buffer.size,
    }


def _layer(model: Kmodel, conv: Conv2d) -> dict[str, Any]:
    return {
        "kernel": conv.kernel,
        "depthwise": conv.depthwise,
        "in_channels": conv.in_channels,
        "out_channels": conv.out_channels,
        "in_size": list(conv.in_size),
        "out_size": list(conv.out_size),
        "pool": conv.pool.name.lower(),
        "batches": conv.batches,
        "weight_loads": conv.weight_loads,
        "registers": asdict(conv.registers),
        "batch_norm": [asdict(each) for each in model.batch_norm(conv)],
        "activation": [asdict(each) for each in model.activation(conv).segments],
    }


def as_text(model: Kmodel) -> str:
    """A page: the model as a whole, then a line for each operation."""
    return "\n".join([*_overview(model), "", *_listing(model)]) + "\n"


def _overview(model: Kmodel) -> Iterator[str]:
    memory, spent = model.memory(), modelled_ms(model)
    modules = " + ".join(
        f"{each.type} ({len(each.functions)} functions)" for each in model.modules
    )
    yield f"kmodel   {len(model.data)} bytes, {modules}"
    for name, tensors in (
        ("input", model.entry.inputs),
        ("output", model.entry.outputs),
    ):
        for tensor in tensors:
            bounds = tensor.range
            dtype, shape = bounds.dtype.name.lower(), _times(tensor.shape)
            yield f"{name:<9}{dtype} {shape}, {bounds.size} bytes"
    yield (
        f"memory   {memory.total / _KIB:.1f} of {SRAM // _KIB} KiB: model "
        f"{memory.model / _KIB:.1f}, data {memory.data / _KIB:.1f}; KPU RAM "
        f"{memory.kpu_ram / _KIB:.1f} of {KPU_RAM // _KIB} KiB"
    )
    yield (
        f"time     {spent['total']:.2f} ms modelled: KPU {spent['kpu']:.2f}, "
        f"moving data {spent['dma']:.2f}, CPU {spent['cpu']:.2f}"
    )


def _listing(model: Kmodel) -> Iterator[str]:
    yield f"{'id':<8}{'operation':<17}{'result':<18}{'ms':>8}  what"
    for op in model.ops():
        indent = "  " if op.id.startswith("k") else ""
        start = f"{indent + op.id:<8}{op.kind:<17}{_times(op.shape):<18}"
        yield f"{start}{cost.op_ms(op):>8.3f}  {_what(op)}"


def _what(op: Op) -> str:
    """Where the operation reads and writes, and its parameters."""
    instruction = op.instruction
    sources = op.inputs[:1] if isinstance(instruction, Conv2d) else op.inputs
    where = f"{_places(sources)} → {_places(op.outputs)}"
    details = ", ".join(_details(op))
    return f"{where}; {details}" if details else where


def _details(op: Op) -> Iterator[str]:
    instruction = op.instruction
    if isinstance(instruction, Conv2d):
        yield from _layer_details(instruction)
    elif isinstance(instruction, TensorOp):
        if instruction.function is not None:
            yield f"function k{instruction.function}"
        for name, value in instruction.scalars.items():
            if math.isfinite(value) and _USUAL.get(name) != value:
                yield f"{name} {_word(op.kind, name, value)}"
        for name, values in instruction.vectors.items():
            yield f"{name} {' '.join(map(str, values))}"
        if instruction.paddings:
            yield f"pads {' '.join(map(_padding, instruction.paddings))}"


def _word(kind: str, name: str, value: float) -> str:
    """A number, or the name that it has as a choice."""
    choices = _CHOICES.get((kind, name))
    return choices(int(value)).name.lower() if choices else f"{value:g}"


def _padding(padding: Padding) -> str:
    between = f"({padding.interior})" if padding.interior else ""
    return f"{padding.before}{between}:{padding.after}"


def _layer_details(conv: Conv2d) -> Iterator[str]:
    height, width = conv.in_size
    kind = " depthwise" if conv.depthwise else ""
    channels = f"{conv.in_channels}→{conv.out_channels}"
    yield f"{conv.kernel}×{conv.kernel}{kind} {channels} at {height}×{width}"
    if conv.pool:
        yield conv.pool.name.lower().replace("_", " ")
    if conv.batches > 1:
        yield f"{conv.batches} batches"
    if conv.weight_loads > 1:
        yield f"{conv.weight_loads} weight loads"


def _places(buffers: tuple[Buffer, ...]) -> str:
    return ", ".join(_place(each) for each in buffers)


def _place(buffer: Buffer) -> str:
    location = buffer.location.name.lower()
    if buffer.location == Location.DATA and buffer.module == "k210":
        location = "k210-data"
    return f"{location}+{buffer.offset:#x}"


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
