"""The files and folders that a project's YAML names: where they are, what they hold.

Digests of single files are remembered by path, size and time, one memory per named
file or folder in ``build/.digests``, so that a folder of thousands of pictures costs
an idle ``doit`` no more than looking at them. Standard library only, for the same
reason.
"""

import csv
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from k210.errors import UserError
from stages.artifacts.records import sha256

MEMORY = Path("build", ".digests")
"""Where digests are remembered, relative to the root."""

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def user_path(root: Path, written: str, setting: str) -> Path:
    """The file or folder that a setting names, its environment variables expanded.

    Args:
        root: the folder that relative paths are relative to.
        written: the path as the settings have it; ``$NAME`` and ``${NAME}`` stand for
            environment variables.
        setting: the dotted key, for the error.

    Raises:
        UserError: a variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if found := os.environ.get(name):
            return found
        raise UserError(
            f"{setting}: the environment variable {name} is not set and {written!r} "
            f"needs it; set it, for example export {name}=/some/folder"
        )

    return root / _VARIABLE.sub(value, written)


def walk(folder: Path) -> Iterator[str]:
    """The files below a folder, by relative POSIX path, in no particular order.

    Hidden files and folders are left out; links are followed, but not in circles.

    Raises:
        OSError: a folder cannot be read.
    """
    return _walk(os.fspath(folder), "", ())


def _walk(folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[str]:
    here = os.path.realpath(folder)
    if here in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                below = f"{prefix}{entry.name}/"
                yield from _walk(entry.path, below, (*above, here))
            else:
                yield f"{prefix}{entry.name}"


def csv_paths(path: Path) -> list[str]:
    """The column ``path`` of a CSV, as written; empty where it has no such column.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        try:
            rows = [row.get("path") for row in csv.DictReader(file)]
        except csv.Error:  # the stage that reads it says what is wrong
            return []
    return [name for name in rows if name]


def user_digest(root: Path, path: Path, setting: str, with_csv_rows: bool) -> str:
    """The digest of a user's file or folder, 64 hex digits.

    Args:
        root: the folder in which digests are remembered.
        path: the file; of a folder, all that lies in it counts, by relative name.
        setting: the dotted key, for the error.
        with_csv_rows: whether the file is a CSV whose column ``path`` names others,
            relative to it, which count too.

    Raises:
        UserError: it is missing or cannot be read.
    """
    try:
        if path.is_dir():
            return _digest_of_many(root, path, walk(path))
        if with_csv_rows:
            return _digest_of_many(root, path, {path.name, *csv_paths(path)})
        return sha256(path)
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file or folder; {setting} in the project's YAML names it"
        ) from None
    except OSError as error:
        raise UserError(
            f"{error.filename or path}: cannot be read ({error.strerror}); "
            f"{setting} in the project's YAML names it"
        ) from None


def _digest_of_many(root: Path, subject: Path, names: Iterable[str]) -> str:
    """The digest of files by name, relative to a folder or beside a CSV."""
    folder = subject if subject.is_dir() else subject.parent
    whole = hashlib.sha256(os.path.abspath(subject).encode()).hexdigest()
    memory = root / MEMORY / f"{whole[:16]}.json"
    known, seen, total = _remembered(memory), {}, hashlib.sha256()
    for name in sorted(names):
        record = _record(os.path.join(folder, name), known.get(name))
        total.update(f"{name}\0{record[2] if record else 'unreadable'}\n".encode())
        if record:
            seen[name] = record
    if seen != known:
        _remember(memory, seen)
    return total.hexdigest()


def _record(path: str, known: list[Any] | None) -> list[Any] | None:
    """Size, time and digest of a file; None for one that cannot be read.

    The stage that needs the file says what is wrong with it.
    """
    try:
        stat = os.stat(path)
        current = [stat.st_size, stat.st_mtime_ns]
        if known is not None and known[:2] == current:
            return known
        return [*current, sha256(Path(path))]
    except OSError:
        return None


def _remembered(memory: Path) -> dict[str, list[Any]]:
    try:
        found: dict[str, list[Any]] = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    whole = isinstance(found, dict) and all(
        isinstance(record, list) and len(record) == 3 for record in found.values()
    )
    return found if whole else {}


def _remember(memory: Path, digests: dict[str, list[Any]]) -> None:
    """Write the memory by renaming; a tree that cannot be written has none."""
    draft = memory.with_name(f".{memory.name}.{os.getpid()}")
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(digests), encoding="utf-8")
        os.replace(draft, memory)
    except OSError:
        return
