"""A small night: three projects on three virtual boards, one flaky and one dead."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nights
import pytest
from bench_boards import BenchBoard, bench
from conftest import Checkout

from stages.artifacts import read_json

SOUND, FLAKY, DEAD = "sound", "flaky", "dead"
FAULTS: dict[str, tuple[str, ...]] = {
    SOUND: (),
    FLAKY: ("--fault", "cut-power=100", "--fault", "drop-bytes=20000"),
    DEAD: ("--fault", "rom-e2=1000000"),
}
LAST = "retries: 1\nquarantine_after: 2\ntimeout: 120\nnotify: [sh, -c, 'cat > told']\n"


@dataclass(frozen=True)
class Night:
    """A checkout in which a run was killed and resumed; what both have printed."""

    checkout: Checkout
    boards: dict[str, BenchBoard]
    status: int
    output: str
    done_before: list[nights.Attempt]


def ask_bench(checkout: Checkout) -> None:
    """Have the project run on all boards of the bench, with a few samples."""
    text = (checkout.root / "pipeline.yaml").read_text(encoding="utf-8")
    text = text.replace("check: {samples: 60}", "check: {samples: 6}")
    checkout.write("pipeline.yaml", text + "board: {tag: bench}\n")


@pytest.fixture(scope="module")
def night(
    deployed_once: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Night]:
    folder = tmp_path_factory.mktemp("night")
    root = folder / "checkout"
    shutil.copytree(deployed_once, root)
    checkout = Checkout(root)
    ask_bench(checkout)
    base = "extends: ../pipeline.yaml\n"
    checkout.write("projects/strict.yaml", base + "check: {min_accuracy: 1.0}\n")
    checkout.write("projects/one.yaml", base + "board: {tag: null, id: sound}\n")
    checkout.write("projects/lost.yaml", base + "board: {tag: absent}\n")
    checkout.write("projects/wrong.yaml", base + "trian: {epochs: 1}\n")
    checkout.write("nightly.yaml", LAST)
    with bench(folder / "bench", FAULTS) as boards:
        nights.write_map(checkout, boards.values(), hooked=(FLAKY,))
        nights.killed_after(nights.start(checkout), root, 4)
        done = [a for a in nights.attempts(root, 1) if a.verdict is not None]
        status, output = nights.ended(nights.start(checkout))
        yield Night(checkout, boards, status, output, done)


def test_each_job_has_the_verdict_that_it_deserves(night: Night) -> None:
    jobs = nights.summary(night.checkout)["jobs"]
    accuracies = {job["figures"]["accuracy"] for job in jobs if job["figures"]}
    assert len(accuracies) == 1
    assert max(accuracies) < 1  # so that strict must fail
    assert nights.verdicts(nights.summary(night.checkout)) == {
        ("tiny", SOUND): "pass",
        ("tiny", FLAKY): "pass",
        ("tiny", DEAD): "error/board",
        ("strict", SOUND): "fail/threshold",
        ("strict", FLAKY): "fail/threshold",
        ("strict", DEAD): "error/board",
        ("one", SOUND): "pass",
        ("lost", ""): "skipped",
        ("wrong", ""): "error/project",
    }, night.output


def test_a_killed_run_is_gone_on_with_and_nothing_is_done_twice(night: Night) -> None:
    assert "going on with run 1" in night.output
    found = nights.attempts(night.checkout.root, 1)
    assert night.done_before
    assert [a for a in found if a in night.done_before] == night.done_before
    nights.assert_once(found)


def test_a_board_that_fails_again_and_again_is_given_up(night: Night) -> None:
    given_up = nights.summary(night.checkout)["given_up"]
    assert list(given_up) == [DEAD]
    assert "ROM refuses" in given_up[DEAD]


def test_a_flaky_board_gets_its_power_cycled(night: Night) -> None:
    assert night.boards[FLAKY].cycles >= 1


def test_a_first_run_has_nothing_to_be_worse_than(night: Night) -> None:
    assert night.status == 0, night.output
    assert nights.summary(night.checkout)["worse"] == []


def test_what_came_of_it_is_told_to_the_command_and_written(night: Night) -> None:
    root, told = night.checkout.root, nights.summary(night.checkout)
    assert read_json(root / "told") == told
    for name in ("index.html", "junit.xml", "runs/1/summary.json"):
        assert (root / "build/nightly" / name).stat().st_size, name


def test_the_log_of_a_job_says_why_it_failed(night: Night) -> None:
    jobs = nights.summary(night.checkout)["jobs"]
    logs = {(job["project"], job["board"]): job["log"] for job in jobs}
    home = night.checkout.root / "build/nightly"
    assert "min_accuracy" in (home / logs["strict", SOUND]).read_text()
    assert "ROM refuses" in (home / logs["tiny", DEAD]).read_text()


SOFT = "- {id: soft, port: virtual, tags: [bench]}\n"


def with_boards(deployed: Path, root: Path, boards: str, settings: str) -> Checkout:
    """A copy of a deployed checkout with a hardware map and settings."""
    shutil.copytree(deployed, root)
    checkout = Checkout(root)
    checkout.write("boards.yaml", boards)
    ask_bench(checkout)
    checkout.write("nightly.yaml", settings)
    return checkout


def test_a_job_for_any_board_leaves_a_dead_one_for_another(
    deployed_once: Path, tmp_path: Path
) -> None:
    dead = "- {id: dead, port: /dev/ttyNone, type: dan, tags: [bench]}\n"
    root = tmp_path / "checkout"
    checkout = with_boards(deployed_once, root, dead + SOFT, "boards: one\n")
    status, output = nights.ended(nights.start(checkout))
    assert status == 0, output
    (job,) = nights.summary(checkout)["jobs"]
    assert (job["board"], job["verdict"], job["attempts"]) == ("soft", "pass", 2)
    boards = [attempt.board for attempt in nights.attempts(root, 1)]
    assert boards == ["", "dead", "soft"]


def test_a_job_that_takes_too_long_is_ended(
    deployed_once: Path, tmp_path: Path
) -> None:
    settings = "timeout: 0.2\nretries: 0\n"
    checkout = with_boards(deployed_once, tmp_path / "checkout", SOFT, settings)
    status, output = nights.ended(nights.start(checkout))
    assert status == 2, output  # nothing is known about the model
    (job,) = nights.summary(checkout)["jobs"]
    assert (job["verdict"], job["cause"]) == ("error", "board")
    assert "did not end within 0.2 s" in job["message"]


def test_a_board_that_is_too_small_is_not_tried_again(
    deployed_once: Path, tmp_path: Path
) -> None:
    small = "- {id: small, port: virtual, tags: [bench], flash_size: 0x100000}\n"
    checkout = with_boards(deployed_once, tmp_path / "checkout", small, "retries: 3\n")
    status, output = nights.ended(nights.start(checkout))
    assert status == 2, output
    (job,) = nights.summary(checkout)["jobs"]
    assert (job["verdict"], job["cause"], job["attempts"]) == ("error", "room", 1)
    assert "the flash ends at 0x100000" in job["message"]
