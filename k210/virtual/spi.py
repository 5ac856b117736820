"""SPI3: a DesignWare SSI with 32-frame FIFOs, the NOR flash its only slave.

Facts: the SDK's spi.h and spi.c, for transfers without DMA: over one wire, and reading
over two or four, where the controller itself sends command, address and wait cycles
(fields of SPI_CTRLR0). A transfer takes its time at the divided clock. A program that
reads a level or the status while nothing has changed yet is taken to wait: time skips
to when it has.
"""

from collections import deque
from collections.abc import Callable

from k210.virtual.clock import HZ, Clock
from k210.virtual.core import Fault
from k210.virtual.nor_chip import NorChip

FIFO = 32
CTRLR0, CTRLR1, SSIENR, SER, BAUDR, TXFLR, RXFLR = 0x0, 0x4, 0x8, 0x10, 0x14, 0x20, 0x24
SR, DR, DR_END, SPI_CTRLR0 = 0x28, 0x60, 0xF0, 0xF4
TRANSMIT, READ, COMMAND_THEN_READ = 1, 2, 3
WIRES = (1, 2, 4, 8)
SR_BUSY, SR_TX_NOT_FULL, SR_TX_EMPTY, SR_RX_NOT_EMPTY = 1 << 0, 1 << 1, 1 << 2, 1 << 3


