"""Samples in memory: a split of them, and the three splits of a data set."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Some of the samples.

    Attributes:
        images: uint8, N×H×W×C, as they come, not yet prepared for the model; those
            from files of pictures are fitted to its size and colour.
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
    """The three splits, the classes' names (None without labels) and counts.

    ``notes`` counts what was met on the way: files of other kinds, and copies of
    pictures within a split.
    """

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...] | None
    notes: Mapping[str, int] = field(default_factory=dict)

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
