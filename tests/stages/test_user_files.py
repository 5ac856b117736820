"""Keys of stages see what lies in the folders and CSVs that the YAML names."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from k210.errors import UserError
from stages.artifacts import keys
from stages.artifacts.userfiles import MEMORY, user_digest, user_path, walk
from stages.graph import find_stage
from stages.project.schema import Project


def digest(root: Path, path: Path, kind: str = "folder") -> str:
    return user_digest(root, path, "data.path", with_csv_rows=kind == "csv")


def fill(folder: Path) -> Path:
    for name in ("a/1.png", "a/2.png", "b/deep/3.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def test_a_folders_digest_is_of_names_and_content(tmp_path: Path) -> None:
    here, there = fill(tmp_path / "here"), fill(tmp_path / "there")
    same = digest(tmp_path, here)
    assert digest(tmp_path, there) == same
    (here / "a" / "2.png").write_text("other")
    changed = digest(tmp_path, here)
    (here / "a" / "2.png").write_text("a/2.png")
    (here / "a" / "2.png").rename(here / "a" / "9.png")
    renamed = digest(tmp_path, here)
    (here / "a" / "9.png").unlink()
    assert len({same, changed, renamed, digest(tmp_path, here)}) == 4


def test_contents_are_read_once_and_again_when_the_time_changes(
    tmp_path: Path,
) -> None:
    folder = fill(tmp_path / "set")
    first = digest(tmp_path, folder)
    (memory,) = (tmp_path / MEMORY).iterdir()
    record = json.loads(memory.read_text())
    record["a/1.png"][2] = "another digest"
    memory.write_text(json.dumps(record))
    assert digest(tmp_path, folder) != first  # it is the memory that was believed
    os.utime(folder / "a" / "1.png", ns=(1, 1))
    assert digest(tmp_path, folder) == first


def test_a_damaged_memory_is_made_again(tmp_path: Path) -> None:
    folder = fill(tmp_path / "set")
    first = digest(tmp_path, folder)
    (memory,) = (tmp_path / MEMORY).iterdir()
    for text in ("{", "[]", '{"a/1.png": 3}'):
        memory.write_text(text)
        assert digest(tmp_path, folder) == first


def test_looking_at_thousands_of_files_again_takes_no_time(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for number in range(2000):
        (folder / f"{number}.png").write_bytes(b"x")
    digest(tmp_path, folder)
    started = time.perf_counter()
    digest(tmp_path, folder)
    assert time.perf_counter() - started < 0.5


def test_the_digest_of_a_csv_covers_the_files_it_names(tmp_path: Path) -> None:
    fill(tmp_path)
    table = tmp_path / "labels.csv"
    table.write_text("path,label\na/1.png,x\ngone.png,y\n")
    first = digest(tmp_path, table, "csv")
    (tmp_path / "a" / "2.png").write_text("not named")
    assert digest(tmp_path, table, "csv") == first
    (tmp_path / "a" / "1.png").write_text("named")
    second = digest(tmp_path, table, "csv")
    (tmp_path / "gone.png").write_text("here it is")
    assert len({first, second, digest(tmp_path, table, "csv")}) == 3


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    folder = fill(tmp_path / "set")
    (folder / "again").symlink_to(folder / "a")
    (folder / "b" / "up").symlink_to(folder)
    assert sorted(walk(folder)) == [
        "a/1.png",
        "a/2.png",
        "again/1.png",
        "again/2.png",
        "b/deep/3.png",
    ]


@pytest.mark.parametrize("written", ["$PICTURES/set", "${PICTURES}/set"])
def test_a_variable_is_expanded_when_the_path_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("PICTURES", str(tmp_path))
    assert user_path(Path("root"), written, "data.path") == tmp_path / "set"
    monkeypatch.setenv("PICTURES", "beside")
    assert user_path(Path("root"), written, "data.path") == Path("root/beside/set")


def test_a_missing_file_is_named_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none: no such file or folder; data\.path"):
        digest(tmp_path, tmp_path / "none")


def key(root: Path, data: dict[str, Any]) -> str:
    text = json.dumps(Project.model_validate({"data": data}).model_dump(mode="json"))
    settings = json.loads(text)
    stage = find_stage("train", settings)
    return keys.key_of(keys.parts_of(stage, settings, {}, root))


def test_the_key_of_training_changes_with_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "set")
    monkeypatch.setenv("PICTURES", str(tmp_path))
    data = {"kind": "folder", "path": "$PICTURES/set"}
    before = key(tmp_path, data)
    assert key(tmp_path, data) == before
    (tmp_path / "set" / "a" / "1.png").write_text("other")
    assert key(tmp_path, data) != before


def test_the_key_does_not_depend_on_where_the_pictures_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"kind": "folder", "path": "$PICTURES/set"}
    found = set()
    for place in ("here", "there"):
        fill(tmp_path / place / "set")
        monkeypatch.setenv("PICTURES", str(tmp_path / place))
        found.add(key(tmp_path, data))
    assert len(found) == 1
