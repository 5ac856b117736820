"""Opens serial ports, local ones and URLs, without resetting what hangs on them."""

import serial

from k210.errors import BoardError

READ_TIMEOUT_S = 0.01
"""How long a read waits for the first byte; set once, for URLs renegotiate on change."""


def open_port(port: str, baud: int) -> serial.SerialBase:
    """The port, with DTR and RTS off.

    Args:
        port: "/dev/ttyUSB0", "COM5", "rfc2217://host:port", "socket://host:port".
        baud: its first baud rate.

    Raises:
        BoardError: it cannot be opened.
    """
    try:
        opened: serial.SerialBase = serial.serial_for_url(
            port, baud, timeout=READ_TIMEOUT_S, do_not_open=True
        )
        opened.dtr = opened.rts = False
        opened.open()
    except (serial.SerialException, ValueError, OSError) as error:
        raise BoardError(
            f"the port {port} cannot be opened ({error}): check board.port, the cable "
            "and your permissions"
        ) from None
    return opened


def read_some(port: serial.SerialBase) -> bytes:
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


def write_all(port: serial.SerialBase, data: bytes) -> None:
    """Send bytes.

    Raises:
        BoardError: the port has gone.
    """
    try:
        port.write(data)
    except (serial.SerialException, OSError) as error:
        raise BoardError(f"the board's port has gone ({error}): plug it in") from None
