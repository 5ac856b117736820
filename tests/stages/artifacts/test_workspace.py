import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k210.errors import UserError
from stages.artifacts import Workspace, read_json, write_json

STAGE = "compile"
FILE = "compile/model.kmodel"


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, "digits")


def draft(ws: Workspace, text: str) -> None:
    (ws.start_draft(STAGE) / "model.kmodel").write_text(text)


def folders(ws: Workspace) -> set[str]:
    return {path.name for path in ws.home.iterdir()}


def test_a_draft_takes_the_place_of_the_result(ws: Workspace) -> None:
    for text in ("first", "second"):
        draft(ws, text)
        ws.publish(STAGE)
        assert ws.path(FILE).read_text() == text
        assert folders(ws) == {STAGE}


def test_a_result_is_replaced_as_a_whole(ws: Workspace) -> None:
    draft(ws, "first")
    (ws.draft(STAGE) / "leftover").touch()
    ws.publish(STAGE)
    draft(ws, "second")
    ws.publish(STAGE)
    assert [path.name for path in ws.path(STAGE).iterdir()] == ["model.kmodel"]


def test_a_draft_begins_empty(ws: Workspace) -> None:
    draft(ws, "of a run that was killed")
    assert list(ws.start_draft(STAGE).iterdir()) == []


def test_a_draft_leaves_the_result_alone(ws: Workspace) -> None:
    draft(ws, "first")
    ws.publish(STAGE)
    draft(ws, "second")
    ws.recover(STAGE)
    assert ws.path(FILE).read_text() == "first"


def retire(ws: Workspace) -> None:
    """The first of the two renames of ``publish``."""
    os.rename(ws.path(STAGE), ws.home / f".{STAGE}.old")


def test_killed_between_its_renames_the_old_result_comes_back(ws: Workspace) -> None:
    draft(ws, "first")
    ws.publish(STAGE)
    draft(ws, "second")
    retire(ws)
    ws.recover(STAGE)
    assert ws.path(FILE).read_text() == "first"


def test_killed_after_its_renames_the_new_result_stays(ws: Workspace) -> None:
    draft(ws, "first")
    ws.publish(STAGE)
    draft(ws, "second")
    retire(ws)
    os.rename(ws.draft(STAGE), ws.path(STAGE))
    ws.recover(STAGE)
    assert ws.path(FILE).read_text() == "second"
    assert folders(ws) == {STAGE}


def test_without_a_result_there_is_nothing_to_recover(ws: Workspace) -> None:
    ws.recover(STAGE)
    assert not ws.home.exists()


def test_removing_a_stage_leaves_nothing_of_it(ws: Workspace) -> None:
    draft(ws, "first")
    ws.publish(STAGE)
    draft(ws, "second")
    ws.scratch(STAGE, "0" * 64).mkdir(parents=True)
    ws.remove(STAGE)
    assert folders(ws) == {".lock", ".scratch"}
    assert not list((ws.home / ".scratch").iterdir())


def test_scratch_folders_are_per_stage_and_key(ws: Workspace) -> None:
    folders = {ws.scratch(stage, key) for stage in ("a", "b") for key in ("1", "2")}
    assert len(folders) == 4


def test_a_project_is_worked_on_by_one_process_at_a_time(
    ws: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    held = """
from pathlib import Path
from stages.artifacts import Workspace
with Workspace(Path("."), "digits").locked():
    print("held", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", held],
        cwd=ws.root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        timer = threading.Timer(1.5, other.stdin.close)
        timer.start()
        with ws.locked():
            assert other.wait() is not None
        timer.join()
    assert (
        "waiting: another run is at work on project 'digits'" in capfd.readouterr()[0]
    )


def test_other_projects_are_not_waited_for(tmp_path: Path) -> None:
    with Workspace(tmp_path, "one").locked(), Workspace(tmp_path, "other").locked():
        pass


# JSON

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
).filter(lambda value: "Infinity" not in json.dumps(value))


@given(VALUES)
def test_json_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_numbers_that_json_does_not_have_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "value.json", {"snr": float("nan")})


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"plan\.json: missing; run the stage"):
        read_json(tmp_path / "plan.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"a": 1} x'])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(UserError, match=r"plan\.json: damaged .*; delete it"):
        read_json(tmp_path / "plan.json")
