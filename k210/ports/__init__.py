"""Opens serial ports, local ones and URLs, without resetting what hangs on them."""

from typing import Any, Protocol

import serial

from k210.errors import BoardError
from k210.ports.rfc2217 import Rfc2217Port
from k210.ports.users import explained


class Port(Protocol):
    """What we use of pyserial's ports, which its types know only in part."""

    port: str | None
    baudrate: int
    dtr: bool
    rts: bool

    @property
    def in_waiting(self) -> int:
        """Bytes that have arrived and were not read."""

    def read(self, size: int = 1, /) -> bytes:
        """At most so many bytes; fewer if no more come in time."""

    def write(self, data: bytes, /) -> int | None:
        """Send bytes."""

    def flush(self) -> None:
        """Wait until all is sent."""

    def reset_input_buffer(self) -> None:
        """Drop what has arrived."""

    def close(self) -> None:
        """Let go of it."""


READ_TIMEOUT_S = 0.01
"""How long a read waits for the first byte; URLs would renegotiate if it changed."""


def open_port(port: str, baud: int) -> Port:
    """The port, with DTR and RTS off.

    Args:
        port: "/dev/ttyUSB0", "COM5", "rfc2217://host:port", "socket://host:port".
        baud: its first baud rate.

    Raises:
        BoardError: it cannot be opened.
    """
    try:
        if port.startswith("rfc2217://"):
            return Rfc2217Port(port, baud, READ_TIMEOUT_S)
        return _opened(port, baud)
    except (serial.SerialException, ValueError, OSError) as error:
        raise explained(port, error) from None


def _opened(port: str, baud: int) -> Port:
    made: Any = serial.serial_for_url(
        port, baud, timeout=READ_TIMEOUT_S, do_not_open=True
    )
    made.exclusive = None if "://" in port else True
    made.dtr = made.rts = False
    made.open()
    opened: Port = made
    return opened


def read_some(port: Port) -> bytes:
    """What has arrived, or after a short wait nothing.

    Raises:
        BoardError: the port has gone.
    """
    try:
        data = bytes(port.read(max(1, port.in_waiting)))
        if data and port.in_waiting:
            data += bytes(port.read(port.in_waiting))
    except (serial.SerialException, OSError) as error:
        raise BoardError(f"the board's port has gone ({error}): plug it in") from None
    return data


def write_all(port: Port, data: bytes) -> None:
    """Send bytes.

    Raises:
        BoardError: the port has gone.
    """
    try:
        port.write(data)
    except (serial.SerialException, OSError) as error:
        raise BoardError(f"the board's port has gone ({error}): plug it in") from None
