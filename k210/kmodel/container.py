"""The container of a kmodel: header, modules, their functions and sections.

Facts: nncase 1.9's `model.h` and `module_builder.cpp`, checked on kmodels compiled
with nncase 1.9.0.20230322. Structures are packed; only the gaps named below exist,
and the writer fills each of them with zeros.
"""

import math
from dataclasses import dataclass

from k210.kmodel.binary import KmodelError, Reader, disjoint
from k210.kmodel.buffers import (
    KPU_RAM_BYTES,
    RANGE_BYTES,
    Location,
    Shape,
    Tensor,
    read_range,
    read_shape,
)

_MAGIC = b"LDMK"
_VERSION = 5
_HEADER_BYTES = 32
_MODULE_HEADER_BYTES = 48
FUNCTION_HEADER_BYTES = 32
_SECTION_HEADER_BYTES = 32
_MEMPOOL_BYTES = 8
_MAX_TENSORS = 255  # what a call, which counts them in a byte, can pass
_SECTIONS = (".rdata", ".text")  # in the order of the file
_ALIGNMENT = {"stackvm": 8, "k210": 256}  # of section bodies, in the file


@dataclass(frozen=True, slots=True)
class Header:
    """The model header; `alignment` is what the load address must be a multiple of."""

    alignment: int
    modules: int
    entry_module: int
    entry_function: int


@dataclass(frozen=True, slots=True)
class Mempool:
    """RAM or file bytes a module asks for in one location."""

    location: Location
    size: int


@dataclass(frozen=True, slots=True)
class Section:
    """A named block of bytes; `offset` is the file offset of its body."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Function:
    """One function of a module.

    Its code is `text_size` bytes from byte `entrypoint` of the module's `.text`.
    Pool sizes are bytes; `offset` is the file offset of its header.
    """

    index: int
    offset: int
    input_pool_size: int
    output_pool_size: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    entrypoint: int
    text_size: int


@dataclass(frozen=True, slots=True)
class Module:
    """One module ("stackvm" or "k210"); `offset` and `size` are its file bytes."""

    index: int
    type: str
    offset: int
    size: int
    mempools: tuple[Mempool, ...]
    functions: tuple[Function, ...]
    rdata: Section
    text: Section

    def pool(self, location: Location) -> int:
        """Bytes of the module's pool in `location`, 0 if it has none there."""
        return sum(pool.size for pool in self.mempools if pool.location == location)


def read_container(data: bytes) -> tuple[Header, tuple[Module, ...]]:
    """Read header and modules; the last module ends where the file does."""
    reader = Reader(data, 0, len(data), "the file")
    header = _read_header(reader)
    modules = []
    for index in range(header.modules):
        modules.append(_read_module(reader, index))
    if reader.remaining:
        raise KmodelError(reader.position, "bytes follow the last module")
    _check_modules(header, modules)
    return header, tuple(modules)


def _read_header(reader: Reader) -> Header:
    if reader.bytes(4, "identifier") != _MAGIC:
        raise KmodelError(0, "the file does not begin with LDMK")
    reader.constant(_VERSION, "version")
    reader.constant(_HEADER_BYTES, "header_size")
    reader.constant(0, "flags")
    alignment = reader.u32("alignment")
    modules = reader.u32("modules")
    if not 1 <= modules <= len(_ALIGNMENT):
        raise KmodelError(reader.position - 4, f"modules is {modules}, not 1 or 2")
    entry_module = reader.u32("entry_module")
    return Header(alignment, modules, entry_module, reader.u32("entry_function"))


