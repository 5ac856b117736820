"""The DMA controller, as far as the firmware uses it.

From a UART into linked blocks: a block is marked as used up when it is full; a channel
that meets a used-up block stops there until the program gives it back. Transfers are
made when somebody looks: at the target register.
To a UART from one block: it is read at once, and must not change before it is sent. A
program that looks again and again whether it is sent is taken to wait for that.

Facts: the SDK's dmac.h and uart.c; block lists as in Linux' dw-axi-dmac.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from k210.virtual.core import Fault
from k210.virtual.machine import UNCACHED_BASE, Machine

CHANNELS = 6
CONFIG, CHANNEL_ENABLE, FIRST_CHANNEL, STRIDE = 0x10, 0x18, 0x100, 0x100
SOURCE, TARGET, COUNT, CONTROL, CHANNEL_CONFIG, LIST = range(0, 0x30, 8)
BLOCK = struct.Struct("<QQQQQ")
VALID = 1 << 63
CONTROL_OFFSET = 32
EXPECTED_CONTROL = 1 << 4 | 2 << 8 | 2 << 11
EXPECTED_CONFIG = 0xF | 2 << 32
SENDING_CONTROL = 1 << 6 | 2 << 8 | 2 << 11
SENDING_CONFIG = 1 << 32
CONFIG_MASK = 0xF | 7 << 32
WORD = 4
POLLING_TICKS = 200


class Source(Protocol):
    """A peripheral that a channel takes bytes from."""

    drain: Callable[[], None] | None
    """To be called when the peripheral wants to get rid of what has arrived."""

    def receive_many(self, most: int) -> bytes:
        """At most so many bytes of what has arrived; 0: nothing takes them."""


@dataclass(frozen=True)
class Target:
    """A register that a channel sends to.

    Attributes:
        address: of the register.
        send: takes the bytes; gives the time at which the channel is done.
    """

    address: int
    send: Callable[[bytes], int]


@dataclass(frozen=True)
class Sending:
    """What a channel sends until a time; the words must stay as they are."""

    words: memoryview
    were: bytes
    until: int


def _checked_view(machine: Machine, who: str, address: int, length: int) -> memoryview:
    """Memory for DMA to read and write.

    Raises:
        Fault: the address is in the cached alias, or outside memory.
    """
    if address >= UNCACHED_BASE * 2:
        raise Fault(
            f"{who}: the address {address:#x} is in the cached alias, where DMA and "
            "the core do not see each other's writes"
        )
    return machine.view(address, length, who)


class Channel:
    """One channel that receives: walks the list of blocks."""

    def __init__(self, machine: Machine, number: int) -> None:
        self._view = partial(_checked_view, machine, f"DMA channel {number}")
        self._who = f"DMA channel {number}"
        self.target = 0
        self._left = 0
        self._block = 0
        self._next = 0

    def start(self, first: int) -> None:
        """Begin with the block at an address."""
        self._next, self._left = first, 0
        self._load()

    def _load(self) -> bool:
        """Take up the next block, unless it is used up."""
        view = self._view(self._next, BLOCK.size)
        _, target, count, following, control = BLOCK.unpack(view)
        if not control & VALID:
            return False
        if control & ~VALID != EXPECTED_CONTROL:
            raise Fault(f"{self._who}: control {control:#x} is not modelled")
        self._block, self._next = self._next, following
        self.target, self._left = target, count + 1
        return True

    def advance(self, source: Source) -> None:
        """Transfer all that has arrived, as far as there are blocks for it."""
        while self._left or self._load():
            data = source.receive_many(self._left)
            if not data:
                return
            view = self._view(self.target, WORD * len(data)).cast("I")
            for index, byte in enumerate(data):
                view[index] = byte
            self.target += WORD * len(data)
            self._left -= len(data)
            if not self._left:
                self._use_up()
        source.receive_many(0)

    def _use_up(self) -> None:
        view = self._view(self._block + CONTROL_OFFSET, 8).cast("Q")
        view[0] &= ~VALID
        self._load()


class Dmac:
    """The controller's registers.

    Args:
        machine: its memory.
        source: gives, for the number of a channel, what feeds it.
        target: gives, for the number of a channel, what it feeds.
    """

    def __init__(
        self,
        machine: Machine,
        source: Callable[[int], Source | None],
        target: Callable[[int], Target | None],
    ) -> None:
        self._machine, self._source, self._target = machine, source, target
        self.reset()

    def reset(self) -> None:
        """As after a reset: no channel runs."""
        self._words: dict[int, int] = {}
        self._running: dict[int, Channel] = {}
        self._sending: dict[int, Sending] = {}
        self._polled_at = -POLLING_TICKS

    def read(self, offset: int, size: int) -> int:
        """Half of a register, which first brings itself up to date."""
        if offset == CHANNEL_ENABLE:
            return self._enabled()
        number, register = divmod(offset - FIRST_CHANNEL, STRIDE)
        channel = self._running.get(number)
        if channel is not None and register in (TARGET, TARGET + 4):
            if register == TARGET:
                self._advance(number)
            return channel.target >> (32 if register != TARGET else 0) & 0xFFFF_FFFF
        return self._words.get(offset, 0)

    def write(self, offset: int, size: int, value: int) -> None:
        """Set half of a register; the enable register starts and stops channels."""
        self._words[offset] = value
        if offset == CHANNEL_ENABLE:
            self._enable(value)

    def _enabled(self) -> int:
        """Which channels run; asked again and again, it waits for one that sends."""
        clock = self._machine.clock
        if self._sending and clock.now - self._polled_at < POLLING_TICKS:
            clock.skip_to(min(each.until for each in self._sending.values()))
        self._polled_at = clock.now
        for number, each in list(self._sending.items()):
            if each.until <= clock.now:
                self._sent(number)
        return sum(1 << number for number in (*self._running, *self._sending))

    def _sent(self, number: int) -> None:
        sending = self._sending.pop(number)
        if sending.words != sending.were:
            raise Fault(
                f"DMA channel {number}: what it sends was changed before it was sent"
            )

    def _enable(self, value: int) -> None:
        for number in range(CHANNELS):
            if not value >> number + 8 & 1:
                continue
            if value >> number & 1:
                self._start(number)
            elif self._running.pop(number, None) and (source := self._source(number)):
                source.drain = None

    def _start(self, number: int) -> None:
        base = FIRST_CHANNEL + number * STRIDE
        config = self._register(base + CHANNEL_CONFIG)
        if config & CONFIG_MASK == SENDING_CONFIG and self._words.get(CONFIG, 0):
            self._send(number, base)
            return
        if config & CONFIG_MASK != EXPECTED_CONFIG or not self._words.get(CONFIG, 0):
            raise Fault(
                f"DMA channel {number}: the transfer {config:#x} is not modelled"
            )
        channel = self._running[number] = Channel(self._machine, number)
        channel.start(self._register(base + LIST))
        if source := self._source(number):
            source.drain = partial(self._advance, number)

    def _send(self, number: int, base: int) -> None:
        source, address, count, control = (
            self._register(base + each) for each in (SOURCE, TARGET, COUNT, CONTROL)
        )
        target, who = self._target(number), f"DMA channel {number}"
        if control != SENDING_CONTROL or target is None or target.address != address:
            raise Fault(f"{who}: the transfer to {address:#x} is not modelled")
        if number in self._sending:
            if self._sending[number].until > self._machine.clock.now:
                raise Fault(f"{who}: it is started anew while it sends")
            self._sent(number)
        words = _checked_view(self._machine, who, source, WORD * (count + 1))
        data = bytes(words[::WORD])
        self._sending[number] = Sending(words, bytes(words), target.send(data))

    def _register(self, offset: int) -> int:
        return self._words.get(offset, 0) | self._words.get(offset + 4, 0) << 32

    def _advance(self, number: int) -> None:
        source = self._source(number)
        if source is not None:
            self._running[number].advance(source)
