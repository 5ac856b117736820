"""A nightly run from its plan to its verdict, or from where a killed one stopped."""

import json
import os
import shutil
import sqlite3
from pathlib import Path

from k210.errors import UserError
from stages import project
from stages.nightly import request
from stages.nightly.junit import junit
from stages.nightly.notify import notify
from stages.nightly.page import page
from stages.nightly.places import map_of, plan
from stages.nightly.regression import judge
from stages.nightly.rows import now
from stages.nightly.scheduler import Say, Scheduler
from stages.nightly.settings import Settings, read
from stages.nightly.store import Store
from stages.nightly.summary import sentence, summarize


def home(root: Path) -> Path:
    """Where all that nightly runs write lies."""
    return root / "build" / "nightly"


def run(root: Path, say: Say) -> int:
    """Make a run, or bring an unfinished one to its end; returns the exit status.

    Raises:
        UserError: it cannot begin: settings, map or store are not usable, or another
            run is under way.
    """
    from filelock import FileLock, Timeout

    settings = read(root)
    home(root).mkdir(parents=True, exist_ok=True)
    lock = FileLock(home(root) / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            "another nightly run is at work in this checkout; wait for it, or end it"
        ) from None
    store = Store(home(root) / "history.sqlite")
    try:
        return _run(root, settings, store, say)
    except sqlite3.Error as error:
        raise UserError(
            f"{store.path}: cannot be written ({error}); see to the disk, and run "
            "again to go on"
        ) from None
    finally:
        store.close()
        lock.release()


def _run(root: Path, settings: Settings, store: Store, say: Say) -> int:
    planned = plan(root, project.find(root), map_of(root), settings.boards == "every")
    unfinished = store.unfinished()
    if unfinished is None:
        run = store.begin(planned.jobs)
    else:
        run = unfinished
        say(f"going on with run {run}, which was not finished")
    scheduler = Scheduler(root, store, run, planned.places, settings, say)
    scheduler.take_over()
    scheduler.execute()
    return _conclude(root, settings, store, run, say)


def _conclude(root: Path, settings: Settings, store: Store, run: int, say: Say) -> int:
    """Judge a run, write and tell what came of it; returns the exit status.

    It is finished in the end only: killed before that, all this is done again.
    """
    findings = judge(store, run, settings.regression)
    summary = summarize(store, root, run, findings, now())
    for folder in (home(root), request.run_folder(root, run)):
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "summary.json", json.dumps(summary, indent=1).encode())
        _write(folder / "junit.xml", junit(summary))
    _write(home(root) / "index.html", page(summary, store, home(root)))
    if trouble := notify(settings.notify, summary, root):
        say(trouble)
    status = int(summary["status"])
    store.finish(run, status, {key: summary[key] for key in ("verdicts", "worse")})
    _prune(root, settings, store, run)
    for finding in findings:
        say(f"worse: {finding.project} on {finding.board}: {finding.words}")
    say(f"{sentence(summary)}; see {home(root) / 'index.html'}")
    return status


def _write(path: Path, content: bytes) -> None:
    """Replace a file as a whole."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_bytes(content)
    os.replace(draft, path)


def _prune(root: Path, settings: Settings, store: Store, run: int) -> None:
    """Drop old runs, their jobs' folders, and those of boards not used any more."""
    store.prune(settings.keep.runs, settings.keep.days)
    kept = [row.id for row in store.runs()][-settings.keep.logs :]
    for folder in request.run_folder(root, run).parent.iterdir():
        if folder.name.isdecimal() and int(folder.name) not in kept:
            shutil.rmtree(folder, ignore_errors=True)
    used = {
        root / "build" / request.work_name(job.project, attempt.board)
        for job in store.jobs(run)
        for attempt in store.attempts(job.id)
    }
    for folder in (home(root) / "work").glob("*"):
        if folder not in used:
            shutil.rmtree(folder, ignore_errors=True)