def _check_modules(header: Header, modules: list[Module]) -> None:
    types = [module.type for module in modules]
    if len(set(types)) != len(types):
        raise KmodelError(modules[1].offset, f"a second {types[1]} module")
    alignment = max(_ALIGNMENT[kind] for kind in types)
    if header.alignment != alignment:
        raise KmodelError(16, f"alignment is {header.alignment}, not {alignment}")
    entry = header.entry_module
    if entry >= len(modules) or types[entry] != "stackvm":
        raise KmodelError(24, f"entry_module {entry} is not a stackvm module")
    if header.entry_function >= len(modules[entry].functions):
        raise KmodelError(28, f"entry_function {header.entry_function} does not exist")


def _read_module(outer: Reader, index: int) -> Module:
    start = outer.position
    reader, kind = _open_module(outer, index)
    size = reader.end - start
    pools = reader.count(_MEMPOOL_BYTES, "mempools")
    reader.constant(0, "shared_mempools")  # counted, but never written, by nncase
    reader.constant(len(_SECTIONS), "sections")
    functions = reader.count(FUNCTION_HEADER_BYTES, "functions")
    reader.constant(0, "reserved0")
    mempools = _read_mempools(reader, pools, kind)
    bodies = tuple(_read_function(reader, number) for number in range(functions))
    sections = [_read_section(reader, each, _ALIGNMENT[kind]) for each in _SECTIONS]
    reader.align(8, "the padding at the end")
    if reader.remaining:
        raise KmodelError(reader.position, f"bytes follow the last section of {kind}")
    module = Module(index, kind, start, size, mempools, bodies, *sections)
    _check_module(module)
    return module


def _open_module(outer: Reader, index: int) -> tuple[Reader, str]:
    """Read a module header up to its size; return a reader of the rest, and its type.

    Moves `outer` past the module.
    """
    start = outer.position
    reader = Reader(outer.data, start, outer.end, f"module {index}")
    kind = _read_name(reader, "type")
    if kind not in _ALIGNMENT:
        raise KmodelError(start, f"module {index} has type {kind!r}, unknown")
    reader.what = f"module {kind}"
    reader.constant(1, "version")
    reader.constant(_MODULE_HEADER_BYTES, "header_size")
    size = reader.u32("size")
    if not _MODULE_HEADER_BYTES <= size <= outer.remaining:
        raise KmodelError(
            reader.position - 4, f"size of module {kind} is {size}, beyond the file"
        )
    outer.take(size, f"module {kind}")
    reader.end = start + size
    return reader, kind


def _read_name(reader: Reader, field: str) -> str:
    """Read 16 bytes of NUL-padded ASCII."""
    start = reader.position
    name, _, padding = reader.bytes(16, field).partition(b"\0")
    if any(padding) or not name.isascii() or len(name) == 16:
        raise KmodelError(start, f"{field} of {reader.what} is not a padded name")
    return name.decode("ascii")


def _read_mempools(reader: Reader, count: int, kind: str) -> tuple[Mempool, ...]:
    allowed = {Location.RDATA, Location.DATA}
    if kind == "k210":
        allowed.add(Location.KPU)
    pools: list[Mempool] = []
    for _ in range(count):
        start = reader.position
        number = reader.u8("location of a mempool")
        location = reader.choice(Location, number, 1, "location of a mempool")
        if location not in allowed:
            raise KmodelError(
                start,
                f"{reader.what} has a second pool, or none to have, in {location.name}",
            )
        allowed.remove(location)
        reader.zeros(3, "padding of a mempool")
        pools.append(Mempool(location, reader.u32("size of a mempool")))
    return tuple(pools)


