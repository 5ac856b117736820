"""Folders and CSVs of pictures, split and prepared as the settings say."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign import SIGN_DIGITS, require_sign_digits
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from stages import dataset
from stages.dataset import Dataset, splitting
from stages.project.data import Split as Wanted
from stages.project.schema import Data

THIRDS = {"train": 4, "validation": 2, "test": 2}
"""A split for small sets."""


def pixels(seed: int, shape: Sequence[int] = (6, 6, 3)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, tuple(shape), np.uint8)


def picture(path: Path, seed: int, shape: Sequence[int] = (6, 6, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, shape)).save(path)


def folder(root: Path, classes: Iterable[str] = "ab", count: int = 6) -> Path:
    for number, name in enumerate(classes):
        for i in range(count):
            picture(root / name / f"{i}.png", 100 * number + i)
    return root


def marked(root: Path, *splits: str, count: int = 6) -> Path:
    for number, split in enumerate(splits):
        for letter in "ab":
            for i in range(count):
                seed = 1000 * number + 100 * ord(letter) + i
                picture(root / split / letter / f"{i}.png", seed)
    return root


def table(root: Path, *lines: str, header: str = "path,label") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    path = root / "labels.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def load(path: Path, kind: Any = "folder", **keys: Any) -> Dataset:
    keys = {"size": (6, 6), "color": "rgb", "split": THIRDS, **keys}
    return dataset.load(Data(kind=kind, path=str(path), **keys), path.parent)


def shown(data: Dataset) -> dict[str, list[bytes]]:
    return {
        name: [image.tobytes() for image in split.images]
        for name, split in data.splits().items()
    }


# what is read


def test_a_folder_per_class_gives_pictures_and_labels(tmp_path: Path) -> None:
    data = load(folder(tmp_path / "set"))
    assert data.classes == ("a", "b")
    assert {name: len(split) for name, split in data.splits().items()} == THIRDS
    known = {pixels(100 * n + i).tobytes(): n for n in range(2) for i in range(6)}
    for split in data.splits().values():
        assert split.labels is not None
        assert [known[image.tobytes()] for image in split.images] == [*split.labels]


@pytest.mark.parametrize("suffix", ["png", "bmp", "PNG"])
def test_every_lossless_format_gives_the_same_pixels(
    tmp_path: Path, suffix: str
) -> None:
    for number in range(8):
        picture(tmp_path / "set" / "ab"[number % 2] / f"{number}.{suffix}", number)
    found = {i for images in shown(load(tmp_path / "set")).values() for i in images}
    assert found == {pixels(number).tobytes() for number in range(8)}


def test_jpegs_are_read_as_pillow_reads_them(tmp_path: Path) -> None:
    for number in range(8):
        picture(tmp_path / "set" / "ab"[number % 2] / f"{number}.jpeg", number)
    found = {i for images in shown(load(tmp_path / "set")).values() for i in images}
    paths = (tmp_path / "set").glob("*/*.jpeg")
    assert found == {np.asarray(Image.open(path)).tobytes() for path in paths}


def test_pictures_may_lie_deeper_and_other_files_are_counted(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", count=4)
    (root / "a" / "deep").mkdir()
    (root / "a" / "0.png").rename(root / "a" / "deep" / "0.png")
    (root / "LICENSE").write_text("mine")
    (root / "b" / "thumbs.webp").write_text("none")
    (root / "b" / ".hidden.png").write_text("none")
    data = load(root)
    assert sum(len(split) for split in data.splits().values()) == 8
    assert data.notes["ignored_files"] == 2


def test_classes_that_are_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", ("10", "9", "x", "1"), count=3)
    assert load(root).classes == ("1", "9", "10", "x")


def test_the_order_of_the_classes_can_be_given(tmp_path: Path) -> None:
    data = load(folder(tmp_path / "set"), classes=["b", "a"])
    assert data.classes == ("b", "a")
    known = {pixels(i).tobytes() for i in range(6)}
    assert data.train.labels is not None
    first = [image.tobytes() in known for image in data.train.images]
    assert first == [label == 1 for label in data.train.labels]


def test_a_photograph_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", count=4)
    tall = pixels(7, (4, 6, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise
    for i in range(4):
        path = root / "c" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.roll(tall, i, axis=0)).save(path, exif=exif)
    data = load(root, size=(6, 4), resize="crop", split={**THIRDS, "train": 8})
    found = {i for images in shown(data).values() for i in images}
    for i in range(4):
        assert np.rot90(np.roll(tall, i, axis=0), -1).tobytes() in found


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA"])
def test_kinds_of_pictures_that_mean_the_same_are_taken(
    tmp_path: Path, mode: str
) -> None:
    for number in range(8):
        path = tmp_path / "set" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels(number))
        if mode == "LA":
            image = image.convert("L")
        image.convert(mode).save(path)
    data = load(tmp_path / "set")
    assert data.train.images.shape == (4, 6, 6, 3)
    if mode == "RGBA":
        assert data.train.images[0].tobytes() in {pixels(n).tobytes() for n in range(8)}


def test_pictures_come_in_the_models_size_and_colour(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for number in range(8):
        shape = (20 + number, 30, 3) if number % 3 else (9, 9)
        picture(root / "ab"[number % 2] / f"{number}.png", number, shape)
    colors: list[tuple[Any, int]] = [("grey", 1), ("rgb", 3), ("bgr", 3)]
    for color, channels in colors:
        data = load(root, color=color, resize="letterbox", size=(8, 12))
        assert data.train.images.shape == (4, 8, 12, channels)
        settings = Data(
            kind="folder", path="x", color=color, size=(8, 12), resize="letterbox"
        )
        prepared = dataset.input_of(settings).prepare_batch(data.train.images)
        assert prepared.shape == (4, channels, 8, 12)


# CSV


def rows(root: Path, count: int = 8, extra: str = "") -> list[str]:
    for number in range(count):
        picture(root / f"{number}.png", number)
    return [f"{number}.png,{'ab'[number % 2]}{extra}" for number in range(count)]


def test_a_csv_names_pictures_relative_to_itself(tmp_path: Path) -> None:
    path = table(tmp_path / "set", *rows(tmp_path / "set"))
    data = load(path, "csv")
    assert data.classes == ("a", "b")
    assert sum(len(split) for split in data.splits().values()) == 8


def test_labels_of_a_csv_that_are_numbers_are_sorted_as_numbers(
    tmp_path: Path,
) -> None:
    for number in range(8):
        picture(tmp_path / f"{number}.png", number)
    lines = [f"{number}.png,{8 + number % 4}" for number in range(8)]
    split = {"train": 4, "validation": 0, "test": 4}
    data = load(table(tmp_path, *lines), "csv", split=split)
    assert data.classes == ("8", "9", "10", "11")


def test_a_column_says_which_split_a_row_is_for(tmp_path: Path) -> None:
    lines = [
        f"{line},{'test' if number < 3 else 'train'}"
        for number, line in enumerate(rows(tmp_path))
    ]
    path = table(tmp_path, *lines, header="path,label,split")
    data = load(path, "csv", split={"by": "column", "validation": 0})
    found = shown(data)
    assert {*found["test"]} == {pixels(number).tobytes() for number in range(3)}
    assert len(found["train"]) == 5
    assert not found["validation"]


def test_a_column_says_which_group_a_row_is_of(tmp_path: Path) -> None:
    lines = [f"{line},{n // 2 % 4}" for n, line in enumerate(rows(tmp_path, 16))]
    path = table(tmp_path, *lines, header="path,label,group")
    found = shown(load(path, "csv", split={"by": "group"}))
    groups = {
        name: {n // 2 % 4 for n in range(16) if pixels(n).tobytes() in images}
        for name, images in found.items()
    }
    assert sum(map(len, groups.values())) == 4
    assert groups["train"]
    assert groups["test"]


# splits


def test_a_split_by_folder_takes_the_folders_as_they_are(tmp_path: Path) -> None:
    root = marked(tmp_path / "set", "train", "test", count=10)
    data = load(root, split={"by": "folder"})
    assert {name: len(split) for name, split in data.splits().items()} == {
        "train": 18,
        "validation": 2,
        "test": 20,
    }
    expected = {np.asarray(Image.open(p)).tobytes() for p in root.glob("test/*/*")}
    assert {*shown(data)["test"]} == expected


def test_a_folder_of_pictures_to_validate_with_is_used(tmp_path: Path) -> None:
    root = marked(tmp_path / "set", "train", "validation", "test")
    data = load(root, split={"by": "folder", "train": 0.5, "test": 4})
    sizes = {name: len(split) for name, split in data.splits().items()}
    assert sizes == {"train": 6, "validation": 12, "test": 4}


def test_fractions_are_of_all_pictures(tmp_path: Path) -> None:
    split = {"train": 0.5, "validation": 0.25, "test": 0.25}
    data = load(folder(tmp_path / "set", count=8), split=split)
    assert [len(split) for split in data.splits().values()] == [8, 4, 4]


def test_the_seed_alone_decides_the_split(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    assert shown(load(root)) == shown(load(root))
    assert shown(load(root)) != shown(load(root, seed=1))


def test_what_training_recorded_is_recognized(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    split = Wanted(train=4, validation=2, test=2)
    settings = Data(kind="folder", path=str(root), size=(6, 6), channels=3, split=split)
    record = dataset.load(settings, tmp_path).record()
    dataset.load_recorded(settings, tmp_path, record)
    for i in range(6):
        picture(root / "a" / f"{i}.png", 500 + i)
    with pytest.raises(Exception, match="is no longer what train/split.json records"):
        dataset.load_recorded(settings, tmp_path, record)


LABELS = st.lists(st.integers(0, 4), min_size=8, max_size=60)


@given(labels=LABELS, seed=st.integers(0, 99))
def test_every_prefix_of_an_order_is_balanced(labels: list[int], seed: int) -> None:
    known = np.array(labels, np.int64)
    order = dataset.balanced_order(known, len(known), seed)
    assert sorted(order) == list(range(len(known)))
    totals = np.bincount(known, minlength=5)
    for end in range(1, len(known) + 1):
        counts = np.bincount(known[order[:end]], minlength=5)
        lacking = counts[counts < totals]  # a class of which there are more
        if len(lacking):
            assert counts.max() - lacking.min() <= 1


@given(labels=LABELS, seed=st.integers(0, 99), data=st.data())
def test_splits_by_seed_are_disjoint_and_of_the_size_asked_for(
    labels: list[int], seed: int, data: st.DataObject
) -> None:
    count = len(labels)
    train = data.draw(st.integers(1, count - 1))
    test = data.draw(st.integers(1, count - train))
    rest = count - train - test
    wanted = Wanted(train=train, validation=rest, test=test)
    chosen = splitting.by_seed(wanted, seed, count, np.array(labels))
    assert [len(chosen[name]) for name in chosen] == [train, rest, test]
    assert sorted(np.concatenate([*chosen.values()])) == list(range(count))


@given(
    groups=st.lists(st.sampled_from("abcdefgh"), min_size=12, max_size=80),
    seed=st.integers(0, 99),
)
def test_no_group_is_in_two_splits_and_no_picture_is_lost(
    groups: list[str], seed: int
) -> None:
    groups = [*groups, "a", "b", "c"]
    labels = np.zeros(len(groups), np.int64)
    wanted = Wanted(by="group")
    chosen = splitting.by_group(wanted, seed, groups, labels)
    held = {name: {groups[i] for i in chosen[name]} for name in chosen}
    assert sum(map(len, held.values())) == len(set(groups))
    assert sorted(np.concatenate([*chosen.values()])) == list(range(len(groups)))
    again = splitting.by_group(wanted, seed, groups, labels)
    assert all(np.array_equal(chosen[name], again[name]) for name in chosen)


@given(
    marks=st.lists(st.sampled_from(["train", "test"]), min_size=20, max_size=60),
    seed=st.integers(0, 99),
)
def test_validation_is_drawn_from_training_only(marks: list[str], seed: int) -> None:
    marks = [*marks, "train", "test"]
    labels = np.arange(len(marks)) % 3
    wanted = Wanted(by="column", validation=0.3)
    chosen = splitting.by_mark(wanted, seed, marks, labels)
    held = {name: sorted(chosen[name]) for name in chosen}
    assert held["test"] == [i for i, mark in enumerate(marks) if mark == "test"]
    both = sorted(held["train"] + held["validation"])
    assert both == [i for i, mark in enumerate(marks) if mark == "train"]


# photographs, where there are some


def photographs() -> Path:
    require_sign_digits()
    return SIGN_DIGITS


def test_photographs_in_folders_load_as_they_are() -> None:
    data = load(photographs(), size=(64, 64), resize="crop", split={"by": "folder"})
    assert data.classes == tuple("0123456789")
    assert len(data.test) == 309
    assert len(data.train) + len(data.validation) == 1443
    assert data.notes == {"ignored_files": 1, "copies": 0}


def test_photographs_grouped_by_number_share_no_number() -> None:
    root = photographs() / "test"
    split = {"by": "group", "group": r"IMG_\d*(\d\d)"}
    first = load(root, size=(32, 32), resize="stretch", color="grey", split=split)
    assert sum(len(part) for part in first.splits().values()) == 309
