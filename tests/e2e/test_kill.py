"""SIGKILL at random moments: what was good stays, and the next run goes on."""

import hashlib
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import BIN, TINY, Checkout, make_checkout, outcomes
from processes import finish, in_session, nncase_of, stage_of, started, wait_for

from stages.artifacts import Workspace, read_run
from stages.graph import NAMES

STAGES = list(NAMES)
DOIT = str(BIN / "doit")

ALL_KILLS = [
    ("train", "group"),
    ("train", "stage"),
    ("export", "doit"),
    ("normalize", "stage"),
    ("quantize", "group"),
    ("compile", "nncase"),
    ("compile", "doit"),
    ("flash", "group"),
    ("check", "stage"),
    ("check", "doit"),
    ("report", "stage"),
]
QUICK_KILLS = [("compile", "nncase"), ("flash", "stage"), ("report", "doit")]


@pytest.fixture
def chance() -> random.Random:
    """Random numbers whose seed a failing test shows."""
    seed = int(os.environ.get("K210_SEED", random.randrange(1 << 32)))
    print(f"K210_SEED={seed}")
    return random.Random(seed)


def kmodel_digest(checkout: Checkout) -> str:
    path = checkout.root / "build/tiny/compile/model.kmodel"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def forget(checkout: Checkout, stages: list[str]) -> None:
    """Have these stages really run again."""
    build = checkout.root / "build"
    shutil.rmtree(build / ".cache")
    for stage in stages:
        shutil.rmtree(build / "tiny" / stage)
    if "flash" in stages:
        shutil.rmtree(build / "tiny/board")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def epochs_backed_up(checkout: Checkout) -> Iterator[int]:
    for folder in (checkout.root / "build/tiny/.scratch").glob("train-*/epoch-*"):
        yield int(folder.name.partition("-")[2])


@pytest.mark.parametrize(("stage", "victim"), QUICK_KILLS)
def test_a_killed_stage_is_completed_by_the_next_run(
    deployed: Checkout, chance: random.Random, stage: str, victim: str
) -> None:
    kill_and_go_on(deployed, chance, stage, victim, [stage])


@pytest.mark.long
@pytest.mark.parametrize(("stage", "victim"), ALL_KILLS)
def test_a_run_killed_at_any_moment_is_completed_by_the_next(
    deployed: Checkout, chance: random.Random, stage: str, victim: str
) -> None:
    kill_and_go_on(deployed, chance, stage, victim, STAGES[STAGES.index(stage) :])


def kill_and_go_on(
    deployed: Checkout,
    chance: random.Random,
    stage: str,
    victim: str,
    missing: list[str],
) -> None:
    before = kmodel_digest(deployed)
    done = read_run(Workspace(deployed.root, "tiny"), stage)
    assert done is not None
    forget(deployed, missing)

    with started(deployed, DOIT, "deploy") as running:
        pid = stage_of(running, stage).pid
        if victim == "nncase":
            pid = nncase_of(running).pid
        seconds = 0.5 if victim == "nncase" else done.seconds + 0.5
        time.sleep(chance.uniform(0, seconds))
        kill(victim, running.pid, pid)
        finish(running)  # no process is left

    again = deployed.doit("deploy")
    assert again.returncode == 0, again.stdout + again.stderr
    assert stage == "train" or kmodel_digest(deployed) == before
    assert set(outcomes(deployed.doit("deploy").stdout).values()) == {"up to date"}


def kill(victim: str, session: int, pid: int) -> None:
    if victim == "group":
        os.killpg(session, signal.SIGKILL)
    elif victim == "doit":
        os.kill(session, signal.SIGKILL)
    elif any(process.pid == pid for process in in_session(session)):
        os.kill(pid, signal.SIGKILL)


def test_training_goes_on_from_its_last_finished_epoch(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path, TINY.replace("epochs: 2", "epochs: 20"))
    with started(checkout, DOIT, "train") as running:
        wait_for(lambda: max(epochs_backed_up(checkout), default=0) >= 3, "epoch 3")
        os.killpg(running.pid, signal.SIGKILL)
        finish(running)
    reached = max(epochs_backed_up(checkout))

    seen: set[int] = set()
    with started(checkout, DOIT, "train") as running:
        while running.poll() is None:
            seen.update(epochs_backed_up(checkout))
            time.sleep(0.005)
        assert finish(running).returncode == 0
    assert 3 <= reached < 20
    assert reached - 1 <= min(seen) <= reached  # the one before may still lie there
    assert max(seen) > reached
    history = (checkout.root / "build/tiny/train/history.csv").read_text()
    rows = [line.split(",")[0] for line in history.splitlines()]
    assert rows == ["epoch", *map(str, range(20))]
    assert not list((checkout.root / "build/tiny/.scratch").iterdir())


def test_training_killed_while_it_backs_up_is_not_stuck(checkout: Checkout) -> None:
    scratch = checkout.root / "build/tiny/.scratch"
    with started(checkout, DOIT, "train") as running:
        wait_for(lambda: list(scratch.rglob("*.h5")), "the first backup")
        os.killpg(running.pid, signal.SIGKILL)
        finish(running)
    done = checkout.doit("train")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(done.stdout) == {"train": "ran"}


def test_the_last_good_result_outlives_a_killed_rerun(
    deployed: Checkout, chance: random.Random
) -> None:
    folder = deployed.root / "build/tiny/train"
    before = content(folder)
    deployed.replace("train: {epochs: 2}", "train: {epochs: 2, seed: 1}")
    with started(deployed, DOIT, "deploy") as running:
        stage_of(running, "train")
        time.sleep(chance.uniform(0.5, 8.0))
        os.killpg(running.pid, signal.SIGKILL)
        finish(running)
    assert content(folder) == before
    deployed.replace("train: {epochs: 2, seed: 1}", "train: {epochs: 2}")
    assert set(outcomes(deployed.doit("deploy").stdout).values()) == {"up to date"}


def test_a_torn_file_of_doit_is_no_obstacle(deployed: Checkout) -> None:
    notes = deployed.root / ".doit.db.json"
    whole = notes.read_bytes()
    for torn in (b"", whole[: len(whole) // 2], b"\xff\xfe"):
        notes.write_bytes(torn)
        done = deployed.doit("deploy")
        assert done.returncode == 0, done.stderr
        assert set(outcomes(done.stdout).values()) == {"up to date"}
