import os
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k210.errors import UserError
from stages.artifacts import Run, RunCache, Workspace, capacity, read_run
from stages.artifacts.cache import CAPACITY_VARIABLE
from stages.artifacts.records import RUN, record_file

KEY = "1234" * 16
CONTENT = {
    "flash/receipt.json": b'{"slot": 1048576}',
    "flash/deeper/blob.bin": bytes(range(256)) * 8,
    "board/flash.bin": b"\xff" * 5000 + b"model",
}
"""Outputs of a stage, one of them outside its folder."""

CONTENTS = st.dictionaries(
    st.sampled_from(("flash/a", "flash/b.json", "flash/c/d.bin", "board/flash.bin")),
    st.binary(max_size=2000),
    min_size=1,
)


def write(ws: Workspace, content: Mapping[str, bytes], key: str = KEY) -> Run:
    """Outputs as a stage leaves them, and their record."""
    for name, data in content.items():
        ws.path(name).parent.mkdir(parents=True, exist_ok=True)
        ws.path(name).write_bytes(data)
    ws.path("flash").mkdir(parents=True, exist_ok=True)
    files = {name: record_file(ws.path(name), f"digest of {name}") for name in content}
    run = Run("flash", key, {"stage": "flash"}, files, {}, "today", 1.5, {"written": 3})
    (ws.path("flash") / RUN).write_bytes(run.to_json())
    return run


def standing(ws: Workspace, content: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: ws.path(name).read_bytes() for name in content}


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, "digits")


@pytest.fixture
def stored(ws: Workspace) -> RunCache:
    """A cache with CONTENT in it, and another result standing in its place."""
    cache = RunCache(ws)
    cache.store(write(ws, CONTENT))
    write(ws, dict.fromkeys(CONTENT, b"another"), key="another")
    return cache


def entry(cache: RunCache) -> Path:
    (found,) = cache.entries()
    return found.path


# going back


