"""The serial line between the host's adapter and the chip's pins IO4 and IO5.

A byte takes ten bits at the sender's baud rate. Towards the chip, bytes wait here
until their time has come; what reads them asks how many have arrived. A receiver
whose baud rate is off by more than a twentieth gets garbage, as on a wire.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from k210.virtual.clock import HZ, Clock, ticks
from k210.virtual.faults import LineFaults

BITS_PER_BYTE = 10
TOLERANCE = 0.05
GARBAGE = bytes((value * 37 ^ 0xA5) & 0xFF for value in range(256))


def byte_ticks(baud: float) -> int:
    """How long a byte takes."""
    return max(1, round(BITS_PER_BYTE * HZ / baud))


@dataclass
class Burst:
    """Bytes that the host sent without a pause; the first is complete at `first_at`."""

    data: bytearray
    first_at: int
    spacing: int
    baud: float

    @property
    def end(self) -> int:
        """When the last byte is complete."""
        return self.first_at + (len(self.data) - 1) * self.spacing

    def arrived(self, now: int) -> int:
        """How many bytes are complete."""
        late = now - self.first_at
        return min(len(self.data), late // self.spacing + 1) if late >= 0 else 0

    def take(self, count: int) -> bytes:
        """The first bytes, which are gone then."""
        data = bytes(self.data[:count])
        del self.data[:count]
        self.first_at += len(data) * self.spacing
        return data


class Line:
    """Both directions of the line.

    Attributes:
        host_baud: what the host's adapter sends and receives at.
        on_input: called when the host has sent something.
        lost: bytes that came while the receiver had no room.
        faults: what is to go wrong.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.host_baud = 115200.0
        self.on_input: Callable[[], None] = lambda: None
        self.lost = 0
        self.faults = LineFaults()
        self._to_chip: deque[Burst] = deque()
        self._to_host: deque[tuple[int, bytes]] = deque()

    def send(self, data: bytes) -> None:
        """The host sends bytes, at its baud rate, after those still on their way."""
        data = self.faults.spoil(data)
        if not data:
            return
        spacing = byte_ticks(self.host_baud)
        start = self._clock.now + ticks(self.faults.lateness())
        if self._to_chip:
            start = max(start, self._to_chip[-1].end)
        burst = Burst(bytearray(data), start + spacing, spacing, self.host_baud)
        self._to_chip.append(burst)
        self._clock.expect(burst.end)
        self.on_input()

    def take(self) -> bytes:
        """What has come to the host since the last call."""
        now, data = self._clock.now, bytearray()
        while self._to_host and self._to_host[0][0] <= now:
            data += self._to_host.popleft()[1]
        return bytes(data)

    @property
    def next_departure(self) -> int | None:
        """When bytes on their way to the host will be there, if there are any."""
        return self._to_host[0][0] if self._to_host else None

    def purge(self) -> None:
        """Forget what is under way."""
        self._to_chip.clear()
        self._to_host.clear()

    @property
    def backlog(self) -> int:
        """Bytes on their way to the chip."""
        return sum(len(burst.data) for burst in self._to_chip)

    @property
    def next_arrival(self) -> int | None:
        """When the next byte is complete at the chip, if one is on its way."""
        return self._to_chip[0].first_at if self._to_chip else None

    def arrived(self) -> int:
        """How many bytes the chip could have by now."""
        now, count = self._clock.now, 0
        for burst in self._to_chip:
            there = burst.arrived(now)
            count += there
            if there < len(burst.data):
                break
        return count

    def receive(self, count: int, baud: float) -> bytes:
        """The next bytes, as a receiver of this baud rate gets them."""
        received = b""
        while count and self._to_chip:
            burst = self._to_chip[0]
            data = burst.take(count)
            count -= len(data)
            received += _heard(data, burst.baud, baud)
            if not burst.data:
                self._to_chip.popleft()
        return received

    def receive_until(self, mark: int, baud: float) -> bytes:
        """The bytes up to a mark as a receiver of this baud rate gets them.

        Or fewer, where the host has paused; the time goes on to the last one's.
        """
        if not self._to_chip:
            return b""
        burst = self._to_chip[0]
        count = _heard(bytes(burst.data), burst.baud, baud).find(mark) + 1
        count = count or len(burst.data)
        self._clock.skip_to(burst.first_at + (count - 1) * burst.spacing)
        return self.receive(count, baud)

    def transmit(self, data: bytes, baud: float, end: int = 0) -> None:
        """The chip sends bytes, the last of which is complete at `end`."""
        due = max(end, self._clock.now) + ticks(self.faults.lateness())
        due = max(due, self._to_host[-1][0] if self._to_host else 0)
        heard = self.faults.spoil(_heard(data, baud, self.host_baud))
        self._to_host.append((due, heard))


def _heard(data: bytes, sent_at: float, heard_at: float) -> bytes:
    """What a receiver makes of bytes sent at another baud rate."""
    if abs(sent_at / heard_at - 1) > TOLERANCE:
        return data.translate(GARBAGE)
    return data
