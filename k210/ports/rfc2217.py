"""Client of RFC 2217: a serial port at the other end of a network connection.

The server confirms every setting before the next byte goes out. pyserial has such a
client too, which looks for confirmations every 50 ms and hands over each byte by
itself: most of what it took to open a virtual board.

Facts: RFC 2217, and the order in which pyserial's client asks.
"""

import select
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from k210.errors import BoardError
from k210.ports import telnet
from k210.ports.telnet import DO, DONT, WILL, WONT, Command, Parser

BINARY, ECHO, NO_GO_AHEAD, COM_PORT = b"\0", b"\1", b"\3", b","
OURS = (BINARY, NO_GO_AHEAD, COM_PORT)
THEIRS = (BINARY, ECHO, NO_GO_AHEAD, COM_PORT)
SET_BAUD, SET_SIZE, SET_PARITY, SET_STOP, SET_CONTROL, PURGE = 1, 2, 3, 4, 5, 12
ANSWER = 100
"""What the server adds to a command that it confirms."""

EIGHT_BITS, NO_PARITY, ONE_STOP_BIT, NO_FLOW_CONTROL = 8, 1, 1, 1
LEVELS = {"dtr": {True: 8, False: 9}, "rts": {True: 11, False: 12}}
PURGE_RECEIVED = 1
CONNECT_S, ANSWER_S = 5.0, 3.0
CHUNK = 1 << 16


class Rfc2217Port:
    """See ``k210.ports.Port``. DTR and RTS are off at first.

    Args:
        url: "rfc2217://host:port".
        baud: the first baud rate.
        timeout: seconds that a read waits for the first byte.

    Raises:
        OSError: nobody listens there.
        ValueError: the URL is none of these.
        BoardError: who listens there does not speak RFC 2217.
    """

    def __init__(self, url: str, baud: int, timeout: float) -> None:
        self.port: str | None = url
        self._timeout = timeout
        self._parser = Parser()
        self._received = bytearray()
        self._said: set[bytes] = set()
        self._confirmed: dict[int, bytes] = {}
        self._agreed = self._ended = False
        self._baud = baud
        self._levels = {"dtr": False, "rts": False}
        self._socket = _connected(url)
        try:
            self._negotiate()
        except BaseException:
            self.close()
            raise

    def _negotiate(self) -> None:
        for option in OURS:
            self._say(WILL, option)
        for option in (BINARY, NO_GO_AHEAD):
            self._say(DO, option)
        self._wait(lambda: self._agreed)
        self._set(SET_BAUD, self._baud.to_bytes(4, "big"))
        for command, value in (
            (SET_SIZE, EIGHT_BITS),
            (SET_PARITY, NO_PARITY),
            (SET_STOP, ONE_STOP_BIT),
            (SET_CONTROL, NO_FLOW_CONTROL),
            (SET_CONTROL, LEVELS["dtr"][False]),
            (SET_CONTROL, LEVELS["rts"][False]),
        ):
            self._set(command, bytes([value]))
        self.reset_input_buffer()

    @property
    def baudrate(self) -> int:
        """What the port sends and receives at."""
        return self._baud

    @baudrate.setter
    def baudrate(self, baud: int) -> None:
        if baud != self._baud:
            self._set(SET_BAUD, baud.to_bytes(4, "big"))
            self._baud = baud

    @property
    def dtr(self) -> bool:
        """The level of DTR."""
        return self._levels["dtr"]

    @dtr.setter
    def dtr(self, level: bool) -> None:
        self._set_level("dtr", level)

    @property
    def rts(self) -> bool:
        """The level of RTS."""
        return self._levels["rts"]

    @rts.setter
    def rts(self, level: bool) -> None:
        self._set_level("rts", level)

    def _set_level(self, name: str, level: bool) -> None:
        self._set(SET_CONTROL, bytes([LEVELS[name][level]]))
        self._levels[name] = level

    @property
    def in_waiting(self) -> int:
        """Bytes that have arrived and were not read."""
        self._receive(0)
        return len(self._received)

    def read(self, size: int = 1) -> bytes:
        """At most so many bytes; fewer if no more come in time."""
        if not self._received:
            if self._ended:
                raise self._gone()
            self._receive(self._timeout)
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def write(self, data: bytes) -> int:
        """Send bytes."""
        self._send(telnet.doubled(data))
        return len(data)

    def flush(self) -> None:
        """Nothing to wait for: the connection keeps the order."""

    def reset_input_buffer(self) -> None:
        """Drop what has arrived, here and at the server."""
        self._set(PURGE, bytes([PURGE_RECEIVED]))
        self._received.clear()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _send(self, line: bytes) -> None:
        try:
            self._socket.sendall(line)
        except ConnectionError:
            raise self._gone() from None

    def _gone(self) -> BoardError:
        return BoardError(f"{self.port} has hung up: start what serves it again")

    def _say(self, verb: bytes, option: bytes) -> None:
        """Tell our mind about an option, once: who repeats himself starts a quarrel."""
        if verb + option not in self._said:
            self._said.add(verb + option)
            self._send(telnet.IAC + verb + option)

    def _set(self, command: int, value: bytes) -> None:
        """Change a setting, and wait until it has an effect."""
        self._confirmed.pop(command + ANSWER, None)
        self._send(telnet.subnegotiation(COM_PORT + bytes([command]) + value))
        self._wait(lambda: command + ANSWER in self._confirmed)
        if command == SET_BAUD and self._confirmed[command + ANSWER] != value:
            raise BoardError(
                f"{self.port} does not take {int.from_bytes(value, 'big')} baud: "
                "set board.baud lower"
            )

    def _wait(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + ANSWER_S
        while not done():
            left = end - time.monotonic()
            if left <= 0 or self._ended:
                raise BoardError(
                    f"{self.port} does not answer as a server of RFC 2217: check the "
                    "address and what serves it"
                )
            self._receive(left)

    def _receive(self, seconds: float) -> None:
        """Take what comes within a time."""
        if self._ended or not select.select([self._socket], [], [], seconds)[0]:
            return
        try:
            piece = self._socket.recv(CHUNK)
        except ConnectionError:
            piece = b""
        self._ended = not piece
        for each in self._parser.feed(piece):
            if isinstance(each, Command):
                self._obey(each)
            else:
                self._received += each

    def _obey(self, command: Command) -> None:
        option = command.content[:1]
        if command.verb in (DO, DONT):
            willing = command.verb == DO and option in OURS
            self._agreed |= willing and option == COM_PORT
            self._say(WILL if willing else WONT, option)
        elif command.verb in (WILL, WONT):
            welcome = command.verb == WILL and option in THEIRS
            self._say(DO if welcome else DONT, option)
        elif option == COM_PORT and len(command.content) > 1:
            self._confirmed[command.content[1]] = command.content[2:]


def _connected(url: str) -> socket.socket:
    place = urlsplit(url)
    if not place.hostname or not place.port or place.query:
        raise ValueError("write rfc2217://host:port")
    connection = socket.create_connection((place.hostname, place.port), CONNECT_S)
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
