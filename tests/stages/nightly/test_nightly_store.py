"""The store: what is written down stays so, whatever is killed when."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from k210.errors import UserError
from stages.nightly.outcome import Outcome
from stages.nightly.rows import JobRow, NewJob
from stages.nightly.store import Store

GOOD = Outcome("pass", figures={"device_ms": 1.5})
BROKEN = Outcome("error", "board", "no answer")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "history.sqlite")
    yield store
    store.close()


def begun(store: Store, *boards: str) -> tuple[int, list[JobRow]]:
    """A run of a project on these boards."""
    run = store.begin([NewJob("measure", "p", board, (board,)) for board in boards])
    return run, store.jobs(run)


def passed(store: Store, board: str) -> int:
    """A finished run in which the project passed on a board."""
    run, (job,) = begun(store, board)
    store.end(store.start(job.id, board), GOOD, 1, final=True)
    store.finish(run, 0, {})
    return run


def age(store: Store, run: int) -> None:
    """Have a run begin years ago."""
    with sqlite3.connect(store.path) as database:
        database.execute("UPDATE run SET started = '2001' WHERE id = ?", [run])
    database.close()


def test_a_job_goes_from_waiting_to_done(store: Store) -> None:
    run, (job,) = begun(store, "a")
    assert (job.state, job.outcome) == ("waiting", None)
    attempt = store.start(job.id, "a")
    assert store.jobs(run)[0].state == "running"
    store.end(attempt, GOOD, 2.5, final=True)
    (done,) = store.jobs(run)
    assert (done.state, done.outcome) == ("done", GOOD)


def test_a_job_that_is_not_final_waits_again(store: Store) -> None:
    run, (job,) = begun(store, "a")
    store.end(store.start(job.id, "a"), BROKEN, 2.5, final=False)
    assert store.jobs(run)[0].state == "waiting"
    assert store.start(job.id, "a").number == 2


def test_no_job_is_started_twice_or_ends_twice(store: Store) -> None:
    _, (job,) = begun(store, "a")
    attempt = store.start(job.id, "a")
    with pytest.raises(AssertionError):
        store.start(job.id, "a")
    store.end(attempt, GOOD, 1, final=True)
    with pytest.raises(AssertionError):
        store.settle(job.id, BROKEN)


def test_what_was_under_way_is_found_by_the_next(store: Store) -> None:
    run, (one, two) = begun(store, "a", "b")
    store.end(store.start(one.id, "a"), GOOD, 1, final=True)
    attempt = store.start(two.id, "b")
    later = Store(store.path)
    assert later.unfinished() == run
    assert later.under_way(run) == [attempt]
    later.interrupted(attempt)
    assert later.under_way(run) == []
    later.close()


def test_a_finished_run_is_not_gone_on_with(store: Store) -> None:
    passed(store, "a")
    assert store.unfinished() is None


def test_failures_count_from_the_last_good_work_on(store: Store) -> None:
    run, jobs = begun(store, "a")
    for outcome in (BROKEN, GOOD, BROKEN, BROKEN):
        store.end(store.start(jobs[0].id, "a"), outcome, 1, final=False)
    assert store.failures(run, "a") == ["no answer"] * 2


def test_history_is_that_of_finished_runs_on_the_same_board(store: Store) -> None:
    first, _ = passed(store, "a"), passed(store, "b")
    run, _ = begun(store, "a")
    assert [job.run for job in store.history("p", "a", run)] == [first]


def test_pruning_keeps_the_newest_and_the_last_good_ones(store: Store) -> None:
    runs = [passed(store, board) for board in ("a", "b", "a", "c", "c")]
    for run in runs:
        age(store, run)
    assert store.prune(keep=1, days=1) == [runs[0], runs[3]]
    assert [row.id for row in store.runs()] == [runs[1], runs[2], runs[4]]
    assert store.jobs(runs[0]) == []


def test_pruning_keeps_what_is_young(store: Store) -> None:
    runs = [passed(store, "a") for _ in range(3)]
    assert store.prune(keep=1, days=1) == []
    assert len(store.runs()) == len(runs)


def test_a_file_that_is_no_store_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    path.write_text("what is this?" * 100)
    with pytest.raises(UserError, match="move it away"):
        Store(path)


def test_the_store_of_another_version_is_refused(store: Store) -> None:
    with sqlite3.connect(store.path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(UserError, match="another version"):
        Store(store.path)
