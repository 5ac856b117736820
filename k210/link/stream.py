"""A reliable stream in each direction; the twin of firmware/link/stream.c.

It does no input or output: it is given what came over the line and the time, and
gives what is to go out. What a frame sent later has overtaken is sent again; nothing
else would tell a lost frame as soon, for a line keeps the order.
"""

from dataclasses import dataclass

from k210.link.frame import MAX_PAYLOAD, Decoder, Frame, Kind, encode

SMALLEST_PAYLOAD = 32
GROW_AFTER = 32
FIRST_PATIENCE_S = 0.3
LONGEST_PATIENCE_S = 2.0
MAX_RANGES = 8
WINDOW = 1 << 16
"""Bytes of the board's stream that we take out of order."""

MODULUS = 1 << 32
HALF = 1 << 31


def distance(a: int, b: int) -> int:
    """How far offset `b` lies behind `a`; negative if it lies before it."""
    return (b - a + HALF) % MODULUS - HALF


@dataclass(frozen=True)
class Segment:
    """A frame that was sent and not confirmed; `order` counts the frames sent."""

    data: bytes
    order: int


class Receiver:
    """Puts the pieces of a stream in order."""

    def __init__(self) -> None:
        self.offset = 0
        self._beyond: dict[int, bytes] = {}
        self._ready = bytearray()

    def add(self, offset: int, data: bytes) -> None:
        """A piece has come; it may be old, or early."""
        ahead = distance(self.offset, offset)
        if ahead < 0:
            data, ahead = data[-ahead:], 0
        if not data or ahead >= WINDOW:
            return
        start = (self.offset + ahead) % MODULUS
        if len(data) > len(self._beyond.get(start, b"")):
            self._beyond[start] = data
        self._join()

    def _join(self) -> None:
        while piece := self._beyond.pop(self.offset, b""):
            self._ready += piece
            self.offset = (self.offset + len(piece)) % MODULUS
        passed = [at for at in self._beyond if distance(self.offset, at) < 0]
        for at in passed:
            self.add(at, self._beyond.pop(at))

    def ranges(self) -> list[tuple[int, int]]:
        """What has come early: (start, end), the first eight."""
        ranges: list[tuple[int, int]] = []
        for start in sorted(self._beyond, key=lambda at: distance(self.offset, at)):
            end = (start + len(self._beyond[start])) % MODULUS
            if ranges and distance(start, ranges[-1][1]) >= 0:
                start, before = ranges.pop()
                end = end if distance(before, end) > 0 else before
            ranges.append((start, end))
        return ranges[:MAX_RANGES]

    def take(self) -> bytes:
        """What has come in order since the last call."""
        data = bytes(self._ready)
        self._ready.clear()
        return data


