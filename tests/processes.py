"""Running commands seen through /proc: their stages and children, found and killed."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from conftest import Checkout

T = TypeVar("T")

NNCASE = "multiprocessing.spawn"
"""What stands in the command line of the child that nncase runs in."""


@dataclass(frozen=True)
class Process:
    """A process as /proc has it."""

    pid: int
    session: int
    state: str
    command: str


def in_session(session: int) -> list[Process]:
    """The living processes of a session, zombies left out."""
    return [p for p in _processes() if p.session == session and p.state not in "ZX"]


def _processes() -> Iterator[Process]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:  # it has just ended
            continue
        fields = stat.rpartition(")")[2].split()
        words = command.replace("\0", " ").strip()
        yield Process(int(folder.name), int(fields[3]), fields[0], words)


@contextmanager
def started(
    checkout: Checkout, *command: str, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A command in a session of its own; nothing of it outlives the context."""
    with subprocess.Popen(
        command,
        cwd=checkout.root,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            yield running
        finally:
            for process in in_session(running.pid):
                os.kill(process.pid, signal.SIGKILL)


def finish(running: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for its end, and make sure that all its processes end with it."""
    stdout, stderr = running.communicate(timeout=300)
    wait_for(lambda: not in_session(running.pid), "the end of all processes", 5)
    return subprocess.CompletedProcess(running.args, running.returncode, stdout, stderr)


def wait_for(find: Callable[[], T], what: str, seconds: float = 240.0) -> T:
    """What ``find`` gives as soon as it is something."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)
    return found


def stage_of(running: subprocess.Popen[str], stage: str) -> Process:
    """The process of a stage, as soon as there is one."""
    return _child(running, f"-m stages {stage} ", f"the stage {stage}")


def nncase_of(running: subprocess.Popen[str]) -> Process:
    """The process in which nncase works, as soon as there is one."""
    return _child(running, NNCASE, "nncase's process")


def _child(running: subprocess.Popen[str], words: str, what: str) -> Process:
    def find() -> list[Process]:
        ended = running.poll() is not None
        found = [p for p in in_session(running.pid) if words in f"{p.command} "]
        assert found or not ended, f"the run ended before {what} began"
        return found

    return wait_for(find, what)[0]
