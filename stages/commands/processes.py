"""What Ctrl-C and a kill do to doit, to its workers and to the stages they start.

doit alone hears Ctrl-C: it ends the stage, says one sentence and stops. A stage or
worker dies with the process that started it, so that a kill leaves none behind.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType

INTERRUPTED = "interrupted; run again to go on from here"


def settle() -> None:
    """Prepare doit's process; ``dodo.py`` calls this once."""
    sys.excepthook = _hook
    os.register_at_fork(after_in_child=partial(_settle_worker, os.getpid()))


def _hook(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """End in a sentence where doit would print a traceback for Ctrl-C."""
    if issubclass(kind, KeyboardInterrupt):
        print(f"error: {INTERRUPTED}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _settle_worker(parent: int) -> None:
    """Prepare one of the processes that ``doit -n`` forks."""
    from k210.child import die_with_parent

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(parent)


def run_stage(
    arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]
) -> int:
    """Run ``python -m stages ARGUMENTS``; returns its exit status."""
    command = [sys.executable, "-m", "stages", *arguments]
    command += ["--parent", str(os.getpid())]
    with _interrupts_held():  # what is held here stays so in the child
        process = subprocess.Popen(command, cwd=cwd, env=dict(environment))
    try:
        return process.wait()
    finally:
        process.kill()
        process.wait()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
