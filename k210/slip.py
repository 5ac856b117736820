"""SLIP frames, as the mask ROM and the vendor's flasher speak them (RFC 1055)."""

END, ESCAPE, ESCAPED_END, ESCAPED_ESCAPE = 0xC0, 0xDB, 0xDC, 0xDD


def encode(data: bytes) -> bytes:
    """A frame, with an end mark before and after it."""
    escaped = data.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
    return b"\xc0" + escaped + b"\xc0"


class Decoder:
    """Finds frames in bytes as they come; what is not escaped rightly is dropped."""

    def __init__(self) -> None:
        self._frame = bytearray()
        self._escaping = False
        self._broken = False

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that these bytes complete, without empty ones."""
        return [frame for byte in data if (frame := self._take(byte))]

    def _take(self, byte: int) -> bytes:
        if byte == END:
            return self._end()
        if self._escaping:
            self._escaping = False
            self._broken |= byte not in (ESCAPED_END, ESCAPED_ESCAPE)
            self._frame.append(END if byte == ESCAPED_END else ESCAPE)
        elif byte == ESCAPE:
            self._escaping = True
        else:
            self._frame.append(byte)
        return b""

    def _end(self) -> bytes:
        frame = b"" if self._broken or self._escaping else bytes(self._frame)
        self._frame.clear()
        self._escaping = self._broken = False
        return frame
