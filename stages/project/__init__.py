"""The projects of a tree and their validated settings.

A project is one YAML file: ``pipeline.yaml`` or ``projects/NAME.yaml``. ``schema``
says what may stand in it, ``source`` reads YAML with positions, ``validate`` joins
the two. This module is what the build tool imports on every run, so it needs the
standard library only: settings come from ``build/.projects/*.json`` as long as the
YAML files and this package are, by digest, those they were made from.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from k210.errors import UserError

if TYPE_CHECKING:
    from stages.project.schema import Project as Project

CACHE = Path("build", ".projects")
"""Where the settings are kept, relative to the root: one JSON file per YAML file."""


class ProjectError(UserError):
    """All that is wrong with one project's YAML, one sentence a line.

    A line reads ``pipeline.yaml:12:3: train.epoch: unknown key; ...``: file (relative
    to the root), line and column from 1, dotted key, what is wrong.
    """

    def __str__(self) -> str:
        # a key or value may hold Unicode's line separators
        return "\n".join(" ".join(line.splitlines()) for line in self.args)


class ProjectFile(NamedTuple):
    """One project: its name, its YAML file and the prefix of its tasks."""

    name: str
    path: Path
    prefix: str
    """"" for ``pipeline.yaml``, ``NAME:`` for ``projects/NAME.yaml``."""


def find(root: Path) -> list[ProjectFile]:
    """List the projects under ``root``: ``pipeline.yaml``, then ``projects/*.yaml``.

    The default project is called what its ``project.name`` says, every other as its
    file. A ``pipeline.yaml`` with errors is called "pipeline"; ``settings`` tells them.

    Raises:
        ProjectError: two projects have one name.

    """
    found = [
        ProjectFile(path.stem, path, f"{path.stem}:")
        for path in sorted((root / "projects").glob("*.yaml"))
        if not path.name.startswith(".")
    ]
    default = ProjectFile("pipeline", root / "pipeline.yaml", "")
    if not os.path.lexists(default.path):
        return found
    try:
        name = settings(default, root)["project"]["name"]
    except ProjectError:
        return [default, *found]
    if any(other.name == name for other in found):
        raise ProjectError(
            f"pipeline.yaml and projects/{name}.yaml are both called {name!r}: "
            "change project.name in pipeline.yaml, or rename the other file"
        )
    return [default._replace(name=name), *found]


def select(root: Path, name: str | None = None) -> ProjectFile:
    """Return the project called ``name``; by default the one of ``pipeline.yaml``.

    Raises:
        ProjectError: there is none, or ``pipeline.yaml`` has errors and may be it.

    """
    found = find(root)
    for file in found:
        if file.name == name or (name is None and not file.prefix):
            return file
    for file in found:
        if not file.prefix:
            settings(file, root)  # its name may be the one, if only it had no errors
    if name is None:
        raise ProjectError("pipeline.yaml does not exist; write it or name a project")
    names = ", ".join(file.name for file in found) or "none"
    raise ProjectError(f"there is no project {name!r}; the projects are: {names}")


def settings(file: ProjectFile, root: Path) -> dict[str, Any]:
    """Return the validated settings of a project, every default filled in.

    The result is plain JSON data: section → key → value. Paths in it are relative to
    ``root``, with forward slashes, unless they were written as absolute paths.

    Raises:
        ProjectError: with every error of the file.

    """
    cached = root / CACHE / f"{file.path.stem}.json"
    found = _recall(cached, file, root)
    if found is not None:
        return found
    from stages.project import validate  # costs more than all the rest of a no-op

    project, digests = validate.project(file, root)
    plain = project.model_dump(mode="json")
    record = {
        "project": _key(file.path, root),
        "sources": _sources(),
        "files": {_key(path, root): digest for path, digest in digests.items()},
        "settings": plain,
    }
    _remember(cached, json.dumps(record, indent=1))
    return plain


def load(file: ProjectFile, root: Path) -> Project:
    """Return a project as an object, for the process of a stage.

    Raises:
        ProjectError: with every error of the file.

    """
    from stages.project import validate

    return validate.project(file, root)[0]


@cache
def _sources() -> str:
    """Digest this package, so that a new schema makes every cached result stale."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _key(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def _recall(cached: Path, file: ProjectFile, root: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(cached.read_bytes())
        fresh = (
            record["project"] == _key(file.path, root)
            and record["sources"] == _sources()
            and all(_unchanged(root / k, d) for k, d in record["files"].items())
        )
        found: dict[str, Any] = record["settings"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None  # absent, cut short or made by another version
    return found if fresh else None


def _unchanged(path: Path, digest: str) -> bool:
    return hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _remember(cached: Path, text: str) -> None:
    """Write the cache by renaming; a tree that cannot be written has no cache."""
    partial = cached.with_name(f"{cached.name}.{os.getpid()}")
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(cached)
    except OSError:
        return
