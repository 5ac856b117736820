"""Frames of the link; the twin of firmware/link/frame.c, which has the layout."""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

VERSION = 1
MAX_PAYLOAD = 1024
HEADER = struct.Struct("<BBHIH")
CRC = struct.Struct("<I")
LONGEST_BLOCK = 0xFF


class Kind(IntEnum):
    """What a frame is for."""

    HELLO = 1
    WELCOME = 2
    DATA = 3
    ACK = 4
    UNKNOWN_SESSION = 5


@dataclass(frozen=True)
class Frame:
    """A frame; `offset` is the place of its payload in the stream, modulo 2**32."""

    kind: int
    session: int
    offset: int
    payload: bytes = b""
    version: int = VERSION


def encode(frame: Frame) -> bytes:
    """The frame as it goes over the line, its end mark included."""
    header = HEADER.pack(
        frame.kind, frame.version, frame.session, frame.offset, len(frame.payload)
    )
    body = header + frame.payload
    return cobs_encode(body + CRC.pack(zlib.crc32(body))) + b"\0"


def decode(coded: bytes) -> Frame | None:
    """The frame before an end mark, or None if it is damaged."""
    body = cobs_decode(coded)
    if body is None or len(body) < HEADER.size + CRC.size:
        return None
    kind, version, session, offset, length = HEADER.unpack_from(body)
    payload = body[HEADER.size : -CRC.size]
    (crc,) = CRC.unpack_from(body, len(body) - CRC.size)
    if length != len(payload) or crc != zlib.crc32(body[: -CRC.size]):
        return None
    return Frame(kind, session, offset, payload, version)


def cobs_encode(data: bytes) -> bytes:
    """The data without zeros: each run up to a zero, after its length."""
    coded = bytearray()
    for run in data.split(b"\0"):
        while len(run) >= LONGEST_BLOCK - 1:
            coded += bytes([LONGEST_BLOCK]) + run[: LONGEST_BLOCK - 1]
            run = run[LONGEST_BLOCK - 1 :]
        coded += bytes([len(run) + 1]) + run
    return bytes(coded)


def cobs_decode(coded: bytes) -> bytes | None:
    """Undo ``cobs_encode``; None if this is not its work."""
    data = bytearray()
    at = 0
    while at < len(coded):
        code = coded[at]
        if not code or at + code > len(coded):
            return None
        data += coded[at + 1 : at + code]
        at += code
        if code != LONGEST_BLOCK and at < len(coded):
            data.append(0)
    return bytes(data)


class Decoder:
    """Finds the frames in bytes as they come.

    Attributes:
        damaged: frames that were dropped.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self.damaged = 0

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete."""
        self._pending += data
        *coded, rest = self._pending.split(b"\0")
        self._pending = rest
        frames = [decode(bytes(piece)) for piece in coded]
        self.damaged += sum(
            frame is None and bool(piece)
            for frame, piece in zip(frames, coded, strict=True)
        )
        return [frame for frame in frames if frame is not None]
