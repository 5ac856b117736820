"""The DMA controller, as far as the firmware uses it: from a UART into linked blocks.

Facts: the SDK's dmac.h; block lists as in Linux' dw-axi-dmac. A block is marked as used
up when it is full; a channel that meets a used-up block stops there until the program
gives it back. Transfers are made when somebody looks: at the target register.
"""

import struct
from collections.abc import Callable
from functools import partial
from typing import Protocol

from k210.virtual.core import Fault
from k210.virtual.machine import UNCACHED_BASE, Machine

CHANNELS = 6
CONFIG, CHANNEL_ENABLE, FIRST_CHANNEL, STRIDE = 0x10, 0x18, 0x100, 0x100
TARGET, CHANNEL_CONFIG, LIST = 0x08, 0x20, 0x28
BLOCK = struct.Struct("<QQQQQ")
VALID = 1 << 63
CONTROL_OFFSET = 32
EXPECTED_CONTROL = 1 << 4 | 2 << 8 | 2 << 11
EXPECTED_CONFIG = 0xF | 2 << 32
CONFIG_MASK = 0xF | 7 << 32
WORD = 4


class Source(Protocol):
    """A peripheral that a channel takes bytes from."""

    drain: Callable[[], None] | None
    """To be called when the peripheral wants to get rid of what has arrived."""

    def receive_many(self, most: int) -> bytes:
        """At most so many bytes of what has arrived; 0: nothing takes them."""


class Channel:
    """One channel: walks the list of blocks."""

    def __init__(self, machine: Machine, number: int) -> None:
        self._machine, self._who = machine, f"DMA channel {number}"
        self.target = 0
        self._left = 0
        self._block = 0
        self._next = 0

    def start(self, first: int) -> None:
        """Begin with the block at an address."""
        self._next, self._left = first, 0
        self._load()

    def _view(self, address: int, length: int) -> memoryview:
        if address >= UNCACHED_BASE * 2:
            raise Fault(
                f"{self._who}: the address {address:#x} is in the cached alias, where "
                "DMA and the core do not see each other's writes"
            )
        return self._machine.view(address, length, self._who)

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
    """

    def __init__(
        self, machine: Machine, source: Callable[[int], Source | None]
    ) -> None:
        self._machine, self._source = machine, source
        self.reset()

    def reset(self) -> None:
        """As after a reset: no channel runs."""
        self._words: dict[int, int] = {}
        self._running: dict[int, Channel] = {}

    def read(self, offset: int, size: int) -> int:
        """Half of a register; the target register first brings itself up to date."""
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
            self._words[offset] = sum(1 << number for number in self._running)

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
        if config & CONFIG_MASK != EXPECTED_CONFIG or not self._words.get(CONFIG, 0):
            raise Fault(
                f"DMA channel {number}: the transfer {config:#x} is not modelled"
            )
        channel = self._running[number] = Channel(self._machine, number)
        channel.start(self._register(base + LIST))
        if source := self._source(number):
            source.drain = partial(self._advance, number)

    def _register(self, offset: int) -> int:
        return self._words.get(offset, 0) | self._words.get(offset + 4, 0) << 32

    def _advance(self, number: int) -> None:
        source = self._source(number)
        if source is not None:
            self._running[number].advance(source)
