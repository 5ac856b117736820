"""The serial line between the host's adapter and the chip's pins IO4 and IO5.

A byte takes ten bits at the sender's baud rate. Towards the chip, bytes wait here
until their time has come; what reads them asks how many have arrived. A receiver
whose baud rate is off by more than a twentieth gets garbage, as on a wire.
"""

from collections.abc import Callable

from k210.virtual.clock import HZ, Clock

BITS_PER_BYTE = 10
TOLERANCE = 0.05
GARBAGE = bytes((value * 37 ^ 0xA5) & 0xFF for value in range(256))


def byte_ticks(baud: float) -> int:
    """How long a byte takes."""
    return max(1, round(BITS_PER_BYTE * HZ / baud))


class Line:
    """Both directions of the line.

    Attributes:
        host_baud: what the host's adapter sends and receives at.
        on_input: called when the host has sent something.
        lost: bytes that came while the receiver had no room.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.host_baud = 115200.0
        self.on_input: Callable[[], None] = lambda: None
        self.lost = 0
        self._to_chip = bytearray()
        self._first_at = 0
        self._spacing = 1
        self._to_host = bytearray()

    def send(self, data: bytes) -> None:
        """The host sends bytes, at its baud rate, after those still on their way."""
        if not data:
            return
        if not self._to_chip:
            self._spacing = byte_ticks(self.host_baud)
            self._first_at = self._clock.now + self._spacing
        self._to_chip += data
        self.on_input()

    def take(self) -> bytes:
        """What the chip has sent since the last call."""
        data = bytes(self._to_host)
        self._to_host.clear()
        return data

    def purge(self) -> None:
        """Forget what is under way to the chip."""
        self._to_chip.clear()

    @property
    def next_arrival(self) -> int | None:
        """When the next byte is complete at the chip, if one is on its way."""
        return self._first_at if self._to_chip else None

    def arrived(self) -> int:
        """How many bytes the chip could have by now."""
        late = self._clock.now - self._first_at
        if late < 0 or not self._to_chip:
            return 0
        return min(len(self._to_chip), late // self._spacing + 1)

    def receive(self, count: int, baud: float) -> bytes:
        """The next bytes, as a receiver of this baud rate gets them."""
        data = bytes(self._to_chip[:count])
        del self._to_chip[:count]
        self._first_at += count * self._spacing
        return self._heard(data, baud)

    def transmit(self, data: bytes, baud: float) -> None:
        """The chip sends bytes."""
        self._to_host += self._heard(data, baud)

    def _heard(self, data: bytes, baud: float) -> bytes:
        if abs(baud / self.host_baud - 1) > TOLERANCE:
            return data.translate(GARBAGE)
        return data
