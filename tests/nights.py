"""Nightly runs as tests look at them: projects, maps, and what the store says."""

import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from bench_boards import BenchBoard
from conftest import BIN, Checkout

TAG = "bench"
WAIT_S = 900

Job = tuple[str, str]
"""A project and its board."""


@dataclass(frozen=True)
class Attempt:
    """A process that worked on a job; times are ISO 8601."""

    job: int
    project: str
    board: str
    started: str
    finished: str
    seconds: float | None
    verdict: str | None


def write_map(
    checkout: Checkout, boards: Iterable[BenchBoard], hooked: Sequence[str] = ()
) -> None:
    """A hardware map of these boards; those that are hooked can have power cycled."""
    entries: list[dict[str, Any]] = []
    for board in boards:
        entry: dict[str, Any] = {"id": board.name, "port": board.url, "type": "virtual"}
        entry |= {"tags": [TAG], "flash_size": 1 << 24}
        if board.name in hooked:
            entry["power"] = {"cycle": board.cycle}
        entries.append(entry)
    checkout.write("boards.yaml", yaml.safe_dump(entries))


def rows(root: Path, query: str) -> list[tuple[Any, ...]]:
    """What the store answers; it may be in use."""
    path = root / "build/nightly/history.sqlite"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60) as database:
        return database.execute(query).fetchall()


def attempts(root: Path, run: int) -> list[Attempt]:
    """All attempts of a run, in the order they began."""
    query = (
        "SELECT job, project, attempt.board, attempt.started, attempt.finished,"
        " seconds, attempt.verdict FROM attempt JOIN job ON job.id = attempt.job"
        f" WHERE run = {run} ORDER BY attempt.id"
    )
    return [Attempt(*row) for row in rows(root, query)]


def finished(root: Path) -> int:
    """How many measurements have ever been finished."""
    try:
        ((count,),) = rows(
            root,
            "SELECT count(*) FROM job WHERE state = 'done' AND kind = 'measure'",
        )
    except sqlite3.OperationalError:  # it is just being made
        return 0
    return int(count)


def verdicts(summary: Mapping[str, Any]) -> dict[Job, str]:
    """The verdict of each job in a run's summary, and the cause of what is no pass."""
    return {
        (job["project"], job["board"]): "/".join(
            filter(None, (job["verdict"], job["cause"]))
        )
        for job in summary["jobs"]
    }


def summary(checkout: Checkout) -> dict[str, Any]:
    """The last run's summary."""
    text = (checkout.root / "build/nightly/summary.json").read_bytes()
    found: dict[str, Any] = json.loads(text)
    return found


def start(checkout: Checkout) -> subprocess.Popen[str]:
    """``doit nightly``, in a session of its own."""
    return checkout.start(str(BIN / "doit"), "nightly")


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit status and output of a process, once it has ended."""
    output, _ = process.communicate(timeout=3600)
    return process.returncode, output


def killed_after(process: subprocess.Popen[str], root: Path, count: int) -> None:
    """Kill a run with SIGKILL, it alone, when so many jobs are done in all."""
    end = time.monotonic() + WAIT_S
    while finished(root) < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "the run does not go on"
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def list_schedule(seconds: Iterable[float], machines: int) -> float:
    """The length of a list schedule: a job goes to the machine that is free first."""
    loads = [0.0] * machines
    for each in seconds:
        loads[loads.index(min(loads))] += each
    return max(loads)


def assert_once(found: Sequence[Attempt]) -> None:
    """No job went on after it had come to an end, and each board had one at a time."""
    judged: set[int] = set()
    free_from: dict[str, str] = {}
    for attempt in found:
        assert attempt.job not in judged, attempt
        if attempt.verdict in ("pass", "fail"):
            judged.add(attempt.job)
        if attempt.board:
            assert free_from.get(attempt.board, "") <= attempt.started, attempt
            free_from[attempt.board] = attempt.finished
