"""A YAML file and those it extends, merged into one.

``extends: other.yaml`` at the top of a file, relative to that file, names a file that
it adds to: mappings merge key by key, anything else is replaced. A position stays
that of the file in which a key stands.
"""

from __future__ import annotations

import hashlib
import os
from functools import reduce
from pathlib import Path
from typing import NamedTuple

from stages.project.nodes import Fault, Node, Place, fail, parse

_KEY = "extends"


class Source(NamedTuple):
    """A project's YAML with all it extends."""

    top: Node
    """The merged mapping."""
    digests: dict[Path, str]
    """Every file read → SHA-256 of its bytes; the project's own file is the first."""
    faults: list[Fault]
    """What is wrong but did not keep the rest from being read."""


def read(path: Path) -> Source:
    """Read a YAML file and the chain of files it extends.

    Raises:
        SourceError: a file is missing, unreadable, not YAML, empty or no mapping, or
            the chain bites its tail.

    """
    digests: dict[Path, str] = {}
    faults: list[Fault] = []
    tops: list[Node] = []
    file: Path | None = Path(os.path.abspath(path))
    named: Node | None = None
    while file is not None:
        content = _content(file, named)
        digests[file] = hashlib.sha256(content).hexdigest()
        tops.append(parse(file, content, faults))
        named = _take_extends(tops[-1], faults)
        file = _beside(file, named) if named else None
        if named and file in digests:
            chain = " → ".join(f.name for f in (*digests, file) if f)
            fail(named.key, f"the files extend each other in a circle: {chain}", _KEY)
    return Source(reduce(merge, reversed(tops)), digests, faults)


def merge(base: Node, child: Node) -> Node:
    """Lay ``child`` over ``base``: mappings merge deeply, anything else replaces."""
    if not (isinstance(base.value, dict) and isinstance(child.value, dict)):
        return child
    merged = dict(base.value)
    for key, node in child.value.items():
        merged[key] = merge(merged[key], node) if key in merged else node
    return child._replace(value=merged)


def _take_extends(top: Node, faults: list[Fault]) -> Node | None:
    """Take ``extends`` out of a file's mapping, and return it if it names a file."""
    assert isinstance(top.value, dict)
    extends: Node | None = top.value.pop(_KEY, None)
    if extends is None or extends.value is None:
        return None
    if isinstance(extends.value, str) and extends.value:
        return extends
    message = f"expected the path of a YAML file, found `{extends.written}`"
    faults.append(Fault(extends.place, _KEY, message))
    return None


def _beside(child: Path, extends: Node) -> Path:
    return Path(os.path.normpath(child.parent / str(extends.value)))


def _content(file: Path, named: Node | None) -> bytes:
    """Read a file; if that fails, the ``extends`` that named it is to blame."""
    place, key = (named.key, _KEY) if named else (Place(file, 1, 1), "")
    name = f"{named.value!a} (relative to this file)" if named else "the file"
    try:
        return file.read_bytes()
    except FileNotFoundError:
        fail(place, f"{name} does not exist", key)
    except IsADirectoryError:
        fail(place, f"{name} is a directory, not a YAML file", key)
    except OSError as error:
        fail(place, f"{name} cannot be read: {error.strerror}", key)
    except ValueError:  # a NUL in the path
        fail(place, f"{name} is no legal path", key)
