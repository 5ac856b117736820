"""The KPU of the virtual board: what it computes, how long it takes, what it forbids.

A layer is twelve 64-bit words pushed into a FIFO register; the last one starts it. The
KPU then reads weights, batch norm and activation table from the memory addresses in the
words, and its maps from its own RAM. The arithmetic is bit-exact (`k210.kpu`), the time
after timings of silicon (`k210.cost`). What silicon would silently get wrong is a Fault
here, which names the field: fields that contradict each other, maps that overlap or lie
outside, tables that are misaligned or addressed through the cache.

Facts: the SDK's kpu.h and kpu.c.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from k210 import cost
from k210.kmodel import LayerRegisters, kpu_map_bytes
from k210.kmodel.buffers import KPU_RAM_BYTES, KPU_ROW_BYTES
from k210.kmodel.layer import (
    ACTIVATION_BYTES,
    BATCH_NORM_BYTES,
    LAYER_BYTES,
    MAX_ACTIVATION_SHIFT,
)
from k210.kpu import RamLayer
from k210.kpu.layer import Bytes
from k210.limits import WEIGHT_LOADS
from k210.virtual.clock import Clock, ticks
from k210.virtual.core import Fault

BASE, SIZE = 0x4080_0000, 0x1000
INTERRUPT = 25

FIFO, STATUS, RAW, MASK, CLEAR = 0x00, 0x08, 0x10, 0x18, 0x20
THRESHOLD, DATA_OUT, CONTROL, EIGHT_BIT_MODE = 0x28, 0x30, 0x38, 0x40
DONE = 1
"""The interrupt bit that says the last layer is finished."""

UNCACHED_BASE, CACHED_BASE = 0x4000_0000, 0x8000_0000
MEMORY_BYTES = 6 * 1024 * 1024
MAX_PREPARED = 1024
TABLE_ALIGNMENT, ACTIVATION_ALIGNMENT = 8, 256


class Interrupts(Protocol):
    """What raises an interrupt: the PLIC."""

    def set(self, source: int, level: bool) -> None:
        """Raise or lower a peripheral's line."""


class Machine(Protocol):
    """What the KPU needs of the machine around it."""

    @property
    def clock(self) -> Clock:
        """The time."""

    @property
    def interrupts(self) -> Interrupts:
        """The interrupt controller."""

    def view(self, address: int, length: int, who: str) -> memoryview:
        """The bytes at an address, to read and write in place."""


@dataclass(frozen=True)
class Run:
    """A layer that the KPU has run: what it was sent, and the ticks it took."""

    registers: LayerRegisters
    ticks: int


@dataclass(frozen=True)
class _Layer:
    """A layer whose words have been checked; its tables are views of the memory."""

    run: Run
    kernel: RamLayer
    activation: Bytes


class Kpu:
    """The registers at 0x40800000.

    Args:
        machine: its clock, its interrupts and its memory, KPU RAM included.
        on_layer: called with every layer that has run.
    """

    def __init__(
        self, machine: Machine, on_layer: Callable[[Run], None] | None = None
    ) -> None:
        self._machine = machine
        self._on_layer = on_layer
        self._ram = np.frombuffer(
            machine.view(UNCACHED_BASE + MEMORY_BYTES, KPU_RAM_BYTES, "the KPU"),
            np.uint8,
        )
        self.reset()

    def reset(self) -> None:
        """As after a reset."""
        self._words = bytearray()
        self._raw = 0
        self._finish: int | None = None
        self._registers = {MASK: 7}
        self._layers: dict[bytes, _Layer] = {}

    def read(self, offset: int, size: int) -> int:
        """A register; asking whether a layer is done lets time pass until it is."""
        if offset in (STATUS, RAW):
            self._wait()
            return self._raw & (~self._masked() if offset == STATUS else -1)
        return self._registers.get(offset, 0)

    def write(self, offset: int, size: int, value: int) -> None:
        """Set a register; the twelfth word in the FIFO runs a layer."""
        if offset // 8 * 8 == FIFO:
            self._push(offset, size, value)
            return
        if offset == CLEAR:
            self._raw &= ~value
        else:
            self._registers[offset] = value
        self._interrupt()

    def _masked(self) -> int:
        return self._registers[MASK]

    def _interrupt(self) -> None:
        self._machine.interrupts.set(INTERRUPT, bool(self._raw & ~self._masked() & 7))

    def _wait(self) -> None:
        """Skip to the end of a layer, or to what comes before it.

        Polling changes nothing, so skipping it changes no result.
        """
        if self._finish is not None:
            clock = self._machine.clock
            event = clock.next_event
            clock.skip_to(self._finish if event is None else min(event, self._finish))
            clock.run_due()

    def _push(self, offset: int, size: int, value: int) -> None:
        half = len(self._words) % 8
        if size != 4 or offset != FIFO + half:
            raise Fault("KPU layer_argument_fifo: it takes words of 64 bits")
        self._words += value.to_bytes(4, "little")
        if len(self._words) == LAYER_BYTES:
            raw, self._words = bytes(self._words), bytearray()
            self._run(raw)

    def _run(self, raw: bytes) -> None:
        if self._finish is not None:
            raise Fault("KPU layer_argument_fifo: a layer is pushed while one runs")
        if not self._registers.get(EIGHT_BIT_MODE, 0) & 1:
            raise Fault("KPU eight_bit_mode: the layers of kmodels need it set")
        layer = self._layers.get(raw) or self._prepare(raw)
        check_activation(layer.activation)
        layer.kernel.run(self._ram)
        self._finish = self._machine.clock.now + layer.run.ticks
        self._machine.clock.at(self._finish, self._done)
        if self._on_layer:
            self._on_layer(layer.run)

    def _done(self) -> None:
        self._finish = None
        self._raw |= DONE
        self._interrupt()

    def _prepare(self, raw: bytes) -> "_Layer":
        """Check the words of a layer, once; its tables are looked at every time."""
        registers = LayerRegisters.unpack(raw)
        check_fields(registers, raw)
        check_maps(registers)
        weights, batch_norm, activation = self._tables(registers)
        check_activation(activation)
        kernel = RamLayer(registers, weights, batch_norm, activation)
        taken = ticks(layer_ms(registers, weights.size) / 1e3)
        if len(self._layers) == MAX_PREPARED:
            self._layers.clear()
        layer = self._layers[raw] = _Layer(Run(registers, taken), kernel, activation)
        return layer

    def _tables(self, registers: LayerRegisters) -> tuple[Bytes, Bytes, Bytes]:
        """Weights, batch norm and activation table, where the words point."""
        outputs = registers.o_ch_num + 1
        inputs = 1 if registers.depth_wise_layer else registers.i_ch_num + 1
        weights = outputs * inputs * registers.kernel**2
        return (
            self._table(registers, "para_start_addr", weights, TABLE_ALIGNMENT),
            self._table(
                registers, "bwsx_base_addr", outputs * BATCH_NORM_BYTES, TABLE_ALIGNMENT
            ),
            self._table(
                registers, "active_addr", ACTIVATION_BYTES, ACTIVATION_ALIGNMENT
            ),
        )

    def _table(
        self, registers: LayerRegisters, field: str, size: int, alignment: int
    ) -> Bytes:
        """The bytes at the address in a field: the memory itself, not a copy."""
        address: int = getattr(registers, field)
        check_address(f"KPU {field}", address, size)
        if address % alignment:
            raise Fault(f"KPU {field}: {address:#x} is not {alignment}-byte aligned")
        return np.frombuffer(
            self._machine.view(address, size, f"KPU {field}"), np.uint8
        )


