import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.artifacts import Run, Workspace, read_run
from stages.artifacts.records import RUN, FileRecord, record_file, sha256

NAME = "quantize/plan.json"

TEXTS = st.text(max_size=20)
RECORDS = st.builds(FileRecord, TEXTS, TEXTS, st.integers(0), st.integers(0))
RUNS = st.builds(
    Run,
    stage=TEXTS,
    key=TEXTS,
    parts=st.dictionaries(TEXTS, TEXTS | st.integers() | st.none()),
    files=st.dictionaries(TEXTS, RECORDS),
    tools=st.dictionaries(TEXTS, TEXTS),
    started=TEXTS,
    seconds=st.floats(0, 1e6),
    metrics=st.dictionaries(TEXTS, st.floats(allow_nan=False) | st.none()),
)


@given(RUNS)
def test_a_record_comes_back_as_it_was_written(run: Run) -> None:
    assert Run.from_json(run.to_json()) == run


@given(RUNS, st.data())
def test_a_truncated_record_is_none(run: Run, data: st.DataObject) -> None:
    text = run.to_json().rstrip()
    kept = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ValueError):  # noqa: PT011 - json's own or ours
        Run.from_json(text[:kept])


@pytest.mark.parametrize(
    "text", [b"[]", b"{}", b"null", b'{"files": 3}', b'{"files": {"a": {}}}', b"\xff"]
)
def test_other_json_is_no_record(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own or ours
        Run.from_json(text)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "build/digits" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(b"content")
    return path


@pytest.fixture
def recorded(file: Path) -> Run:
    """The record of a run that wrote the file."""
    return Run("quantize", "0", {}, {NAME: record_file(file, "d")}, {}, "", 0.0)


def workspace(file: Path) -> Workspace:
    return Workspace(file.parents[3], "digits")


def test_a_file_is_recorded_as_it_stands(file: Path) -> None:
    record = record_file(file, "canonical")
    assert (record.digest, record.sha256) == ("canonical", sha256(file))
    assert record.size == 7


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def rewrite(path: Path) -> None:
    path.write_bytes(b"content")
    touch(path)


@pytest.mark.parametrize("act", [lambda path: None, touch, rewrite])
def test_a_file_with_the_same_bytes_is_intact(
    file: Path, recorded: Run, act: Callable[[Path], None]
) -> None:
    act(file)
    assert recorded.broken(workspace(file)) == []


def change(path: Path) -> None:
    path.write_bytes(b"CONTENT")
    touch(path)


def lengthen(path: Path) -> None:
    path.write_bytes(b"content and more")


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("act", [change, lengthen, to_folder])
def test_a_file_with_other_bytes_is_told(
    file: Path, recorded: Run, act: Callable[[Path], None]
) -> None:
    act(file)
    expected = [f"{NAME} is not what the stage wrote"]
    assert recorded.broken(workspace(file)) == expected


def test_a_missing_file_is_told(file: Path, recorded: Run) -> None:
    file.unlink()
    assert recorded.broken(workspace(file)) == [f"{NAME} is missing"]


def test_the_record_lies_beside_the_outputs(file: Path, recorded: Run) -> None:
    assert read_run(workspace(file), "quantize") is None
    (file.parent / RUN).write_bytes(recorded.to_json())
    assert read_run(workspace(file), "quantize") == recorded


def test_a_damaged_record_counts_as_none(file: Path) -> None:
    (file.parent / RUN).write_bytes(b"{")
    assert read_run(workspace(file), "quantize") is None


@given(st.binary(max_size=3000))
def test_the_sha256_is_that_of_the_bytes(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    import hashlib

    path = tmp_path_factory.getbasetemp() / "content"
    path.write_bytes(content)
    assert sha256(path) == hashlib.sha256(content).hexdigest()
