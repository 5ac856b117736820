"""YAML text to nodes: plain data that remembers where everything stands.

YAML is read as PyYAML's SafeLoader reads it (YAML 1.1: an unquoted ``no`` is false,
``0x10`` is sixteen), with three differences: ``1e-4`` is a number as it is in YAML
1.2, dates stay text, and aliases, merge keys and tags are refused, because
``extends`` does their work and a project needs no other types. The loader written in
Python is used even where there is a C one, so that every machine reports the same
positions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

Scalar = str | int | float | bool | None

_CORE = "tag:yaml.org,2002:"
_ALIAS = "aliases (*name) are not supported; use 'extends'"


class Place(NamedTuple):
    """A position in a file; line and column count from 1."""

    file: Path
    line: int
    column: int


class Fault(NamedTuple):
    """Something wrong at a place; ``key`` is dotted, "" for the file as a whole."""

    place: Place
    key: str
    message: str


class Node(NamedTuple):
    """A value of the YAML and where it stands.

    ``key`` is the place of the key that names it (of the value itself in lists),
    ``written`` the value as the file spells it.
    """

    key: Place
    place: Place
    written: str
    value: Scalar | dict[str, Node] | list[Node]

    def plain(self) -> Any:
        """Return the value without positions."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def find(self, path: tuple[str | int, ...]) -> Node | None:
        """Return the node at a path of keys and indices, None if nothing is there."""
        node = self
        for part in path:
            if isinstance(node.value, dict) and part in node.value:
                node = node.value[str(part)]
            elif isinstance(node.value, list) and isinstance(part, int):
                if part >= len(node.value):
                    return None
                node = node.value[part]
            else:
                return None
        return node


class SourceError(Exception):
    """The YAML cannot be read at all; ``fault`` says why."""

    def __init__(self, fault: Fault):
        super().__init__(fault)
        self.fault = fault


def fail(place: Place, message: str, key: str = "") -> NoReturn:
    """Give up reading because of what is wrong at a place."""
    raise SourceError(Fault(place, key, message))


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases, and with numbers such as ``1e-4``."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, _ALIAS, event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


# octal and base 60 in YAML 1.1, which nobody means
_TREACHEROUS = re.compile(r"[-+]?0[0-7_]+$|.*:")

