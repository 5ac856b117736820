"""Says in words what the schema demands, for error messages and the reference.

The one source is the JSON Schema that pydantic makes of the models, so that neither
can drift from what is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any

from stages.project.schema import Project

KeyPath = tuple[str | int, ...]


@cache
def _schema() -> dict[str, Any]:
    return Project.model_json_schema()


def _resolved(part: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, and look through "or null" if that leaves one kind."""
    if "$ref" in part:
        target: dict[str, Any] = _schema()["$defs"][part["$ref"].rsplit("/", 1)[1]]
        return target
    if "anyOf" in part:
        kinds = [p for p in part["anyOf"] if p != {"type": "null"}]
        return kinds[0] if len(kinds) == 1 else {**part, "anyOf": kinds}
    return part


def at(path: KeyPath) -> dict[str, Any]:
    """Return the JSON Schema at a path of keys and indices, {} where none is."""
    part = _schema()
    for step in path:
        part = _resolved(part)
        if isinstance(step, int):
            firsts = part.get("prefixItems", [])
            part = firsts[step] if step < len(firsts) else part.get("items", {})
        else:
            part = part.get("properties", {}).get(step, {})
    return _resolved(part)


def sections(path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yield each section's path and its keys, the top level first."""
    properties = at(path).get("properties", {})
    yield path, list(properties)
    for key in properties:
        if at((*path, key)).get("type") == "object":
            yield from sections((*path, key))


def expected(path: KeyPath) -> str:
    """Say what may stand at a path: "a whole number from 1 to 1000000"."""
    return _phrase(at(path))


def _phrase(part: dict[str, Any]) -> str:
    if "anyOf" in part:
        return ", or ".join(map(_phrase, part["anyOf"]))
    if "enum" in part or "const" in part:
        return _choice(part.get("enum") or [part["const"]])
    if part.get("type") in ("integer", "number"):
        kind = "whole number" if part["type"] == "integer" else "number"
        return f"a {kind}{_bounds(part)}"
    if part.get("type") == "array":
        return _list(part)
    if part.get("type") == "string":
        text = "non-empty text" if part.get("minLength") else "text"
        return str(part.get("patternErrorMessage", text))
    if part.get("type") == "boolean":
        return "true or false"
    return f"a section with {_keys(part)}"


def _choice(values: list[Any]) -> str:
    words = [number(v) if isinstance(v, int) else str(v) for v in values]
    if len(words) < 3:
        return " or ".join(words)
    return f"one of {', '.join(words)}"


def _bounds(part: dict[str, Any]) -> str:
    low, above = part.get("minimum"), part.get("exclusiveMinimum")
    high, below = part.get("maximum"), part.get("exclusiveMaximum")
    words = ""
    if low is not None:
        words = f" from {number(low)} to"
    elif above is not None:
        words = f" above {number(above)} and"
        words += " at most" if high is not None else ""
    if high is not None:
        words += f" {number(high)}"
    elif below is not None:
        words += f" below {number(below)}"
    if "multipleOf" in part:
        words += f", a multiple of {part['multipleOf']}"
    return words


def number(value: float) -> str:
    """Write a number as people do: 1000000 for 1e6, 0x100000 for a flash address."""
    if isinstance(value, int) and value >= 0x10000 and value % 4096 == 0:
        return hex(value)
    return f"{value:.15g}"


def _list(part: dict[str, Any]) -> str:
    if "prefixItems" in part:
        items = [_phrase(item) for item in part["prefixItems"]]
        if len(set(items)) == 1:
            return f"a list of {len(items)}, each {items[0]}"
        return f"a list of {len(items)}: {', then '.join(items)}"
    kind = "a non-empty list" if part.get("minItems") else "a list"
    return f"{kind} of {_phrase(_resolved(part['items']))}"


def _keys(part: dict[str, Any]) -> str:
    keys = list(part.get("properties", {}))
    if not keys:
        return "no keys"
    return f"the key{'s' if len(keys) > 1 else ''} {', '.join(keys)}"


def unknown(path: KeyPath) -> str:
    """Say where an unknown key belongs, or which legal one is nearest."""
    *parent, last = path
    key = str(last)
    homes = [_named(p) for p, keys in _homes() if key in keys]
    if homes:
        return f"unknown key; it belongs {' or '.join(homes)}"
    legal = list(at(tuple(parent)).get("properties", {}))
    near = get_close_matches(key.lower(), legal, 1)
    if near:
        return f"unknown key; did you mean {near[0]!r}?"
    for section, keys in _homes():
        near = get_close_matches(key.lower(), keys, 1, 0.75)
        if near:
            return f"unknown key; did you mean {near[0]!r} {_named(section)}?"
    if not legal:
        return "unknown key; this section has none"
    return f"unknown key; legal are {', '.join(legal)}"


def _homes() -> Iterator[tuple[tuple[str, ...], list[str]]]:
    for path, keys in sections():
        yield path, keys if path else ["extends", *keys]


def _named(section: tuple[str, ...]) -> str:
    return f"in section {'.'.join(section)!r}" if section else "at the top level"
