"""Dataclasses that are checked when made: the language of the manifest's schema.

Each field's annotation is checked, in JSON and in Python alike, and each key must be
there, with no other.
"""

import reprlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from k210.errors import ModelError

_LARGEST = float.fromhex("0x1.fffffep127")
"""The largest number of float32."""


class ManifestError(ModelError):
    """The manifest is malformed; `where` is the path to the flaw, `why` the flaw."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(where, why)
        self.where, self.why = where, why

    def __str__(self) -> str:
        flaw = f"{self.where.lstrip('.') or 'it'} {self.why}"
        return f"the manifest cannot be used: {flaw}; correct it or run compile again"


class Record:
    """Fields that are checked, and brought to their annotated types, when made."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            value = convert_at("." + name, hint, getattr(self, name))
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        """Raise ManifestError for values that are wrong though their types are not."""


def shown(value: object) -> str:
    """The value on one line, shortened if long."""
    return reprlib.repr(value)


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, for ``json.loads``; ValueError where a key occurs twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"a key occurs twice among {shown([k for k, _ in pairs])}")
    return found


def convert_at(where: str, hint: Any, value: Any) -> Any:
    """The value in the type of an annotation.

    Raises:
        ManifestError: it is not of that type; `where` begins the path to the flaw.
    """
    try:
        return _convert(hint, value)
    except ManifestError as flaw:
        raise ManifestError(where + flaw.where, flaw.why) from None


def _convert(hint: Any, value: Any) -> Any:
    """The value in the type that a field is annotated with, or ManifestError."""
    kind, args = get_origin(hint), get_args(hint)
    if kind is Literal:
        return _convert_choice(args, value)
    if kind is tuple:
        return _convert_list(args, value)
    if kind is Mapping:
        return _convert_mapping(args[0], args[1], value)
    if is_dataclass(hint):
        return _convert_record(hint, value)
    if hint is float:
        return _convert_number(value)
    if type(value) is hint:
        return value
    raise _wrong({int: "a whole number", str: "a text"}[hint], value)


def _wrong(wanted: str, value: object) -> ManifestError:
    return ManifestError("", f"must be {wanted}, not {shown(value)}")


def _convert_choice(choices: tuple[str | int, ...], value: Any) -> str | int:
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return choice
    raise _wrong(" or ".join(map(str, choices)), value)


def _convert_number(value: Any) -> float:
    if type(value) in (int, float) and abs(value) <= _LARGEST:
        return float(value)
    raise _wrong("a finite float32 number", value)


def _convert_list(items: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    """A list whose items have the types `items`; (T, ...) stands for any number."""
    if not isinstance(value, list | tuple):
        raise _wrong("a list", value)
    hints = items[:1] * len(value) if items[-1] is Ellipsis else items
    if len(value) != len(hints):
        raise _wrong(f"a list of {len(hints)}", value)
    pairs = enumerate(zip(hints, value, strict=True))
    return tuple(convert_at(f"[{i}]", hint, item) for i, (hint, item) in pairs)


def _convert_mapping(key: Any, item: Any, value: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _wrong("an object", value)
    pairs = ((_convert(key, k), v) for k, v in value.items())
    return {k: convert_at(f"[{shown(k)}]", item, v) for k, v in pairs}


def _convert_record(record: Any, value: Any) -> Any:
    """The dataclass of an object that has exactly its fields as keys."""
    if isinstance(value, record):
        return value
    if not isinstance(value, dict):
        raise _wrong("an object", value)
    names = {f.name for f in fields(record)}
    for key in sorted(names - value.keys()):
        raise ManifestError(f".{key}", "is missing")
    for key in sorted(value.keys() - names):
        raise ManifestError("." + shown(key), "is not a known key")
    return record(**value)
