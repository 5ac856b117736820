"""Joins the YAML with the schema: a project, or everything that is wrong with it.

Pydantic finds what is wrong; the sentences are made here from the schema (`words`)
and from the YAML as it is written (`source`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stages.project import ProjectError, ProjectFile, words
from stages.project.fields import PLAIN
from stages.project.nodes import Fault, Node, Place, SourceError
from stages.project.rules import Conflict
from stages.project.schema import Project
from stages.project.source import Source, read

_NAME = ("project", "name")
_ROOT = ("data", "root")
_PATHS = (("model", "file"), ("model", "weights_from"), ("data", "path"))


def project(file: ProjectFile, root: Path) -> tuple[Project, dict[Path, str]]:
    """Read and validate a project.

    Returns it with the SHA-256 of every file that was read.

    Raises:
        ProjectError: with every error of the file.

    """
    try:
        source = read(file.path)
    except SourceError as error:
        raise ProjectError(_line(error.fault, root)) from None
    _drop_inherited_name(source)
    data = source.top.plain()
    _fill_name(data, file)
    _resolve_paths(data, source, root)
    found, errors = _validated(data)
    misnamed = list(_misnamed(source, file))
    known = {fault.place for fault in source.faults}
    worded = [_worded(e, source) for e in errors if e["loc"] != _NAME or not misnamed]
    faults = [
        *source.faults,
        *misnamed,
        *(fault for fault in worded if fault.place not in known),
        *(_placed(c, source) for c in ([] if found else _conflicts(data, errors))),
    ]
    if found is None or faults:
        files = list(source.digests)
        faults.sort(key=lambda f: (files.index(f.place.file), f.place))
        raise ProjectError(*(_line(fault, root) for fault in faults))
    return found, source.digests


def _drop_inherited_name(source: Source) -> None:
    """Forget a name that stands in a file the project extends: it is not its own."""
    about, name = source.top.find(("project",)), source.top.find(_NAME)
    own = next(iter(source.digests))
    if about and name and name.key.file != own and isinstance(about.value, dict):
        del about.value["name"]


def _fill_name(data: dict[str, Any], file: ProjectFile) -> None:
    """Call a project as its file unless it has a name."""
    if data.get("project") is None:
        data["project"] = {}
    about = data["project"]
    if isinstance(about, dict) and about.get("name") is None:
        about["name"] = file.path.stem


def _misnamed(source: Source, file: ProjectFile) -> Iterator[Fault]:
    """Refuse another name than the file's in ``projects/``."""
    node = source.top.find(_NAME)
    if not file.prefix or node is None or node.value in (None, file.path.stem):
        return
    message = (
        f"a project in projects/ is called as its file, {file.path.stem!r}, "
        f"found `{node.written}`; remove the key or rename the file"
    )
    yield Fault(node.key, ".".join(_NAME), message)


def _resolve_paths(data: dict[str, Any], source: Source, root: Path) -> None:
    """Make paths relative to the root.

    They are written relative to ``data.root``, or without one to their own file.
    """
    base = _base(source)
    for section, key in _PATHS:
        node = source.top.find((section, key))
        if node is not None and isinstance(node.value, str) and node.value:
            data[section][key] = _resolved(node, base, root)
    if base:
        data["data"]["root"] = None  # it has done its part


def _base(source: Source) -> str:
    """The folder that ``data.root`` names; empty where there is none."""
    node = source.top.find(_ROOT)
    if node is None or not isinstance(node.value, str) or not node.value:
        return ""
    if node.value.startswith("$"):
        return node.value
    return os.path.join(node.place.file.parent, node.value)


def _resolved(node: Node, base: str, root: Path) -> str:
    written = str(node.value)
    if not written.startswith("$"):
        written = os.path.join(base or node.place.file.parent, written)
    if written.startswith("$"):  # an environment variable, expanded when used
        return written
    if os.path.isabs(str(node.value)):
        return Path(written).as_posix()
    return Path(os.path.relpath(written, root)).as_posix()


def _validated(data: Any) -> tuple[Project | None, list[ErrorDetails]]:
    try:
        return Project.model_validate(data), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
        return None, [e for e in errors if not _is_consequence(e, errors)]