def check_address(who: str, address: int, size: int) -> None:
    """Check an address that hardware beside the core reads or writes.

    Raises:
        Fault: it is in the cached alias, where the hardware does not see what the core
            has written, or outside the general-purpose memory.
    """
    if CACHED_BASE <= address < CACHED_BASE + MEMORY_BYTES:
        raise Fault(
            f"{who}: {address:#x} is in the cached alias; use {UNCACHED_BASE:#x}"
        )
    if not UNCACHED_BASE <= address <= UNCACHED_BASE + MEMORY_BYTES - size:
        raise Fault(f"{who}: {size} bytes at {address:#x} lie outside memory")


def check_fields(registers: LayerRegisters, raw: bytes) -> None:
    """Check what the words of a layer say twice.

    Raises:
        Fault: two fields contradict each other, or a reserved bit is set.
    """
    if registers.pack() != raw:
        raise Fault("KPU layer: reserved bits of a word are set")
    if not registers.int_en:
        raise Fault("KPU int_en: without it nothing tells when the layer is done")
    if not registers.depth_wise_layer and registers.weight_loads > WEIGHT_LOADS:
        raise Fault(
            f"KPU load_time: {registers.weight_loads} weight loads, where its six bits "
            f"count to {WEIGHT_LOADS}"
        )
    file_form = replace(
        registers, int_en=0, bwsx_base_addr=0, para_start_addr=0, active_addr=0
    )
    problem = file_form.problem()
    if problem:
        raise Fault(f"KPU {problem}")


def check_maps(registers: LayerRegisters) -> None:
    """Check where the maps lie in KPU RAM.

    Raises:
        Fault: one reaches beyond it, or they overlap.
    """
    source = registers.image_src_addr * KPU_ROW_BYTES
    target = registers.image_dst_addr * KPU_ROW_BYTES
    source_end = source + kpu_map_bytes(
        registers.i_ch_num + 1, registers.i_col_high + 1, registers.i_row_wid + 1
    )
    target_end = target + kpu_map_bytes(
        registers.o_ch_num + 1, registers.o_col_high + 1, registers.o_row_wid + 1
    )
    for field, end in ("image_src_addr", source_end), ("image_dst_addr", target_end):
        if end > KPU_RAM_BYTES:
            raise Fault(f"KPU {field}: the map ends at {end:#x}, beyond KPU RAM")
    if source < target_end and target < source_end:
        raise Fault(
            f"KPU image_dst_addr: the output map at {target:#x} overlaps the input map "
            f"at {source:#x}"
        )


def check_activation(table: Bytes) -> None:
    """Check the shifts of an activation table.

    Raises:
        Fault: a product would be shifted by more than it has bits.
    """
    shift = int(table[:128:8].max())
    if shift > MAX_ACTIVATION_SHIFT:
        raise Fault(f"KPU active_addr: a segment of the table shifts by {shift} bits")


def layer_ms(registers: LayerRegisters, weight_bytes: int) -> float:
    """Modelled milliseconds of a layer."""
    size = registers.i_col_high + 1, registers.i_row_wid + 1
    outputs = registers.o_ch_num + 1
    if registers.depth_wise_layer:
        return cost.depthwise_ms(*size, outputs, weight_bytes)
    return cost.conv_ms(*size, registers.i_ch_num + 1, outputs, weight_bytes)
