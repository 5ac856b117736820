"""What wrong data is told: one sentence each, naming what is wrong."""

import os
import shutil
import struct
import zlib
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from k210.errors import UserError
from stages import dataset
from stages.dataset import decoding
from stages.project.schema import Data

SPLIT = {"train": 4, "validation": 2, "test": 2}
BY_FOLDER = {"split": {"by": "folder"}}
Change = Callable[[Path], object]


def noise(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))


def make(root: Path, *folders: str, count: int = 5) -> None:
    """Eight pictures or more, each different, in folders below the root."""
    for number, name in enumerate(folders):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            noise(100 * number + i).save(root / name / f"{i}.png")


def refusal(path: Path, kind: str = "folder", **keys: Any) -> str:
    keys = {"size": [8, 8], "channels": 3, "split": SPLIT, **keys}
    settings = Data.model_validate({"kind": kind, "path": str(path), **keys})
    with pytest.raises(UserError) as caught:
        dataset.load(settings, path.parent)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence.replace(str(path), "SET").replace(str(path.parent), "TMP")


def sixteen_bit_rgb(path: Path) -> None:
    """A PNG of 16 bits per channel, which Pillow itself cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(8 * 3 * 2) for _ in range(8))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def animated(path: Path, kind: str) -> None:
    others = [noise(901), noise(902)]
    noise(900).save(path, format=kind, save_all=True, append_images=others)


def cut(path: Path, kind: str) -> None:
    noise(900).resize((64, 64)).save(path, format=kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def transparent(path: Path) -> None:
    image = noise(900).convert("RGBA")
    image.putpixel((3, 3), (1, 2, 3, 4))
    image.save(path)


def in_place(change: Change) -> Change:
    """A change of one picture, ``a/x.png``, that the set gets besides its good ones."""
    return lambda root: change(root / "a" / "x.png")


PICTURES: list[tuple[str, Change, str]] = [
    (
        "noise",
        in_place(lambda path: path.write_bytes(b"no picture")),
        "a/x.png is damaged or no picture at all: repair or remove it",
    ),
    (
        "an empty file",
        in_place(lambda path: path.touch()),
        "a/x.png is damaged or no picture at all: repair or remove it",
    ),
    (
        "half a PNG",
        in_place(lambda path: cut(path, "PNG")),
        "a/x.png cannot be read (image file is truncated",
    ),
    (
        "half a JPEG",
        in_place(lambda path: cut(path, "JPEG")),
        "a/x.png cannot be read (image file is truncated",
    ),
    (
        "half a BMP",
        in_place(lambda path: cut(path, "BMP")),
        "a/x.png cannot be read (image file is truncated",
    ),
    (
        "a grey PNG of 16 bits",
        in_place(lambda path: Image.new("I;16", (8, 8), 700).save(path)),
        "a/x.png has 16 bits per channel: save it with 8",
    ),
    (
        "a colour PNG of 16 bits",
        in_place(sixteen_bit_rgb),
        "a/x.png has 16 bits per channel: save it with 8",
    ),
    (
        "an animated GIF",
        in_place(lambda path: animated(path, "GIF")),
        "a/x.png has 3 frames: save one of them as a picture",
    ),
    (
        "an animated PNG",
        in_place(lambda path: animated(path, "PNG")),
        "a/x.png has 3 frames: save one of them as a picture",
    ),
    (
        "a GIF in disguise",
        in_place(lambda path: noise(1).save(path, format="GIF")),
        "a/x.png is a GIF file in disguise: save it as PNG or JPEG",
    ),
    (
        "colours for print",
        in_place(lambda path: noise(1).convert("CMYK").save(path, format="JPEG")),
        "a/x.png has the colours CMYK: save it as RGB",
    ),
    (
        "transparent parts",
        in_place(transparent),
        "a/x.png has transparent parts: lay it on a background",
    ),
    (
        "a link to nowhere",
        in_place(lambda path: path.symlink_to("nowhere.png")),
        "a/x.png does not exist: correct its name",
    ),
    (
        "a picture larger than the input",
        in_place(lambda path: noise(1).resize((9, 12)).save(path)),
        "a/x.png is 12×9, and data.resize: pad does not make that 8×8: "
        "set data.resize to crop, letterbox or stretch",
    ),
]


@pytest.mark.parametrize(
    ("change", "words"), [case[1:] for case in PICTURES], ids=[c[0] for c in PICTURES]
)
def test_a_picture_that_cannot_be_used_is_named(
    tmp_path: Path, change: Change, words: str
) -> None:
    make(tmp_path / "set", "a", "b", count=4)
    change(tmp_path / "set")
    split = {"train": 5, "validation": 2, "test": 2}
    sentence = refusal(tmp_path / "set", split=split)
    assert sentence.startswith("1 of 9 pictures cannot be used: " + words)


def test_all_bad_pictures_are_counted_and_the_first_ones_named(tmp_path: Path) -> None:
    make(tmp_path / "set", "a", "b", "c")
    for path in (tmp_path / "set").glob("[ab]/*"):
        path.write_bytes(b"no picture")
    split = {"train": 10, "validation": 2, "test": 3}
    sentence = refusal(tmp_path / "set", split=split)
    assert sentence.startswith("10 of 15 pictures cannot be used: ")
    assert sentence.count("is damaged") == 3
    assert sentence.endswith("; and 7 more: repair or remove it")


def all_of(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def file_instead(root: Path) -> None:
    shutil.rmtree(root)
    root.write_text("a file")


def all_alike(root: Path) -> None:
    for path in all_of(root):
        noise(5).save(path)


def split_folders(root: Path) -> None:
    (root / "a").rename(root / "train")
    make(root, "test")


FOLDERS: list[tuple[str, Change, dict[str, Any], str]] = [
    ("nothing there", shutil.rmtree, {}, "SET: does not exist; data.path must name"),
    (
        "a file in its place",
        file_instead,
        {},
        "SET: is a file; data.path must name a folder with one per class",
    ),
    (
        "no pictures",
        lambda root: [path.rename(path.with_suffix(".gif")) for path in all_of(root)],
        {},
        "SET: holds no pictures (jpg, jpeg, png, bmp), but 10 other files (.gif); "
        "check data.path",
    ),
    (
        "no files",
        lambda root: deque(map(Path.unlink, all_of(root))),
        {},
        "SET: holds no pictures (jpg, jpeg, png, bmp); check data.path",
    ),
    (
        "an empty class",
        lambda root: (root / "c").mkdir(),
        {},
        "SET/c: holds no pictures; remove the class or add some",
    ),
    (
        "one class",
        lambda root: shutil.rmtree(root / "b"),
        {"split": {"train": 3, "validation": 0, "test": 2}},
        "SET: all pictures are of the one class 'a'; a classifier needs at least two",
    ),
    (
        "pictures in no class",
        lambda root: noise(7).save(root / "stray.png"),
        {},
        "SET: 1 pictures lie in no class's folder (stray.png); move them to path/CLASS",
    ),
    (
        "a class that is not named",
        lambda root: None,
        {"classes": ["a"]},
        "SET: has the class 'b', which data.classes does not name; name all classes",
    ),
    (
        "a class that is not there",
        lambda root: None,
        {"classes": ["a", "b", "c"]},
        "data.classes names 'c', of which SET has no pictures; remove the name or",
    ),
    (
        "too few pictures",
        lambda root: None,
        {"split": {"train": 8, "validation": 2, "test": 1}},
        "data.split asks for 11 samples and the data has 10; make the splits smaller",
    ),
    (
        "a fraction of nothing",
        lambda root: None,
        {"split": {"train": 4, "validation": 0, "test": 0.01}},
        "data.split.test leaves no pictures (split by seed); ask for more, or add some",
    ),
    (
        "one picture in two splits",
        all_alike,
        {},
        "4 pictures are in two splits: ",
    ),
    (
        "folders of splits taken for classes",
        split_folders,
        {},
        "SET: has the folders train and test; set data.split.by: folder",
    ),
    (
        "classes taken for splits",
        lambda root: None,
        BY_FOLDER,
        "SET: has no folder train, which data.split.by: folder needs",
    ),
    (
        "names without a group",
        lambda root: noise(50).save(root / "a" / "IMG_7.png"),
        {"split": {"by": "group", "group": r"IMG_(\d)"}},
        "SET: 10 pictures are of no group (a/0.png; a/1.png; a/2.png; and 7 more), "
        r"for data.split.group 'IMG_(\\d)' does not match their names; correct it",
    ),
    (
        "one group",
        lambda root: None,
        {"split": {"by": "group", "group": "([.])png"}},
        "data.split.by: group finds 1 groups, too few for 3 splits; correct",
    ),
]


@pytest.mark.parametrize(
    ("change", "keys", "words"), [c[1:] for c in FOLDERS], ids=[c[0] for c in FOLDERS]
)
def test_a_folder_that_cannot_be_used_is_refused(
    tmp_path: Path, change: Change, keys: dict[str, Any], words: str
) -> None:
    make(tmp_path / "set", "a", "b")
    change(tmp_path / "set")
    assert refusal(tmp_path / "set", **keys).startswith(words)


SPLITS: list[tuple[str, Change, str]] = [
    (
        "a fourth split",
        lambda root: make(root, "val/a"),
        "SET/val: is none of train, validation, test; rename or move it",
    ),
    (
        "an empty class in one split",
        lambda root: (root / "test" / "c").mkdir(),
        "SET/test/c: holds no pictures; remove the class or add some",
    ),
    (
        "a class without training",
        lambda root: make(root, "test/a", "test/b", "test/c"),
        "the test split has pictures of classes that the train split has not: 'c'; "
        "add some to train",
    ),
    (
        "a copy of a training picture, as another kind of file",
        lambda root: Image.open(root / "train/a/0.png").save(root / "test/b/copy.bmp"),
        "1 pictures are in two splits: train/a/0.png (train) is test/b/copy.bmp (test)",
    ),
    (
        "a picture beside the classes",
        lambda root: noise(9).save(root / "test" / "x.png"),
        "SET: 1 pictures lie in no class's folder (test/x.png); move them to ",
    ),
]


@pytest.mark.parametrize(
    ("change", "words"), [case[1:] for case in SPLITS], ids=[c[0] for c in SPLITS]
)
def test_folders_of_splits_that_cannot_be_used_are_refused(
    tmp_path: Path, change: Change, words: str
) -> None:
    make(tmp_path / "set", "train/a", "train/b", "test/a", "test/b")
    change(tmp_path / "set")
    split = {"by": "folder", "validation": 0}
    assert refusal(tmp_path / "set", split=split).startswith(words)


def test_more_than_the_folder_holds_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "set", "train/a", "train/b", "test/a", "test/b")
    split = {"by": "folder", "validation": 0, "test": 11}
    assert refusal(tmp_path / "set", split=split) == (
        "data.split.test asks for 11 pictures and there are 10 to choose from; "
        "ask for fewer"
    )


GOOD = [f"a/{i}.png,one" for i in range(5)] + [f"b/{i}.png,two" for i in range(5)]
COLUMN = {"split": {"by": "column"}}

TABLES: list[tuple[str, bytes, dict[str, Any], str]] = [
    ("nothing", b"", {}, "SET: has no column 'path', its first line says nothing"),
    ("no rows", b"path,label\n", {}, "SET: has no rows below its header; add pictures"),
    (
        "no header",
        b"a/0.png,one\n",
        {},
        "SET: has no column 'path', its first line says a/0.png, one",
    ),
    (
        "another header",
        b"path,class\na/0.png,one\n",
        {},
        "SET: has no column 'label', its first line says path, class",
    ),
    (
        "no column for the split",
        b"path,label\na/0.png,one\n",
        COLUMN,
        "SET: has no column 'split', its first line says path, label",
    ),
    (
        "no column for the group",
        b"path,label\na/0.png,one\n",
        {"split": {"by": "group"}},
        "SET: has no column 'group', its first line says path, label",
    ),
    (
        "a column twice",
        b"path,label,label\na/0.png,one,two\n",
        {},
        "SET: has the column 'label' twice; remove one",
    ),
    (
        "rows with too little and too much",
        b"path,label\na/0.png\na/1.png,one\na/2.png,one,three\n,one\na/3.png,\n",
        {},
        "SET: 4 rows are wrong: line 2 has no label; line 4 has more fields than the "
        "header; line 5 has no path; and 1 more; correct them",
    ),
    (
        "another split",
        b"path,label,split\na/0.png,one,train\na/1.png,one,dev\n",
        COLUMN,
        "SET: 1 rows are wrong: line 3 has the split 'dev', which is none of train, "
        "validation, test; correct them",
    ),
    (
        "one row twice",
        b"path,label\na/0.png,one\na/1.png,two\na/0.png,two\n",
        {},
        "SET: 1 rows are wrong: line 4 names a/0.png as line 2; correct them",
    ),
    (
        "another encoding",
        "path,label\na/0.png,Größe\n".encode("latin-1"),
        {},
        "SET: is not UTF-8 text; save the CSV with that encoding",
    ),
    (
        "a quote that stays open",
        b'path,label\n"a/0.png,one\n',
        {},
        "SET: line 2 is not CSV (unexpected end of data); correct it",
    ),
    (
        "a picture that is not there",
        "\n".join(["path,label", *GOOD, "c/9.png,two"]).encode(),
        {"split": {"train": 8, "validation": 1, "test": 2}},
        "1 of 11 pictures cannot be used: c/9.png does not exist: correct its name",
    ),
]


@pytest.mark.parametrize(
    ("text", "keys", "words"), [c[1:] for c in TABLES], ids=[c[0] for c in TABLES]
)
def test_a_csv_that_cannot_be_used_is_refused(
    tmp_path: Path, text: bytes, keys: dict[str, Any], words: str
) -> None:
    make(tmp_path, "a", "b")
    path = tmp_path / "labels.csv"
    path.write_bytes(text)
    assert refusal(path, "csv", **keys).startswith(words)


def test_a_folder_is_no_csv(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    assert refusal(tmp_path / "set", "csv").startswith(
        "SET: cannot be read (Is a directory); data.path must name a CSV"
    )


def test_half_an_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, images=np.zeros((4, 8, 8, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:-50])
    assert refusal(path, "npz").startswith("SET: not a readable .npz file: ")


def test_a_variable_that_is_not_set_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PICTURES", raising=False)
    settings = Data.model_validate({"kind": "folder", "path": "$PICTURES/set"})
    with pytest.raises(UserError) as caught:
        dataset.load(settings, tmp_path)
    assert str(caught.value) == (
        "data.path: the environment variable PICTURES is not set and '$PICTURES/set' "
        "needs it; set it, for example export PICTURES=/some/folder"
    )


SPEC = dataset.input_of(
    Data.model_validate({"size": [8, 8], "channels": 3, "resize": "crop"})
)


@hypothesis.settings(deadline=None)
@given(kind=st.sampled_from(["PNG", "JPEG", "BMP", "GIF"]), data=st.data())
def test_a_damaged_file_is_decoded_or_refused(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / f"damaged-{os.getpid()}.png"
    noise(3).save(path, format=kind)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    path.write_bytes(content)
    try:
        decoded = decoding.decode_one(path, SPEC)
    except decoding.Flaw:
        return
    assert decoded.pixels.shape == (8, 8, 3)
