"""Requests to our firmware over a port; firmware/README.md has the tables."""

import secrets
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from k210.errors import BoardError
from k210.link.frame import VERSION, Decoder, Frame, Kind, encode
from k210.link.stream import Stream
from k210.ports import Port, read_some, write_all

HEADER = struct.Struct("<BBHI")
WELCOME = struct.Struct("<HI")
HELLO_EVERY_S = 0.1
SETTLING_READS, QUIET_READS = 10, 2
ANSWER_S = 60.0
"""How long a request may take; the longest on a board are whole inferences."""

FEW_LOST, MOST_LOST = 16, 0.02
"""Frames that may be lost, and the fraction of all frames beyond them."""


class Op(IntEnum):
    """What can be asked."""

    IDENTITY = 1
    FLASH_READ = 2
    FLASH_ERASE = 3
    FLASH_WRITE = 4
    FLASH_SHA256 = 5
    LOAD_SLOT = 6
    LOAD_BYTES = 7
    DESCRIBE = 8
    INFER = 9
    TIMINGS = 10
    TRACE = 11
    SET_BAUD = 12
    REBOOT = 13
    FORGET = 14
    SELF_TEST = 15
    FLASH_SECTORS = 20


class Status(IntEnum):
    """How a request ended."""

    OK = 0
    BAD_REQUEST = 1
    FLASH_FAILED = 2
    NO_MODEL = 3
    MODEL_REFUSED = 4
    NO_ROOM = 5
    NO_SLOT = 6
    SLOT_DAMAGED = 7
    NO_SUCH_OP = 8
    NO_ANSWERS = 9


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    payload: bytes


class Link:
    """A session with the firmware on a port; requests are answered in order.

    Attributes:
        payload_bytes: bytes of requests given to the link so far.
    """

    def __init__(self, port: Port) -> None:
        self._port = port
        # a board in this process has a time of its own, whatever this computer does
        self._now: Callable[[], float] = getattr(port, "now", time.monotonic)
        self._stream: Stream | None = None
        self._received = bytearray()
        self._tag = 0
        self._asked: list[tuple[int, int]] = []
        self._old_wire_bytes = 0
        self.payload_bytes = 0

    @property
    def wire_bytes(self) -> int:
        """Bytes that went over the line to the board so far."""
        current = self._stream.wire_bytes if self._stream else 0
        return self._old_wire_bytes + current

    @property
    def waiting(self) -> int:
        """Requests without an answer yet."""
        return len(self._asked)

    @property
    def backlog(self) -> int:
        """Bytes that wait to be sent."""
        return self._stream.sender.backlog if self._stream else 0

    @property
    def lossy(self) -> bool:
        """Whether this session loses so many frames that a lower rate is faster."""
        if self._stream is None:
            return False
        sender = self._stream.sender
        return sender.lost > FEW_LOST + sender.frames * MOST_LOST

    def hello(self, seconds: float) -> bool:
        """Begin a session; False if nobody welcomes us in time.

        Raises:
            BoardError: the firmware speaks another version.
        """
        self._old_wire_bytes = self.wire_bytes
        self._stream = None
        self._received.clear()
        self._asked.clear()
        session, decoder = secrets.randbelow(1 << 16), Decoder()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            write_all(self._port, b"\0" + encode(Frame(Kind.HELLO, session, 0)))
            again = time.monotonic() + HELLO_EVERY_S
            while time.monotonic() < min(again, end):
                for frame in decoder.feed(read_some(self._port)):
                    if frame.kind == Kind.WELCOME and frame.session == session:
                        self._welcome(frame)
                        return True
        return False

    def _welcome(self, frame: Frame) -> None:
        if frame.version != VERSION or len(frame.payload) != WELCOME.size:
            raise BoardError(
                f"the board's firmware speaks version {frame.version} of the link, "
                f"not {VERSION}: reset the board, so that ours is loaded"
            )
        _, limit = WELCOME.unpack(frame.payload)
        self._stream = Stream(frame.session, limit)

    def _live(self) -> Stream:
        if self._stream is None or self._stream.lost:
            raise BoardError("the board has started anew: open it again")
        return self._stream

    def submit(self, op: Op, payload: bytes = b"") -> None:
        """Send a request without waiting for its answer."""
        stream = self._live()
        self._tag = (self._tag + 1) % (1 << 16)
        self._asked.append((op, self._tag))
        stream.write(HEADER.pack(op, 0, self._tag, len(payload)) + payload)
        self.payload_bytes += HEADER.size + len(payload)
        self._send(stream)

    def result(self, seconds: float = ANSWER_S) -> Reply:
        """The answer to the oldest request without one.

        Raises:
            BoardError: it does not come in time, or is none to that request.
        """
        end = time.monotonic() + seconds
        while (reply := self._next_reply()) is None:
            if time.monotonic() > end:
                raise BoardError(
                    f"the board on {self._port.port} has not answered for {seconds:g} "
                    "s: reset it and try again"
                )
            self._turn()
        return reply

    def ask(self, op: Op, payload: bytes = b"", seconds: float = ANSWER_S) -> Reply:
        """The answer to a request, the only one under way."""
        self.submit(op, payload)
        return self.result(seconds)

    def settle(self) -> None:
        """Confirm what the board has sent, so that it need not send it again."""
        stream, quiet = self._live(), 0
        for _ in range(SETTLING_READS):  # not host time: a port's may be another
            self._send(stream)
            self._port.flush()
            data = read_some(self._port)
            stream.receive(data, self._now())
            quiet = 0 if data else quiet + 1
            if quiet == QUIET_READS:
                break

    def _turn(self) -> None:
        stream = self._live()
        self._send(stream)
        stream.receive(read_some(self._port), self._now())
        self._received += stream.read()
        self._send(stream)

    def _send(self, stream: Stream) -> None:
        data = stream.due(self._now())
        if data:
            write_all(self._port, data)

    def _next_reply(self) -> Reply | None:
        if len(self._received) < HEADER.size:
            return None
        op, status, tag, length = HEADER.unpack_from(self._received)
        if (op, tag) != self._asked[0]:
            raise BoardError("the board answers what was not asked: reset it")
        if len(self._received) < HEADER.size + length:
            return None
        payload = bytes(self._received[HEADER.size : HEADER.size + length])
        del self._received[: HEADER.size + length]
        self._asked.pop(0)
        return Reply(status, payload)
