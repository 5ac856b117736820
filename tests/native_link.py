"""The firmware's link, built for this machine."""

import ctypes
from collections.abc import Callable
from pathlib import Path

from k210 import native

FOLDER = Path(__file__).parents[1] / "firmware" / "link"
NAMES = ("frame.c", "crc32.c", "stream.c", "frame.h", "crc32.h", "stream.h", "bytes.h")
SEND = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint8), ctypes.c_size_t
)
NOW = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)
STREAM_SIZE = 1 << 16
"""More than `struct stream` takes; it begins with `struct stream_io`."""


class Io(ctypes.Structure):
    _fields_ = [("context", ctypes.c_void_p), ("send", SEND), ("now", NOW)]


class CFrame(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_uint8),
        ("version", ctypes.c_uint8),
        ("session", ctypes.c_uint16),
        ("offset", ctypes.c_uint32),
        ("length", ctypes.c_uint16),
    ]


def library() -> ctypes.CDLL:
    loaded = native.load([FOLDER / name for name in NAMES])
    for name in ("frame_encode", "stream_read", "stream_write"):
        getattr(loaded, name).restype = ctypes.c_size_t
    loaded.stream_flushed.restype = ctypes.c_bool
    return loaded


class NativeStream:
    """The board's end of a link."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._library = library()
        self._state = ctypes.create_string_buffer(STREAM_SIZE)
        self.out = bytearray()
        io = Io(
            None,
            SEND(lambda _, data, length: self.out.extend(data[:length])),
            NOW(lambda _: int(clock() * 1e6)),
        )
        self._io = io
        self._library.stream_init(self._state, ctypes.byref(io))

    def receive(self, data: bytes) -> None:
        self._library.stream_receive(self._state, data, ctypes.c_size_t(len(data)))

    def poll(self) -> None:
        self._library.stream_poll(self._state)

    def read(self, room: int) -> bytes:
        data = ctypes.create_string_buffer(room)
        length = self._library.stream_read(self._state, data, ctypes.c_size_t(room))
        return data.raw[:length]

    def write(self, data: bytes) -> int:
        size = ctypes.c_size_t(len(data))
        return int(self._library.stream_write(self._state, data, size))

    def flushed(self) -> bool:
        return bool(self._library.stream_flushed(self._state))