class Spi:
    """The controller.

    Args:
        clock: the time.
        hz: gives the clock it divides.
        slave: the flash.
    """

    def __init__(self, clock: Clock, hz: Callable[[], float], slave: NorChip) -> None:
        self._clock, self._hz, self._slave = clock, hz, slave
        self.reset()

    def reset(self) -> None:
        """As after a reset."""
        self._registers: dict[int, int] = {}
        self._waiting: list[int] = []
        self._active = False
        self._done_at = 0
        self._received: deque[int] = deque()
        self._polls = 0
        self._ticks = 0

    @property
    def _frame_bits(self) -> int:
        return (self._registers.get(CTRLR0, 0) & 31) + 1

    @property
    def _frame_bytes(self) -> int:
        return (self._frame_bits + 7) // 8

    @property
    def _mode(self) -> int:
        return self._registers.get(CTRLR0, 0) >> 10 & 3

    @property
    def _wires(self) -> int:
        """Of the data; more than one makes the controller send the command."""
        return WIRES[self._registers.get(CTRLR0, 0) >> 22 & 3]

    @property
    def _frame_ticks(self) -> int:
        if not self._ticks:
            divider = max(2, self._registers.get(BAUDR, 2))
            clocks = self._frame_bits // self._wires
            self._ticks = max(1, round(clocks * divider * HZ / self._hz()))
        return self._ticks

    def read(self, offset: int, size: int) -> int:
        """A register; DR takes a received frame."""
        if offset == SR:
            return self._status()
        if offset == RXFLR:
            return self._receive_level()
        if offset == TXFLR:
            return self._poll_transmit_level()
        if DR <= offset < DR_END:
            return self._take()
        return self._registers.get(offset, 0)

    def write(self, offset: int, size: int, value: int) -> None:
        """Set a register; DR sends a frame, SER and SSIENR may start a transfer."""
        if DR <= offset < DR_END:
            self._put(value)
            return
        if (offset in (SER, SSIENR) and not value) or offset == CTRLR0:
            self._finish()
        self._registers[offset] = value
        self._ticks = 0
        if offset == SSIENR and not value:
            self._waiting.clear()
            self._received.clear()
        self._start()

    def _put(self, value: int) -> None:
        self._settle()
        if len(self._waiting) + self._transmit_level() >= FIFO:
            raise Fault("the program overfills the transmit FIFO of SPI3")
        self._waiting.append(value)
        self._polls = 0
        self._start()

    def _start(self) -> None:
        """Send what waits, if the controller is on and a slave selected."""
        on = self._registers.get(SSIENR, 0) and self._registers.get(SER, 0)
        if not on or not self._waiting:
            return
        if self._wires > 1:
            self._start_enhanced()
            return
        if not self._active:
            self._active = True
            self._done_at = self._clock.now
            self._slave.select()
        frames, self._waiting = self._waiting, []
        mask = (1 << self._frame_bits) - 1
        for frame in frames:
            self._slave.send((frame & mask).to_bytes(self._frame_bytes, "big"))
        self._done_at += len(frames) * self._frame_ticks
        if self._mode == COMMAND_THEN_READ:
            self._receive()
        elif self._mode != TRANSMIT:
            raise Fault(
                "SPI3 has only the modes of a flash: transmit, command and read"
            )

    def _start_enhanced(self) -> None:
        """Command and address have been written: read over several wires."""
        fields = self._registers.get(SPI_CTRLR0, 0)
        if self._mode != READ or fields & 3:
            raise Fault("SPI3 reads over several wires, after a command over one")
        if len(self._waiting) < 2:
            return
        (code, address), self._waiting = self._waiting, []
        lengths = (0, 4, 8, 16)[fields >> 8 & 3], 4 * (fields >> 2 & 15)
        wait = fields >> 11 & 31
        self._active = True
        self._slave.select()
        for value, bits in zip((code, address), lengths, strict=True):
            self._slave.send((value & (1 << bits) - 1).to_bytes(bits // 8, "big"))
        self._slave.send(bytes(wait // 8))
        divider = max(2, self._registers.get(BAUDR, 2))
        clocks = sum(lengths) + wait
        self._done_at = self._clock.now + round(clocks * divider * HZ / self._hz())
        self._receive()

    def _receive(self) -> None:
        """Have the flash's answer come in, frame by frame."""
        count = self._registers.get(CTRLR1, 0) + 1
        data = self._slave.receive(count * self._frame_bytes)
        step = self._frame_bytes
        self._received.extend(
            int.from_bytes(data[at : at + step], "big")
            for at in range(0, len(data), step)
        )
        self._done_at += count * self._frame_ticks

    def _settle(self) -> None:
        """End the transfer if its time is over: the slave is released."""
        if self._active and self._clock.now >= self._done_at:
            self._active = False
            self._slave.release()

    def _finish(self) -> None:
        """Wait for the end of the transfer."""
        if self._active:
            self._clock.skip_to(self._done_at)
        self._settle()

    def _transmit_level(self) -> int:
        """Frames still to be sent."""
        if not self._active or self._mode != TRANSMIT:
            return 0
        left = max(0, self._done_at - self._clock.now)
        return -(-left // self._frame_ticks)

    def _poll_transmit_level(self) -> int:
        """TXFLR; a program that finds the FIFO full waits until it is half empty."""
        if self._transmit_level() >= FIFO:
            self._clock.skip_to(self._done_at - FIFO // 2 * self._frame_ticks)
        self._settle()
        return len(self._waiting) + self._transmit_level()

    def _receive_level(self) -> int:
        """Frames that have come in and were not taken."""
        if not self._received:
            return 0
        ticks = self._frame_ticks
        to_come = max(0, self._done_at - self._clock.now) // ticks
        if to_come >= len(self._received):
            left = max(0, len(self._received) - FIFO)
            self._clock.skip_to(self._done_at - left * ticks)
            to_come = left
        level = len(self._received) - to_come
        if level > FIFO:
            raise Fault("the program lets the receive FIFO of SPI3 run over")
        return level

    def _take(self) -> int:
        if not self._received:
            raise Fault("the program reads the empty receive FIFO of SPI3")
        return self._received.popleft()

    def _status(self) -> int:
        """SR; asked again with nothing sent since, it waits for the transfer's end."""
        self._polls += 1
        if self._transmit_level() >= FIFO:
            self._clock.skip_to(self._done_at - (FIFO - 1) * self._frame_ticks)
        elif self._polls > 1 and self._active:
            self._clock.skip_to(self._done_at)
        self._settle()
        level = len(self._waiting) + self._transmit_level()
        return (
            (SR_BUSY if self._active else 0)
            | (SR_TX_NOT_FULL if level < FIFO else 0)
            | (SR_TX_EMPTY if not level else 0)
            | (SR_RX_NOT_EMPTY if self._received else 0)
        )
