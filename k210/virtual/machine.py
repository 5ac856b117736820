"""The K210 around the core: memory map, registers of peripherals, interrupts, time.

Facts: the memory map of the vendor's SDK. A peripheral is any object with
``read(offset, size) -> int`` and ``write(offset, size, value)``; offsets count from
its base, and a 64-bit access arrives as two of 32 bits, the low half first. What it
needs of the machine it takes in its constructor: ``machine.clock`` for the time,
``machine.interrupts`` to raise one, ``machine.view`` for memory.
"""

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from k210.chip import KPU_RAM, SRAM
from k210.virtual.clint import Clint
from k210.virtual.clock import Clock, ticks
from k210.virtual.core import MSTATUS_MIE, Core, Fault, Stop, Window
from k210.virtual.plic import Plic

MEMORY_BASE = 0x8000_0000
UNCACHED_BASE = 0x4000_0000
MEMORY_SIZE = SRAM + KPU_RAM
KPU_RAM_OFFSET = SRAM

CLINT_BASE = 0x0200_0000
PLIC_BASE = 0x0C00_0000
PAGE = 0x1000
SLICE = 2_000_000
"""Instructions at most between two looks at what goes on outside."""

INTERRUPT_SLICE = 1000
"""Instructions at most between two looks while the program uses interrupts."""

INTERRUPT_TURN = 50 * INTERRUPT_SLICE
"""As SLICE, while the program uses interrupts: so many looks take milliseconds, and
a host that talks through a tty changes its rate 50 ms after its last byte."""

SPINNING_SLICES = 2
"""A program that uses interrupts and touches no register for so many of those is taken
to wait for one. So the time of such programs is a guess; ours has interrupts off."""

MSIP, MTIP, MEIP = 3, 7, 11
"""The numbers of the machine's interrupts, and their bits in mip and mie."""


class Peripheral(Protocol):
    """What lies behind a window of addresses."""

    def read(self, offset: int, size: int) -> int:
        """The register at an offset."""

    def write(self, offset: int, size: int, value: int) -> None:
        """Set the register at an offset."""


class Resettable(Peripheral, Protocol):
    """A peripheral that a reset of the chip puts into its first state."""

    def reset(self) -> None:
        """As after a reset."""


class State(Enum):
    """Why the machine came back."""

    IDLE = "waiting for something from outside"
    TIMED = "waiting for its timer, with nothing else to come"
    BUSY = "the time or instruction budget is used up"
    STOPPED = "no program runs"


@dataclass(frozen=True)
class Attached:
    """A peripheral and where it lies; `size` is a multiple of 4 KiB."""

    name: str
    base: int
    size: int
    peripheral: Peripheral


