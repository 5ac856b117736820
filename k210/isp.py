"""Client of the mask ROM: resets a board into it and loads a program into memory.

Facts: the frames and reset sequences of the vendor's flasher; see ``k210.boards`` for
which line does what on which board.
"""

import struct
import time
import zlib
from collections.abc import Callable

from k210 import slip
from k210.boards import BoardType
from k210.errors import BoardError
from k210.ports import Port, read_some, write_all

ROM_BAUD = 115200
MEMORY_BASE = 0x8000_0000
CHUNK = 1024
NOP, MEMORY_WRITE, MEMORY_READ, MEMORY_BOOT, SET_BAUD = 0xC2, 0xC3, 0xC4, 0xC5, 0xC6
OK_STATUS = (0x00, 0xE0)
GREETING = bytes([NOP]) + bytes(12)
GREETINGS, GREETING_WAIT_S, ANSWER_WAIT_S = 15, 0.3, 2.0
BAUD_SETTLES_S = 0.05
TRIES = 3


class IspSilent(BoardError):
    """The ROM does not answer."""


class Isp:
    """A session with the ROM of the board on a port."""

    def __init__(self, port: Port, kind: BoardType) -> None:
        self._port, self._kind = port, kind
        self._decoder = slip.Decoder()
        self._frames: list[bytes] = []

    def enter(self) -> None:
        """Reset the board into the ROM.

        Raises:
            BoardError: it does not answer.
        """
        self._port.baudrate = ROM_BAUD
        self._reset(boot=True)
        try:
            self._greet(GREETINGS)
        finally:
            self._set(self._kind.boot, False)

    def reset(self) -> None:
        """Reset the board into what is in its flash."""
        self._reset(boot=False)

    def _reset(self, boot: bool) -> None:
        kind = self._kind
        self._set(kind.boot, False)
        self._set(kind.reset, True)
        time.sleep(kind.hold_s)
        if boot and not kind.crossed:
            self._set(kind.boot, True)
        self._set(kind.reset, False)
        if boot and kind.crossed:  # only now does the line act
            self._set(kind.boot, True)
        time.sleep(kind.hold_s)
        self._port.reset_input_buffer()

    def _set(self, line: str, level: bool) -> None:
        try:
            setattr(self._port, line, level)
        except OSError as error:  # also what pyserial raises
            raise BoardError(
                f"{line.upper()} of {self._port.port} cannot be set "
                f"({error.strerror or error}), so the board cannot be reset: use a "
                "port that has the line"
            ) from None

    def _greet(self, tries: int) -> None:
        for _ in range(tries):
            write_all(self._port, slip.encode(GREETING))
            if self._answer(NOP, GREETING_WAIT_S) is not None:
                return
        raise IspSilent(
            f"the board on {self._port.port} does not answer as a K210 in its ROM: "
            f"check the cable, the power and board.type (now {self._kind.name})"
        )

    def _answer(self, op: int, seconds: float) -> bytes | None:
        """The next answer to an operation, or None if none comes in time."""
        end = time.monotonic() + seconds
        while True:
            while self._frames:
                frame = self._frames.pop(0)
                if frame[0] == op and len(frame) > 1:
                    return frame
            if time.monotonic() > end:
                return None
            self._frames += self._decoder.feed(read_some(self._port))

    def _request(self, op: int, address: int, data: bytes, length: int) -> None:
        body = struct.pack("<II", address, length) + data
        frame = struct.pack("<HHI", op, 0, zlib.crc32(body)) + body
        write_all(self._port, slip.encode(frame))

    def _ask(self, op: int, address: int, data: bytes, length: int) -> bytes:
        """Send a request until it is answered well; what follows the status.

        Raises:
            BoardError: it is not, after several tries.
        """
        status = "no answer"
        for _ in range(TRIES):
            self._request(op, address, data, length)
            answer = self._answer(op, ANSWER_WAIT_S)
            if answer is None:
                continue
            if answer[1] in OK_STATUS:
                return answer[2:]
            status = f"status {answer[1]:#x}"
        raise BoardError(
            f"the board's ROM refuses request {op:#x} at {address:#x} ({status}): "
            "reset the board and try again"
        )

    def speed_up(self) -> None:
        """Go on at the fastest rate the board's type bears."""
        baud = self._kind.rom_baud
        if not baud:
            return
        self._request(SET_BAUD, 0, baud.to_bytes(4, "little"), 4)
        time.sleep(BAUD_SETTLES_S)
        self._port.baudrate = baud
        self._greet(TRIES)

    def write_memory(
        self, address: int, data: bytes, progress: Callable[[int, int], None]
    ) -> None:
        """Write to memory; `progress` gets the bytes done and the bytes in all."""
        for at in range(0, len(data), CHUNK):
            piece = data[at : at + CHUNK]
            self._ask(MEMORY_WRITE, address + at, piece, len(piece))
            progress(at + len(piece), len(data))

    def read_memory(self, address: int, length: int) -> bytes:
        """Read memory."""
        return self._ask(MEMORY_READ, address, b"", length)

    def boot(self, address: int) -> None:
        """Start the program at an address; the ROM gives no answer."""
        self._request(MEMORY_BOOT, address, b"", 0)
        self._port.flush()
