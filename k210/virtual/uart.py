"""UART1 to UART3: DesignWare 16550s with 16-byte FIFOs.

Facts: the SDK's uart.h, and what the flasher's stub relies on: with bit 7 of IER set,
bit 5 of LSR says that the transmit FIFO is full. A program that reads LSR while the
transmitter is busy, or RFL over and over, is taken to wait: time skips to when there
is room, or a byte.
"""

from collections.abc import Callable

from k210.virtual.clock import Clock
from k210.virtual.line import Line, byte_ticks
from k210.virtual.plic import Plic

FIFO = 16
DATA, IER, FCR, LCR, LSR, USR, TFL, RFL = 0x0, 0x4, 0x8, 0xC, 0x14, 0x7C, 0x80, 0x84
DLF = 0xC0
IER_RECEIVE, IER_THRESHOLD = 1 << 0, 1 << 7
LCR_DIVISOR = 1 << 7
LSR_READY, LSR_OVERRUN, LSR_TX_FULL, LSR_TX_EMPTY = 1 << 0, 1 << 1, 1 << 5, 1 << 6
IIR_FIFOS, IIR_NONE, IIR_RECEIVED = 0xC0, 1, 4
FCR_CLEAR_RECEIVER = 1 << 1
POLLING_TICKS = 200


