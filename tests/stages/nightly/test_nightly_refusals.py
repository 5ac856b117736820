"""What keeps a run from beginning is said in a sentence."""

from pathlib import Path

from conftest import BIN, Checkout, assert_refused
from filelock import FileLock


def test_settings_that_are_wrong_are_refused(checkout: Checkout) -> None:
    checkout.write("nightly.yaml", "retires: 1\n")
    assert_refused(checkout.doit("nightly"), "nightly.yaml:1:1: retires: unknown key")


def test_arguments_are_refused(checkout: Checkout) -> None:
    assert_refused(checkout.doit("nightly", "tiny"), "takes no arguments", "'tiny'")


def test_a_map_that_is_wrong_is_refused(checkout: Checkout) -> None:
    checkout.write("boards.yaml", "- {id: one}\n")
    assert_refused(checkout.doit("nightly"), "boards.yaml:1", "port")


def test_a_second_run_at_the_same_time_is_refused(checkout: Checkout) -> None:
    home = checkout.root / "build/nightly"
    home.mkdir(parents=True)
    with FileLock(home / ".lock"):
        assert_refused(checkout.doit("nightly"), "another nightly run is at work")


def test_a_run_that_can_judge_nothing_is_no_success(checkout: Checkout) -> None:
    checkout.replace("project:", "board: {tag: absent}\nproject:")
    done = checkout.run(str(BIN / "doit"), "nightly")
    assert done.returncode == 2
    assert "1 skipped; no model could be judged" in done.stdout
    assert (Path(checkout.root) / "build/nightly/index.html").exists()
