"""``doit new NAME``: write ``projects/NAME.yaml`` from three answers.

It looks at the data to choose what can be seen there: the kind, how it is split, the
colour. What it cannot see it asks for, or takes from the options.
"""

import csv
import os
import re
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from doit.cmd_base import Command

from k210.errors import UserError
from stages import project
from stages.artifacts import Workspace, survey
from stages.artifacts.userfiles import csv_paths, user_path
from stages.commands.why import describe
from stages.graph import stages_of
from stages.refusal import refuse

PICTURES = (".jpg", ".jpeg", ".png", ".bmp")
MODEL_FILES = (".tflite", ".keras", ".h5", ".onnx")
LOOKED_AT = 200
"""Pictures whose colour is looked at."""

QUESTIONS = {
    "data": "Where is the data (a folder per class, .csv, .npz, or nothing for the "
    "digits that come along, or 'none')?",
    "model": "Which model (an architecture such as mobilenet_v1, or a model's file)?",
    "size": "Rows×columns of the model's input, for example 64x64?",
}
BY_SEED = "split: {train: 0.7, validation: 0.1, test: 0.2}"
DEFAULTS = {"data": "", "model": "mobilenet_v1", "size": "64x64"}


class New(Command):
    """The command's face to doit."""

    name = "new"
    doc_purpose = "write projects/NAME.yaml from three answers"
    doc_usage = "NAME"
    doc_description = "Asks for what the options do not say, then runs `doit why NAME`."
    cmd_options = tuple(
        {
            "name": key,
            "long": key,
            "type": str,
            "default": None,
            "help": question,
        }
        for key, question in QUESTIONS.items()
    )

    def execute(self, opt_values: dict[str, Any], pos_args: list[str]) -> int:
        """Ask, look, write, and say what would run."""
        root = Path.cwd()
        try:
            name, *rest = pos_args or [""]
            later, rest = self.cmdparser.parse(rest)  # options behind the name
            if not name or rest:
                raise UserError("`doit new` takes one name: doit new my-project")
            path = _new_path(root, name)
            given = {key: later.get(key) or opt_values.get(key) for key in QUESTIONS}
            answers = {key: _answer(key, given[key]) for key in QUESTIONS}
            _write(path, yaml_text(root, name, **answers))
            why = _why(root, name, path)
            print(f"written: {path.relative_to(root)}")
            print(why)
        except UserError as error:
            return refuse(*str(error).splitlines())
        return 0


def _new_path(root: Path, name: str) -> Path:
    if not re.fullmatch("[a-z][a-z0-9_-]*", name):
        raise UserError(
            f"{name!r} cannot be a project's name: lower-case letters, digits, - and "
            "_, beginning with a letter"
        )
    path = root / "projects" / f"{name}.yaml"
    if path.exists():
        raise UserError(f"projects/{name}.yaml exists already; take another name")
    return path


def _answer(key: str, given: str | None) -> str:
    """The option's value, what a person answers, or the default."""
    if given is not None:
        return given.strip()
    if not sys.stdin.isatty():
        return DEFAULTS[key]
    default = f" [{DEFAULTS[key]}]" if DEFAULTS[key] else ""
    try:
        return input(f"{QUESTIONS[key]}{default} ").strip() or DEFAULTS[key]
    except EOFError:
        return DEFAULTS[key]


@dataclass(frozen=True)
class Look:
    """What the data section should say, and what was seen."""

    lines: tuple[str, ...]
    comment: str
    labelled: bool
    colour: bool = False
    check: str = "max_drop: 0.02"


def yaml_text(root: Path, name: str, data: str, model: str, size: str) -> str:
    """The YAML of a new project.

    Raises:
        UserError: an answer cannot be used.
    """
    match = re.fullmatch(r"(\d+)\s*[x×,]\s*(\d+)", size)
    if match is None:
        raise UserError(f"{size!r} is not a size; say rows and columns, such as 64x64")
    seen = look(root, data)
    model_lines = _model_lines(root, model, seen)
    color = "rgb" if seen.colour else "grey"
    return "\n".join(
        [
            "# yaml-language-server: $schema=../stages/pipeline.schema.json",
            f"# `doit {name}` runs it, `doit why {name}` says what that will do.",
            "# The README lists every key; those left out have their defaults.",
            "",
            f"project: {{name: {name}}}",
            "",
            f"# {seen.comment}",
            "data:",
            *(f"  {line}" for line in seen.lines),
            f"  size: [{match[1]}, {match[2]}]",
            f"  color: {color}",
            "",
            *model_lines,
            "",
            "# A threshold that is missed fails the run: min_accuracy, max_drop,",
            "# min_agreement.",
            f"check: {{{seen.check}}}",
            "",
            "# No board needed. For a real one: port: /dev/ttyUSB0",
            "board: {port: virtual}",
            "",
        ]
    )


