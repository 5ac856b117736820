"""Which pictures there are: a folder per class, or the rows of a CSV."""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

from k210.errors import UserError
from stages.artifacts.userfiles import user_path, walk
from stages.project.schema import Data

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
SPLITS = ("train", "validation", "test")
COLUMNS = ("path", "label")
SHOWN = 3
"""How many of many flaws an error names."""


@dataclass(frozen=True)
class Item:
    """A picture's file.

    Attributes:
        path: the file.
        name: how it is called in errors, relative to the data's path.
        label: its class.
        split: the split it is marked for, "" for none.
        group: its group; no group is in two splits.
    """

    path: Path
    name: str
    label: str
    split: str = ""
    group: str = ""


@dataclass(frozen=True)
class Listing:
    """All pictures; ``source`` is the folder or CSV, ``ignored`` counts other files."""

    source: Path
    items: Sequence[Item]
    ignored: int


def named(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - SHOWN
    listed = "; ".join(names[:SHOWN])
    return f"{listed}; and {more} more" if more > 0 else listed


def classes_of(settings: Data, listing: Listing) -> tuple[str, ...]:
    """The classes' names: as ``data.classes`` has them, or else sorted.

    Raises:
        UserError: there is only one, or ``data.classes`` has others.
    """
    found = {item.label for item in listing.items}
    if len(found) == 1:
        raise UserError(
            f"{listing.source}: all pictures are of the one class "
            f"{next(iter(found))!r}; a classifier needs at least two"
        )
    if settings.classes is None:
        return tuple(sorted(found, key=_numerically))
    for name in sorted(found - {*settings.classes}):
        raise UserError(
            f"{listing.source}: has the class {name!r}, which data.classes does not "
            "name; name all classes or none"
        )
    for name in settings.classes:
        if name not in found:
            raise UserError(
                f"data.classes names {name!r}, of which {listing.source} has no "
                "pictures; remove the name or add pictures"
            )
    return settings.classes


def _numerically(name: str) -> tuple[bool, int, str]:
    whole = name.isascii() and name.isdigit()
    return not whole, int(name) if whole else 0, name


def _folder(settings: Data, root: Path) -> Listing:
    """``path/CLASS/…`` or, split by folder, ``path/SPLIT/CLASS/…``."""
    source = _source(settings, root)
    if not source.is_dir():
        what = "is a file" if source.exists() else "does not exist"
        _refuse(source, f"{what}; data.path must name a folder with one per class")
    depth = 2 if settings.split.by == "folder" else 1
    found = [PurePosixPath(name) for name in sorted(walk(source))]
    pictures = [path for path in found if path.suffix.lower() in SUFFIXES]
    _require_pictures(source, pictures, found)
    _require_folders(source, settings)
    stray = [str(path) for path in pictures if len(path.parts) <= depth]
    if stray:
        wanted = "path/SPLIT/CLASS" if depth == 2 else "path/CLASS"
        _refuse(
            source,
            f"{len(stray)} pictures lie in no class's folder ({named(stray)}); move "
            f"them to {wanted}/",
        )
    _require_no_empty_class(source, pictures, depth)
    items = [
        Item(
            path=source / path,
            name=str(path),
            label=path.parts[depth - 1],
            split=path.parts[0] if depth == 2 else "",
            group=_group(settings, path.name) or "",
        )
        for path in pictures
    ]
    _require_groups(settings, source, items)
    return Listing(source, items, len(found) - len(pictures))


def _source(settings: Data, root: Path) -> Path:
    assert settings.path is not None
    return user_path(root, settings.path, "data.path")


def _require_pictures(
    source: Path, pictures: Sequence[PurePosixPath], found: Sequence[PurePosixPath]
) -> None:
    if pictures:
        return
    kinds = sorted({path.suffix or path.name for path in found})
    others = f", but {len(found)} other files ({', '.join(kinds)})" if found else ""
    wanted = ", ".join(suffix[1:] for suffix in SUFFIXES)
    _refuse(source, f"holds no pictures ({wanted}){others}; check data.path")


def _require_folders(source: Path, settings: Data) -> None:
    """Make sure that the folders mean what ``data.split.by`` takes them for."""
    names = sorted(path.name for path in _folders(source))
    if settings.split.by != "folder":
        if {"train", "test"} <= {*names}:
            _refuse(source, "has the folders train and test; set data.split.by: folder")
        return
    for name in ("train", "test"):
        if name not in names:
            _refuse(source, f"has no folder {name}, which data.split.by: folder needs")
    for name in names:
        if name not in SPLITS:
            wanted = f"is none of {', '.join(SPLITS)}; rename or move it"
            _refuse(source / name, f"{wanted} (data.split.by: folder)")


def _require_no_empty_class(
    source: Path, pictures: Sequence[PurePosixPath], depth: int
) -> None:
    filled = {path.parts[:depth] for path in pictures}
    tops = [source] if depth == 1 else _folders(source)
    for top in tops:
        for folder in _folders(top):
            if folder.relative_to(source).parts not in filled:
                _refuse(folder, "holds no pictures; remove the class or add some")


def _folders(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )


def _csv(settings: Data, root: Path) -> Listing:
    """The rows of a CSV; paths in it are relative to it."""
    source = _source(settings, root)
    flaws: list[str] = []
    items = list(_rows(settings, source, flaws))
    if flaws:
        _refuse(source, f"{len(flaws)} rows are wrong: {named(flaws)}; correct them")
    if not items:
        _refuse(source, "has no rows below its header; add pictures")
    _require_groups(settings, source, items)
    return Listing(source, items, 0)


def _rows(settings: Data, source: Path, flaws: list[str]) -> Iterator[Item]:
    """The items of the rows that are right; of the others, what is wrong."""
    first: dict[str, int] = {}
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            needed = _require_columns(settings, source, reader.fieldnames or ())
            for row in reader:
                line = reader.line_num
                if flaw := _row_flaw(row, needed):
                    flaws.append(f"line {line} {flaw}")
                elif row["path"] in first:
                    before = first[row["path"]]
                    flaws.append(f"line {line} names {row['path']} as line {before}")
                else:
                    first[row["path"]] = line
                    yield _row_item(settings, source, row)
    except OSError as error:
        _refuse(source, f"cannot be read ({error.strerror}); data.path must name a CSV")
    except UnicodeDecodeError:
        _refuse(source, "is not UTF-8 text; save the CSV with that encoding")
    except csv.Error as error:
        _refuse(
            source, f"line {reader.reader.line_num} is not CSV ({error}); correct it"
        )


def _row_item(settings: Data, source: Path, row: dict[str, str]) -> Item:
    by = settings.split.by
    return Item(
        path=source.parent / row["path"],
        name=row["path"],
        label=row["label"],
        split=row["split"] if by == "column" else "",
        group=row["group"]
        if by == "group" and settings.split.group is None
        else _group(settings, PurePosixPath(row["path"]).name) or "",
    )


def _require_columns(
    settings: Data, source: Path, header: Sequence[str]
) -> Sequence[str]:
    """The columns that must be filled."""
    needed = list(COLUMNS)
    if settings.split.by == "column":
        needed.append("split")
    if settings.split.by == "group" and settings.split.group is None:
        needed.append("group")
    for column in needed:
        if column not in header:
            found = ", ".join(header) or "nothing"
            _refuse(source, f"has no column {column!r}, its first line says {found}")
        if list(header).count(column) > 1:
            _refuse(source, f"has the column {column!r} twice; remove one")
    return needed


def _row_flaw(row: dict[str, str], needed: Sequence[str]) -> str:
    if None in row:  # what the reader makes of fields beyond the header's
        return "has more fields than the header"
    for column in needed:
        if not row[column]:
            return f"has no {column}"
    if "split" in needed and row["split"] not in SPLITS:
        return f"has the split {row['split']!r}, which is none of {', '.join(SPLITS)}"
    return ""


def _group(settings: Data, name: str) -> str | None:
    """The group that ``data.split.group`` finds in a file name."""
    if settings.split.group is None:
        return None
    match = re.search(settings.split.group, name)
    return match[1] if match else None


def _require_groups(settings: Data, source: Path, items: Sequence[Item]) -> None:
    missing = [item.name for item in items if not item.group]
    if settings.split.by == "group" and missing:
        _refuse(
            source,
            f"{len(missing)} pictures are of no group ({named(missing)}), for "
            f"data.split.group {settings.split.group!r} does not match their names; "
            "correct it",
        )


def _refuse(source: Path, why: str) -> NoReturn:
    raise UserError(f"{source}: {why}")


LISTINGS: dict[str, Callable[[Data, Path], Listing]] = {"folder": _folder, "csv": _csv}
"""The kinds of data that are files of pictures."""
