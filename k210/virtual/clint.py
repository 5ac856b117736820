"""The core-local interruptor: software interrupts and the timer MTIME.

Facts: the SDK's clint.h. MTIME counts the core's clock divided by 50.
"""

from k210.virtual.clock import Clock

DIVIDER = 50
MSIP, MTIMECMP, MTIME = 0x0, 0x4000, 0xBFF8
NEVER = (1 << 64) - 1


class Clint:
    """Registers of hart 0, and storage for those of hart 1, which does not run."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """As after a reset: no interrupt asked for."""
        self._msip = {0: 0, 4: 0}
        self._compare = [NEVER, NEVER]
        self._latched = 0

    @property
    def software_pending(self) -> bool:
        """Whether hart 0 is asked to interrupt itself."""
        return bool(self._msip[0])

    @property
    def timer_pending(self) -> bool:
        """Whether MTIME has reached hart 0's MTIMECMP."""
        return self.mtime >= self._compare[0]

    @property
    def mtime(self) -> int:
        """The timer."""
        return self._clock.now // DIVIDER

    @property
    def alarm(self) -> int:
        """The tick at which MTIME reaches hart 0's MTIMECMP."""
        return self._compare[0] * DIVIDER

    def read(self, offset: int, size: int) -> int:
        """A register; of a 64-bit one, the low half keeps the high half with it."""
        if offset in self._msip:
            return self._msip[offset]
        if offset == MTIME:
            self._latched = self.mtime
            return self._latched & 0xFFFF_FFFF
        if offset == MTIME + 4:
            return self._latched >> 32
        hart, high = divmod(offset - MTIMECMP, 8)
        if hart in (0, 1):
            return self._compare[hart] >> (32 if high else 0) & 0xFFFF_FFFF
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        """Set a register, or half of one."""
        if offset in self._msip:
            self._msip[offset] = value & 1
            return
        hart, high = divmod(offset - MTIMECMP, 8)
        if hart in (0, 1):
            shift = 32 if high else 0
            kept = self._compare[hart] & ~(0xFFFF_FFFF << shift)
            self._compare[hart] = kept | value << shift
