"""Pictures and labels, split the same way every time.

Stages that need pictures load them through here and compare the split's digests
with those that training recorded, so that calibration and check speak of the same
samples.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210.errors import UserError
from stages.dataset import arrays, files, splitting
from stages.dataset.decoding import decode
from stages.dataset.files import SPLITS
from stages.dataset.inputs import (
    darkest,
    input_of,
    input_range,
    per_channel,
    training_input_of,
)
from stages.dataset.samples import Dataset, Labels, Pictures, Split
from stages.dataset.splitting import balanced_order
from stages.project.schema import Data

__all__ = [
    "Dataset",
    "Labels",
    "Pictures",
    "Split",
    "balanced_order",
    "darkest",
    "input_of",
    "input_range",
    "load",
    "load_recorded",
    "per_channel",
    "training_input_of",
]


def load(settings: Data, root: Path) -> Dataset:
    """Load the data that a project's ``data`` section names.

    Args:
        settings: the section.
        root: the folder that ``data.path`` is relative to.

    Raises:
        UserError: the data does not have what the section says.
    """
    if settings.kind in files.LISTINGS:
        return _from_files(settings, root)
    images, labels = arrays.SOURCES[settings.kind](settings, root)
    classes = arrays.classes_of(settings, labels)
    chosen = splitting.by_seed(settings.split, settings.seed, len(images), labels)
    everything = Split(images, labels)
    train, validation, test = (everything.take(chosen[name]) for name in SPLITS)
    return Dataset(train, validation, test, classes)


def _from_files(settings: Data, root: Path) -> Dataset:
    """Pictures in files, of which only those that are wanted are decoded."""
    listing = files.LISTINGS[settings.kind](settings, root)
    classes = files.classes_of(settings, listing)
    number = {name: i for i, name in enumerate(classes)}
    labels = np.array([number[item.label] for item in listing.items], np.int64)
    chosen = splitting.choose(settings, listing, labels)
    splitting.require_classes(chosen, labels, classes)
    order: NDArray[np.intp] = np.concatenate([chosen[name] for name in SPLITS])
    items = [listing.items[index] for index in order]
    images, digests = decode(items, input_of(settings))
    ends = np.cumsum([len(chosen[name]) for name in SPLITS]).tolist()
    copies = splitting.require_no_leak(items, digests, ends)
    train, validation, test = (
        Split(images[start:stop], labels[order[start:stop]])
        for start, stop in zip([0, *ends[:-1]], ends, strict=True)
    )
    notes = {"ignored_files": listing.ignored, "copies": copies}
    return Dataset(train, validation, test, classes, notes)


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
