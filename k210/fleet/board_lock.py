"""One user at a time for each board, across processes and users of a machine.

A lock is a file in a folder that everybody can write to (``$K210_LOCKS``, or k210
below /run/lock or /tmp), locked by the kernel for as long as its holder lives: a
dead process holds nothing. In the file stands who holds it, for whom waits.

A process may hand a lock on to those it starts: with ``Lock.environment()`` in
their environment they pass, and do not wait for it.
"""

import contextlib
import fcntl
import getpass
import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from k210.errors import BoardError

FOLDER_VARIABLE = "K210_LOCKS"
HELD_VARIABLE = "K210_HELD_LOCKS"
SHARED = (Path("/run/lock"), Path("/tmp"))
LOOK_EVERY_S = 0.1
RECORD_BYTES = 4096

Say = Callable[[str], None]


@dataclass(frozen=True)
class Holder:
    """Who holds a lock."""

    pid: int
    user: str
    whom: str
    token: str

    def __str__(self) -> str:
        return f"{self.whom} (process {self.pid} of {self.user})"


class Busy(BoardError):
    """All the boards asked for were in use for as long as one was to wait."""


class Lock:
    """A lock that is held; see ``locked``.

    Attributes:
        name: the board's name.
    """

    def __init__(self, name: str, token: str, file: int | None) -> None:
        self.name, self._token, self._file = name, token, file

    def environment(self) -> dict[str, str]:
        """What processes need in their environment to share this lock."""
        held = filter(None, os.environ.get(HELD_VARIABLE, "").split(","))
        return {HELD_VARIABLE: ",".join([*held, self._token])}

    def release(self) -> None:
        """Let go of it; it can be called twice."""
        if self._file is not None:
            file, self._file = self._file, None
            with contextlib.suppress(OSError):
                os.ftruncate(file, 0)
            os.close(file)


def folder() -> Path:
    """Where the locks are; made at first use.

    Raises:
        BoardError: it cannot be.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    path = Path(named) if named else _shared() / "k210"
    try:
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            if not named:
                path.chmod(0o1777)
    except OSError as error:
        raise _unusable(path, error) from None
    return path


def _shared() -> Path:
    """The same for every user."""
    for path in SHARED:
        with contextlib.suppress(OSError):
            if path.stat().st_mode & stat.S_IWOTH:
                return path
    return SHARED[-1]


def holder(key: str) -> Holder | None:
    """Who holds the lock of a board now; None if nobody does."""
    file = _open(key)
    try:
        return None if _take(file) else _read(file)
    finally:
        os.close(file)


@contextmanager
def locked(
    boards: Mapping[str, str],
    whom: str,
    say: Say = lambda _: None,
    timeout: float | None = None,
) -> Iterator[Lock]:
    """Hold one of several boards, the first that is free.

    Args:
        boards: the key that is locked (``BoardEntry.key()``) of each, by its name.
        whom: for whom, as others will be told: "project digits".
        say: called once, where one has to wait, with a line that says for whom.
        timeout: seconds to wait at most; None for ever.

    Raises:
        Busy: none became free in time.
        BoardError: the lock's folder or file is not usable.
    """
    lock = _acquire(boards, whom, say, timeout)
    try:
        yield lock
    finally:
        lock.release()


def _acquire(
    boards: Mapping[str, str], whom: str, say: Say, timeout: float | None
) -> Lock:
    end = None if timeout is None else time.monotonic() + timeout
    said = False
    while True:
        holders: dict[str, Holder | None] = {}
        for name, key in boards.items():
            taken = _try(name, key, whom)
            if isinstance(taken, Lock):
                return taken
            holders[name] = taken
        if end is not None and time.monotonic() >= end:
            raise Busy(f"{_in_use(holders)}: wait for it, or end that")
        if not said:
            said = True
            say(f"waiting: {_in_use(holders)}")
        time.sleep(LOOK_EVERY_S)


def _in_use(holders: Mapping[str, Holder | None]) -> str:
    used = [
        f"the board {name} is in use for {holder or 'somebody'}"
        for name, holder in holders.items()
    ]
    return ", ".join(used) or "there is no board"


def _try(name: str, key: str, whom: str) -> Lock | Holder | None:
    """The lock, or else its holder, if he has said who he is."""
    file = _open(key)
    if not _take(file):
        held = _read(file)
        os.close(file)
        if held and held.token in os.environ.get(HELD_VARIABLE, "").split(","):
            return Lock(name, held.token, None)
        return held
    token = secrets.token_hex(8)
    record = {"pid": os.getpid(), "user": _user(), "whom": whom, "token": token}
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps(record | {"board": key}).encode(), 0)
    return Lock(name, token, file)


def _open(key: str) -> int:
    """The lock's file, made at first use so that every user can open it.

    It is opened before it is made, for the kernel refuses to open somebody else's file
    in a folder like /tmp with leave to make it (fs.protected_regular).
    """
    path = folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.lock"
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    for _ in range(2):
        with contextlib.suppress(FileNotFoundError), _told(path):
            return os.open(path, flags)
        with contextlib.suppress(FileExistsError), _told(path):
            file = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
            os.fchmod(file, 0o666)
            return file
    raise BoardError(f"the lock {path} comes and goes: try again")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        raise _unusable(path, error) from None


def _unusable(path: Path, error: OSError) -> BoardError:
    return BoardError(
        f"the lock {path} cannot be used ({error.strerror}): make it writable for all, "
        f"or set {FOLDER_VARIABLE} to a folder that is"
    )


def _take(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: int) -> Holder | None:
    try:
        record = json.loads(os.pread(file, RECORD_BYTES, 0))
        return Holder(*(record[key] for key in ("pid", "user", "whom", "token")))
    except (ValueError, KeyError, TypeError):  # he is just writing it
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return str(os.getuid())
