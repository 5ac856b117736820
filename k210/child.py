"""Work in a child process that may crash, hang or chatter.

nncase ends its process on bad input, holds the GIL while it works and prints to file
descriptor 1. A ``Child`` runs one function in a fresh interpreter (never forked),
with its output in a log file and a time limit on each answer.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from k210.errors import ModelError, UserError

PR_SET_PDEATHSIG = 1
END_S = 5.0


class Answer(Protocol):
    """What a child's function becomes: called once per request."""

    def __call__(self, request: Any, /) -> Any:
        """Answer one request; raise UserError for what the user can mend."""


class ChildCrashed(ModelError):
    """The child died; the model it was given is the likeliest reason."""


class ChildTimeout(ModelError):
    """The child did not answer in time and was killed."""


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies (Linux only).

    Args:
        parent: its process id; if it has died already, so does this process.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


class Child:
    """A process that answers requests one at a time.

    Args:
        prepare: called in the child with ``arguments``; returns the function that
            answers requests. Must be importable by name.
        arguments: what ``prepare`` is given; picklable.
        log: the file that gets all that the child and its libraries print.
        what: what it does, for messages: "nncase compiling model.tflite".
    """

    def __init__(
        self,
        prepare: Callable[..., Answer],
        arguments: tuple[Any, ...],
        log: Path,
        what: str,
    ) -> None:
        self._log, self._what = log, what
        self._ready = False
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve,
            args=(os.getpid(), theirs, prepare, arguments, log),
            daemon=True,
        )
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return self._process.pid

    def ask(self, request: Any, timeout: float) -> Any:
        """The child's answer to a request; ``timeout`` in seconds.

        Raises:
            UserError: what the child raised, in its own words.
            ChildCrashed: it died.
            ChildTimeout: it took too long.
        """
        deadline = time.monotonic() + timeout
        try:
            if not self._ready:  # sending to a child that does not listen may block
                self._receive(timeout, deadline)
                self._ready = True
            self._pipe.send(request)
            return self._receive(timeout, deadline)
        except (EOFError, OSError):
            raise self._crash() from None

    def _receive(self, timeout: float, deadline: float) -> Any:
        if not self._pipe.poll(max(0.0, deadline - time.monotonic())):
            self.close()
            raise ChildTimeout(
                f"{self._what} did not end within {timeout:g} s and was stopped; "
                f"see {self._log}"
            )
        answer = self._pipe.recv()
        if isinstance(answer, UserError):
            raise answer
        return answer

    def _crash(self) -> ChildCrashed:
        self._process.join(END_S)
        code = self._process.exitcode
        cause = f"exit status {code}"
        if code is not None and code < 0:
            cause = signal.Signals(-code).name
        return ChildCrashed(f"{self._what} crashed ({cause}); see {self._log}")

    def close(self) -> None:
        """End the child, whatever it is doing."""
        self._pipe.close()
        self._process.kill()
        self._process.join(END_S)

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _serve(
    parent: int,
    pipe: Connection,
    prepare: Callable[..., Answer],
    arguments: tuple[Any, ...],
    log: Path,
) -> None:
    """The child's main function: redirect, prepare, answer until the pipe closes.

    What it sends first is None, or the error that kept it from being prepared.
    """
    die_with_parent(parent)
    _redirect(log)
    try:
        answer = prepare(*arguments)
    except UserError as error:
        pipe.send(error)
        return
    pipe.send(None)
    while True:
        try:
            request = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(answer(request))
        except UserError as error:
            pipe.send(error)


def _redirect(log: Path) -> None:
    """Send file descriptors 1 and 2 to the end of the log."""
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
