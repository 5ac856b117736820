"""A nightly run from its plan to its verdict, or from where a killed one stopped."""

from pathlib import Path

from k210.errors import UserError
from stages import project
from stages.nightly.places import map_of, plan
from stages.nightly.scheduler import Say, Scheduler
from stages.nightly.settings import Settings, read
from stages.nightly.store import Store


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
    store.finish(run, 0, {})
    return 0
