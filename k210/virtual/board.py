"""A virtual board: the chip, its flash and its ROM behind a USB adapter's lines."""

import time

from k210.boards import BoardType
from k210.virtual.chip import Chip
from k210.virtual.clock import HZ
from k210.virtual.machine import State
from k210.virtual.nor import NorFlash
from k210.virtual.rom import Rom

FOREVER = 3600.0
STRAP_SECONDS = 0.15
"""From the release of reset until the ROM looks at IO16 where lines are crossed, on the
host's clock: hosts move one line after the other, and over a network that takes a
while. Where they are not, IO16 is pulled before, and the ROM looks at once."""


class VirtualBoard:
    """What one could hold in one's hand; powered on at once.

    Args:
        flash: its flash memory.
        wiring: how DTR and RTS act.
    """

    def __init__(self, flash: NorFlash, wiring: BoardType) -> None:
        self.chip = Chip(flash, self._reset_by_program)
        self.line = self.chip.line
        self.rom = Rom(self.chip.machine, self.line, flash)
        self._wiring = wiring
        self._levels = {"dtr": False, "rts": False}
        self._in_reset = False
        self._sample_at: float | None = None
        self._reset_asked = False
        self._idle_since: float | None = None
        self.rom.start(isp=False)

    def set_control(self, name: str, level: bool) -> None:
        """Set the adapter's line "dtr" or "rts"."""
        self._levels[name] = level
        in_reset = self._pulled(self._wiring.reset, self._wiring.boot)
        if in_reset and not self._in_reset:
            self.chip.reset()
            self.line.purge()
            self.rom.stop()
            self._sample_at = None
        if self._in_reset and not in_reset:
            wait = STRAP_SECONDS if self._wiring.crossed else 0.0
            self._sample_at = time.monotonic() + wait
            self._sample()
        self._in_reset = in_reset

    def _pulled(self, control: str, other: str) -> bool:
        """Whether a line pulls its pin low."""
        blocked = self._wiring.crossed and self._levels[other]
        return self._levels[control] and not blocked

    def _reset_by_program(self) -> None:
        """The program resets the chip: done when the core has come to a halt."""
        self._reset_asked = True
        self.chip.machine.stop()

    def step(self) -> float:
        """Go on for a moment; how long nothing happens then, in seconds.

        Raises:
            Fault: the program did what the chip does not have.
        """
        self._elapse()
        if (left := self._sample()) > 0:
            return left
        if self.rom.serving:
            self.rom.serve()
        return self._run()

    def _sample(self) -> float:
        """Have the ROM look at IO16, if it is time; how long until then otherwise."""
        if self._sample_at is None:
            return 0.0
        left = self._sample_at - time.monotonic()
        if left <= 0:
            self._sample_at = None
            self.rom.start(self._pulled(self._wiring.boot, self._wiring.reset))
        return left

    def _run(self) -> float:
        machine = self.chip.machine
        state = machine.run()
        if self._reset_asked:
            self._reset_asked = False
            self.chip.reset()
            self.rom.start(isp=False)
            return 0.0
        if state is State.TIMED:
            self._idle_since = time.monotonic()
            return machine.alarm_in / HZ
        if state is State.BUSY:
            return 0.0
        if (due := self.line.next_departure) is not None:
            machine.clock.skip_to(due)
            return 0.0
        return FOREVER

    def _elapse(self) -> None:
        """While the program waits for the host, its time is the host's."""
        if self._idle_since is not None:
            passed = time.monotonic() - self._idle_since
            self._idle_since = None
            left = self.chip.machine.alarm_in / HZ
            self.chip.machine.elapse(min(passed, left))