class Sender:
    """Cuts a stream into frames and sees them through.

    Attributes:
        limit: the offset up to which the other side takes bytes.
        resent: frames sent again.
        lost: frames that the line has lost for sure; one that is only late, because the
            other side or this computer is busy, does not count.
        payload_size: bytes in the next frame.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.resent = 0
        self.lost = 0
        self.payload_size = MAX_PAYLOAD
        self._waiting = bytearray()
        self._offset = 0
        self._confirmed = 0
        self._segments: dict[int, Segment] = {}
        self._order = 0
        self._good = 0
        self._doubtful = 0
        self._last_progress = 0.0
        self._patience = FIRST_PATIENCE_S

    def write(self, data: bytes) -> None:
        """Bytes to be sent in time."""
        self._waiting += data

    @property
    def frames(self) -> int:
        """Frames sent so far, those sent again included."""
        return self._order

    @property
    def backlog(self) -> int:
        """Bytes written and not yet sent."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether the other side has everything."""
        return not self._waiting and not self._segments

    def due(self, now: float) -> list[tuple[int, bytes]]:
        """The pieces to send at a time in seconds: new ones, and one overdue."""
        pieces = self._new(now)
        if not pieces and not self.idle:
            pieces = self._overdue(now)
        return pieces

    def _new(self, now: float) -> list[tuple[int, bytes]]:
        pieces = []
        while self._waiting:
            room = min(distance(self._offset, self.limit), self.payload_size)
            if room < min(len(self._waiting), SMALLEST_PAYLOAD):
                break
            data = bytes(self._waiting[:room])
            del self._waiting[:room]
            if not self._segments:
                self._last_progress = now
            pieces.append(self._send(self._offset, data))
            self._offset = (self._offset + len(data)) % MODULUS
        return pieces

    def _send(self, offset: int, data: bytes) -> tuple[int, bytes]:
        self._order += 1
        self._segments[offset] = Segment(data, self._order)
        return offset, data

    def _overdue(self, now: float) -> list[tuple[int, bytes]]:
        if now - self._last_progress < self._patience:
            return []
        self._last_progress = now
        first, self._patience = (
            self._patience == FIRST_PATIENCE_S,
            min(2 * self._patience, LONGEST_PATIENCE_S),
        )
        if not self._segments:  # the other side's new limit was lost: ask for it
            return [(self._offset, b"")]
        if not first:  # once may be a busy computer, and small frames take it longer
            self._shrink()
        oldest = min(self._segments, key=lambda at: self._segments[at].order)
        pieces = self._again(oldest)
        self._doubtful = self._order  # what is under way may come twice from now on
        return pieces

    def _again(self, offset: int) -> list[tuple[int, bytes]]:
        """Send a segment again, in pieces where frames have become smaller."""
        data = self._segments.pop(offset).data
        self.resent += 1
        size = self.payload_size
        return [
            self._send((offset + at) % MODULUS, data[at : at + size])
            for at in range(0, len(data), size)
        ]

    def _shrink(self) -> None:
        self._good = 0
        self.payload_size = max(SMALLEST_PAYLOAD, self.payload_size // 2)

    def confirm(
        self, offset: int, limit: int, ranges: list[tuple[int, int]], now: float
    ) -> list[tuple[int, bytes]]:
        """The other side has all before `offset`, and ranges; what to send again."""
        if distance(self._confirmed, offset) < 0 or distance(self._offset, offset) > 0:
            return []
        if distance(self.limit, limit) > 0:
            self.limit = limit
        newest = self._forget(self._confirmed, offset)
        if offset != self._confirmed:
            self._confirmed, self._last_progress = offset, now
            self._patience = FIRST_PATIENCE_S
        newest = max([newest, *(self._forget(start, end) for start, end in ranges)])
        lost = [at for at, sent in self._segments.items() if sent.order < newest]
        self.lost += sum(self._segments[at].order > self._doubtful for at in lost)
        if lost:
            self._shrink()
        lost.sort(key=lambda at: distance(self._confirmed, at))
        return [piece for at in lost for piece in self._again(at)]

    def _forget(self, start: int, end: int) -> int:
        """Drop the segments in a range; the order of the newest of them."""
        inside = [
            at
            for at, sent in self._segments.items()
            if distance(start, at) >= 0 and distance(at + len(sent.data), end) >= 0
        ]
        for _ in inside:
            self._good += 1
            if self._good % GROW_AFTER == 0:
                self.payload_size = min(2 * self.payload_size, MAX_PAYLOAD)
        return max((self._segments.pop(at).order for at in inside), default=0)


class Stream:
    """Both directions of a session that the other side has welcomed.

    Attributes:
        lost: whether the other side has forgotten the session.
        wire_bytes: bytes given to the line so far.
    """

    def __init__(self, session: int, limit: int) -> None:
        self.session = session
        self.lost = False
        self.wire_bytes = 0
        self.sender = Sender(limit)
        self._receiver = Receiver()
        self._decoder = Decoder()
        self._out = bytearray()

    def write(self, data: bytes) -> None:
        """Bytes for the other side."""
        self.sender.write(data)

    def read(self) -> bytes:
        """Bytes from the other side, in order."""
        return self._receiver.take()

    def receive(self, data: bytes, now: float) -> None:
        """What came over the line, at a time in seconds."""
        for frame in self._decoder.feed(data):
            if frame.session == self.session:
                self._take(frame, now)

    def _take(self, frame: Frame, now: float) -> None:
        if frame.kind == Kind.DATA:
            self._receiver.add(frame.offset, frame.payload)
            self._acknowledge()
        elif frame.kind == Kind.ACK and len(frame.payload) % 8 == 4:
            words = [
                int.from_bytes(frame.payload[at : at + 4], "little")
                for at in range(0, len(frame.payload), 4)
            ]
            ranges = list(zip(words[1::2], words[2::2], strict=True))
            self._put(self.sender.confirm(frame.offset, words[0], ranges, now))
        elif frame.kind == Kind.UNKNOWN_SESSION:
            self.lost = True

    def _acknowledge(self) -> None:
        limit = (self._receiver.offset + WINDOW) % MODULUS
        words = [limit, *(word for pair in self._receiver.ranges() for word in pair)]
        payload = b"".join(word.to_bytes(4, "little") for word in words)
        offset = self._receiver.offset
        self._out += encode(Frame(Kind.ACK, self.session, offset, payload))

    def _put(self, pieces: list[tuple[int, bytes]]) -> None:
        for offset, data in pieces:
            self._out += encode(Frame(Kind.DATA, self.session, offset, data))

    def due(self, now: float) -> bytes:
        """What is to go over the line now."""
        self._put(self.sender.due(now))
        out = bytes(self._out)
        self._out.clear()
        self.wire_bytes += len(out)
        return out
