"""The memory a kmodel runs in, and numpy views of the tensors that lie in it."""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from k210.errors import ModelError
from k210.kmodel import Buffer, DType, Function, Kmodel, Location, Module
from k210.kmodel.buffers import KPU_RAM_BYTES
from k210.limits import MIB
from k210.reference.arrays import Array

MOST = 64 * MIB
"""Of all pools together; no K210 has a tenth of it."""

NUMPY = {
    DType.I8: np.int8,
    DType.I16: np.int16,
    DType.I32: np.int32,
    DType.I64: np.int64,
    DType.U8: np.uint8,
    DType.U16: np.uint16,
    DType.U32: np.uint32,
    DType.U64: np.uint64,
    DType.F16: np.float16,
    DType.F32: np.float32,
    DType.F64: np.float64,
}

Place = tuple[str, int, Location]
"""A module type, the number of its function (0 where all share it), a location."""


class Memory:
    """All the pools that a kmodel asks for, zeroed.

    Raises:
        ModelError: it asks for more than any K210 has.
    """

    def __init__(self, model: Kmodel) -> None:
        sizes = _sizes(model)
        if sum(sizes.values()) > MOST:
            raise ModelError(
                f"the model asks for {sum(sizes.values()) // MIB} MiB of working "
                "memory, far more than a K210 has; use a smaller alpha or picture"
            )
        self.pools: dict[Place, Array] = {
            place: np.zeros(size, np.uint8) for place, size in sizes.items()
        }
        for module in model.modules:
            rdata = np.frombuffer(
                model.data, np.uint8, module.rdata.size, module.rdata.offset
            )
            self.pools[module.type, 0, Location.RDATA] = rdata

    def clear(self) -> None:
        """Zero it again, so that no run sees what an earlier one left."""
        for (_, _, location), pool in self.pools.items():
            if location != Location.RDATA:
                pool.fill(0)

    def pool(self, module: str, location: Location, function: int = 0) -> Array:
        """All bytes of a location; inputs and outputs are a function's own."""
        own = location in (Location.INPUT, Location.OUTPUT)
        return self.pools[module, function if own else 0, location]

    def view(self, buffer: Buffer, function: int = 0) -> Array:
        """The elements of a tensor outside KPU RAM, writable if its memory is.

        Raises:
            ModelError: its elements are of a type that no op has.
        """
        if buffer.dtype not in NUMPY:
            raise ModelError(f"a tensor holds {buffer.dtype.name}")
        dtype = np.dtype(NUMPY[buffer.dtype])
        pool = self.pool(buffer.module, buffer.location, function)
        elements = pool[buffer.offset : buffer.end].view(dtype)
        assert buffer.strides is not None
        steps = tuple(step * dtype.itemsize for step in buffer.strides)
        return as_strided(elements, buffer.shape, steps)


def _sizes(model: Kmodel) -> dict[Place, int]:
    sizes: dict[Place, int] = {}
    for module in model.modules:
        data = module.pool(Location.DATA)
        sizes[module.type, 0, Location.DATA] = data
        for function in _run(model, module):
            number = 0 if module.type == "stackvm" else function.index
            sizes[module.type, number, Location.INPUT] = function.input_pool_size
            sizes[module.type, number, Location.OUTPUT] = function.output_pool_size
    if model.k210 is not None:
        sizes["k210", 0, Location.KPU] = KPU_RAM_BYTES
    return sizes


def _run(model: Kmodel, module: Module) -> tuple[Function, ...]:
    """The functions of a module that are ever run."""
    return (model.entry,) if module.type == "stackvm" else module.functions
