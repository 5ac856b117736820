"""What a person can mend ends in one sentence and status 2, never in a traceback."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from conftest import BIN, TINY, Checkout, assert_refused, foretold, outcomes
from processes import Process, finish, nncase_of, started

from stages.graph import NAMES

DOIT = str(BIN / "doit")
Command = Callable[[Checkout], subprocess.CompletedProcess[str]]

COMMANDS: dict[str, Command] = {
    "deploy": lambda checkout: checkout.doit("deploy"),
    "stage": lambda checkout: checkout.stage("train"),
    "why": lambda checkout: checkout.doit("why"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize(
    ("old", "new", "fragments"),
    [
        ("train: {epochs: 2}", "train: {epochs: 2", ("pipeline.yaml:",)),
        ("epochs: 2", "epoch: 2", ("pipeline.yaml:4:9: train.epoch", "epochs")),
        ("epochs: 2", "epochs: two", ("pipeline.yaml:4:17: train.epochs", "`two`")),
    ],
    ids=["syntax", "misspelt", "type"],
)
def test_a_yaml_that_is_wrong(
    checkout: Checkout, command: Command, old: str, new: str, fragments: tuple[str, ...]
) -> None:
    checkout.replace(old, new)
    assert_refused(command(checkout), *fragments)
    assert not (checkout.root / "build/tiny").exists()


def test_a_broken_project_does_not_stop_the_others(deployed: Checkout) -> None:
    deployed.write("projects/broken.yaml", "train: {epoch: 3}\n")
    done = deployed.doit("deploy")
    assert done.returncode == 0, done.stderr
    assert set(outcomes(done.stdout).values()) == {"up to date"}
    assert not done.stderr
    assert_refused(deployed.doit("broken:deploy"), "projects/broken.yaml:1:9")
    assert_refused(deployed.doit("why", "broken"), "projects/broken.yaml:1:9")
    assert_refused(deployed.stage("train", "--project", "broken"), "broken.yaml:1:9")
    assert set(foretold(deployed.doit("why", "tiny").stdout)) == set(NAMES)


@pytest.mark.parametrize(
    "command",
    [("-m", "stages", "train", "--project", "nosuch"), ("-m", "doit", "why", "nosuch")],
    ids=["stage", "why"],
)
def test_a_project_that_does_not_exist(
    checkout: Checkout, command: tuple[str, ...]
) -> None:
    done = checkout.run(sys.executable, *command)
    assert_refused(done, "there is no project 'nosuch'; the projects are: tiny")


def test_a_task_that_does_not_exist(checkout: Checkout) -> None:
    done = checkout.doit("deplyo")
    assert done.returncode
    assert "deplyo" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_projects_of_one_name(checkout: Checkout) -> None:
    checkout.write("projects/tiny.yaml", "train: {epochs: 3}\n")
    for command in COMMANDS.values():
        assert_refused(command(checkout), "are both called 'tiny'")


def test_more_test_samples_than_there_are(checkout: Checkout) -> None:
    checkout.replace("check: {samples: 60}", "check: {samples: 61}")
    assert_refused(checkout.doit("deploy"), "check.samples", "61")


def test_a_model_of_ones_own_that_is_missing(checkout: Checkout) -> None:
    checkout.replace("model: {alpha: 0.25}", "model: {file: my.tflite}")
    assert_refused(checkout.doit("deploy"), "my.tflite: no such file", "model.file")


def test_an_accuracy_below_the_threshold(deployed: Checkout) -> None:
    deployed.replace("samples: 60}", "samples: 60, min_accuracy: 0.99}")
    done = deployed.doit("deploy")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    sentence = "is below check.min_accuracy 99.00%"
    assert sentence in done.stdout
    assert "verdict: fail" in done.stdout
    assert outcomes(done.stdout)["report"] == "ran"
    report = (deployed.root / "build/tiny/report/index.html").read_text()
    assert sentence in report

    again = deployed.doit("deploy")
    assert again.returncode == 1
    assert set(outcomes(again.stdout).values()) == {"up to date"}
    assert sentence in again.stdout
    assert deployed.doit("check").returncode == 1
    assert deployed.doit("report").returncode == 0


def compile_with_nncase(
    deployed: Checkout, treat: Callable[[Process], None]
) -> subprocess.CompletedProcess[str]:
    """``doit deploy`` with a compile stage whose nncase is treated so."""
    deployed.doit("cache", "prune", "0")
    deployed.doit("clean", "compile")
    with started(deployed, DOIT, "deploy") as running:
        treat(nncase_of(running))
        return finish(running)


def test_nncase_crashing(deployed: Checkout) -> None:
    done = compile_with_nncase(deployed, lambda p: os.kill(p.pid, signal.SIGSEGV))
    assert_refused(done, "compile: nncase compiling", "crashed (SIGSEGV)", "see ")
    assert deployed.doit("deploy").returncode == 0


def test_nncase_hanging(deployed: Checkout) -> None:
    deployed.replace("quantize: {", "compile: {timeout: 3}\nquantize: {")
    done = compile_with_nncase(deployed, lambda p: os.kill(p.pid, signal.SIGSTOP))
    assert_refused(done, "compile: nncase compiling", "did not end within 3 s")
    assert TINY.splitlines()[-1] in (deployed.root / "pipeline.yaml").read_text()
    assert deployed.doit("flash").returncode == 0


def test_nncase_taking_longer_than_allowed(deployed: Checkout) -> None:
    slow = "compile: {timeout: 1}\nquantize: {method: l2, samples: 200}"
    deployed.replace("quantize: {method: no_clip, samples: 16}", slow)
    done = deployed.doit("compile")
    assert_refused(done, "compile: nncase compiling", "did not end within 1 s")
    assert outcomes(done.stdout)["compile"] == "failed"
