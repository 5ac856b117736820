"""The firmware's kmodel runtime, built for this machine and driven from Python.

All memory it is given ends at a page that nobody may touch, and the model's image can
only be read: an access outside ends the process. The KPU behind it is `k210.kpu`.
"""

import ctypes
import mmap
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210 import native
from k210.kmodel import LayerRegisters
from k210.kmodel.op_ids import format_op_id
from k210.kpu import RamLayer

FIRMWARE = Path(__file__).parents[1] / "firmware"
FLAGS = (
    "-fsanitize=undefined",
    "-fsanitize-trap=undefined",
    "-fno-math-errno",
    f"-I{FIRMWARE / 'include'}",
)
KPU_RAM = 2 * 1024 * 1024
PRIVATE_WORDS = 1744
TYPES: dict[int, np.dtype[Any]] = {
    number: np.dtype(kind)
    for number, kind in ((0, np.int8), (4, np.uint8), (9, np.float32))
}

_u32, _pointer = ctypes.c_uint32, ctypes.c_void_p


class KpuLayer(ctypes.Structure):
    """`struct kpu_layer`."""

    _fields_ = [
        ("words", ctypes.c_uint64 * 12),
        ("weights", _pointer),
        ("batch_norm", _pointer),
        ("activation", _pointer),
    ]


RunLayer = ctypes.CFUNCTYPE(ctypes.c_bool, _pointer, ctypes.POINTER(KpuLayer))
Uncached = ctypes.CFUNCTYPE(_pointer, _pointer, _pointer)


class Kpu(ctypes.Structure):
    """`struct kpu`."""

    _fields_ = [
        ("context", _pointer),
        ("ram", _pointer),
        ("run", RunLayer),
        ("uncached", Uncached),
    ]


class Memory(ctypes.Structure):
    """`struct kmodel_memory`."""

    _fields_ = [(n, _u32) for n in ("working", "data", "inputs", "outputs", "kpu_ram")]


class Model(ctypes.Structure):
    """`struct kmodel`."""

    _fields_ = [
        ("memory", Memory),
        ("work", ctypes.c_uint64),
        ("inputs", _u32),
        ("outputs", _u32),
        ("error_offset", _u32),
        ("private", ctypes.c_uint64 * PRIVATE_WORDS),
    ]


class View(ctypes.Structure):
    """`struct kmodel_view`."""

    _fields_ = [
        ("data", _pointer),
        ("type", ctypes.c_int),
        ("rank", _u32),
        ("shape", _u32 * 8),
        ("strides", _u32 * 8),
        ("map", ctypes.c_bool),
    ]


class Op(ctypes.Structure):
    """`struct kmodel_op`."""

    _fields_ = [
        ("function", ctypes.c_uint16),
        ("index", _u32),
        ("done", ctypes.c_bool),
        ("outputs", ctypes.POINTER(View)),
        ("output_count", _u32),
    ]


class TensorInfo(ctypes.Structure):
    """`struct kmodel_tensor`."""

    _fields_ = [("type", ctypes.c_int), ("rank", _u32), ("shape", _u32 * 8)]
    _fields_ += [("size", _u32)]


Hook = ctypes.CFUNCTYPE(None, _pointer, ctypes.POINTER(Op))


class Run(ctypes.Structure):
    """`struct kmodel_run`."""

    _fields_ = [
        ("kpu", ctypes.POINTER(Kpu)),
        ("inputs", ctypes.POINTER(_pointer)),
        ("outputs", ctypes.POINTER(_pointer)),
        ("memory", _pointer),
        ("memory_size", _u32),
        ("hook", Hook),
        ("hook_context", _pointer),
    ]


@cache
def library() -> ctypes.CDLL:
    """The runtime as a shared library."""
    sources = sorted((FIRMWARE / "runtime").glob("*.c"))
    headers = sorted(FIRMWARE.glob("*/*.h"))
    built = native.load([*sources, *headers], FLAGS)
    model = ctypes.POINTER(Model)
    built.kmodel_load.argtypes = [model, _pointer, ctypes.c_size_t]
    built.kmodel_infer.argtypes = [model, ctypes.POINTER(Run)]
    side = ctypes.c_int
    built.kmodel_describe.argtypes = [model, side, _u32, ctypes.POINTER(TensorInfo)]
    built.kmodel_describe.restype = ctypes.c_bool
    built.kmodel_view_read.argtypes = [ctypes.POINTER(View), _pointer]
    built.kmodel_message.restype = ctypes.c_char_p
    return built


