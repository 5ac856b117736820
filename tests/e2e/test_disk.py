"""A disk that is full or may not be written to, as a small file system of its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Checkout, assert_refused, foretold, outcomes

from stages.graph import NAMES

PLENTY = 256 << 20


class SmallDisk:
    """A tmpfs in the place of a checkout's build folder."""

    def __init__(self, build: Path) -> None:
        self.build = build
        build.mkdir(exist_ok=True)
        self._mount("-t", "tmpfs", "-o", f"size={PLENTY}", "tmpfs")

    def _mount(self, *arguments: str) -> None:
        command = ["mount", *arguments, str(self.build)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")

    def leave(self, free: int) -> None:
        """Make it so small that this many bytes are free, whole pages of them."""
        state = os.statvfs(self.build)
        used = (state.f_blocks - state.f_bfree) * state.f_frsize
        self._mount("-o", f"remount,size={used + free}")

    def make_read_only(self) -> None:
        """Let nobody write to it."""
        self._mount("-o", "remount,ro")

    def unmount(self) -> None:
        """Take it away."""
        subprocess.run(["umount", "--lazy", str(self.build)], check=True)


@pytest.fixture
def empty_disk(checkout: Checkout) -> Iterator[SmallDisk]:
    """What the fresh checkout builds on."""
    disk = SmallDisk(checkout.root / "build")
    yield disk
    disk.unmount()


@pytest.fixture
def disk(deployed: Checkout) -> Iterator[SmallDisk]:
    """What the deployed checkout stands on."""
    build = deployed.root / "build"
    build.rename(deployed.root / "was")
    disk = SmallDisk(build)
    shutil.copytree(deployed.root / "was", build, dirs_exist_ok=True)
    yield disk
    disk.unmount()


def test_a_disk_full_while_training(checkout: Checkout, empty_disk: SmallDisk) -> None:
    empty_disk.leave(128 << 10)
    assert_refused(checkout.doit("deploy"), "train: cannot write", "the disk is full")
    assert not (checkout.root / "build/tiny/train").exists()
    assert_refused(checkout.stage("export"), "train/split.json is missing")


@pytest.mark.parametrize(
    ("stage", "free", "words"),
    [
        ("compile", 8 << 10, "cannot write"),
        ("flash", 64 << 10, "No space left on device"),
        ("report", 16 << 10, "cannot write"),
    ],
)
def test_a_disk_full_later_on(
    deployed: Checkout, disk: SmallDisk, stage: str, free: int, words: str
) -> None:
    shutil.rmtree(disk.build / ".cache")
    shutil.rmtree(disk.build / "tiny" / stage)
    if stage == "flash":
        shutil.rmtree(disk.build / "tiny/board")
    disk.leave(free)
    done = deployed.doit("deploy")
    assert_refused(done, f"error: {stage}: ", words)
    assert outcomes(done.stdout)[stage] == "failed"
    assert not (disk.build / "tiny" / stage).exists()
    disk.leave(PLENTY)
    done = deployed.doit("deploy")
    assert done.returncode == 0, done.stderr
    happened = outcomes(done.stdout)
    assert happened.pop(stage) == "ran"
    behind = NAMES[NAMES.index(stage) :]
    assert all(
        happened[name] == "up to date" for name in happened if name not in behind
    )


def test_a_disk_without_room_for_the_cache_keeps_the_result(
    deployed: Checkout, disk: SmallDisk
) -> None:
    shutil.rmtree(disk.build / ".cache")
    page = (disk.build / "tiny/report/index.html").stat().st_size
    shutil.rmtree(disk.build / "tiny/report")
    disk.leave(page + (20 << 10))
    done = deployed.doit("deploy")
    assert done.returncode == 0, done.stderr
    assert "cache: this result is not kept for later" in done.stdout
    assert set(outcomes(deployed.doit("deploy").stdout).values()) == {"up to date"}


@pytest.mark.long
@pytest.mark.parametrize("mebibytes", [0.2, 0.4, 1, 5, 17, 20])
def test_a_disk_of_any_size_completes_or_says_that_it_is_full(
    checkout: Checkout, empty_disk: SmallDisk, mebibytes: float
) -> None:
    empty_disk.leave(int(mebibytes * 256) << 12)
    done = checkout.doit("deploy")
    if done.returncode:
        assert_refused(done, "cannot ")
    empty_disk.leave(PLENTY)
    done = checkout.doit("deploy")
    assert done.returncode == 0, done.stderr


def test_a_build_folder_that_is_read_only(deployed: Checkout, disk: SmallDisk) -> None:
    assert deployed.doit("report", "--fresh").returncode == 0  # there is a cache again
    disk.make_read_only()
    done = deployed.doit("deploy")
    assert done.returncode == 0, done.stderr
    assert set(outcomes(done.stdout).values()) == {"up to date"}
    deployed.replace("check: {", "report: {title: Another}\ncheck: {")
    assert foretold(deployed.doit("why").stdout)["report"] == "would run"
    for done in (deployed.doit("deploy"), deployed.stage("report")):
        assert_refused(done, "report: cannot write", "read-only file system")
    for command in (("clean", "report"), ("cache", "prune", "0")):
        assert_refused(deployed.doit(*command), "read-only file system")
