"""Decoding the code of the stackvm module, which runs everything but the KPU.

nncase emits straight-line code from six opcodes: constants and addresses are pushed,
shapes and paddings stored into registers, and tensor instructions consume them. So
following a stack of constants recovers every operand; an opcode that would need more
than that is refused by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from k210.kmodel.binary import RECOMPILE, KmodelError, Reader
from k210.kmodel.buffers import (
    MAX_RANK,
    Buffer,
    DType,
    Location,
    Shape,
    Tensor,
    dense_strides,
    strided_size,
)
from k210.kmodel.container import Function, Module
from k210.kmodel.encodings import CALL, ENCODINGS, ENUMS, UNSUPPORTED
from k210.kmodel.shapes import Operands, ShapeError, View, touched
from k210.kmodel.tensor_ops import Padding, TensorOp

_LDC_I4, _LDC_R4, _LEA_BUFFER = 0x02, 0x05, 0x17
_STSHAPE, _STPADDINGS, _TENSOR = 0x31, 0x32, 0x5E
_SHAPE_REGISTERS = 128  # what the firmware has: two for each argument of a call
_FLOATS = (DType.F16, DType.F32, DType.F64, DType.BF16)
_READABLE = (Location.INPUT, Location.OUTPUT, Location.RDATA, Location.DATA)
_WRITABLE = (Location.OUTPUT, Location.DATA)

Register = TypeVar("Register", tuple[int, ...], tuple[Padding, ...])


@dataclass(frozen=True, slots=True)
class _Address:
    location: Location
    offset: int


def read_program(
    data: bytes, modules: tuple[Module, ...], module: Module, function: Function
) -> tuple[TensorOp, ...]:
    """Decode the tensor operations of a stackvm function, in order."""
    machine = _Machine(data, modules, module, function)
    while machine.reader.remaining:
        machine.step()
    if machine.stack:
        raise KmodelError(machine.reader.end, "values are left on the stack at the end")
    return tuple(machine.program)


class _Machine:
    """The stack, the registers, and the operations found so far."""

    def __init__(
        self,
        data: bytes,
        modules: tuple[Module, ...],
        module: Module,
        function: Function,
    ) -> None:
        start = module.text.offset + function.entrypoint
        end = start + function.text_size
        self.modules = modules
        self.module = module
        self.function = function
        self.reader = Reader(data, start, end, f"stackvm function {function.index}")
        self.stack: list[int | float | _Address] = []
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.paddings: dict[int, tuple[Padding, ...]] = {}
        self.program: list[TensorOp] = []
        self.called: set[int] = set()
        self.offset = start  # of the instruction being decoded
        self.handlers: Mapping[int, Callable[[], None]] = {
            _LDC_I4: self._load_integer,
            _LDC_R4: self._load_float,
            _LEA_BUFFER: self._load_address,
            _STSHAPE: self._store_shape,
            _STPADDINGS: self._store_paddings,
            _TENSOR: self._tensor,
        }

    def step(self) -> None:
        """Decode one instruction."""
        self.offset = self.reader.position
        opcode = self.reader.u8("an opcode")
        if opcode not in self.handlers:
            raise self._error(f"stackvm opcode {opcode:#04x} is not supported")
        self.handlers[opcode]()

    def _error(self, problem: str, advice: str = RECOMPILE) -> KmodelError:
        return KmodelError(self.offset, problem, advice)

    def _load_integer(self) -> None:
        self.stack.append(self.reader.i32("an integer"))

    def _load_float(self) -> None:
        self.stack.append(self.reader.f32("a float"))

    def _load_address(self) -> None:
        number = self.reader.u8("a location")
        location = self.reader.choice(Location, number, 1, "the location of a buffer")
        if self.reader.u8("a subresource"):
            raise self._error("a buffer names a subresource")
        self.stack.append(_Address(location, self.reader.u32("an offset")))

    def _store_shape(self) -> None:
        register = self.reader.u8("a register")
        if register >= _SHAPE_REGISTERS:
            raise self._error(
                f"shape register {register} is beyond the {_SHAPE_REGISTERS} there are",
                "use a model with fewer inputs and outputs",
            )
        rank = self.reader.u8("a rank")
        values = [self._integer("a dimension") for _ in range(rank)]
        self.shapes[register] = tuple(reversed(values))

    def _store_paddings(self) -> None:
        register = self.reader.u8("a register")
        rank = self.reader.u8("a rank")
        values = [self._padding("a padding") for _ in range(rank)]
        self.paddings[register] = tuple(reversed(values))

    def _pop(self, name: str) -> int | float | _Address:
        if not self.stack:
            raise self._error(f"{name} is popped from an empty stack")
        return self.stack.pop()

    def _integer(self, name: str) -> int:
        value = self._pop(name)
        if not isinstance(value, int):
            raise self._error(f"{name} is not an integer")
        return value

    def _float(self, name: str) -> float:
        """Pop a float; an integer 0 has the same bits as 0.0 and nncase pushes it."""
        value = self._pop(name)
        if isinstance(value, _Address) or (isinstance(value, int) and value):
            raise self._error(f"{name} is not a float")
        return float(value)

    def _address(self, name: str) -> _Address:
        value = self._pop(name)
        if not isinstance(value, _Address):
            raise self._error(f"{name} is not an address")
        return value

    def _padding(self, name: str) -> Padding:
        interior, after, before = (self._integer(name) for _ in range(3))
        return Padding(before, after, interior)

    def _tensor(self) -> None:
        number = self.reader.u16("a tensor function")
        if number == CALL:
            self.program.append(self._call())
        elif number in ENCODINGS:
            self.program.append(self._operation(number))
        else:
            name = UNSUPPORTED.get(number, "unknown")
            raise self._error(
                f"tensor function {number:#04x} ({name}) of opcode 0x5e is not "
                "supported",
                "replace that operation in the model",
            )

    def _operation(self, number: int) -> TensorOp:
        encoding = ENCODINGS[number]
        operands = Operands({}, {}, (), {})
        for name, kind in encoding.immediates:
            self._immediate(operands, name, kind)
        addresses: dict[str, _Address] = {}
        for name, kind in reversed(encoding.pushed):
            if kind == "addr":
                addresses[name] = self._address(name)
            else:
                self._operand(operands, name, kind)
        try:
            read, written = touched(encoding.kind, operands)
        except ShapeError as problem:
            raise self._error(f"{encoding.kind}: {problem}") from None
        return TensorOp(
            self.offset,
            encoding.kind,
            tuple(self._view(each, operands, addresses, _READABLE) for each in read),
            (self._view(written, operands, addresses, _WRITABLE),),
            operands.scalars,
            {
                name: operands.vectors[name]
                for name, kind in encoding.immediates
                if kind == "ints" and not name.endswith("strides")
            },
            operands.paddings,
        )

    def _immediate(self, operands: Operands, name: str, kind: str) -> None:
        reader = self.reader
        if kind == "dtype":
            operands.dtypes[name] = reader.choice(DType, reader.u8(name), 1, name)
        elif kind == "shape":
            operands.vectors[name] = self._shape(reader.u8(name), name)
        elif kind == "ints":
            operands.vectors[name] = self._register(self.shapes, reader.u8(name), name)
        elif kind == "pads":
            number = reader.u8(name)
            operands.paddings = self._register(self.paddings, number, name)
        elif kind in ENUMS:
            value = reader.choice(ENUMS[kind], reader.u8(name), 1, name)
            operands.scalars[name] = int(value)
        else:
            operands.scalars[name] = self._scalar_immediate(name, kind)

    def _scalar_immediate(self, name: str, kind: str) -> float:
        if kind == "f32":
            return self.reader.f32(name)
        if kind == "i32":
            return self.reader.i32(name)
        if kind == "u16":
            return self.reader.u16(name)
        flag = self.reader.u8(name)
        if flag > 1:
            raise self._error(f"{name} is {flag}, neither 0 nor 1")
        return flag

    def _operand(self, operands: Operands, name: str, kind: str) -> None:
        if kind == "window":
            operands.paddings = (self._padding(name), *operands.paddings)
        elif kind == "f32" or (
            kind == "scalar" and operands.dtypes["dtype"] in _FLOATS
        ):
            operands.scalars[name] = self._float(name)
        else:
            operands.scalars[name] = self._integer(name)

    def _register(
        self, registers: Mapping[int, Register], number: int, name: str
    ) -> Register:
        if number not in registers:
            raise self._error(f"{name} is in register {number}, which is not set")
        return registers[number]

    def _shape(self, number: int, name: str) -> Shape:
        shape = self._register(self.shapes, number, name)
        if len(shape) > MAX_RANK:
            raise self._error(f"{name} has rank {len(shape)}, above {MAX_RANK}")
        if any(dim <= 0 for dim in shape):
            raise self._error(f"{name} {shape} is not the shape of a tensor")
        return shape

    def _view(
        self,
        view: View,
        operands: Operands,
        addresses: Mapping[str, _Address],
        allowed: tuple[Location, ...],
    ) -> Buffer:
        strides = (
            dense_strides(view.shape)
            if view.strides is None
            else operands.vectors[view.strides]
        )
        address = addresses[view.address]
        return self._buffer(address, view.dtype, view.shape, strides, allowed)

    def _buffer(
        self,
        address: _Address,
        dtype: DType,
        shape: Shape,
        strides: Shape,
        allowed: tuple[Location, ...],
    ) -> Buffer:
        """A strided view, checked against the memory it lies in."""
        place, start = address.location, address.offset
        if place not in allowed:
            raise self._error(f"a tensor in {place.name} is out of place")
        if any(dim <= 0 for dim in shape):
            raise self._error(f"a tensor would have shape {shape}")
        if len(strides) != len(shape) or any(step < 0 for step in strides):
            raise self._error(f"the strides of shape {shape} do not suit it")
        if start % dtype.itemsize:
            raise self._error(f"a {dtype.name} tensor at {start} is not aligned")
        size = strided_size(shape, strides, dtype)
        if start + size > self._limit(address):
            raise self._error(
                f"a tensor of shape {shape} does not fit at {start} in {place.name}",
                "nncase 1.9 miscompiles crops and slices with negative ends, so write "
                "them with positive ones",
            )
        return Buffer("stackvm", place, start, dtype, shape, strides, size)

    def _limit(self, address: _Address) -> int:
        """End of the memory the address points into."""
        if address.location == Location.RDATA:
            return self.module.rdata.size
        if address.location == Location.DATA:
            return self.module.pool(Location.DATA)
        inputs = address.location == Location.INPUT
        tensors = self.function.inputs if inputs else self.function.outputs
        below = [each.range for each in tensors if each.range.start <= address.offset]
        return max(below, key=lambda bounds: bounds.start).end if below else 0

    def _call(self) -> TensorOp:
        number = self.reader.u32("a function id")
        module = self.reader.u16("a module id")
        sources = self.reader.u8("the number of inputs")
        targets = self.reader.u8("the number of outputs")
        callee = self._callee(module, number)
        if (sources, targets) != (len(callee.inputs), len(callee.outputs)):
            raise self._error(f"a call of function {number} has the wrong arguments")
        outputs = self._arguments(callee.outputs, _WRITABLE)
        inputs = self._arguments(callee.inputs, _READABLE)
        return TensorOp(self.offset, "call", inputs, outputs, {}, {}, (), number)

    def _callee(self, module: int, number: int) -> Function:
        """The k210 function that is called; each runs once, so op ids are unique."""
        if module >= len(self.modules) or self.modules[module].type != "k210":
            raise self._error(f"a call goes to module {module}, which is not k210")
        functions = self.modules[module].functions
        if number >= len(functions) or number in self.called:
            raise self._error(f"function {number} is missing or called twice")
        self.called.add(number)
        return functions[number]

    def _arguments(
        self, tensors: tuple[Tensor, ...], allowed: tuple[Location, ...]
    ) -> tuple[Buffer, ...]:
        """Pop the arguments of a call, last one first."""
        arguments: list[Buffer] = []
        for tensor in reversed(tensors):
            strides = self._register(self.shapes, self._integer("strides"), "strides")
            shape = self._shape(self._integer("a shape"), "an argument's shape")
            dtype = self._integer("a datatype")
            address = self._address("an argument")
            if (shape, dtype) != (tensor.shape, tensor.range.dtype):
                raise self._error(
                    f"an argument of shape {shape} meets one of {tensor.shape}"
                )
            arguments.append(
                self._buffer(address, tensor.range.dtype, shape, strides, allowed)
            )
        return tuple(reversed(arguments))
