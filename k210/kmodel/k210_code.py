"""Decoding the code of the k210 module.

A function is a plain sequence of records: one opcode byte, three bytes of padding
that nobody reads, then 32-bit fields (nncase 1.9's `kpu_*_options`). Every range is
checked against the memory it points into, every layer against its own shape.
"""

import math

from k210.kmodel.binary import KmodelError, Reader, disjoint
from k210.kmodel.buffers import (
    KPU_RAM_BYTES,
    KPU_ROW_BYTES,
    Buffer,
    DType,
    Location,
    MemoryRange,
    Shape,
    dense_strides,
    kpu_buffer,
    read_range,
    read_shape,
    strided_size,
)
from k210.kmodel.container import Function, Module
from k210.kmodel.instructions import Conv2d, Instruction, Transfer
from k210.kmodel.layer import (
    ACTIVATION_BYTES,
    LAYER_BYTES,
    MAX_ACTIVATION_SHIFT,
    LayerRegisters,
)

OPCODE_PADDING = 3
_UPLOAD, _DOWNLOAD, _CONV2D, _COPY = range(4)
_ACTIVATION_ALIGNMENT = 256
_TABLE_ALIGNMENT = 8
_READABLE = (Location.INPUT, Location.OUTPUT, Location.DATA)
_WRITABLE = (Location.OUTPUT, Location.DATA)


def read_functions(data: bytes, module: Module) -> tuple[tuple[Instruction, ...], ...]:
    """Decode the instructions of every function of the k210 module."""
    functions = tuple(_read_function(data, module, each) for each in module.functions)
    _check_tables(module, [each for function in functions for each in function])
    return functions


def _read_function(
    data: bytes, module: Module, function: Function
) -> tuple[Instruction, ...]:
    decoder = _Decoder(data, module, function)
    instructions = []
    while decoder.reader.remaining:
        instructions.append(decoder.instruction())
    return tuple(instructions)


def _check_tables(module: Module, instructions: list[Instruction]) -> None:
    """Refuse tables that share bytes, except when two layers share a whole one."""
    spans = {
        (table.offset, table.end, role)
        for each in instructions
        if isinstance(each, Conv2d)
        for role, table in enumerate((each.weights, each.batch_norm, each.activation))
    }
    if not disjoint([span[:2] for span in spans]):
        raise KmodelError(module.rdata.offset, "two tables in the k210 .rdata overlap")