def _is_consequence(error: ErrorDetails, errors: list[ErrorDetails]) -> bool:
    """Tell whether an error only echoes others, or is a conflict of several keys."""
    path = error["loc"]
    if error["type"] == "too_short":  # pydantic does not count items that are wrong
        return any(e["loc"][: len(path)] == path != e["loc"] for e in errors)
    return error["type"] in ("conflicts", "default_factory_not_called")


def _conflicts(data: dict[str, Any], errors: list[ErrorDetails]) -> Iterator[Conflict]:
    """Yield the conflicts between those keys that are legal one by one."""
    bad = [_keys(e["loc"]) for e in errors]
    try:
        Project.model_validate(_without(data, bad))
    except ValidationError as error:
        for details in error.errors(include_url=False):
            for conflict in details.get("ctx", {}).get("conflicts", ()):
                if not any(_overlap(key, b) for key in conflict.keys for b in bad):
                    yield conflict


def _keys(path: tuple[str | int, ...]) -> tuple[str, ...]:
    """Return the keys of a path up to the first index of a list."""
    numbers = [i for i, part in enumerate(path) if isinstance(part, int)]
    return tuple(str(part) for part in path[: min(numbers, default=len(path))])


def _overlap(one: tuple[str | int, ...], other: tuple[str | int, ...]) -> bool:
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def _without(
    data: Any, bad: Iterable[tuple[str, ...]], at: tuple[str, ...] = ()
) -> Any:
    if not isinstance(data, dict):
        return data
    return {
        key: _without(value, bad, (*at, key))
        for key, value in data.items()
        if (*at, key) not in bad
    }


def _placed(conflict: Conflict, source: Source) -> Fault:
    """Put a conflict where the first of its keys stands that is written at all."""
    nodes = [node for key in conflict.keys if (node := source.top.find(key))]
    place = nodes[0].key if nodes else _nearest(source, conflict.keys[0])
    key = ".".join(str(part) for part in conflict.keys[0])
    return Fault(place, key, conflict.message)


def _nearest(source: Source, path: tuple[str | int, ...]) -> Place:
    """Return the place of the innermost section around a path that is written."""
    while (node := source.top.find(path)) is None:
        path = path[:-1]
    return node.key


def _worded(error: ErrorDetails, source: Source) -> Fault:
    """Say one of pydantic's errors in a sentence."""
    path = error["loc"]
    if error["type"] == "missing":  # an item of a list that is too short
        path = path[:-1]
    key = ".".join(str(part) for part in path)
    node = source.top.find(path)
    if error["type"] == "extra_forbidden":
        place = node.key if node else _nearest(source, path)
        return Fault(place, key, words.unknown(path))
    if error["type"] == PLAIN:
        message = error["msg"]
    elif node is None or node.value is None and path == _NAME:
        message = f"expected {words.expected(path)}, found the file's name instead"
    else:
        message = f"expected {words.expected(path)}, found {_found(node, path)}"
    return Fault(node.place if node else _nearest(source, path), key, message)


def _found(node: Node, path: tuple[str | int, ...]) -> str:
    """Show a value as it is written, and why YAML may read it as something else."""
    written, value, wanted = node.written, node.value, words.at(path).get("type")
    if not written:
        return "nothing"
    if isinstance(value, bool | int | float) and wanted == "string":
        return f"`{written}`; put it in quotes to make it text"
    if isinstance(value, bool) and written not in ("true", "false"):
        return f"`{written}`, which YAML reads as {str(value).lower()}"
    if isinstance(value, str) and written[0] in "'\"" and wanted != "string":
        return f"`{written}`, which is text because of the quotes"
    return f"`{written}`"


def _line(fault: Fault, root: Path) -> str:
    file, line, column = fault.place
    inside = Path(os.path.relpath(file, root))
    shown = file if inside.parts[0] == os.pardir else inside
    key = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in fault.key)
    subject = f"{key}: " if key else ""
    return f"{shown.as_posix()}:{line}:{column}: {subject}{fault.message}"
