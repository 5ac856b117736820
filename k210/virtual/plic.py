"""The platform-level interrupt controller: which peripheral interrupts the core.

Facts: the SDK's plic.h and the RISC-V PLIC specification. Only hart 0's machine
context has an effect; a source is level triggered and gated by claim and complete.
"""

from collections.abc import Callable

SOURCES = 66
PENDING, ENABLE, THRESHOLD, CLAIM = 0x1000, 0x2000, 0x20_0000, 0x20_0004


class Plic:
    """Registers, and the lines of the peripherals: ``set(source, level)``.

    Args:
        on_pending: called when the core may have to be interrupted.
    """

    def __init__(self, on_pending: Callable[[], None]) -> None:
        self._on_pending = on_pending
        self.reset()

    def reset(self) -> None:
        """As after a reset: nothing enabled. The lines keep their levels."""
        self._lines = getattr(self, "_lines", 0)
        self._claimed = 0
        self._other: dict[int, int] = {}
        self._priority = [0] * SOURCES
        self._enabled = 0
        self._threshold = 0

    def set(self, source: int, level: bool) -> None:
        """Raise or lower a peripheral's line."""
        bit = 1 << source
        self._lines = self._lines | bit if level else self._lines & ~bit
        if level:
            self._on_pending()

    @property
    def pending(self) -> bool:
        """Whether the core is to be interrupted."""
        return self._best() != 0

    def _best(self) -> int:
        """The source of the highest priority above the threshold, or 0."""
        waiting = self._lines & self._enabled & ~self._claimed
        best, priority = 0, self._threshold
        while waiting:
            source = (waiting & -waiting).bit_length() - 1
            if self._priority[source] > priority:
                best, priority = source, self._priority[source]
            waiting &= waiting - 1
        return best

    def read(self, offset: int, size: int) -> int:
        """A register; reading the claim register claims."""
        if offset == CLAIM:
            source = self._best()
            self._claimed |= 1 << source if source else 0
            return source
        if offset == THRESHOLD:
            return self._threshold
        if offset < 4 * SOURCES:
            return self._priority[offset // 4]
        if PENDING <= offset < PENDING + 12:
            return self._lines >> 8 * (offset - PENDING) & 0xFFFF_FFFF
        if ENABLE <= offset < ENABLE + 12:
            return self._enabled >> 8 * (offset - ENABLE) & 0xFFFF_FFFF
        return self._other.get(offset, 0)

    def write(self, offset: int, size: int, value: int) -> None:
        """Set a register; writing the claim register completes."""
        if offset == CLAIM:
            self._claimed &= ~(1 << value) if value < SOURCES else -1
        elif offset == THRESHOLD:
            self._threshold = value
        elif offset < 4 * SOURCES:
            self._priority[offset // 4] = value & 7
        elif ENABLE <= offset < ENABLE + 12:
            shift = 8 * (offset - ENABLE)
            kept = self._enabled & ~(0xFFFF_FFFF << shift)
            self._enabled = kept | value << shift
        else:
            self._other[offset] = value
        self._on_pending()
