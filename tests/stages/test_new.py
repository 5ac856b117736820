"""`doit new` writes a project that runs, or says why it cannot."""

import contextlib
import os
import pty
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import BIN, Checkout, assert_refused

from stages import project
from stages.project.schema import Project


def new(checkout: Checkout, *arguments: str) -> Project:
    done = checkout.doit("new", "mine", *arguments)
    assert done.returncode == 0, done.stderr
    assert "written: projects/mine.yaml" in done.stdout
    assert "train" in done.stdout  # what `doit why` says
    return project.load(project.select(checkout.root, "mine"), checkout.root)


def pictures(folder: Path, classes: Sequence[str], mode: str = "RGB") -> None:
    from PIL import Image

    for name in classes:
        (folder / name).mkdir(parents=True)
        Image.new(mode, (8, 8)).save(folder / name / "a.png")


def test_folders_of_splits_are_found(checkout: Checkout) -> None:
    pictures(checkout.root / "signs/train", ["one", "two"])
    pictures(checkout.root / "signs/test", ["one", "two"])
    found = new(checkout, "--data", "signs", "--size", "32x48")
    assert (found.data.kind, found.data.path) == ("folder", "signs")
    assert (found.data.split.by, found.data.color) == ("folder", "rgb")
    assert found.data.size == (32, 48)
    assert found.model.architecture == "mobilenet_v1"


def test_grey_pictures_in_folders_are_split_by_shares(checkout: Checkout) -> None:
    pictures(checkout.root / "signs", ["one", "two"], "L")
    found = new(checkout, "--data", "signs", "--model", "kpunet")
    assert (found.data.split.by, found.data.split.train) == ("seed", 0.7)
    assert found.data.color == "grey"
    assert found.model.architecture == "kpunet"


@pytest.mark.parametrize(
    ("columns", "by"),
    [
        ("path,label", "seed"),
        ("path,label,split", "column"),
        ("path,label,group", "group"),
    ],
)
def test_a_table_is_split_as_its_columns_say(
    checkout: Checkout, columns: str, by: str
) -> None:
    checkout.write("signs.csv", f"{columns}\na.png,one,train\n")
    found = new(checkout, "--data", "signs.csv")
    assert (found.data.kind, found.data.split.by) == ("csv", by)


def test_arrays_say_their_colour(checkout: Checkout) -> None:
    import numpy as np

    images = np.zeros((20, 8, 8, 3), np.uint8)
    np.savez(checkout.root / "signs.npz", images=images, labels=np.arange(20) % 2)
    found = new(checkout, "--data", "signs.npz")
    assert (found.data.kind, found.data.color) == ("npz", "rgb")


def test_a_model_without_data_is_compared_on_made_up_pictures(
    checkout: Checkout, models: Path
) -> None:
    file = os.path.relpath(models / "plain.tflite", checkout.root)
    found = new(checkout, "--data", "none", "--model", file)
    assert found.data.kind == "synthetic"
    assert found.model.file is not None
    assert (checkout.root / found.model.file).resolve() == models / "plain.tflite"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["Mine"], "'Mine' cannot be a project's name"),
        (["tiny", "--size", "big"], "'big' is not a size"),
        (["mine", "--size", "3x32"], "data.size"),
        (["mine", "--model", "mobilenet_v9"], "model.architecture"),
        (["mine", "--data", "nowhere"], "nowhere: neither a folder nor"),
        (["mine", "--data", "empty"], "holds 0 folders"),
        (["mine", "--data", "pipeline.yaml"], "neither a folder nor"),
        (["mine", "--data", "broken.npz"], "no .npz file with an array `images`"),
        (["mine", "--data", "none"], "cannot be trained without labels"),
        (["mine", "--data", "$NOWHERE/x"], "NOWHERE is not set"),
        ([], "takes one name"),
    ],
)
def test_an_answer_that_cannot_be_used_leaves_no_file(
    checkout: Checkout, arguments: list[str], complaint: str
) -> None:
    (checkout.root / "empty").mkdir()
    checkout.write("broken.npz", "no arrays")
    assert_refused(checkout.doit("new", *arguments), complaint)
    assert not list(checkout.root.glob("projects/*.yaml"))


def test_a_project_that_is_there_is_not_overwritten(checkout: Checkout) -> None:
    written = checkout.write("projects/mine.yaml", "project: {description: kept}\n")
    assert_refused(checkout.doit("new", "mine"), "exists already")
    assert "kept" in written.read_text(encoding="utf-8")


def test_on_a_terminal_it_asks_three_questions(checkout: Checkout) -> None:
    pictures(checkout.root / "signs", ["one", "two"])
    child, terminal = pty.fork()
    if not child:
        os.chdir(checkout.root)
        os.execv(BIN / "doit", ["doit", "new", "mine"])
    said = b""
    for asked, answer in enumerate((b"signs\n", b"\n", b"40x40\n"), start=1):
        while said.count(b"? ") < asked:
            said += os.read(terminal, 1024)
        os.write(terminal, answer)
    with contextlib.suppress(OSError):  # what a terminal nobody writes to reads as
        while more := os.read(terminal, 1024):
            said += more
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, said
    found = project.load(project.select(checkout.root, "mine"), checkout.root)
    assert (found.data.path, found.data.size) == ("signs", (40, 40))
    assert found.model.architecture == "mobilenet_v1"
