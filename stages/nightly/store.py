"""The state and history of nightly runs: one SQLite file, changed in transactions.

Whatever is killed at any point, the file says which jobs are done, which were under
way and which wait; what is done stays done. An attempt is written down before its
process starts, so that none can be forgotten.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from k210.errors import UserError
from stages.nightly.outcome import Outcome
from stages.nightly.rows import AttemptRow, JobRow, NewJob, RunRow, now

VERSION = 1

SCHEMA = """
CREATE TABLE run (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  started TEXT NOT NULL,
  finished TEXT,
  status INTEGER,
  judgement TEXT
);
CREATE TABLE job (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
  kind TEXT NOT NULL,
  project TEXT NOT NULL,
  board TEXT NOT NULL,
  candidates TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'waiting',
  verdict TEXT,
  cause TEXT,
  message TEXT,
  figures TEXT,
  finished TEXT,
  UNIQUE (run, kind, project, board)
);
CREATE TABLE attempt (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  job INTEGER NOT NULL REFERENCES job ON DELETE CASCADE,
  number INTEGER NOT NULL,
  board TEXT NOT NULL,
  started TEXT NOT NULL,
  finished TEXT,
  seconds REAL,
  verdict TEXT,
  cause TEXT,
  message TEXT,
  UNIQUE (job, number)
);
CREATE TABLE quarantine (
  run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
  board TEXT NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (run, board)
);
CREATE INDEX job_history ON job (project, board, run);
"""


class Store:
    """The file ``history.sqlite``; used by one process at a time.

    Raises:
        UserError: it cannot be opened, or another version has written it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=60)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._prepare()
        except sqlite3.Error as error:
            raise UserError(
                f"{path}: the history cannot be opened ({error}); move it away to "
                "begin a new one"
            ) from None

    def _prepare(self) -> None:
        with self._transaction():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in filter(str.strip, SCHEMA.split(";")):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {VERSION}")
            elif version != VERSION:
                raise UserError(
                    f"{self.path}: written by another version ({version}, this one is "
                    f"{VERSION}); move it away to begin a new history"
                )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    # Runs

    def begin(self, jobs: Sequence[NewJob]) -> int:
        """Write down a new run with all its jobs; its id."""
        with self._transaction():
            cursor = self._db.execute("INSERT INTO run (started) VALUES (?)", [now()])
            run = cursor.lastrowid
            assert run is not None
            for job in jobs:
                self._add(run, job)
        return run

    def _add(self, run: int, job: NewJob) -> None:
        self._db.execute(
            "INSERT INTO job (run, kind, project, board, candidates)"
            " VALUES (?, ?, ?, ?, ?)",
            [run, job.kind, job.project, job.board, json.dumps(job.candidates)],
        )
        if job.outcome is not None:
            (added,) = self._db.execute("SELECT last_insert_rowid()").fetchone()
            self._settle(added, job.outcome)

    def unfinished(self) -> int | None:
        """The run that was not brought to its end, if there is one."""
        row = self._db.execute(
            "SELECT max(id) FROM run WHERE finished IS NULL"
        ).fetchone()
        return None if row[0] is None else int(row[0])

    def finish(self, run: int, status: int, judgement: dict[str, Any]) -> None:
        """The run has come to its end."""
        with self._transaction():
            self._db.execute(
                "UPDATE run SET finished = ?, status = ?, judgement = ? WHERE id = ?",
                [now(), status, json.dumps(judgement), run],
            )

    def runs(self) -> list[RunRow]:
        """All runs, the oldest first."""
        rows = self._db.execute(
            "SELECT id, started, finished, status, judgement FROM run ORDER BY id"
        )
        return [
            RunRow(run, started, finished, status, json.loads(judgement or "{}"))
            for run, started, finished, status, judgement in rows
        ]

    # Jobs

    def jobs(self, run: int) -> list[JobRow]:
        """All jobs of a run, in the order they were planned."""
        return self._jobs("WHERE run = ? ORDER BY id", [run])

    def history(self, project: str, board: str, before: int) -> list[JobRow]:
        """What finished runs made of a project on a board, the oldest first."""
        return self._jobs(
            "WHERE project = ? AND board = ? AND run < ? AND kind = 'measure'"
            " AND run IN (SELECT id FROM run WHERE finished IS NOT NULL) ORDER BY id",
            [project, board, before],
        )

    def _jobs(self, where: str, values: Sequence[Any]) -> list[JobRow]:
        rows = self._db.execute(
            "SELECT id, run, kind, project, board, candidates, state, verdict, cause,"
            f" message, figures FROM job {where}",
            values,
        )
        return [
            JobRow(
                *(row["id"], row["run"], row["kind"], row["project"], row["board"]),
                candidates=tuple(json.loads(row["candidates"])),
                state=row["state"],
                outcome=_outcome(row, json.loads(row["figures"] or "{}")),
            )
            for row in rows
        ]

    def settle(self, job: int, outcome: Outcome) -> None:
        """A job is done."""
        with self._transaction():
            self._settle(job, outcome)

    def _settle(self, job: int, outcome: Outcome) -> None:
        changed = self._db.execute(
            "UPDATE job SET state = 'done', verdict = ?, cause = ?, message = ?,"
            " figures = ?, finished = ? WHERE id = ? AND state != 'done'",
            [
                *(outcome.verdict, outcome.cause, outcome.message),
                *(json.dumps(outcome.figures), now(), job),
            ],
        )
        assert changed.rowcount == 1, "a job ends once"

    # Attempts

    def start(self, job: int, board: str) -> AttemptRow:
        """Write down that a process is about to work on a waiting job."""
        with self._transaction():
            changed = self._db.execute(
                "UPDATE job SET state = 'running' WHERE id = ? AND state = 'waiting'",
                [job],
            )
            assert changed.rowcount == 1, "only a waiting job is started"
            cursor = self._db.execute(
                "INSERT INTO attempt (job, number, board, started) VALUES (?,"
                " (SELECT count(*) + 1 FROM attempt WHERE job = ?), ?, ?)",
                [job, job, board, now()],
            )
            added = cursor.lastrowid
        return next(row for row in self.attempts(job) if row.id == added)

    def end(
        self, attempt: AttemptRow, outcome: Outcome, seconds: float, final: bool
    ) -> None:
        """An attempt has ended: its job is done if that was final, or waits again."""
        with self._transaction():
            self._end(attempt, outcome, seconds)
            if final:
                self._settle(attempt.job, outcome)
            else:
                self._requeue(attempt.job)

    def interrupted(self, attempt: AttemptRow) -> None:
        """An attempt was cut short from outside: its job waits again."""
        with self._transaction():
            self._db.execute(
                "UPDATE attempt SET finished = ? WHERE id = ?", [now(), attempt.id]
            )
            self._requeue(attempt.job)

    def _end(self, attempt: AttemptRow, outcome: Outcome, seconds: float) -> None:
        self._db.execute(
            "UPDATE attempt SET finished = ?, seconds = ?, verdict = ?, cause = ?,"
            " message = ? WHERE id = ?",
            [
                *(now(), seconds, outcome.verdict, outcome.cause),
                *(outcome.message, attempt.id),
            ],
        )

    def _requeue(self, job: int) -> None:
        self._db.execute("UPDATE job SET state = 'waiting' WHERE id = ?", [job])

    def attempts(self, job: int) -> list[AttemptRow]:
        """All attempts at a job, in order."""
        rows = self._db.execute(
            "SELECT id, job, number, board, started, seconds, verdict, cause,"
            " message FROM attempt WHERE job = ? ORDER BY number",
            [job],
        )
        return [
            AttemptRow(
                *(row["id"], row["job"], row["number"], row["board"]),
                started=row["started"],
                seconds=row["seconds"],
                outcome=_outcome(row, {}),
            )
            for row in rows
        ]

    def failed_on(self, run: int) -> dict[int, set[str]]:
        """The boards on which jobs that wait have been tried, by the job's id."""
        rows = self._db.execute(
            "SELECT job.id, attempt.board FROM attempt JOIN job ON job.id = attempt.job"
            " WHERE run = ? AND state = 'waiting' AND attempt.verdict IS NOT NULL",
            [run],
        )
        found: dict[int, set[str]] = {}
        for job, board in rows:
            found.setdefault(job, set()).add(board)
        return found

    def under_way(self, run: int) -> list[AttemptRow]:
        """The attempts that a killed run has left behind."""
        return [
            attempt
            for job in self.jobs(run)
            if job.state == "running"
            for attempt in self.attempts(job.id)[-1:]
        ]

    # Boards

    def quarantine(self, run: int, board: str, reason: str) -> None:
        """Use a board no more in this run."""
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO quarantine VALUES (?, ?, ?)",
                [run, board, reason],
            )

    def quarantined(self, run: int) -> dict[str, str]:
        """The boards that are used no more in this run, and why."""
        rows = self._db.execute(
            "SELECT board, reason FROM quarantine WHERE run = ? ORDER BY board", [run]
        )
        return dict(map(tuple, rows))

    def failures(self, run: int, board: str) -> list[str]:
        """What a board has failed with since it last did its work, oldest first."""
        rows = self._db.execute(
            "SELECT attempt.verdict, attempt.cause, attempt.message FROM attempt"
            " JOIN job ON job.id = attempt.job WHERE run = ? AND attempt.board = ?"
            " AND attempt.verdict IS NOT NULL ORDER BY attempt.finished, attempt.id",
            [run, board],
        )
        found: list[str] = []
        for verdict, cause, message in rows:
            if (verdict, cause) == ("error", "board"):
                found.append(message)
            else:
                found.clear()
        return found

    # Pruning

    def prune(self, keep: int, days: float) -> list[int]:
        """Drop old runs; the ids of what was dropped.

        Args:
            keep: how many finished runs to keep in any case.
            days: keep what is younger, too.

        The last run in which a project passed on a board is kept, whatever its age:
        it is what later ones are compared with.
        """
        limit = datetime.now(timezone.utc) - timedelta(days=days)
        oldest = limit.isoformat("T", "milliseconds")
        with self._transaction():
            rows = self._db.execute(
                "SELECT id FROM run WHERE finished IS NOT NULL AND started < ?"
                " AND id NOT IN (SELECT id FROM run WHERE finished IS NOT NULL"
                "                ORDER BY id DESC LIMIT ?)"
                " AND id NOT IN (SELECT max(run) FROM job WHERE verdict = 'pass'"
                "                GROUP BY project, board) ORDER BY id",
                [oldest, keep],
            ).fetchall()
            self._db.executemany("DELETE FROM run WHERE id = ?", map(tuple, rows))
        return [row[0] for row in rows]


def _outcome(row: sqlite3.Row, figures: dict[str, Any]) -> Outcome | None:
    if row["verdict"] is None:
        return None
    return Outcome(row["verdict"], row["cause"], row["message"], figures)
