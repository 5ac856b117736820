"""The K210 with all its peripherals, and the line on its serial pins."""

from collections.abc import Callable

from k210.virtual import kpu
from k210.virtual.dmac import Dmac, Source, Target
from k210.virtual.kpu import Kpu
from k210.virtual.line import Line
from k210.virtual.machine import Machine, Resettable
from k210.virtual.nor import NorFlash
from k210.virtual.nor_chip import NorChip
from k210.virtual.spi import Spi
from k210.virtual.storage import Fpioa, Storage
from k210.virtual.sysctl import Sysctl
from k210.virtual.uart import Uart

PIN_RX, PIN_TX = 4, 5
UART_FUNCTIONS = {1: 64, 2: 66, 3: 68}
"""The FPIOA function of each UART's receiver; its transmitter's is the next."""

UARTS_BASE = 0x5020_0000
UART_INTERRUPT = 10
FIRST_UART_REQUEST = 14


class Chip:
    """A machine with the K210's peripherals attached.

    Args:
        flash: the flash memory on SPI3.
        on_reset: called when the program resets the chip.
    """

    def __init__(self, flash: NorFlash, on_reset: Callable[[], None]) -> None:
        self.machine = machine = Machine()
        self.line = Line(machine.clock)
        machine.output_due = lambda: self.line.next_departure
        self.sysctl = Sysctl(on_reset)
        self.fpioa = Fpioa()
        self.uarts = {number: self._uart(number) for number in UART_FUNCTIONS}
        self.nor = NorChip(flash, machine.clock)
        self.spi = Spi(machine.clock, lambda: self.sysctl.spi3_hz, self.nor)
        self.dmac = Dmac(machine, self._dma_source, self._dma_target)
        self.kpu = Kpu(machine)
        self.line.on_input = self._notice_input
        self._resettable: list[Resettable] = [
            self.sysctl,
            self.fpioa,
            self.spi,
            self.dmac,
            self.kpu,
            *self.uarts.values(),
        ]
        machine.attach("SYSCTL", 0x5044_0000, 0x1000, self.sysctl)
        machine.attach("FPIOA", 0x502B_0000, 0x1000, self.fpioa)
        machine.attach("SPI3", 0x5400_0000, 0x1000, self.spi)
        machine.attach("DMAC", 0x5000_0000, 0x1000, self.dmac)
        machine.attach("KPU", kpu.BASE, kpu.SIZE, self.kpu)
        for number, uart in self.uarts.items():
            machine.attach(f"UART{number}", UARTS_BASE + (number << 16), 0x1000, uart)
        for name, base in (("GPIOHS", 0x3800_1000), ("GPIO", 0x5020_0000)):
            machine.attach(name, base, 0x1000, Storage())

    def _uart(self, number: int) -> Uart:
        function = UART_FUNCTIONS[number]
        return Uart(
            self.machine.clock,
            self.machine.interrupts,
            UART_INTERRUPT + number,
            lambda: self.sysctl.uart_hz,
            lambda: self.line if self.fpioa.function(PIN_RX) == function else None,
            lambda: self.line if self.fpioa.function(PIN_TX) == function + 1 else None,
        )

    def _dma_source(self, channel: int) -> Source | None:
        """The receiver that SYSCTL routes to a DMA channel."""
        number, sends = self._routed(channel)
        return None if sends else self.uarts.get(number)

    def _dma_target(self, channel: int) -> Target | None:
        """The transmitter that SYSCTL routes to a DMA channel, and its register."""
        number, sends = self._routed(channel)
        if not sends or number not in self.uarts:
            return None
        return Target(UARTS_BASE + (number << 16), self.uarts[number].send_many)

    def _routed(self, channel: int) -> tuple[int, bool]:
        """Number of the UART of a channel, and whether it is its transmitter."""
        number, odd = divmod(self.sysctl.dma_request(channel) - FIRST_UART_REQUEST, 2)
        return number + 1, bool(odd)

    def _notice_input(self) -> None:
        for uart in self.uarts.values():
            uart.notice_input()

    def reset(self) -> None:
        """Put every peripheral into the state after a reset; memory keeps."""
        self.machine.stop()
        self.machine.clock.clear()
        self.machine.clint.reset()
        self.machine.interrupts.reset()
        for peripheral in self._resettable:
            peripheral.reset()