class Guarded:
    """Memory between two pages that nobody may touch.

    Its start is 256-byte aligned, and its end as near to the second page as that lets
    it be.
    """

    def __init__(self, size: int) -> None:
        page = mmap.PAGESIZE
        self.size = size
        room = -(-max(size, 1) // page) * page
        self._map = mmap.mmap(-1, room + 2 * page)
        self._room = (ctypes.c_char * (room + 2 * page)).from_buffer(self._map)
        start = ctypes.addressof(self._room)
        self.address = start + page + (room - size) // 256 * 256
        self._first, self._bytes = start + page, room
        _protect(start, page, 0)
        _protect(start + page + room, page, 0)

    def freeze(self) -> None:
        """Let nobody write any more."""
        _protect(self._first, self._bytes, mmap.PROT_READ)

    def fill(self, data: bytes) -> None:
        """Put bytes at the start."""
        ctypes.memmove(self.address, data, len(data))

    def bytes(self) -> bytes:
        """What it holds."""
        return ctypes.string_at(self.address, self.size)

    def array(self) -> NDArray[np.uint8]:
        """What it holds, in place."""
        raw = (ctypes.c_uint8 * self.size).from_address(self.address)
        return np.ctypeslib.as_array(raw)

    def __del__(self) -> None:
        start, size = self._first - mmap.PAGESIZE, self._bytes + 2 * mmap.PAGESIZE
        _protect(start, size, mmap.PROT_READ | mmap.PROT_WRITE)


def _protect(address: int, size: int, how: int) -> None:
    libc = ctypes.CDLL(None)
    libc.mprotect.argtypes = [_pointer, ctypes.c_size_t, ctypes.c_int]
    if libc.mprotect(address, size, how):
        raise OSError("mprotect failed")


class LoadedModel:
    """A kmodel in the runtime; `status` is 0 if it was accepted.

    `on_layer` is called with the words of every layer that is run, and its three tables
    as bytes; `working_size` is what the runtime is told that it has.
    """

    def __init__(self, data: bytes) -> None:
        self.on_layer: Callable[..., None] = lambda *_: None
        self._library = library()
        self._image = Guarded(len(data))
        self._image.fill(data)
        self._image.freeze()
        self.model = Model()
        self.status = self._library.kmodel_load(
            self.model, self._image.address, len(data)
        )
        self.working_size = self.model.memory.working
        self.ram = Guarded(KPU_RAM)
        self._run_layer = RunLayer(self._compute)
        self._uncached = Uncached(lambda _context, address: address)
        self._kpu = Kpu(None, self.ram.address, self._run_layer, self._uncached)

    def tensors(self) -> tuple[list[TensorInfo], list[TensorInfo]]:
        """Inputs and outputs."""
        found: tuple[list[TensorInfo], list[TensorInfo]] = [], []
        for side, count in enumerate((self.model.inputs, self.model.outputs)):
            for index in range(count):
                info = TensorInfo()
                assert self._library.kmodel_describe(self.model, side, index, info)
                found[side].append(info)
            assert not self._library.kmodel_describe(self.model, side, count, info)
        return found

    def _compute(self, _context: Any, layer: Any) -> bool:
        raw = bytes(layer.contents.words)
        registers = LayerRegisters.unpack(raw)
        inputs = 1 if registers.depth_wise_layer else registers.i_ch_num + 1
        outputs = registers.o_ch_num + 1
        weights = outputs * inputs * registers.kernel**2
        tables = (
            ctypes.string_at(layer.contents.weights, weights),
            ctypes.string_at(layer.contents.batch_norm, outputs * 8),
            ctypes.string_at(layer.contents.activation, 144),
        )
        RamLayer(registers, *tables).run(self.ram.array())
        self.on_layer(raw, *tables)
        return True

    def infer(
        self, inputs: Sequence[bytes], trace: dict[str, NDArray[Any]] | None = None
    ) -> tuple[int, list[bytes]]:
        """The status and the outputs; fills `trace`, if given, by op id."""
        sources, targets = self.tensors()
        given = [Guarded(info.size) for info in sources]
        for memory, data in zip(given, inputs, strict=True):
            memory.fill(data)
        taken = [Guarded(info.size) for info in targets]
        working = Guarded(self.model.memory.working)
        hook = Hook(self._tracer(trace)) if trace is not None else Hook()
        run = Run(
            ctypes.pointer(self._kpu),
            (_pointer * len(given))(*(each.address for each in given)),
            (_pointer * len(taken))(*(each.address for each in taken)),
            working.address,
            self.working_size,
            hook,
            None,
        )
        status = self._library.kmodel_infer(self.model, run)
        return status, [each.bytes() for each in taken]

    def _tracer(self, trace: dict[str, NDArray[Any]]) -> Any:
        def tell(_context: Any, op: Any) -> None:
            if not op.contents.done:
                return
            function, index = op.contents.function, op.contents.index
            name = format_op_id(function, index)
            view = op.contents.outputs[0]
            shape = tuple(view.shape[: view.rank])
            trace[name] = out = np.empty(shape, TYPES[view.type])
            self._library.kmodel_view_read(view, out.ctypes.data)

        return tell
