"""What a run does with what a killed one has left."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.nightly import request
from stages.nightly.outcome import Outcome
from stages.nightly.places import Place
from stages.nightly.rows import AttemptRow, JobRow, NewJob
from stages.nightly.scheduler import Scheduler
from stages.nightly.settings import Settings
from stages.nightly.store import Store

GOOD = Outcome("pass", figures={"device_ms": 1.5})
BROKEN = Outcome("error", "board", "no answer")


class Left:
    """A run of one job with an attempt under way, whose scheduler is gone."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self.root, self.settings = root, settings
        self.store = Store(root / "build/nightly/history.sqlite")
        self.run = self.store.begin([NewJob("measure", "p", "a", ("a",))])
        self.attempt: AttemptRow = self.store.start(self.job.id, "a")
        self.folder = request.attempt_folder(root, self.job, self.attempt)
        self.folder.mkdir(parents=True)
        (self.folder / request.REQUEST).touch()

    @property
    def job(self) -> JobRow:
        (job,) = self.store.jobs(self.run)
        return job

    def take_over(self, boards: tuple[str, ...] = ("a",)) -> Scheduler:
        places = {name: Place(name, {"id": name}, here=False) for name in boards}
        scheduler = Scheduler(
            self.root, self.store, self.run, places, self.settings, lambda _: None
        )
        scheduler.take_over()
        return scheduler


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Left]:
    left = Left(tmp_path, Settings(quarantine_after=1, retries=0))
    yield left
    left.store.close()


def test_an_attempt_that_never_began_is_made_again(left: Left) -> None:
    left.take_over()
    assert left.job.state == "waiting"
    assert not request.claim(left.folder)  # so that it cannot begin any more


def test_a_result_that_was_left_counts(left: Left) -> None:
    request.claim(left.folder)
    GOOD.save(left.folder / request.RESULT)
    left.take_over()
    assert (left.job.state, left.job.outcome) == ("done", GOOD)


def test_a_process_that_was_left_is_ended_first(left: Left) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as orphan:
        born = request.birth(orphan.pid)
        (left.folder / request.CLAIM).write_text(json.dumps([orphan.pid, born]))
        left.take_over()
        assert orphan.wait() == -9
    assert left.job.state == "waiting"


def test_a_process_that_only_has_the_same_id_is_left_alone(left: Left) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        (left.folder / request.CLAIM).write_text(json.dumps([stranger.pid, "1"]))
        left.take_over()
        assert stranger.poll() is None
        stranger.kill()
    assert left.job.state == "waiting"


def test_a_board_that_was_given_up_stays_so(left: Left) -> None:
    BROKEN.save(left.folder / request.RESULT)
    request.claim(left.folder)
    left.take_over()
    assert list(left.store.quarantined(left.run)) == ["a"]


def test_a_board_that_has_left_the_map_is_skipped(left: Left) -> None:
    left.take_over(boards=()).execute()
    assert left.job.outcome is not None
    assert left.job.outcome.verdict == "skipped"
    assert "the map has no a any more" in left.job.outcome.message
