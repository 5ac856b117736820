"""What the compile stage changed in the kmodel that nncase wrote.

``placement.json`` lists it as ``repairs``: an object each, of whichever fields; those
that an object does not have stay empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Repairs:
    """The fields' names, and a row of their values for each repair."""

    keys: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def repairs(placement: Mapping[str, Any]) -> Repairs | None:
    """The repairs as a table; None where there are none."""
    found = placement["repairs"]
    keys = tuple(dict.fromkeys(key for repair in found for key in repair))
    rows = tuple(tuple(_words(repair.get(key)) for key in keys) for repair in found)
    return Repairs(keys, rows) if rows else None


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