def _read_function(reader: Reader, index: int) -> Function:
    start = reader.position
    reader.constant(FUNCTION_HEADER_BYTES, f"header_size of function {index}")
    size = reader.u32(f"size of function {index}")
    input_pool = reader.u32(f"input_pool_size of function {index}")
    output_pool = reader.u32(f"output_pool_size of function {index}")
    # An input or output is a 12-byte range and at least a 4-byte rank.
    inputs = reader.count(16, f"inputs of function {index}")
    outputs = reader.count(16, f"outputs of function {index}")
    if not outputs or max(inputs, outputs) > _MAX_TENSORS:
        raise KmodelError(
            start + 16,
            f"function {index} has {inputs} inputs and {outputs} outputs",
        )
    entrypoint = reader.u32(f"entrypoint of function {index}")
    text_size = reader.u32(f"text_size of function {index}")
    ins = _read_tensors(reader, inputs, Location.INPUT, input_pool)
    outs = _read_tensors(reader, outputs, Location.OUTPUT, output_pool)
    reader.align(8, f"the padding of function {index}")
    if reader.position != start + size:
        raise KmodelError(
            start + 4,
            f"size of function {index} of {reader.what} is {size}, "
            f"not {reader.position - start}",
        )
    return Function(
        index, start, input_pool, output_pool, ins, outs, entrypoint, text_size
    )


def _read_tensors(
    reader: Reader, count: int, location: Location, pool: int
) -> tuple[Tensor, ...]:
    start = reader.position
    kind = location.name.lower()
    ranges = [read_range(reader, f"{kind} {index}") for index in range(count)]
    shapes: list[Shape] = []
    for index in range(count):
        rank = reader.u32(f"rank of {kind} {index}")
        shapes.append(read_shape(reader, rank, f"shape of {kind} {index}"))
    tensors = tuple(Tensor(*pair) for pair in zip(ranges, shapes, strict=True))
    for index, tensor in enumerate(tensors):
        _check_tensor(tensor, location, pool, start + RANGE_BYTES * index)
    if not disjoint([(each.start, each.end) for each in ranges]):
        raise KmodelError(start, f"two {kind}s of {reader.what} overlap")
    return tensors


def _check_tensor(tensor: Tensor, location: Location, pool: int, offset: int) -> None:
    bounds = tensor.range
    kind = location.name.lower()
    if bounds.location != location:
        raise KmodelError(offset, f"an {kind} lives in {bounds.location.name}")
    if bounds.size != math.prod(tensor.shape) * bounds.dtype.itemsize:
        raise KmodelError(
            offset + 8,
            f"an {kind} of shape {tensor.shape} takes {bounds.size} bytes",
        )
    if bounds.end > pool:
        raise KmodelError(
            offset + 4, f"an {kind} ends at {bounds.end}, beyond its pool of {pool}"
        )


def _read_section(reader: Reader, name: str, alignment: int) -> Section:
    start = reader.position
    found = _read_name(reader, "section name")
    if found != name:
        raise KmodelError(start, f"section {found!r} stands where {name} should")
    reader.constant(0, f"flags of section {name}")
    gap = reader.u32(f"body_start of section {name}")
    size = reader.u32(f"body_size of section {name}")
    reader.constant(0, f"reserved0 of section {name}")
    if reader.align(alignment, f"the padding before {name}") != gap:
        raise KmodelError(
            start + 20,
            f"body_start of section {name} is {gap}, not at the next {alignment} bytes",
        )
    return Section(name, reader.take(size, f"body of section {name}"), size)


def _check_module(module: Module) -> None:
    where = module.offset + _MODULE_HEADER_BYTES
    if module.pool(Location.RDATA) != module.rdata.size:
        raise KmodelError(
            where, f"rdata pool of {module.type} is not the size of its .rdata"
        )
    if module.type == "k210" and module.pool(Location.KPU) != KPU_RAM_BYTES:
        raise KmodelError(where, "kpu pool is not 2 MiB")
    expected = 0
    for function in module.functions:
        if function.entrypoint != expected:
            raise KmodelError(
                function.offset + 24,
                f"entrypoint of function {function.index} of {module.type} is "
                f"{function.entrypoint}, not {expected} where the last one ended",
            )
        expected += function.text_size
    if expected != module.text.size:
        raise KmodelError(
            module.text.offset,
            f"functions of {module.type} cover {expected} bytes of code, "
            f"its .text has {module.text.size}",
        )
