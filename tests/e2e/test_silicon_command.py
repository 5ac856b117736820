"""``doit silicon``, as a user runs it."""

import json
from pathlib import Path

import pytest
from conftest import Checkout


def test_the_virtual_board_is_asked_and_its_answers_are_kept(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    done = checkout.doit("silicon")
    assert done.returncode == 0, done.stdout + done.stderr
    heading, *_, kept = done.stdout.splitlines()
    assert heading.split("  ")[-1].strip() == "this chip says (modelled)"
    path = Path(kept.removeprefix("kept in "))
    assert path.is_relative_to(tmp_path / "state/k210/boards")
    assert json.loads(path.read_text(encoding="utf-8"))["modelled"] is True


def test_a_project_that_is_not_there_is_refused(checkout: Checkout) -> None:
    done = checkout.doit("silicon", "nowhere")
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