_Loader.add_implicit_resolver(
    f"{_CORE}float",
    re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def parse(path: Path, content: bytes, faults: list[Fault]) -> Node:
    """Read the mapping that a YAML file is.

    What is wrong but lets the rest be read is added to ``faults``.

    Raises:
        SourceError: the file is not UTF-8, not YAML, empty or no mapping.

    """
    start = Place(path, 1, 1)
    text = _decoded(path, content)
    try:
        loader = _Loader(text)
        raw = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(path, mark.line + 1, mark.column + 1) if mark else start
        fail(place, _syntax(error))
    except yaml.reader.ReaderError as error:
        place = _place_of(path, text, error.position)
        fail(place, f"the character {text[error.position]!a} may not stand in YAML")
    except RecursionError:
        fail(start, "the YAML is nested too deeply")
    if raw is None:
        fail(start, "the file is empty; expected sections such as 'data:'")
    if not isinstance(raw, yaml.MappingNode):
        fail(start, "expected sections such as 'data:' at the top level")
    reader = _Reader(path, text, loader, faults)
    return reader.node(raw, reader.place(raw), ())


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", "replace")
        place = _place_of(path, before, len(before))
        fail(place, "the file is not UTF-8 text; save it with that encoding")


def _place_of(path: Path, text: str, index: int) -> Place:
    before = text[:index]
    column = index - (before.rfind("\n") + 1)
    return Place(path, before.count("\n") + 1, column + 1)


_SYNTAX = (
    (r"found character '\\t'", "a tab; YAML is indented with spaces"),
    (r"found character '(.)' that cannot", r"text that begins with \1 needs quotes"),
    (r"expected the node content", "a value is missing"),
    (
        r"mapping values are not allowed",
        "an unexpected ':'; check the indentation, and quote text that contains ': '",
    ),
    (r"expected <block end>", "the indentation does not match the lines above"),
    (r"could not find expected ':'", "expected 'key: value'"),
    (r"expected a single document", "expected one YAML document, not several"),
    (r"but found another document", "expected one YAML document, not several"),
    (r"found unexpected end of stream", "a quote is opened and never closed"),
    (
        r"expected ',' or '[\]}]'",
        "a bracket is opened and not closed, or a comma lacks",
    ),
)


def _syntax(error: yaml.MarkedYAMLError) -> str:
    """Say what PyYAML's parser complains about in the words of a writer of YAML."""
    problem = str(error.problem or error.context)
    for pattern, words in _SYNTAX:
        if match := re.search(pattern, problem):
            return match.expand(words)
    return problem if problem == _ALIAS else f"not YAML: {problem}"


class _Reader:
    """Turns PyYAML's nodes of one file into ours, and collects what is wrong."""

    def __init__(
        self, path: Path, text: str, loader: _Loader, faults: list[Fault]
    ) -> None:
        self._path = path
        self._text = text
        self._loader = loader
        self._faults = faults

    def place(self, raw: yaml.Node) -> Place:
        mark = raw.start_mark
        return Place(self._path, mark.line + 1, mark.column + 1)

    def node(self, raw: yaml.Node, key: Place, path: tuple[str, ...]) -> Node:
        value: Scalar | dict[str, Node] | list[Node] = None
        if raw.tag != self._usual_tag(raw):
            self._fault(raw, path, "tags (!name) are not supported; remove it")
        elif isinstance(raw, yaml.MappingNode):
            value = dict(self._items(raw, path))
        elif isinstance(raw, yaml.SequenceNode):
            value = [
                self.node(item, self.place(item), (*path, str(i)))
                for i, item in enumerate(raw.value)
            ]
        elif isinstance(raw, yaml.ScalarNode):
            value = self._scalar(raw, path)
        return Node(key, self.place(raw), self._written(raw), value)

    def _items(
        self, raw: yaml.MappingNode, path: tuple[str, ...]
    ) -> Iterator[tuple[str, Node]]:
        first: dict[str, int] = {}
        for key, value in raw.value:
            name = self._key(key, path)
            if name is None:
                continue
            here = (*path, name)
            if name in first:
                message = f"the same key stands in line {first[name]} already"
                self._fault(key, here, message)
                continue
            first[name] = self.place(key).line
            yield name, self.node(value, self.place(key), here)

    def _key(self, raw: yaml.Node, path: tuple[str, ...]) -> str | None:
        if raw.tag == f"{_CORE}merge":
            message = "merge keys are not supported; use 'extends'"
            self._fault(raw, (*path, "<<"), message)
            return None
        known = len(self._faults)
        name = self._scalar(raw, path) if isinstance(raw, yaml.ScalarNode) else None
        if len(self._faults) > known:
            return None
        if isinstance(name, str):
            return name
        found = f"`{self._written(raw)}`" if self._written(raw) else "nothing"
        self._fault(raw, path, f"expected a word as key, found {found}")
        return None

    def _usual_tag(self, raw: yaml.Node) -> str:
        """Return the tag of the node if none is written in front of it."""
        if isinstance(raw, yaml.MappingNode):
            return f"{_CORE}map"
        if isinstance(raw, yaml.SequenceNode):
            return f"{_CORE}seq"
        assert isinstance(raw, yaml.ScalarNode)
        implicit = (raw.style is None, raw.style is not None)
        resolve = self._loader.resolve
        tag: str = resolve(yaml.ScalarNode, raw.value, implicit)  # type: ignore[no-untyped-call]
        return tag

    def _scalar(self, raw: yaml.ScalarNode, path: tuple[str, ...]) -> Scalar:
        """Return a scalar as SafeLoader would, but dates and the like as text."""
        kind = raw.tag.removeprefix(_CORE)
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return bool(self._loader.construct_yaml_bool(raw))
            if kind in ("int", "float"):
                return self._number(raw, path)
        except ValueError:  # 0x_ matches the pattern of a number, and is none
            message = f"`{self._written(raw)}` cannot be read as a number"
            self._fault(raw, path, message)
            return None
        return self._unicode(raw, path)

    def _number(self, raw: yaml.ScalarNode, path: tuple[str, ...]) -> int | float:
        if raw.tag == f"{_CORE}float":
            number: int | float = self._loader.construct_yaml_float(raw)
        else:
            number = self._loader.construct_yaml_int(raw)
        if _TREACHEROUS.match(raw.value):
            message = f"YAML reads `{raw.value}` as {number}; write that or use quotes"
            self._fault(raw, path, message)
        return number

    def _unicode(self, raw: yaml.Node, path: tuple[str, ...]) -> str:
        text = str(raw.value)
        try:
            text.encode()
        except UnicodeEncodeError:
            message = f"`{self._written(raw)}` holds half a character (\\ud800-\\udfff)"
            self._fault(raw, path, message)
            return ""
        return text

    def _written(self, raw: yaml.Node) -> str:
        """Return the text of a node as it stands in the file, on one short line."""
        text = self._text[raw.start_mark.index : raw.end_mark.index].strip()
        line = next(iter(text.splitlines()), "").strip()
        short = line if len(line) <= 40 else line[:39]
        return short if short == text else f"{short}…"

    def _fault(self, raw: yaml.Node, path: tuple[str, ...], message: str) -> None:
        self._faults.append(Fault(self.place(raw), ".".join(path), message))
