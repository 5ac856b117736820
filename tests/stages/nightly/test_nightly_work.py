"""The process of a job: one owner, a board that somebody else uses, an interruption."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nights
import pytest
from conftest import Checkout, assert_refused

from k210.fleet import board_lock
from k210.fleet.hardware_map import read_map
from stages.artifacts import read_json
from stages.graph import NAMES
from stages.nightly import outcome, request
from stages.nightly.outcome import Outcome
from stages.nightly.request import Request

MAP = "- {id: shared, port: /dev/ttyK210, type: dan, tags: [bench]}\n"


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(board_lock.FOLDER_VARIABLE, str(tmp_path / "locks"))


def attempt(checkout: Checkout, patience: float = 0.5) -> Path:
    """The folder of an attempt to measure the tiny project on the shared board."""
    for stage in NAMES[: NAMES.index("flash")]:
        (checkout.root / "inputs" / stage).mkdir(parents=True)
    folder = checkout.root / "attempt"
    folder.mkdir()
    section = {"id": "shared"}
    asked = Request("measure", "tiny", "shared", section, "inputs", False, patience)
    asked.save(folder)
    return folder


def work(checkout: Checkout, folder: Path) -> tuple[Outcome | None, str]:
    """Do an attempt; what came of it, and what it printed."""
    parent = str(os.getpid())
    done = checkout.run(
        sys.executable, "-m", "stages.nightly.work", str(folder), parent
    )
    assert done.returncode == 0, done.stderr
    return outcome.load(folder / request.RESULT), done.stdout


def test_a_board_in_use_is_waited_for_and_its_user_named(
    checkout: Checkout, locks: None
) -> None:
    (entry,) = read_map(checkout.write("boards.yaml", MAP))
    with board_lock.locked({entry.id: entry.key()}, "project demo"):
        found, said = work(checkout, attempt(checkout))
    assert "waiting: the board shared is in use for project demo" in said
    assert found is not None
    assert (found.verdict, found.cause) == ("error", "board")
    assert not (checkout.root / "attempt" / request.HELD).exists()


def test_a_board_that_is_free_is_held_for_the_whole_job(
    checkout: Checkout, locks: None
) -> None:
    checkout.write("boards.yaml", MAP)
    found, said = work(checkout, attempt(checkout))
    assert "waiting" not in said  # the stages share the job's lock
    assert (checkout.root / "attempt" / request.HELD).exists()
    assert found is not None
    assert found.verdict == "error"


def test_an_attempt_that_was_given_up_is_not_begun(checkout: Checkout) -> None:
    folder = attempt(checkout)
    assert request.claim(folder)
    assert work(checkout, folder) == (None, "")


def test_a_stage_that_is_refused_can_tell_whose_fault_it_is(
    checkout: Checkout,
) -> None:
    told = checkout.root / "refusal.json"
    done = checkout.stage("compile", "--refusal", str(told))
    assert_refused(done, "run the quantize stage first")
    found = read_json(told)
    assert found["kind"] == "UserError"
    assert found["message"] in done.stderr


def test_an_interrupted_run_leaves_no_process_and_can_be_gone_on_with(
    checkout: Checkout,
) -> None:
    process = nights.start(checkout)
    claim = checkout.root / "build/nightly/runs/1/1/1" / request.CLAIM
    end = time.monotonic() + 60
    while request.owner(claim.parent) is None:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    status, output = nights.ended(process)
    assert status == 130, output
    assert "interrupted; `doit nightly` goes on from here" in output
    assert "Traceback" not in output
    assert request.owner(claim.parent) is None
    states = nights.rows(checkout.root, "SELECT state FROM job ORDER BY id")
    assert states == [("waiting",), ("waiting",)]


def test_a_process_dies_with_the_run_that_started_it(checkout: Checkout) -> None:
    folder = attempt(checkout)
    script = (
        "import os, subprocess, sys, time\n"
        "command = [sys.executable, '-m', 'stages.nightly.work', sys.argv[1]]\n"
        "subprocess.Popen([*command, '1'])\n"  # its parent is not process 1
        "time.sleep(5)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(folder)], cwd=checkout.root, check=True
    )
    assert not (folder / request.CLAIM).exists()
