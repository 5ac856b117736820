"""Runs at the same time, and runs that are stopped from outside."""

import os
import random
import signal
import subprocess
import time

import pytest
from conftest import BIN, TINY, Checkout, outcomes
from processes import finish, in_session, stage_of, started, wait_for

from stages.graph import NAMES

STAGES = list(NAMES)
DOIT = str(BIN / "doit")


def assert_interrupted(done: subprocess.CompletedProcess[str]) -> None:
    """Ended with a status that says so and at most one sentence per project."""
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert "interrupted" in done.stderr
    assert all(line.startswith("error: ") for line in done.stderr.splitlines())


def test_two_deploys_at_once_both_end_well(deployed: Checkout) -> None:
    deployed.replace("check: {samples: 60}", "check: {samples: 30}")
    run = DOIT, "deploy"
    with started(deployed, *run) as one, started(deployed, *run) as other:
        both = finish(one), finish(other)
    for done in both:
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert list(outcomes(done.stdout)) == STAGES
        assert "verdict: pass" in done.stdout
    assert set(outcomes(deployed.doit("deploy").stdout).values()) == {"up to date"}


@pytest.mark.long
def test_two_projects_run_side_by_side(deployed: Checkout) -> None:
    for name in ("left", "right"):
        text = TINY.replace("project: {name: tiny}\n", "")
        deployed.write(f"projects/{name}.yaml", text)
    done = deployed.doit("-n", "2", "left:deploy", "right:deploy")
    assert done.returncode == 0, done.stdout + done.stderr
    happened = outcomes(done.stdout)
    assert len(happened) == 2 * len(STAGES)
    for name in ("left", "right"):
        for stage in STAGES[:-2]:  # all but these two care for no name
            assert happened[f"{name}:{stage}"] == "restored"
        for stage in STAGES[-2:]:
            assert happened[f"{name}:{stage}"] == "ran"
        assert f"{name}: 60 test samples" in done.stdout
    kmodels = {
        (deployed.root / f"build/{name}/compile/model.kmodel").read_bytes()
        for name in ("tiny", "left", "right")
    }
    assert len(kmodels) == 1


def test_ctrl_c_ends_without_a_traceback_and_the_next_run_goes_on(
    deployed: Checkout,
) -> None:
    deployed.doit("cache", "prune", "0")
    deployed.doit("clean", "compile")
    with started(deployed, DOIT, "deploy") as running:
        stage_of(running, "compile")
        time.sleep(0.3)
        os.killpg(running.pid, signal.SIGINT)
        assert_interrupted(finish(running))
    done = deployed.doit("deploy")
    assert done.returncode == 0, done.stderr
    assert outcomes(done.stdout)["compile"] == "ran"


@pytest.mark.parametrize("arguments", [("deploy",), ("-n", "2", "deploy")], ids=str)
@pytest.mark.long
def test_ctrl_c_at_any_moment_gives_no_traceback(
    deployed: Checkout, arguments: tuple[str, ...]
) -> None:
    seed = random.randrange(1 << 32)
    print(f"{seed=}")
    chance = random.Random(seed)
    for _ in range(4):
        deployed.doit("cache", "prune", "0")
        deployed.doit("clean", "normalize", "compile")
        with started(deployed, DOIT, *arguments) as running:
            stage_of(running, "normalize")
            time.sleep(chance.uniform(0, 2))
            os.killpg(running.pid, signal.SIGINT)
            done = finish(running)
        if done.returncode:
            assert_interrupted(done)
    assert deployed.doit("flash").returncode == 0


@pytest.mark.parametrize("arguments", [("deploy",), ("-n", "2", "deploy")], ids=str)
def test_no_process_outlives_doit(
    deployed: Checkout, arguments: tuple[str, ...]
) -> None:
    deployed.doit("cache", "prune", "0")
    deployed.doit("clean", "train")
    with started(deployed, DOIT, *arguments) as running:
        stage_of(running, "train")  # it has only just begun
        os.kill(running.pid, signal.SIGKILL)
        wait_for(lambda: not in_session(running.pid), "the end of all processes", 3)
