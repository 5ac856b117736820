"""SLIP frames, as the mask ROM and the vendor's flasher speak them (RFC 1055)."""

END = 0xC0


def encode(data: bytes) -> bytes:
    """A frame, with an end mark before and after it."""
    escaped = data.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
    return b"\xc0" + escaped + b"\xc0"


class Decoder:
    """Finds frames in bytes as they come; what is not escaped rightly is dropped."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that these bytes complete, without empty ones."""
        *pieces, self._rest = (self._rest + data).split(b"\xc0")
        return [frame for piece in pieces if (frame := _unescaped(piece))]


def _unescaped(piece: bytes) -> bytes:
    """What lies between two end marks; nothing if an escape is wrong."""
    first, *others = piece.split(b"\xdb")
    if any(other[:1] not in (b"\xdc", b"\xdd") for other in others):
        return b""
    marks = {0xDC: b"\xc0", 0xDD: b"\xdb"}
    return first + b"".join(marks[other[0]] + other[1:] for other in others)
