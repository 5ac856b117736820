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
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from k210.virtual.clock import Clock
from k210.virtual.core import Fault

if TYPE_CHECKING:
    from k210.virtual.kpu_layers import Layers, Run

BASE, SIZE = 0x4080_0000, 0x1000
INTERRUPT = 25

FIFO, STATUS, RAW, MASK, CLEAR = 0x00, 0x08, 0x10, 0x18, 0x20
THRESHOLD, DATA_OUT, CONTROL, EIGHT_BIT_MODE = 0x28, 0x30, 0x38, 0x40
DONE = 1
"""The interrupt bit that says the last layer is finished."""

LAYER_BYTES = 96
"""Twelve words."""


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


class Kpu:
    """The registers at 0x40800000.

    Args:
        machine: its clock, its interrupts and its memory, KPU RAM included.
        on_layer: called with every layer that has run.
    """

    def __init__(
        self, machine: Machine, on_layer: "Callable[[Run], None] | None" = None
    ) -> None:
        self._machine = machine
        self._on_layer = on_layer
        self.reset()

    @cached_property
    def _layers(self) -> "Layers":
        """What computes; numpy is not there until a layer is to be run."""
        from k210.virtual.kpu_layers import Layers

        return Layers(self._machine)

    def reset(self) -> None:
        """As after a reset."""
        self._words = bytearray()
        self._raw = 0
        self._finish: int | None = None
        self._registers = {MASK: 7}

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
        run = self._layers.run(raw)
        self._finish = self._machine.clock.now + run.ticks
        self._machine.clock.at(self._finish, self._done)
        if self._on_layer:
            self._on_layer(run)

    def _done(self) -> None:
        self._finish = None
        self._raw |= DONE
        self._interrupt()
