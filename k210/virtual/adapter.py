"""The USB adapter of a virtual board, on the network: RFC 2217.

pyserial's server half speaks the protocol; to it this is a serial port. It is given
commands only: it would look at each byte of data.
"""

import socket
from collections.abc import Callable
from typing import Any

from serial.rfc2217 import PortManager

from k210.ports.telnet import Command, Parser, doubled
from k210.virtual.adapter_lines import AdapterLines
from k210.virtual.board import VirtualBoard

CHUNK = 1 << 16


class Adapter(AdapterLines):
    """What pyserial's server takes for the serial port; most settings have no effect.

    Args:
        board: the board.
        flush: called before a setting changes.
    """

    bytesize, parity, stopbits = 8, "N", 1
    xonxoff = rtscts = dsrdtr = break_condition = False
    cts = dsr = cd = True
    ri = False

    def __init__(self, board: VirtualBoard, flush: Callable[[], None]) -> None:
        super().__init__(board)
        self._flush = flush

    def flush(self) -> None:
        """Put what has come on the line; a setting must not overtake it."""
        self._flush()

    def _set(self, name: str, level: bool) -> None:
        self.flush()
        super()._set(name, level)

    def reset_input_buffer(self) -> None:
        """Drop what the board has sent."""
        self.board.line.take()

    def reset_output_buffer(self) -> None:
        """Nothing waits here."""

    def apply_settings(self, _settings: dict[str, Any]) -> None:
        """Nothing else has an effect."""


class NetworkPort:
    """A client's connection to the adapter."""

    def __init__(self, connection: socket.socket, board: VirtualBoard) -> None:
        self._connection, self._board = connection, board
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._from_client = bytearray()
        self._parser = Parser()
        adapter: Any = Adapter(board, self.flush)
        connection_for_manager: Any = self
        self._manager = PortManager(adapter, connection_for_manager)

    def fileno(self) -> int:
        """For select."""
        return self._connection.fileno()

    def write(self, data: bytes) -> None:
        """Called by pyserial: bytes for the client."""
        self._connection.sendall(data)

    def receive(self) -> bool:
        """Pass on what the client sends; False if it has gone."""
        try:
            data = self._connection.recv(CHUNK)
        except ConnectionError:
            return False
        for each in self._parser.feed(data):
            if isinstance(each, Command):
                list(self._manager.filter(each.raw))
            else:
                self._from_client += each
        self.flush()
        return bool(data)

    def flush(self) -> None:
        """Put what has come on the line; a setting must not overtake it."""
        self._board.line.send(bytes(self._from_client))
        self._from_client.clear()

    def send(self, data: bytes) -> bool:
        """Send what the board says; False if the client has gone."""
        try:
            self._connection.sendall(doubled(data))
        except ConnectionError:
            return False
        return True

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