class Uart:
    """One UART.

    Args:
        clock: the time.
        interrupts: where its interrupt goes.
        source: its number there.
        hz: gives the clock it divides.
        rx: gives the line, if a pin is set up to receive from it.
        tx: gives the line, if a pin is set up to send to it.

    Attributes:
        drain: has the DMA channel that takes what arrives do so, if there is one.
    """

    def __init__(
        self,
        clock: Clock,
        interrupts: Plic,
        source: int,
        hz: Callable[[], float],
        rx: Callable[[], Line | None],
        tx: Callable[[], Line | None],
    ) -> None:
        self._clock, self._interrupts, self._source = clock, interrupts, source
        self._hz, self._rx, self._tx = hz, rx, tx
        self.drain: Callable[[], None] | None = None
        self.reset()

    def reset(self) -> None:
        """As after a reset."""
        self.drain = None
        self._baud: float | None = None
        self._byte_ticks = 1
        self._registers: dict[int, int] = {}
        self._divisor = [0, 0]
        self._received = bytearray()
        self._overrun = False
        self._sent_at = 0
        self._polled_at = -POLLING_TICKS
        self._watched: int | None = None
        self._interrupts.set(self._source, False)

    @property
    def baud(self) -> float:
        """The baud rate that the divisor gave when a setting last changed."""
        if self._baud is None:
            self._baud = self._divided()
            self._byte_ticks = byte_ticks(self._baud)
        return self._baud

    def _divided(self) -> float:
        fraction = self._registers.get(DLF, 0) & 15
        sixteenths = (self._divisor[1] << 8 | self._divisor[0]) * 16 + fraction
        return self._hz() / max(1, sixteenths)

    def read(self, offset: int, size: int) -> int:
        """A register; reading the data register takes a byte."""
        if offset == LSR:
            return self._line_status()
        if offset == DATA:
            return self._divisor[0] if self._dividing() else self._take()
        if offset == RFL:
            return self._receive_level()
        if offset == TFL:
            return self._poll_transmit_level()
        if offset == FCR:
            self._fill()
            return IIR_FIFOS | (IIR_RECEIVED if self._received else IIR_NONE)
        if offset == IER and self._dividing():
            return self._divisor[1]
        return self._registers.get(offset, 0)

    def write(self, offset: int, size: int, value: int) -> None:
        """Set a register; writing the data register sends a byte."""
        if offset in (DATA, IER) and self._dividing():
            self._divisor[offset // 4] = value & 0xFF
        elif offset == DATA:
            self._send(value & 0xFF)
        else:
            self._registers[offset] = value
            self._baud = None
            if offset == FCR and value & FCR_CLEAR_RECEIVER:
                self._fill()
                self._received.clear()
            self.notice_input()

    def _dividing(self) -> bool:
        return bool(self._registers.get(LCR, 0) & LCR_DIVISOR)

    def receive_many(self, most: int) -> bytes:
        """What has arrived, as a DMA channel that never lags takes it.

        A channel that takes nothing leaves the FIFO to run over.
        """
        if not most:
            self._fill_fifo()
            return b""
        data = bytes(self._received[:most])
        del self._received[:most]
        line = self._rx()
        count = min(most - len(data), line.arrived()) if line else 0
        return data + (line.receive(count, self.baud) if line and count else b"")

    def _fill(self) -> None:
        """Let DMA have what has arrived, or else the FIFO."""
        if self.drain is not None:
            self.drain()
        else:
            self._fill_fifo()

    def _fill_fifo(self) -> None:
        """Let the FIFO have what has arrived; what does not fit is lost."""
        line = self._rx()
        if line is None or not (count := line.arrived()):
            return
        data = line.receive(count, self.baud)
        room = FIFO - len(self._received)
        self._received += data[:room]
        line.lost += len(data[room:])
        self._overrun |= len(data) > room

    def _receive_level(self) -> int:
        """Bytes in the FIFO; asked again and again, it waits for the next."""
        self._fill()
        now, line = self._clock.now, self._rx()
        polling = now - self._polled_at < POLLING_TICKS
        if not self._received and polling and line and line.next_arrival is not None:
            self._clock.skip_to(line.next_arrival)
            self._fill()
        self._polled_at = self._clock.now
        return len(self._received)

    def _take(self) -> int:
        self._fill()
        value = self._received.pop(0) if self._received else 0
        self.notice_input()
        return value

    def _send(self, value: int) -> None:
        line, baud = self._tx(), self.baud
        if line is not None:
            line.transmit(bytes([value]), baud)
        start = max(self._sent_at, self._clock.now)
        self._sent_at = start + self._byte_ticks

    def send_many(self, data: bytes) -> int:
        """Send what a DMA channel brings; when it will have brought all."""
        line, baud = self._tx(), self.baud
        start = max(self._sent_at, self._clock.now)
        self._sent_at = start + len(data) * self._byte_ticks
        if line is not None:
            line.transmit(data, baud, self._sent_at)
        self._clock.expect(self._sent_at)
        return self._sent_at - FIFO * self._byte_ticks

    def _poll_transmit_level(self) -> int:
        """TFL; a program that finds the FIFO full waits until it is half empty."""
        if self._transmit_level() >= FIFO:
            self._clock.skip_to(self._sent_at - FIFO // 2 * self._byte_ticks)
        return self._transmit_level()

    def _transmit_level(self) -> int:
        left = max(0, self._sent_at - self._clock.now)
        return min(FIFO, -(-left // self._byte_ticks))

    def _line_status(self) -> int:
        """LSR, after waiting for the transmitter if it is busy."""
        self._fill()
        status = LSR_READY if self._received else 0
        status |= LSR_OVERRUN if self._overrun else 0
        self._overrun = False
        if self._transmit_level() >= FIFO:
            self._clock.skip_to(self._sent_at - (FIFO - 1) * self._byte_ticks)
        elif not self._received:
            self._clock.skip_to(self._sent_at)
        if self._registers.get(IER, 0) & IER_THRESHOLD:
            full = LSR_TX_FULL if self._transmit_level() >= FIFO else 0
        else:
            full = 0 if self._transmit_level() else LSR_TX_FULL
        return status | full | (0 if self._transmit_level() else LSR_TX_EMPTY)

    def notice_input(self) -> None:
        """Keep the interrupt's line in step with what has arrived and will arrive."""
        if not self._registers.get(IER, 0) & IER_RECEIVE:
            self._interrupts.set(self._source, False)
            return
        self._fill()
        self._interrupts.set(self._source, bool(self._received))
        line = self._rx()
        due = line.next_arrival if line else None
        if due is not None and due != self._watched and not self._received:
            self._watched = due
            self._clock.at(due, self.notice_input)
