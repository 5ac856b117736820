"""Runs the jobs of a run: a process for each, boards side by side, one job each.

One thread does it all: a process that is to die with its parent would also die with
the thread that has started it. All that must outlive this process stands in the store.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from stages.nightly import outcome, request
from stages.nightly.outcome import Outcome
from stages.nightly.places import Place
from stages.nightly.queue import choose
from stages.nightly.request import Request
from stages.nightly.rows import AttemptRow, JobRow
from stages.nightly.settings import Settings
from stages.nightly.store import Store

LOOK_EVERY_S = 0.05
END_S = 10.0

Say = Callable[[str], None]


@dataclass
class Running:
    """An attempt under way.

    Attributes:
        started: when its process was, by the monotonic clock.
        held: when it got its board; None as long as it waits for it.
    """

    job: JobRow
    attempt: AttemptRow
    folder: Path
    process: subprocess.Popen[bytes]
    started: float
    held: float | None = None


class Scheduler:
    """Brings one run to its end.

    Args:
        root: the checkout.
        store: where the run stands.
        run: its id.
        places: the boards, by name.
        settings: how it is to be done.
        say: told, in a line, what came of each job.
    """

    def __init__(
        self,
        root: Path,
        store: Store,
        run: int,
        places: dict[str, Place],
        settings: Settings,
        say: Say,
    ) -> None:
        self._root, self._store, self._run = root, store, run
        self._places, self._settings, self._say = places, settings, say
        self._running: list[Running] = []
        self._served: Counter[str] = Counter()

    def take_over(self) -> None:
        """See to what a killed run has left: end its processes, keep their results."""
        for attempt in self._store.under_way(self._run):
            job = next(j for j in self._store.jobs(self._run) if j.id == attempt.job)
            folder = request.attempt_folder(self._root, job, attempt)
            folder.mkdir(parents=True, exist_ok=True)
            if not request.claim(folder) and (pid := request.owner(folder)):
                _end_process(pid)
                _wait_for_end(folder)
            if (found := outcome.load(folder / request.RESULT)) is not None:
                self._conclude(job, attempt, found, _age(folder))
            else:
                self._store.interrupted(attempt)

    def execute(self) -> None:
        """Run all jobs that are not done; returns when all are."""
        try:
            self._start_more()
            while self._running:
                time.sleep(LOOK_EVERY_S)
                if self._look():
                    self._start_more()
            assert not self._waiting(), "a job that waits has a board to wait for"
        except BaseException:
            self._abandon()
            raise

    def _start_more(self) -> None:
        """Start what can be started now."""
        while (waiting := self._waiting()) and self._start_one(waiting):
            pass

    def _waiting(self) -> list[JobRow]:
        """The jobs that are neither done nor under way, hopeless ones settled."""
        jobs = self._store.jobs(self._run)
        bad = self._store.quarantined(self._run)
        refused = {
            job.project: job.outcome
            for job in jobs
            if job.kind == "prepare" and job.outcome and job.outcome.verdict != "pass"
        }
        waiting = []
        for job in jobs:
            if job.state != "waiting":
                continue
            usable = [each for each in job.candidates if each in self._places]
            usable = [each for each in usable if each not in bad]
            if job.kind == "measure" and (told := refused.get(job.project)):
                self._settle(job, told)
            elif job.kind == "measure" and not usable:
                self._settle(job, self._hopeless(job, bad))
            else:
                waiting.append(replace(job, candidates=tuple(usable)))
        return waiting

    def _settle(self, job: JobRow, found: Outcome) -> None:
        self._store.settle(job.id, found)
        self._tell(job, found)

    def _hopeless(self, job: JobRow, bad: dict[str, str]) -> Outcome:
        """What comes of a job that has no board left."""
        known = [board for board in job.candidates if board in self._places]
        if not known:
            gone = ", ".join(job.candidates)
            return Outcome("skipped", "", f"the map has no {gone} any more")
        reasons = "; ".join(f"{board}: {bad[board]}" for board in known)
        return Outcome("error", "board", f"given up in this run: {reasons}")

    def _start_one(self, waiting: list[JobRow]) -> bool:
        """Start the next job, if one can be started now."""
        if self._settings.parallel and len(self._running) >= self._settings.parallel:
            return False
        preparing = [each for each in self._running if each.job.kind == "prepare"]
        first = next((job for job in waiting if job.kind == "prepare"), None)
        if first and not preparing and self._has_core():
            self._start(first, "")
            return True
        unprepared = {job.project for job in waiting if job.kind == "prepare"}
        unprepared |= {each.job.project for each in preparing}
        ready = [job for job in waiting if job.project not in unprepared]
        failed = self._store.failed_on(self._run)
        chosen = choose(ready, self._free(), self._served, failed)
        if chosen is not None:
            self._start(*chosen)
        return chosen is not None

    def _free(self) -> list[str]:
        """The boards that could be given a job now."""
        busy = {each.attempt.board for each in self._running}
        bad = self._store.quarantined(self._run)
        core = self._has_core()
        return [
            name
            for name, place in self._places.items()
            if name not in busy and name not in bad and (core or not place.here)
        ]

    def _has_core(self) -> bool:
        """Whether this machine can do one more thing itself."""
        here = [
            each
            for each in self._running
            if each.job.kind == "prepare" or self._places[each.attempt.board].here
        ]
        return len(here) < (os.cpu_count() or 1)

    def _start(self, job: JobRow, board: str) -> None:
        attempt = self._store.start(job.id, board)
        folder = request.attempt_folder(self._root, job, attempt)
        folder.mkdir(parents=True)
        self._request(job, board, attempt).save(folder)
        with (folder / request.LOG).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "stages.nightly.work", folder, str(os.getpid())],
                cwd=self._root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if job.kind == "measure":
            self._served[job.project] += 1
        now = time.monotonic()
        self._running.append(Running(job, attempt, folder, process, now))

    def _request(self, job: JobRow, board: str, attempt: AttemptRow) -> Request:
        inputs = request.inputs_folder(self._root, self._run, job.project)
        earlier = self._store.failures(self._run, board) if board else []
        return Request(
            kind=job.kind,
            project=job.project,
            board=board,
            section=self._places[board].section if board else {},
            inputs=inputs.relative_to(self._root).as_posix(),
            power=bool(earlier),
            patience=self._settings.patience,
        )

    def _look(self) -> bool:
        """End the processes that are overdue; whether any has ended."""
        before = len(self._running)
        for each in list(self._running):
            limit = None
            if each.process.poll() is None:
                if (limit := self._overdue(each)) is None:
                    continue
                _kill_group(each.process)
            self._running.remove(each)
            self._reap(each, limit)
        return len(self._running) < before

    def _overdue(self, each: Running) -> float | None:
        """The limit that an attempt has exceeded, in seconds; None if it has not."""
        now, settings = time.monotonic(), self._settings
        if each.job.kind == "prepare":
            limit, since = settings.prepare_timeout, each.started
        else:
            if each.held is None and (each.folder / request.HELD).exists():
                each.held = now
            limit, since = settings.timeout, each.held or each.started
            if each.held is None:
                limit += settings.patience
        return limit if now - since > limit else None

    def _reap(self, each: Running, limit: float | None) -> None:
        found = outcome.load(each.folder / request.RESULT)
        if found is None:
            found = outcome.of_death(each.process.returncode, limit)
            if each.job.kind == "prepare" and found.cause == "board":
                found = replace(found, cause="host")
        self._conclude(each.job, each.attempt, found, time.monotonic() - each.started)

    def _conclude(
        self, job: JobRow, attempt: AttemptRow, found: Outcome, seconds: float
    ) -> None:
        """Write down what came of an attempt, and whether another one follows."""
        failed = [a for a in self._store.attempts(job.id) if a.outcome is not None]
        final = not found.retriable or len(failed) >= self._settings.retries
        self._store.end(attempt, found, round(seconds, 3), final)
        if found.retriable:
            self._judge_board(attempt.board)
        if final:
            self._tell(job, found, attempt.board)
        else:
            self._say(f"retry  {_label(job, attempt.board)}: {found.message}")

    def _judge_board(self, board: str) -> None:
        """Give up a board that fails again and again."""
        failures = self._store.failures(self._run, board)
        if len(failures) < self._settings.quarantine_after:
            return
        reason = f"{len(failures)} failures in a row, the last: {failures[-1]}"
        self._store.quarantine(self._run, board, reason)
        self._say(f"given up for this run: board {board}: {reason}")

    def _tell(self, job: JobRow, found: Outcome, board: str = "") -> None:
        if job.kind == "prepare" and found.verdict == "pass":
            return
        words = f": {found.message}" if found.message else ""
        self._say(f"{found.verdict:<6} {_label(job, board or job.board)}{words}")

    def _abandon(self) -> None:
        """End what is under way; a later run begins it anew."""
        for each in self._running:
            _kill_group(each.process)
        for each in self._running:
            found = outcome.load(each.folder / request.RESULT)
            if found is None:
                self._store.interrupted(each.attempt)
            else:
                seconds = time.monotonic() - each.started
                self._conclude(each.job, each.attempt, found, seconds)
        self._running.clear()


def _label(job: JobRow, board: str) -> str:
    return f"{job.project} on {board}" if board else f"{job.project} ({job.kind})"


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    _end_process(process.pid)
    process.wait()


def _end_process(pid: int) -> None:
    """End a process of ours, and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _wait_for_end(folder: Path) -> None:
    """Wait until the process that owns an attempt has gone."""
    end = time.monotonic() + END_S
    while request.owner(folder) is not None and time.monotonic() < end:
        time.sleep(LOOK_EVERY_S)


def _age(folder: Path) -> float:
    """Seconds from an attempt's request to its result."""
    started = (folder / request.REQUEST).stat().st_mtime
    return max(0.0, (folder / request.RESULT).stat().st_mtime - started)