class _Decoder:
    """Reads one function of the k210 module, instruction by instruction."""

    def __init__(self, data: bytes, module: Module, function: Function) -> None:
        start = module.text.offset + function.entrypoint
        end = start + function.text_size
        self.module = module
        self.function = function
        self.reader = Reader(data, start, end, f"k210 function {function.index}")

    def instruction(self) -> Instruction:
        offset = self.reader.position
        opcode = self.reader.u8("an opcode")
        self.reader.take(OPCODE_PADDING, "the padding of an opcode")
        if opcode == _UPLOAD:
            return self._upload(offset)
        if opcode == _DOWNLOAD:
            return self._download(offset)
        if opcode == _CONV2D:
            return self._conv2d(offset)
        if opcode == _COPY:
            return self._copy(offset)
        raise KmodelError(
            offset, f"opcode {opcode} of {self.reader.what} is not a k210 instruction"
        )

    def _upload(self, offset: int) -> Transfer:
        source, target, shape = self._ranges()
        dense = self._plain(source, shape, dense_strides(shape), offset)
        return Transfer(offset, "kpu_upload", dense, self._map(target, shape, offset))

    def _download(self, offset: int) -> Transfer:
        source, target, shape = self._ranges()
        dense = self._plain(target, shape, dense_strides(shape), offset, _WRITABLE)
        return Transfer(offset, "kpu_download", self._map(source, shape, offset), dense)

    def _copy(self, offset: int) -> Transfer:
        source, target, shape = self._ranges()
        strides = self.reader.u32s(4, "input strides"), self.reader.u32s(4, "strides")
        read = self._plain(source, shape, strides[0], offset)
        written = self._plain(target, shape, strides[1], offset, _WRITABLE)
        return Transfer(offset, "kpu_copy", read, written)

    def _ranges(self) -> tuple[MemoryRange, MemoryRange, Shape]:
        source = read_range(self.reader, "an input range")
        target = read_range(self.reader, "an output range")
        return source, target, read_shape(self.reader, 4, "a map")

    def _plain(
        self,
        bounds: MemoryRange,
        shape: Shape,
        strides: Shape,
        offset: int,
        allowed: tuple[Location, ...] = _READABLE,
    ) -> Buffer:
        """A u8 view of ordinary memory, checked against what is there."""
        if bounds.location not in allowed or bounds.dtype != DType.U8:
            raise KmodelError(
                offset, f"{bounds.dtype.name} in {bounds.location.name} is out of place"
            )
        size = strided_size(shape, strides, DType.U8)
        place, start = bounds.location, bounds.start
        if bounds.size != math.prod(shape) or start + size > self._limit(bounds):
            raise KmodelError(
                offset,
                f"a map of shape {shape} does not fit at {start} in {place.name}",
            )
        return Buffer("k210", place, start, DType.U8, shape, strides, size)

    def _limit(self, bounds: MemoryRange) -> int:
        """End of the memory that starts, or is open, at `bounds`."""
        if bounds.location == Location.DATA:
            return self.module.pool(Location.DATA)
        inputs = bounds.location == Location.INPUT
        tensors = self.function.inputs if inputs else self.function.outputs
        ends = (each.range.end for each in tensors if each.range.start == bounds.start)
        return next(ends, 0)

    def _map(self, bounds: MemoryRange, shape: Shape, offset: int) -> Buffer:
        """A feature map in KPU RAM that an upload or download names."""
        buffer = kpu_buffer(bounds.start, shape)
        if bounds.location != Location.KPU or bounds.dtype != DType.U8:
            raise KmodelError(
                offset, f"{bounds.dtype.name} in {bounds.location.name} is not a map"
            )
        if bounds.size != buffer.size or bounds.start % KPU_ROW_BYTES:
            raise KmodelError(
                offset,
                f"a map of shape {shape} has {bounds.size} bytes at {bounds.start}",
            )
        return self._inside(buffer, offset)

    def _inside(self, buffer: Buffer, offset: int) -> Buffer:
        if buffer.end > KPU_RAM_BYTES:
            raise KmodelError(
                offset, f"a feature map ends at {buffer.end:#x}, beyond KPU RAM"
            )
        return buffer

    def _conv2d(self, offset: int) -> Conv2d:
        names = ("weights", "batch_norm", "activation")
        ranges = [read_range(self.reader, name) for name in names]
        self.reader.zeros(12, "main_mem_output")
        batches = self.reader.u32("batches")
        if not batches:
            raise KmodelError(offset, "a layer runs for 0 batches")
        registers = self._registers()
        weights, batch_norm, activation = (
            self._table(bounds, name, shape, dtype, alignment, offset)
            for bounds, name, (shape, dtype, alignment) in zip(
                ranges, names, _tables(registers), strict=True
            )
        )
        self._check_activation(activation)
        source, target = _maps(registers, batches)
        self._inside(source, offset)
        self._inside(target, offset)
        if not disjoint([(source.offset, source.end), (target.offset, target.end)]):
            raise KmodelError(offset, "a layer would overwrite its own input")
        return Conv2d(
            offset,
            registers,
            batches,
            source,
            weights,
            batch_norm,
            activation,
            target,
        )

    def _registers(self) -> LayerRegisters:
        start = self.reader.position
        raw = self.reader.bytes(LAYER_BYTES, "the layer registers")
        registers = LayerRegisters.unpack(raw)
        problem = registers.problem()
        if registers.pack() != raw:
            problem = "reserved bits of a layer register are set"
        if problem:
            raise KmodelError(start, problem)
        return registers

    def _table(
        self,
        bounds: MemoryRange,
        name: str,
        shape: Shape,
        dtype: DType,
        alignment: int,
        offset: int,
    ) -> Buffer:
        """Weights, batch norm or activation, which all live in .rdata."""
        size = math.prod(shape) * dtype.itemsize
        if bounds.location != Location.RDATA or bounds.dtype != dtype:
            raise KmodelError(
                offset, f"{name} is {bounds.dtype.name} in {bounds.location.name}"
            )
        if bounds.size != size or bounds.end > self.module.rdata.size:
            raise KmodelError(
                offset,
                f"{name} takes {bounds.size} bytes at {bounds.start}, not {size}",
            )
        if bounds.start % alignment:
            raise KmodelError(
                offset, f"{name} at {bounds.start} is not {alignment}-byte aligned"
            )
        strides = dense_strides(shape)
        return Buffer("k210", Location.RDATA, bounds.start, dtype, shape, strides, size)

    def _check_activation(self, table: Buffer) -> None:
        start = self.module.rdata.offset + table.offset
        shifts = self.reader.data[start : start + 128 : 8]
        if max(shifts) > MAX_ACTIVATION_SHIFT:
            raise KmodelError(start, f"an activation shifts by {max(shifts)} bits")


def _tables(registers: LayerRegisters) -> tuple[tuple[Shape, DType, int], ...]:
    """Shape, element type and alignment of weights, batch norm and activation."""
    outputs = registers.o_ch_num + 1
    inputs = 1 if registers.depth_wise_layer else registers.i_ch_num + 1
    kernel = registers.kernel
    return (
        ((outputs, inputs, kernel, kernel), DType.U8, _TABLE_ALIGNMENT),
        ((outputs,), DType.U64, _TABLE_ALIGNMENT),
        ((ACTIVATION_BYTES,), DType.U8, _ACTIVATION_ALIGNMENT),
    )


def _maps(registers: LayerRegisters, batches: int) -> tuple[Buffer, Buffer]:
    """The feature maps a layer reads and writes."""
    source = (
        batches,
        registers.i_ch_num + 1,
        registers.i_col_high + 1,
        registers.i_row_wid + 1,
    )
    target = (
        batches,
        registers.o_ch_num + 1,
        registers.o_col_high + 1,
        registers.o_row_wid + 1,
    )
    return (
        kpu_buffer(registers.image_src_addr * KPU_ROW_BYTES, source),
        kpu_buffer(registers.image_dst_addr * KPU_ROW_BYTES, target),
    )
