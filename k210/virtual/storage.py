"""Registers that only keep what is written: FPIOA and blocks without an effect."""

FUNCTION_MASK = 0xFF


class Storage:
    """Words that read back as written, and as 0 before."""

    def __init__(self) -> None:
        self._words: dict[int, int] = {}

    def reset(self) -> None:
        """Forget everything."""
        self._words.clear()

    def read(self, offset: int, size: int) -> int:
        """A word."""
        return self._words.get(offset, 0)

    def write(self, offset: int, size: int, value: int) -> None:
        """Keep a word."""
        self._words[offset] = value


class Fpioa(Storage):
    """Which peripheral each pin belongs to."""

    def function(self, pin: int) -> int:
        """The number of a pin's function, after the SDK's fpioa.h."""
        return self.read(4 * pin, 4) & FUNCTION_MASK
