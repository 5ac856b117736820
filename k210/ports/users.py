"""Why a serial port cannot be opened: gone, forbidden, in use, nobody there.

Facts: Linux lists the files that a process has open below /proc/PID/fd; the group that
owns serial ports is called dialout on Debian and its kin, uucp on Arch.
"""

import contextlib
import errno
import getpass
import os
from dataclasses import dataclass
from pathlib import Path

from k210.errors import BoardError

PROC = Path("/proc")
BUSY = (errno.EBUSY, errno.EAGAIN)


@dataclass(frozen=True)
class User:
    """A process that has a port open."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


def users(path: str) -> list[User]:
    """The other processes that have a device open, as far as we may see."""
    found = []
    target = os.path.realpath(path)
    for folder in PROC.glob("[0-9]*"):
        pid = int(folder.name)
        if pid != os.getpid() and _has_open(folder, target):
            with contextlib.suppress(OSError):
                found.append(User(pid, (folder / "comm").read_text().strip()))
    return sorted(found, key=lambda user: user.pid)


def _has_open(folder: Path, target: str) -> bool:
    with contextlib.suppress(OSError):  # it has ended, or is somebody else's
        return any(os.readlink(file) == target for file in (folder / "fd").iterdir())
    return False


def trouble(path: str) -> str | None:
    """What would keep us from opening a device, in words; None if nothing would."""
    if not os.path.exists(path):
        return _sentence(path, "it is not there; `python -m k210 boards` lists all")
    if not os.access(path, os.R_OK | os.W_OK):
        return _forbidden(path)
    if in_use := users(path):
        names = ", ".join(map(str, in_use))
        return _sentence(path, f"it is in use by {names}; end that")
    return None


def _sentence(path: str, why: str) -> str:
    return f"the port {path} cannot be opened: {why}"


def _forbidden(path: str) -> str:
    group = _group(os.stat(path).st_gid)
    return _sentence(
        path,
        f"it belongs to the group {group} and you are not in it; "
        f"`sudo usermod -aG {group} {_user()}`, then log out and in again",
    )


def _group(number: int) -> str:
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:  # a group without a name
        return str(number)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "YOU"


def explained(port: str, error: Exception) -> BoardError:
    """What to tell of a port or URL that could not be opened."""
    number = getattr(error, "errno", None)
    if "://" in port:
        if isinstance(error, ConnectionRefusedError) or number == errno.ECONNREFUSED:
            return BoardError(
                f"the port {port} cannot be opened: nobody listens there; start the "
                "server and check the address"
            )
    elif said := trouble(port):
        return BoardError(said)
    elif number in BUSY:
        return BoardError(_sentence(port, "it is in use by another program; end that"))
    return BoardError(
        f"the port {port} cannot be opened ({error}): check board.port, the cable "
        "and your permissions"
    )
