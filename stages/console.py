"""What a stage shows while it works: a bar on a terminal, plain lines elsewhere."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

Advance = Callable[[int, str], None]
"""Called with how much is done by now and a few words about it."""

LINE_EVERY_S = 5.0
PLAIN_VARIABLE = "K210_PLAIN"
"""Set where several stages share one terminal, so that no two draw bars on it."""


class Console:
    """The person's side of a stage; its libraries' chatter goes to a log instead."""

    def __init__(self, stream: TextIO, label: str) -> None:
        self._stream, self._label = stream, label

    def say(self, text: str) -> None:
        """Print one or more lines."""
        print(text, file=self._stream, flush=True)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Advance]:
        """Show that ``what`` goes from 0 to ``total``."""
        if self._stream.isatty() and PLAIN_VARIABLE not in os.environ:
            with self._bar(what, total) as advance:
                yield advance
        else:
            yield self._lines(what, total)

    @contextmanager
    def _bar(self, what: str, total: int) -> Iterator[Advance]:
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[note]}"),
            TimeRemainingColumn(),
        )
        console = RichConsole(file=self._stream)
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(f"{self._label}: {what}", total=total, note="")

            def advance(done: int, note: str) -> None:
                progress.update(task, completed=done, note=note)

            yield advance

    def _lines(self, what: str, total: int) -> Advance:
        said = time.monotonic()
        silent = True

        def advance(done: int, note: str) -> None:
            nonlocal said, silent
            now = time.monotonic()
            due = now - said >= LINE_EVERY_S
            if due or (done == total and not silent):
                said, silent = now, False
                self.say(f"{self._label}: {what} {done}/{total} {note}".rstrip())

        return advance


@contextmanager
def chatter_diverted(log: Path) -> Iterator[TextIO]:
    """Send file descriptors 1 and 2 to a log meanwhile; gives the former stdout.

    What a stage says goes through the stream, what its libraries print lands in the
    log: TensorFlow and nncase write to the descriptors whatever Python is told.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    _flush()
    saved = os.dup(1), os.dup(2)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        with os.fdopen(os.dup(saved[0]), "w", errors="replace") as stream:
            yield stream
    finally:
        _flush()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in (*saved, target):
            os.close(descriptor)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
