"""Layers of the virtual board's KPU: checks what it is sent, and computes it.

The tables are read from the memory that the program's addresses point to, every time.
"""

from dataclasses import dataclass, replace

import numpy as np

from k210 import cost
from k210.chip import KPU_RAM, SRAM, WEIGHT_LOADS
from k210.kmodel import LayerRegisters, kpu_map_bytes
from k210.kmodel.buffers import KPU_ROW_BYTES
from k210.kmodel.layer import (
    ACTIVATION_BYTES,
    BATCH_NORM_BYTES,
    MAX_ACTIVATION_SHIFT,
)
from k210.kpu import RamLayer
from k210.kpu.layer import Bytes
from k210.virtual.clock import ticks
from k210.virtual.core import Fault
from k210.virtual.kpu import Machine

UNCACHED_BASE, CACHED_BASE = 0x4000_0000, 0x8000_0000
MAX_PREPARED = 1024
TABLE_ALIGNMENT, ACTIVATION_ALIGNMENT = 8, 256


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


class Layers:
    """Runs layers on the KPU's RAM, each from the bytes of its twelve words.

    Args:
        machine: whose memory they work on.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._ram = np.frombuffer(
            machine.view(UNCACHED_BASE + SRAM, KPU_RAM, "the KPU"), np.uint8
        )
        self._layers: dict[bytes, _Layer] = {}

    def run(self, raw: bytes) -> Run:
        """Compute a layer.

        Raises:
            Fault: it is one that silicon would get wrong.
        """
        layer = self._layers.get(raw) or self._prepare(raw)
        check_activation(layer.activation)
        layer.kernel.run(self._ram)
        return layer.run

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
    if CACHED_BASE <= address < CACHED_BASE + SRAM:
        raise Fault(
            f"{who}: {address:#x} is in the cached alias; use {UNCACHED_BASE:#x}"
        )
    if not UNCACHED_BASE <= address <= UNCACHED_BASE + SRAM - size:
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
        if end > KPU_RAM:
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