def _model_lines(root: Path, model: str, seen: Look) -> list[str]:
    if model.endswith(MODEL_FILES):
        return [
            "# This file takes the place of the training.",
            f"model: {{file: {_from_projects(root, model)}}}",
        ]
    if not seen.labelled:
        raise UserError(
            f"{model} cannot be trained without labels; name a model's file "
            f"({', '.join(MODEL_FILES)}) or data with labels"
        )
    return [
        f"model: {{architecture: {model}}}",
        "",
        "# The defaults suit some thousand pictures.",
        "train: {epochs: 30}",
    ]


def look(root: Path, data: str) -> Look:
    """Look at the data that a path names.

    Raises:
        UserError: there is nothing there that could be data.
    """
    if not data:
        return Look(("kind: mnist5k",), "5000 digits that come with a package.", True)
    if data == "none":
        return Look(
            ("kind: synthetic", "split: {train: 64, validation: 0, test: 64}"),
            "No data: accuracy is not measured, agreement and signal to noise are.",
            False,
            colour=True,
            check="samples: 64, min_agreement: 0.9",
        )
    path = user_path(root, data, "--data")
    written = f"path: {_from_projects(root, data)}"
    if path.is_dir():
        return _look_at_folder(path, written)
    lookers = {".csv": _look_at_csv, ".npz": _look_at_npz}
    if path.is_file() and path.suffix in lookers:
        return lookers[path.suffix](path, written)
    raise UserError(f"{data}: neither a folder nor a .csv or .npz file")


def _look_at_csv(path: Path, written: str) -> Look:
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        columns = next(csv.reader(file), [])
    ways = {"split": "split: {by: column}", "group": "split: {by: group}"}
    split = next((ways[name] for name in ways if name in columns), BY_SEED)
    names = list(islice(csv_paths(path), LOOKED_AT))
    return Look(
        ("kind: csv", written, "resize: crop", split),
        f"{path.name} has the columns {', '.join(columns) or 'of nothing'}.",
        "label" in columns,
        colour=_any_colour([path.parent / name for name in names]),
    )


def _look_at_npz(path: Path, written: str) -> Look:
    import numpy as np

    try:
        with np.load(path) as arrays:
            shape = arrays["images"].shape
            labelled = "labels" in arrays.files
    except (OSError, KeyError, ValueError, BadZipFile):
        raise UserError(
            f"{path}: no .npz file with an array `images`; save one with np.savez"
        ) from None
    return Look(
        ("kind: npz", written, BY_SEED),
        f"{shape[0]} pictures {'with' if labelled else 'without'} labels.",
        labelled,
        colour=len(shape) == 4 and shape[3] == 3,
        check="max_drop: 0.02" if labelled else "min_agreement: 0.9",
    )


def _look_at_folder(path: Path, written: str) -> Look:
    split = (path / "train").is_dir() and (path / "test").is_dir()
    base = path / "train" if split else path
    classes = sorted(entry.name for entry in base.iterdir() if entry.is_dir())
    if len(classes) < 2:
        raise UserError(
            f"{base}: holds {len(classes)} folders; there must be one for each class, "
            "and at least two classes"
        )
    pictures = [p for p in base.rglob("*") if p.suffix.lower() in PICTURES]
    if not pictures:
        raise UserError(f"{base}: holds no picture ({', '.join(PICTURES)})")
    by = "split: {by: folder}" if split else BY_SEED
    return Look(
        ("kind: folder", written, "resize: crop", by),
        f"{len(pictures)} pictures {'to train with ' if split else ''}"
        f"in {len(classes)} classes.",
        True,
        colour=_any_colour(pictures),
    )


def _any_colour(pictures: list[Path]) -> bool:
    from PIL import Image

    for path in islice(pictures, LOOKED_AT):
        try:
            with Image.open(path) as image:
                if image.mode not in ("L", "1", "I", "I;16"):
                    return True
        except OSError:  # the data stage will name it
            continue
    return False


def _from_projects(root: Path, path: str) -> str:
    """A path as the YAML in projects/ has to write it."""
    if path.startswith("$") or os.path.isabs(path):
        return path
    return Path(os.path.relpath(root / path, root / "projects")).as_posix()


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def _why(root: Path, name: str, path: Path) -> str:
    """What the project would do; one whose answers do not fit is taken back."""
    try:
        settings = project.settings(project.select(root, name), root)
    except UserError:
        path.unlink()
        raise
    return describe(name, survey(Workspace(root, name), stages_of(settings), settings))
