"""DMA to a UART, driven through the controller's registers as a program would."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from k210.virtual.chip import PIN_TX, Chip
from k210.virtual.core import Fault
from k210.virtual.dmac import (
    CHANNEL_CONFIG,
    CHANNEL_ENABLE,
    CONFIG,
    CONTROL,
    COUNT,
    FIRST_CHANNEL,
    SENDING_CONFIG,
    SENDING_CONTROL,
    SOURCE,
    STRIDE,
    TARGET,
    WORD,
)
from k210.virtual.machine import MEMORY_BASE, UNCACHED_BASE
from k210.virtual.nor import BLOCK, NorFlash
from k210.virtual.uart import DATA, LCR, LCR_DIVISOR

CHANNEL, UART3, UART3_DATA, UART3_SENDS, UART3_PIN = 4, 3, 0x5023_0000, 19, 69
DMA_SELECT = 0x64
WORDS = 0x1000
"""Where in memory the words lie."""


class Sender:
    """A chip whose channel is set up to send by UART3."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        chip.fpioa.write(PIN_TX * 4, 4, UART3_PIN)
        chip.sysctl.write(DMA_SELECT, 4, UART3_SENDS << 6 * CHANNEL)
        chip.dmac.write(CONFIG, 4, 1)
        self.set(CHANNEL_CONFIG, SENDING_CONFIG)
        self.set(CONTROL, SENDING_CONTROL)
        self.set(TARGET, UART3_DATA)
        self.set(SOURCE, UNCACHED_BASE + WORDS)
        for register, value in ((LCR, LCR_DIVISOR), (DATA, 100), (LCR, 3)):
            chip.uarts[UART3].write(register, 4, value)
        chip.line.host_baud = chip.uarts[UART3].baud

    def set(self, register: int, value: int) -> None:
        at = FIRST_CHANNEL + CHANNEL * STRIDE + register
        self.chip.dmac.write(at, 4, value & 0xFFFF_FFFF)
        self.chip.dmac.write(at + 4, 4, value >> 32)

    def put(self, data: bytes) -> None:
        words = b"".join(bytes([byte, 0, 0, 0]) for byte in data)
        self.chip.machine.memory[WORDS : WORDS + len(words)] = words

    def send(self, count: int) -> None:
        self.set(COUNT, count - 1)
        self.chip.dmac.write(CHANNEL_ENABLE, 4, 0x101 << CHANNEL)

    @property
    def sending(self) -> bool:
        return bool(self.chip.dmac.read(CHANNEL_ENABLE, 4) >> CHANNEL & 1)


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    with NorFlash(tmp_path / "flash.bin", BLOCK) as flash:
        yield Sender(Chip(flash, lambda: None))


def test_bytes_arrive_when_their_time_has_come(sender: Sender) -> None:
    data = random.Random(1).randbytes(300)
    sender.put(data)
    line, clock = sender.chip.line, sender.chip.machine.clock
    sender.send(len(data))
    assert sender.sending
    assert line.take() == b""
    assert not sender.sending  # asked again at once: it has waited
    clock.skip_to(line.next_departure or 0)
    assert line.take() == data
    assert clock.seconds == pytest.approx(10 * len(data) / line.host_baud, rel=0.01)


def test_words_that_change_before_they_are_sent_are_a_fault(sender: Sender) -> None:
    sender.put(b"all of this")
    sender.send(11)
    sender.chip.machine.memory[WORDS + 10 * WORD] = 0
    sender.chip.machine.clock.spend(1_000_000)
    with pytest.raises(Fault, match="channel 4: what it sends was changed"):
        _ = sender.sending


def test_a_channel_that_sends_is_not_started_anew(sender: Sender) -> None:
    sender.put(bytes(200))
    sender.send(200)
    with pytest.raises(Fault, match="started anew while it sends"):
        sender.send(200)


@pytest.mark.parametrize(
    ("register", "value", "complaint"),
    [
        (SOURCE, MEMORY_BASE + WORDS, "cached alias"),
        (TARGET, UART3_DATA + 4, "the transfer to 0x50230004 is not modelled"),
        (CONTROL, SENDING_CONTROL | 1 << 4, "not modelled"),
        (CHANNEL_CONFIG, 3 << 32, "not modelled"),
    ],
)
def test_what_silicon_would_get_wrong_is_a_fault(
    sender: Sender, register: int, value: int, complaint: str
) -> None:
    sender.set(register, value)
    with pytest.raises(Fault, match=complaint):
        sender.send(4)
