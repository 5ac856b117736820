"""Finds boards: which serial ports there are, and what answers at them.

Facts: the USB ids of the adapters on K210 boards, as the vendor's flasher knows them.
A probe learns the reset wiring by trying: the ROM's greeting tells which one it was.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from k210 import firmware
from k210.board import BoardSpec
from k210.boards import TYPES
from k210.errors import BoardError
from k210.isp import ROM_BAUD, Isp, IspSilent
from k210.link.client import Link, Op
from k210.linked import IDENTITY, LinkedBoard
from k210.ports import Port, open_port
from k210.ports.users import trouble

LIKELY: dict[int, tuple[str, ...]] = {
    0x1A86: ("dan", "bit", "trainer", "kd233"),
    0x0403: ("goE", "maixduino", "bit_mic"),
    0x10C4: ("maixduino", "kd233"),
    0x067B: ("kd233",),
    0xC251: ("kd233",),
}
"""Types of boards by the vendor of their adapter, the most usual first."""

BAUD = 2_000_000
GREETING_S = 0.4


@dataclass(frozen=True)
class FoundPort:
    """A serial port.

    Attributes:
        path: where it is.
        usb: its adapter's "vendor:product", in hexadecimal; "" if it has none.
        serial: the adapter's serial number, if it has one.
        location: where it is plugged in, as 1-1.2.
        product: what the adapter calls itself.
        likely: types of boards that have such an adapter.
        trouble: what keeps us from opening it.
    """

    path: str
    usb: str
    serial: str | None
    location: str | None
    product: str
    likely: tuple[str, ...]
    trouble: str | None


@dataclass(frozen=True)
class Found:
    """A board that answered.

    Attributes:
        types: the types whose reset wiring it has, the likeliest first.
        flash_id: the unique id of its flash.
        flash_size: bytes of flash.
        firmware: what ran on it: "ours", "ours of another version" or None.
    """

    types: tuple[str, ...]
    flash_id: str
    flash_size: int
    firmware: str | None


def ports() -> list[FoundPort]:
    """The serial ports of this computer's USB adapters."""
    from serial.tools.list_ports import comports

    return [
        FoundPort(
            path=port.device,
            usb=f"{port.vid:04x}:{port.pid:04x}",
            serial=port.serial_number,
            location=port.location,
            product=port.product or port.description or "",
            likely=LIKELY.get(port.vid, ()),
            trouble=trouble(port.device),
        )
        for port in sorted(comports())
        if port.vid is not None
    ]


def probe(
    port: str,
    likely: Iterable[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Found:
    """Find out what board is on a port; it is reset for that.

    Args:
        port: a path or URL.
        likely: types to try first.
        say: told what is tried.

    Raises:
        BoardError: the port cannot be opened, or no K210 answers.
    """
    version = _running(port)
    for alike in _wirings(likely):
        say(f"{port}: trying to reset it as {alike[0]}")
        if _greets(port, alike[0]):
            flash_id, flash_size = _identity(port, alike[0])
            return Found(alike, flash_id, flash_size, version)
    raise BoardError(
        f"no K210 answers on {port}, however it is reset: check the cable and the "
        "power, and that nothing else pulls IO16"
    )


def _wirings(likely: Iterable[str]) -> list[tuple[str, ...]]:
    """The types, those that are reset alike together, likely ones first."""
    order = [*(name for name in likely if name in TYPES), *TYPES]
    groups: dict[tuple[str, str, bool], list[str]] = {}
    for name in dict.fromkeys(order):
        kind = TYPES[name]
        groups.setdefault((kind.reset, kind.boot, kind.crossed), []).append(name)
    return [tuple(group) for group in groups.values()]


def _running(port: str) -> str | None:
    """Whether our firmware runs there already."""
    with closing(_Open(port)) as opened:
        link = Link(opened.port)
        for baud in (BAUD, ROM_BAUD):
            opened.port.baudrate = baud
            if link.hello(GREETING_S):
                digest = IDENTITY.unpack(link.ask(Op.IDENTITY).payload)[0]
                same = digest.hex() == firmware.digest(firmware.image())
                return "ours" if same else "ours of another version"
    return None


class _Open:
    """A port, open until it is closed."""

    def __init__(self, name: str) -> None:
        self.port: Port = open_port(name, ROM_BAUD)
        self.close = self.port.close


def reset_into_rom(port: str, kind: str) -> None:
    """Reset the board on a port into its ROM, wired as a type is.

    Raises:
        BoardError: it cannot be, or the ROM does not answer.
    """
    with closing(_Open(port)) as opened:
        Isp(opened.port, TYPES[kind]).enter()


def _greets(port: str, kind: str) -> bool:
    try:
        reset_into_rom(port, kind)
    except IspSilent:
        return False
    return True


def _identity(name: str, kind: str) -> tuple[str, int]:
    """Flash id and size, as our firmware tells, which is loaded into memory for it."""
    spec = BoardSpec(name, 0, Path(os.devnull), Path(os.devnull), kind, BAUD)
    board = LinkedBoard(spec, open_port(name, ROM_BAUD), lambda: None, fresh=True)
    with closing(board):
        return str(board.identity()["flash_id"]), board.flash_size
