"""The functions of the k210 module: maps in KPU RAM, and the layers between them."""

from collections.abc import Callable

import numpy as np

from k210.kmodel import Buffer, Conv2d, Kmodel, Location, Op, kpu_map_bytes
from k210.kpu import Kernel, Layer, Map
from k210.reference.arrays import Array, Step
from k210.reference.memory import Memory


def bind(model: Kmodel, memory: Memory, function: int, op: Op) -> Step:
    """An operation of a k210 function, bound to its memory.

    Raises:
        ModelError: a tensor holds what no op works on.
    """
    instruction = op.instruction
    if isinstance(instruction, Conv2d):
        return _conv2d(model, memory, instruction)
    (source,), (target,) = instruction.inputs, instruction.outputs
    if Location.KPU in (source.location, target.location):
        sources, targets = (_maps(memory, each, function) for each in (source, target))
        return _each(lambda a, b: a.copy_to(b), sources, targets)
    read, written = memory.view(source, function), memory.view(target, function)
    return lambda: np.copyto(written, read)


def results(memory: Memory, function: int, op: Op) -> Callable[[], list[Array]]:
    """What gives the output tensors of such an operation once it has run."""

    def dense() -> list[Array]:
        return [_array(memory, buffer, function) for buffer in op.outputs]

    return dense


def _conv2d(model: Kmodel, memory: Memory, conv: Conv2d) -> Step:
    tables = (conv.weights, conv.batch_norm, conv.activation)
    kernel = Kernel(Layer.of(conv.registers, *map(model.constant, tables)))
    return _each(kernel, _maps(memory, conv.input), _maps(memory, conv.output))


def _each(
    work: Callable[[Map, Map], None], sources: list[Map], targets: list[Map]
) -> Step:
    pairs = list(zip(sources, targets, strict=True))

    def run() -> None:
        for source, target in pairs:
            work(source, target)

    return run


def _maps(memory: Memory, buffer: Buffer, function: int = 0) -> list[Map]:
    """Each of the N maps of a tensor N×C×H×W, in KPU RAM or dense."""
    batches, *shape = buffer.shape
    if buffer.location != Location.KPU:
        return [Map.dense(each) for each in memory.view(buffer, function)]
    ram, step = memory.pool("k210", Location.KPU), kpu_map_bytes(*shape)
    starts = (buffer.offset + batch * step for batch in range(batches))
    return [Map.in_ram(ram, start, tuple(shape)) for start in starts]


def _array(memory: Memory, buffer: Buffer, function: int) -> Array:
    """A copy of a tensor, from wherever it is."""
    if buffer.location != Location.KPU:
        return memory.view(buffer, function).copy()
    copy = np.empty(buffer.shape, np.uint8)
    for source, image in zip(_maps(memory, buffer), copy, strict=True):
        source.copy_to(Map.dense(image))
    return copy
