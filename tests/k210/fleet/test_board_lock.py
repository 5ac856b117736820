import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from k210.errors import BoardError
from k210.fleet import board_lock
from k210.fleet.board_lock import Busy, holder, locked

HOLD = """
import sys
from k210.fleet.board_lock import locked
with locked({"dock": "/dev/dock"}, "project digits"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("K210_LOCKS", str(tmp_path))
    return tmp_path


@contextmanager
def held_elsewhere() -> Iterator[subprocess.Popen[str]]:
    """Another process holds /dev/dock until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_one_waits_and_says_for_whom() -> None:
    said: list[str] = []
    with held_elsewhere() as process:
        held = holder("/dev/dock")
        assert held is not None
        assert held.pid == process.pid

        def say(line: str) -> None:
            said.append(line)
            assert process.stdin
            process.stdin.close()

        with locked({"dock": "/dev/dock"}, "project kws", say) as lock:
            assert lock.name == "dock"
    assert len(said) == 1
    assert "the board dock is in use for project digits" in said[0]
    assert f"process {process.pid} of" in said[0]


def test_the_lock_of_a_dead_process_is_taken_over() -> None:
    with held_elsewhere() as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert holder("/dev/dock") is None
        with locked({"dock": "/dev/dock"}, "project kws", timeout=0):
            pass


def test_one_does_not_wait_longer_than_one_wants() -> None:
    with (
        held_elsewhere(),
        pytest.raises(Busy, match="in use for project digits"),
        locked({"dock": "/dev/dock"}, "project kws", timeout=0.2),
    ):
        pass


def test_of_several_boards_a_free_one_is_taken() -> None:
    boards = {"dock": "/dev/dock", "attic": "rfc2217://attic:4000"}
    with held_elsewhere(), locked(boards, "project kws", timeout=0) as lock:
        assert lock.name == "attic"


def test_a_lock_shuts_out_its_own_process_too() -> None:
    with (
        locked({"dock": "d"}, "one"),
        pytest.raises(Busy, match="in use for one"),
        locked({"dock": "d"}, "another", timeout=0),
    ):
        pass


def test_a_child_shares_the_lock_of_its_parent() -> None:
    with locked({"dock": "/dev/dock"}, "the nightly run") as lock:
        done = subprocess.run(
            [sys.executable, "-c", HOLD],
            env=os.environ | lock.environment(),
            input="",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout == "held\n", done.stderr
        held = holder("/dev/dock")  # the child did not take it along
        assert held is not None
        assert held.whom == "the nightly run"


def test_others_can_open_what_one_user_made(folder: Path) -> None:
    old = os.umask(0o077)
    try:
        with locked({"dock": "d"}, "one"):
            pass
    finally:
        os.umask(old)
    (file,) = folder.glob("*.lock")
    assert file.stat().st_mode & 0o777 == 0o666


def test_the_shared_folder_is_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("K210_LOCKS")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    monkeypatch.setattr(board_lock, "SHARED", (tmp_path / "no", shared))
    assert board_lock.folder() == shared / "k210"
    assert (shared / "k210").stat().st_mode & 0o7777 == 0o1777


def test_a_lock_is_no_way_to_write_elsewhere(folder: Path, tmp_path: Path) -> None:
    with locked({"dock": "d"}, "one"):
        (file,) = folder.glob("*.lock")
    file.unlink()
    file.symlink_to(tmp_path / "victim")
    with (
        pytest.raises(BoardError, match="cannot be used"),
        locked({"dock": "d"}, "one", timeout=0),
    ):
        pass
    assert not (tmp_path / "victim").exists()


def test_waiting_costs_little() -> None:
    before = time.process_time()
    with (
        held_elsewhere(),
        pytest.raises(Busy),
        locked({"dock": "/dev/dock"}, "project kws", timeout=0.5),
    ):
        pass
    assert time.process_time() - before < 0.25
