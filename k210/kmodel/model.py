"""A parsed kmodel: its operations in execution order and the memory they take."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from k210.kmodel.buffers import Buffer, Location, Shape
from k210.kmodel.container import Function, Header, Module, read_container
from k210.kmodel.instructions import Conv2d, Instruction
from k210.kmodel.k210_code import read_functions
from k210.kmodel.layer import BATCH_NORM_BYTES, ActivationTable, BatchNorm
from k210.kmodel.op_ids import ENTRY, format_op_id
from k210.kmodel.stackvm_code import read_program
from k210.kmodel.tensor_ops import TensorOp


@dataclass(frozen=True, slots=True)
class Op:
    """One operation, as inspect, traces and timings name it.

    Its `id` counts calls as instructions of the entry function (see ``op_ids``).
    `where` is "kpu" (a layer), "dma" (uploads, downloads and copies of the k210
    module) or "cpu" (everything else, a call too). `shape` is that of the first
    output, `bytes` the elements of all outputs.
    """

    id: str
    kind: str
    where: str
    shape: Shape
    bytes: int
    macs: int
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    instruction: Instruction | TensorOp


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes needed to run: the peak in KPU RAM, and what must lie in SRAM."""

    kpu_ram: int
    data: int
    model: int

    @property
    def total(self) -> int:
        """SRAM for working data and the model, which runs in place."""
        return self.data + self.model


@dataclass(frozen=True, slots=True)
class Kmodel:
    """A kmodel that has been checked throughout; `data` is the file itself.

    `program` is the entry function, `functions` the instructions of each k210
    function, by its number.
    """

    header: Header
    modules: tuple[Module, ...]
    entry: Function
    program: tuple[TensorOp, ...]
    functions: tuple[tuple[Instruction, ...], ...]
    data: bytes = field(repr=False, compare=False)

    @property
    def stackvm(self) -> Module:
        """The module that runs on the CPU."""
        return self.modules[self.header.entry_module]

    @property
    def k210(self) -> Module | None:
        """The module that runs on the KPU, None if nothing does."""
        return next((each for each in self.modules if each.type == "k210"), None)

    def ops(self) -> list[Op]:
        """Every operation in execution order; a call precedes its function's."""
        ops = []
        for index, each in enumerate(self.program):
            ops.append(_op(format_op_id(ENTRY, index), each))
            if each.function is not None:
                ops += self._function_ops(each.function)
        return ops

    def convs(self) -> Iterator[tuple[str, Conv2d]]:
        """Every KPU layer of the file with its op id, by function."""
        for number in range(len(self.functions)):
            for each in self._function_ops(number):
                if isinstance(each.instruction, Conv2d):
                    yield each.id, each.instruction

    def memory(self) -> Memory:
        """The memory it takes; `data` counts whole pools, rounded up to 8 bytes."""
        buffers = (
            buffer
            for function in self.functions
            for each in function
            for buffer in (*each.inputs, *each.outputs)
            if buffer.location == Location.KPU
        )
        pools = sum(module.pool(Location.DATA) for module in self.modules)
        return Memory(
            kpu_ram=max((buffer.end for buffer in buffers), default=0),
            data=pools + self.entry.input_pool_size + self.entry.output_pool_size,
            model=len(self.data),
        )

    def file_offset(self, buffer: Buffer) -> int:
        """File offset of a constant, that is, of a buffer in RDATA."""
        if buffer.location != Location.RDATA:
            raise ValueError(f"a buffer in {buffer.location.name} is not in the file")
        module = next(each for each in self.modules if each.type == buffer.module)
        return module.rdata.offset + buffer.offset

    def constant(self, buffer: Buffer) -> bytes:
        """Bytes of a constant as the file has them, uninitialised bits included."""
        start = self.file_offset(buffer)
        return self.data[start : start + buffer.size]

    def batch_norm(self, conv: Conv2d) -> tuple[BatchNorm, ...]:
        """Decode the batch norm of a layer, one entry per output channel."""
        raw = self.constant(conv.batch_norm)
        return tuple(
            BatchNorm.unpack(raw[start : start + BATCH_NORM_BYTES])
            for start in range(0, len(raw), BATCH_NORM_BYTES)
        )

    def activation(self, conv: Conv2d) -> ActivationTable:
        """Decode the activation table of a layer."""
        return ActivationTable.unpack(self.constant(conv.activation))

    def _function_ops(self, number: int) -> list[Op]:
        instructions = enumerate(self.functions[number])
        return [_op(format_op_id(number, index), each) for index, each in instructions]


def parse(data: bytes) -> Kmodel:
    """Parse a version 5 kmodel for target k210; raise KmodelError if it is not one."""
    header, modules = read_container(data)
    stackvm = modules[header.entry_module]
    entry = stackvm.functions[header.entry_function]
    k210 = next((each for each in modules if each.type == "k210"), None)
    functions = read_functions(data, k210) if k210 else ()
    program = read_program(data, modules, stackvm, entry)
    return Kmodel(header, modules, entry, program, functions, data)


def _op(name: str, instruction: Instruction | TensorOp) -> Op:
    outputs = instruction.outputs
    return Op(
        name,
        instruction.kind,
        instruction.where,
        outputs[0].shape,
        sum(buffer.nbytes for buffer in outputs),
        instruction.macs,
        instruction.inputs,
        outputs,
        instruction,
    )
