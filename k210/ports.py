"""Opens serial ports, local ones and URLs, without resetting what hangs on them."""

import warnings
from typing import Any, Protocol

import serial
from serial import rfc2217

from k210.errors import BoardError
from k210.port_users import explained


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


class _Remote(rfc2217.Serial):
    """pyserial's client, which alone would take each byte from its queue by itself."""

    def read(self, size: int = 1) -> bytes:
        """At most so many bytes; fewer if no more come in time."""
        data: bytes = super().read(1)
        waiting = self._read_buffer  # type: ignore[attr-defined] # a queue.Queue
        with waiting.mutex:
            count = min(len(waiting.queue), size - len(data)) if data else 0
            more = [waiting.queue.popleft() for _ in range(count)]
        return data + b"".join(filter(None, more))  # None: the connection has ended


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
        opened: Any = _made(port, baud)
        opened.exclusive = None if "://" in port else True
        opened.dtr = opened.rts = False
        with warnings.catch_warnings():  # pyserial 3.5 starts threads in the old way
            warnings.simplefilter("ignore", DeprecationWarning)
            opened.open()
    except (serial.SerialException, ValueError, OSError) as error:
        raise explained(port, error) from None
    found: Port = opened
    return found


def _made(port: str, baud: int) -> Any:
    if not port.startswith("rfc2217://"):
        return serial.serial_for_url(
            port, baud, timeout=READ_TIMEOUT_S, do_not_open=True
        )
    remote = _Remote(None, baud, timeout=READ_TIMEOUT_S)
    remote.port = port
    return remote


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
