"""SYSCTL: clocks, resets, DMA request routing. PLLs lock at once.

Facts: the SDK's sysctl.h and sysctl.c. The ROM is taken to leave PLL0 at 780 MHz.
"""

from collections.abc import Callable

CRYSTAL_HZ = 26e6
PLL0, PLL_LOCK, CLK_SEL0, SOFT_RESET, CLK_TH1 = 0x08, 0x18, 0x20, 0x30, 0x3C
DMA_SELECT = 0x64
ALL_LOCKED = 0x010103
RESET_VALUES = {
    PLL0: 59 << 4 | 1 << 10 | 1 << 21 | 1 << 25,
    CLK_SEL0: 1 | 1 << 3,
}


class Sysctl:
    """Storage, with the few registers that have an effect.

    Args:
        on_reset: called when the program resets the chip.
    """

    def __init__(self, on_reset: Callable[[], None]) -> None:
        self._on_reset = on_reset
        self.reset()

    def reset(self) -> None:
        """As the ROM leaves it."""
        self._registers = dict(RESET_VALUES)

    def read(self, offset: int, size: int) -> int:
        """A register."""
        if offset == PLL_LOCK:
            return ALL_LOCKED
        return self._registers.get(offset, 0)

    def write(self, offset: int, size: int, value: int) -> None:
        """Set a register."""
        self._registers[offset] = value
        if offset == SOFT_RESET and value & 1:
            self._on_reset()

    @property
    def pll0_hz(self) -> float:
        """PLL0's output."""
        setting = self._registers[PLL0]
        r, f, od = setting & 15, setting >> 4 & 63, setting >> 10 & 15
        return CRYSTAL_HZ / (r + 1) * (f + 1) / (od + 1)

    @property
    def cpu_hz(self) -> float:
        """The core's clock, ACLK."""
        select = self._registers[CLK_SEL0]
        return self.pll0_hz / (2 << (select >> 1 & 3)) if select & 1 else CRYSTAL_HZ

    @property
    def uart_hz(self) -> float:
        """The clock of APB0, which the UARTs divide."""
        return self.cpu_hz / ((self._registers[CLK_SEL0] >> 3 & 7) + 1)

    @property
    def spi3_hz(self) -> float:
        """What SPI3 divides."""
        source = self.pll0_hz if self._registers[CLK_SEL0] >> 12 & 1 else CRYSTAL_HZ
        return source / (((self._registers.get(CLK_TH1, 0) >> 24) + 1) * 2)

    def dma_request(self, channel: int) -> int:
        """The number of the requests that pace a DMA channel."""
        select = self._registers.get(DMA_SELECT + channel // 5 * 4, 0)
        return select >> channel % 5 * 6 & 63