class Machine:
    """Core, memory and peripherals; starts with an empty memory and no program.

    Attach all peripherals first; the first ``start`` builds the core.

    Attributes:
        output_due: when the outside will hear of the chip, if it will.
    """

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, MEMORY_SIZE)
        self._attached: list[Attached] = []
        self._core: Core | None = None
        self._running = False
        self._quiet_slices = 0
        self.output_due: Callable[[], int | None] = lambda: None
        self.clock = Clock(lambda: self._core.instructions if self._core else 0)
        self.clock.on_schedule = self._look_soon
        self.interrupts = Plic(self._look_soon)
        self.clint = Clint(self.clock)
        self.attach("CLINT", CLINT_BASE, 0x10000, self.clint)
        self.attach("PLIC", PLIC_BASE, 0x400_0000, self.interrupts)

    def attach(self, name: str, base: int, size: int, peripheral: Peripheral) -> None:
        """Put a peripheral at an address, before the first start."""
        self._attached.append(Attached(name, base, size + -size % PAGE, peripheral))

    @property
    def core(self) -> Core:
        """The core, built when first asked for."""
        if self._core is None:
            windows = [
                Window(a.base, a.size, a.peripheral.read, a.peripheral.write)
                for a in self._attached
            ]
            self._core = Core(
                self.memory, MEMORY_BASE, UNCACHED_BASE, windows, self.pending
            )
        return self._core

    def offset(self, address: int, length: int, who: str) -> int:
        """Where in ``memory`` a range of addresses lies, through either alias.

        Raises:
            Fault: it does not lie in memory; `who` tells whose address it was.
        """
        for base in (MEMORY_BASE, UNCACHED_BASE):
            if base <= address and address + length <= base + MEMORY_SIZE:
                return address - base
        raise Fault(
            f"{who}: {length} bytes at {address:#x} do not lie in the K210's memory"
        )

    def view(self, address: int, length: int, who: str) -> memoryview:
        """The bytes at an address, to read and write in place.

        Raises:
            Fault: they do not lie in memory; `who` tells whose address it was.
        """
        start = self.offset(address, length, who)
        return memoryview(self.memory)[start : start + length]

    def start(self, entry: int) -> None:
        """Run the program at an address from now on."""
        self.core.start(entry)
        self._running = True

    def stop(self) -> None:
        """Run nothing, as while reset is held."""
        self._running = False

    @property
    def running(self) -> bool:
        """Whether a program runs."""
        return self._running

    def pending(self) -> int:
        """The bits of mip."""
        return (
            self.clint.software_pending << MSIP
            | self.clint.timer_pending << MTIP
            | self.interrupts.pending << MEIP
        )

    def run(self, instructions: int = SLICE) -> State:
        """Execute at most so many instructions; stop early where nothing can happen.

        Raises:
            Fault: the program did what the chip does not have.
        """
        if not self._running:
            return State.STOPPED
        start = self.core.instructions
        end = start + instructions
        while self._running and self.core.instructions < end:
            allowed = self.core.register("mie")
            if allowed:
                end = min(end, start + INTERRUPT_TURN)
            self.clock.run_due()
            self._deliver(allowed)
            accesses = self.core.accesses
            stop = self.core.run(self._limit(end, allowed))
            if stop is Stop.WAITING and (state := self._wait()):
                return state
            quiet = stop is Stop.LIMIT and accesses == self.core.accesses
            self._quiet_slices = self._quiet_slices + 1 if quiet else 0
            if self._quiet_slices >= SPINNING_SLICES:
                self._skip_spinning()
        return State.BUSY if self._running else State.STOPPED

    def _skip_spinning(self) -> None:
        """A program that lets itself be interrupted and does nothing visible waits."""
        event = self.clock.next_event
        if event is not None and self._unmasked():
            self.clock.skip_to(event)
            self._quiet_slices = 0

    def _unmasked(self) -> bool:
        """Whether the program lets itself be interrupted."""
        return bool(
            self.core.register("mie") and self.core.register("mstatus") & MSTATUS_MIE
        )

    def _limit(self, end: int, allowed: int) -> int:
        """The instruction count at which to look again.

        Soon, where the program uses interrupts: it may allow them again, or wait.
        """
        if allowed:
            end = min(end, self.core.instructions + INTERRUPT_SLICE)
        event = self._next_event(allowed)
        if event is None:
            return end
        return min(end, self.core.instructions + self.clock.instructions_until(event))

    def _look_soon(self) -> None:
        """What the running slice was to end for has changed: end it."""
        if self._core is not None:
            self._core.interrupt_slice()

    def _next_event(self, allowed: int) -> int | None:
        times = [self.clock.next_event, self._alarm(allowed)]
        return min((time for time in times if time is not None), default=None)

    def _alarm(self, allowed: int) -> int | None:
        """When the timer will interrupt, if the program lets it: `allowed` is mie."""
        if not allowed >> MTIP & 1 or self.clint.timer_pending:
            return None
        return self.clint.alarm

    def _deliver(self, allowed: int) -> None:
        """Enter the handler of the most urgent interrupt, if any is allowed now."""
        pending = self.pending() & allowed
        if not pending or not self.core.register("mstatus") & MSTATUS_MIE:
            return
        for cause in (MEIP, MSIP, MTIP):
            if pending >> cause & 1:
                self.core.interrupt(cause)
                return

    def _wait(self) -> State | None:
        """A wfi: go on at once, or at the next event, or say what is waited for."""
        allowed = self.core.register("mie")
        if self.pending() & allowed:
            return None
        heard, event = self.output_due(), self._next_event(allowed)
        if heard is not None and (event is None or heard <= event):
            self.clock.skip_to(heard)
            return State.BUSY  # who hears it may answer before anything else happens
        if event is None:
            return State.IDLE
        if heard is None and self.clock.next_event is None:
            return State.TIMED
        self.clock.skip_to(event)
        return None

    def elapse(self, seconds: float) -> None:
        """Let time pass while the program waits."""
        self.clock.spend(ticks(seconds))

    @property
    def alarm_in(self) -> int:
        """Ticks until the program's timer interrupts; 0 if it will not, or has."""
        alarm = self._alarm(self.core.register("mie"))
        return max(0, alarm - self.clock.now) if alarm is not None else 0

    def skip_to_alarm(self) -> None:
        """Let the time pass until the program's timer interrupts."""
        self.clock.spend(self.alarm_in)