@given(CONTENTS, CONTENTS)
def test_what_is_stored_comes_back(
    content: dict[str, bytes], other: dict[str, bytes]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ws = Workspace(Path(folder), "digits")
        cache = RunCache(ws)
        cache.store(write(ws, content))
        write(ws, other, key="another")
        restored = cache.restore(KEY)
        assert restored is not None
        assert standing(ws, content) == content
        assert read_run(ws, "flash") == restored
        assert restored.broken(ws) == []


def test_what_is_restored_has_its_record(stored: RunCache) -> None:
    restored = stored.restore(KEY)
    assert restored is not None
    assert (restored.key, restored.metrics) == (KEY, {"written": 3})
    digests = {name: record.digest for name, record in restored.files.items()}
    assert digests == {name: f"digest of {name}" for name in CONTENT}


def test_nothing_of_the_other_result_is_left(ws: Workspace, stored: RunCache) -> None:
    (ws.path("flash") / "of the other").touch()
    stored.restore(KEY)
    names = {path.name for path in ws.path("flash").rglob("*")}
    assert names == {"receipt.json", "deeper", "blob.bin", RUN}
    assert {path.name for path in ws.home.iterdir()} == {"flash", "board"}


def test_an_unknown_key_gives_nothing(stored: RunCache) -> None:
    assert stored.peek("0" * 64) is None
    assert stored.restore("0" * 64) is None


def test_a_look_tells_the_record_without_restoring(
    ws: Workspace, stored: RunCache
) -> None:
    run = stored.peek(KEY)
    assert run is not None
    assert run.metrics == {"written": 3}
    assert ws.path("flash/receipt.json").read_bytes() == b"another"


def test_another_project_can_restore_it_too(stored: RunCache) -> None:
    other = Workspace(stored.ws.root, "letters")
    assert RunCache(other).restore(KEY) is not None
    assert standing(other, CONTENT) == CONTENT


def test_storing_again_replaces_the_entry(ws: Workspace, stored: RunCache) -> None:
    stored.store(write(ws, {"flash/receipt.json": b"new"}))
    restored = stored.restore(KEY)
    assert restored is not None
    assert restored.files.keys() == {"flash/receipt.json"}
    assert len(stored.entries()) == 1


def test_storing_leaves_no_draft(stored: RunCache) -> None:
    assert [path.name for path in stored.folder.iterdir()] == [f"{KEY}.zip"]


# damage


PLACES = st.floats(0, 1, exclude_max=True)
"""Where in a file, as a fraction of its length: that differs from run to run."""


@settings(max_examples=120)
@given(
    st.dictionaries(PLACES, st.integers(0, 255), min_size=1, max_size=4),
    st.just(1.0) | PLACES,
)
def test_a_damaged_entry_is_never_taken_for_a_good_one(
    changes: dict[float, int], kept: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ws = Workspace(Path(folder), "digits")
        cache = RunCache(ws)
        cache.store(write(ws, CONTENT))
        damaged = bytearray(entry(cache).read_bytes())
        for place, value in changes.items():
            damaged[int(place * len(damaged))] = value
        entry(cache).write_bytes(damaged[: int(kept * len(damaged))])
        before = dict.fromkeys(CONTENT, b"another")
        write(ws, before, key="another")

        cache.peek(KEY)
        if cache.restore(KEY) is None:
            assert standing(ws, before) == before
            assert cache.entries() == []
        else:
            assert standing(ws, CONTENT) == CONTENT
        assert not list(ws.home.rglob("*.new"))


def replace_member(cache: RunCache, name: str, data: bytes | None) -> None:
    """Rewrite the entry with another member, or without it."""
    path = entry(cache)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    if data is None:
        del members[name]
    else:
        members[name] = data
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


@pytest.mark.parametrize("name", [RUN, *CONTENT])
@pytest.mark.parametrize("data", [None, b"", b"something else"])
def test_an_entry_with_another_content_is_dropped(
    stored: RunCache,
    capfd: pytest.CaptureFixture[str],
    name: str,
    data: bytes | None,
) -> None:
    replace_member(stored, name, data)
    assert stored.restore(KEY) is None
    assert stored.entries() == []
    assert capfd.readouterr()[0].startswith("cache: dropped a damaged entry")


# growing too large


def keep(cache: RunCache, key: str, used: float) -> None:
    cache.store(write(cache.ws, {"flash/a": os.urandom(1 << 20)}, key))
    os.utime(cache.folder / f"{key}.zip", (used, used))


def keys(cache: RunCache) -> list[str]:
    return [entry.key for entry in cache.entries()]


def test_the_least_recently_used_goes_first(ws: Workspace) -> None:
    cache = RunCache(ws)
    for key, used in (("b", 200), ("a", 100), ("c", 300)):
        keep(cache, key, used)
    dropped = cache.prune(2.5)
    assert [entry.key for entry in dropped] == ["a"]
    assert keys(cache) == ["c", "b"]


def test_what_is_restored_counts_as_used(ws: Workspace) -> None:
    cache = RunCache(ws)
    for key, used in (("a", 100), ("b", 200)):
        keep(cache, key, used)
    cache.restore("a")
    assert keys(cache) == ["a", "b"]


def test_storing_drops_what_is_over_the_capacity(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = RunCache(ws)
    keep(cache, "a", 100)
    monkeypatch.setenv(CAPACITY_VARIABLE, "1.5")
    keep(cache, "b", time.time())
    assert keys(cache) == ["b"]


def test_drafts_of_killed_processes_go_after_a_while(ws: Workspace) -> None:
    cache = RunCache(ws)
    keep(cache, "a", 100)
    for name, age in ((".old.1", 7200.0), (".young.2", 60.0)):
        (cache.folder / name).touch()
        os.utime(cache.folder / name, (time.time() - age,) * 2)
    cache.prune(100)
    assert {path.name for path in cache.folder.iterdir()} == {"a.zip", ".young.2"}


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("12.5", 12.5), ("1e3", 1000)])
def test_the_capacity_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, text: str, size: float
) -> None:
    monkeypatch.setenv(CAPACITY_VARIABLE, text)
    assert capacity() == size


@pytest.mark.parametrize("text", ["", "much", "-1", "nan", "1 GiB"])
def test_a_capacity_that_is_no_size_is_refused(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(CAPACITY_VARIABLE, text)
    with pytest.raises(UserError, match=f"{CAPACITY_VARIABLE}={text}: not a size"):
        capacity()
