"""The section `data` of a project's YAML: the pictures, and how they become inputs.

The limits of ``data.size`` are the KPU's: feature maps of 4 to 256 rows and 4 to 512
columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field

from stages.project.fields import (
    Amount,
    AmountOrNone,
    Channels,
    Columns,
    Mean,
    Real,
    Rows,
    Section,
    Seed,
    Std,
    Text,
)


def _by_seed(count: int) -> Callable[[dict[str, Any]], int | None]:
    """How many pictures where the split names no source of its own: `count`."""
    return lambda data: count if data.get("by") == "seed" else None


class Split(Section):
    """Which pictures go where; no picture goes to two places.

    A whole number counts pictures, a fraction is one of all there are to choose from.
    """

    by: Literal["seed", "folder", "column", "group"] = Field(
        "seed",
        description="seed: drawn from all pictures; folder: path holds the folders "
        "train, test and, if there is one, validation; column: as the column `split` "
        "of the CSV says; group: drawn so that no group is in two splits.",
    )
    group: Text | None = Field(
        None,
        description="For `by: group`: a regular expression that finds the group in a "
        "picture's file name, with one pair of parentheses around it. A CSV may have "
        "a column `group` instead.",
    )
    train: Amount | None = Field(
        default_factory=_by_seed(3500),
        json_schema_extra={"default": 3500},
        description="Pictures to train and calibrate with. By another way than seed: "
        "all that are left.",
    )
    validation: AmountOrNone | None = Field(
        default_factory=_by_seed(500),
        json_schema_extra={"default": 500},
        description="Pictures that show how the training goes. By another way than "
        "seed: all that are marked so, or else a tenth of those to train with.",
    )
    test: Amount | None = Field(
        default_factory=_by_seed(1000),
        json_schema_extra={"default": 1000},
        description="Pictures the accuracy is measured on. By folder or column: all "
        "that are marked so; by group: a fifth.",
    )


def _channels(data: dict[str, Any]) -> Literal[1, 3]:
    return 3 if data.get("color") in ("rgb", "bgr") else 1


class Data(Section):
    """The pictures, and how they become the input of the model."""

    kind: Literal["mnist5k", "folder", "csv", "npz", "synthetic"] = Field(
        "mnist5k",
        description="mnist5k: 5000 handwritten digits; folder: jpg, png and bmp files "
        "in a folder per class; csv: a table of such files and their labels; npz: "
        "arrays; synthetic: pictures made from the seed, for a model without data.",
    )
    path: Text | None = Field(
        None,
        description="For kind folder: the folder that holds those of the classes. For "
        "kind csv: a file with the columns path (relative to it), label and, where "
        "data.split.by asks for it, split (train, validation or test) or group. For "
        "kind npz: a file with the arrays `images` (uint8, N×H×W or N×H×W×C) and, if "
        "there are labels, `labels` (whole numbers, N). Relative to the YAML file "
        "that says so, or to `root`; it may begin with an environment variable, "
        "$NAME or ${NAME}.",
    )
    root: Text | None = Field(
        None,
        description="The folder that `data.path`, `model.file` and "
        "`model.weights_from` are relative to; by default that of the YAML file that "
        "names them. It may begin with an environment variable.",
    )
    size: tuple[Rows, Columns] = Field(
        (32, 32),
        strict=False,
        description="Rows and columns of the model's input, in pixels.",
    )
    color: Literal["grey", "rgb", "bgr"] | None = Field(
        None,
        description="The channels of the model's input and their order; null: grey "
        "or RGB, as `channels` says.",
    )
    channels: Channels = Field(
        default_factory=_channels,
        json_schema_extra={"default": 1},
        description="1 for grey pictures, 3 for colour; by default as `color` says.",
    )
    resize: Literal["pad", "none", "stretch", "crop", "letterbox"] = Field(
        "pad",
        description="pad: put zeros evenly around smaller pictures and refuse larger "
        "ones; none: refuse pictures of any other size; stretch: scale each axis by "
        "itself; crop: scale the largest centred part of the model's proportions; "
        "letterbox: scale until the whole picture just fits, and pad.",
    )
    classes: tuple[Text, ...] | None = Field(
        None,
        strict=False,
        min_length=1,
        description="The names of the classes, in the order of their labels. For "
        "kinds folder and csv: all that there are, by default sorted.",
    )
    split: Split = Field(default_factory=Split, description="Pictures per purpose.")
    seed: Seed = Field(
        0, description="Chooses the split, and the pictures of kind synthetic."
    )
    range: tuple[Real, Real] = Field(
        (0.0, 1.0),
        strict=False,
        description="The real numbers that the bytes 0 and 255 stand for, before mean "
        "and std.",
    )
    mean: Mean = Field(
        0.0,
        description="What is taken from those numbers: one number, or one for each "
        "channel in the order of `color`. The model sees (number - mean) / std, of "
        "which 0 must be a byte: the range is shifted by at most half a step. The "
        "chip does it free of charge; one for each channel goes into the weights of "
        "the first convolution.",
    )
    std: Std = Field(
        1.0, description="What they are divided by after that; as mean, above 0."
    )
