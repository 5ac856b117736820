"""Serves a virtual board until it is ended: ``python -m k210 virtual FLASH.bin``."""

import select
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from k210.boards import board_type
from k210.errors import BoardError
from k210.virtual.adapter import NetworkPort
from k210.virtual.board import VirtualBoard
from k210.virtual.core import Fault
from k210.virtual.injected import Injected, inject
from k210.virtual.nor import NorFlash
from k210.virtual.tty import TtyPort

LOOPBACK = "127.0.0.1"
LINE_BUFFER = 4096
"""Bytes on the line beyond which a program that writes to the tty has to wait."""

READY = "serving "
"""What the line begins with that tells a caller where the board is."""


class Server:
    """A board and the ports it can be reached at.

    Args:
        board: the board.
        port: where to listen on loopback, 0 for any free port; None for no network.
        link: where to put a tty; None for none.
    """

    def __init__(
        self, board: VirtualBoard, port: int | None, link: Path | None
    ) -> None:
        self._board = board
        self._client: NetworkPort | None = None
        self._tty = TtyPort(link, board) if link else None
        self._listener = _listen(port) if port is not None else None
        self._fault: str | None = None

    @property
    def url(self) -> str:
        """Where a client finds the board."""
        if self._listener is None:
            return str(self._tty and "a tty")
        return f"rfc2217://{LOOPBACK}:{self._listener.getsockname()[1]}"

    def run(self, parent: int | None) -> None:
        """Serve until interrupted, or until the file `parent` comes to its end."""
        while self.turn(parent):
            pass

    def turn(self, parent: int | None = None) -> bool:
        """Let the board go on, then see to its ports; False if `parent` has ended."""
        wait = self._step()
        self._send(self._board.line.take())
        full = self._board.line.backlog > LINE_BUFFER
        sources = [
            source
            for source in (
                self._client,  # before the next: it may have gone to make room
                self._listener,
                None if full else self._tty,
                self._tty.control if self._tty else None,
                parent,
            )
            if source is not None
        ]
        for source in select.select(sources, [], [], 0 if full else wait)[0]:
            if source is parent:
                return False
            self._attend(source)
        return True

    def _step(self) -> float:
        """A faulty program stops; the board waits for a reset, as a crashed chip."""
        try:
            return self._board.step()
        except Fault as fault:
            print(f"virtual board: {fault}", file=sys.stderr, flush=True)
            self._board.chip.machine.stop()
            return 0.0

    def _attend(self, source: object) -> None:
        if source is self._listener and self._listener:
            self._accept(self._listener)
        elif source is self._client and self._client:
            if not self._client.receive():
                self._drop()
        elif self._tty and source is self._tty:
            self._tty.receive()
        elif self._tty:
            self._tty.receive_control()

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        if self._client is not None:
            connection.close()
            return
        self._client = NetworkPort(connection, self._board)

    def _send(self, data: bytes) -> None:
        if not data:
            return
        if self._tty is not None:
            self._tty.send(data)
        if self._client is not None and not self._client.send(data):
            self._drop()

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def close(self) -> None:
        """Close all ports."""
        self._drop()
        if self._listener is not None:
            self._listener.close()
        if self._tty is not None:
            self._tty.close()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
    except OSError as error:
        raise BoardError(
            f"port {port} cannot be listened on ({error.strerror}): choose another"
        ) from error
    listener.listen(1)
    return listener


@contextmanager
def server(
    flash: Path,
    size: int,
    wiring: str,
    port: int | None,
    link: Path | None,
    faults: Sequence[Injected] = (),
) -> Iterator[Server]:
    """A server for a board on a flash image, which is made if it is missing.

    Raises:
        BoardError: the image, a port or the core are not to be had.
    """
    with NorFlash(flash, size) as array:
        board = VirtualBoard(array, board_type(wiring))
        inject(board, faults)
        serving = Server(board, port, link)
        try:
            yield serving
        finally:
            serving.close()


def serve(
    flash: Path,
    size: int,
    wiring: str,
    port: int | None,
    link: Path | None,
    parent: int | None,
    faults: Sequence[Injected] = (),
) -> None:
    """Serve after a line that says where, as ``Server.run`` does."""
    with server(flash, size, wiring, port, link, faults) as serving:
        print(f"{READY}{serving.url}", flush=True)
        serving.run(parent)
