"""The USB adapter of a virtual board, as a tty: for programs that take no URL.

A pty has no DTR and RTS: they come over a unix socket beside it, ``PATH.ctl``, as lines
``dtr 0``, ``dtr 1``, ``rts 0``, ``rts 1``.
"""

import os
import socket
import termios
import tty
from pathlib import Path

from k210.errors import BoardError
from k210.virtual.board import VirtualBoard

CHUNK = 1 << 16
SPEEDS = {
    getattr(termios, name): int(name[1:])
    for name in dir(termios)
    if name[0] == "B" and name[1:].isdecimal() and name != "B0"
}


class TtyPort:
    """A pty at `path`, a symbolic link, and its control socket."""

    def __init__(self, path: Path, board: VirtualBoard) -> None:
        self._path, self._control_path = path, Path(f"{path}.ctl")
        self._board = board
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self._lines = bytearray()
        try:
            for old in (self._path, self._control_path):
                old.unlink(missing_ok=True)
            self._path.symlink_to(os.ttyname(self._slave))
            self.control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.control.bind(str(self._control_path))
        except OSError as error:
            raise BoardError(
                f"the tty {path} cannot be made ({error.strerror}): choose another path"
            ) from error

    def fileno(self) -> int:
        """For select."""
        return self._master

    def receive(self) -> bool:
        """Pass on what the program writes; always True."""
        speed = termios.tcgetattr(self._slave)[4]
        self._board.line.host_baud = float(SPEEDS.get(speed, 115200))
        self._board.line.send(os.read(self._master, CHUNK))
        return True

    def receive_control(self) -> None:
        """Take lines of the control socket."""
        for line in self.control.recv(CHUNK).decode("ascii", "replace").splitlines():
            name, _, level = line.partition(" ")
            if name in ("dtr", "rts") and level in ("0", "1"):
                self._board.set_control(name, level == "1")

    def send(self, data: bytes) -> bool:
        """What the board says, to the program; always True."""
        speed = termios.tcgetattr(self._slave)[5]
        self._board.line.host_baud = float(SPEEDS.get(speed, 115200))
        while data:
            data = data[os.write(self._master, data) :]
        return True

    def close(self) -> None:
        """Take the tty away."""
        self.control.close()
        for made in (self._path, self._control_path):
            made.unlink(missing_ok=True)
        os.close(self._slave)
        os.close(self._master)
