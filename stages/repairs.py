"""What was repaired in a kmodel, in one line, from ``placement.json``'s records.

Standard library only: the compile stage and the report both say it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

KINDS = {
    "slope": ("wrapped slope", "wrapped slopes"),
    "minimum": ("value below the minimum", "values below the minimum"),
}
"""Of repairs that change what the model computes: one, several."""


def in_words(repairs: Sequence[Mapping[str, Any]]) -> str:
    """Such as "5 wrapped slopes in 2 activation tables"; "" for nothing of note."""
    told = [repair for repair in repairs if repair["kind"] in KINDS]
    parts = []
    for kind, names in KINDS.items():
        count = sum(repair["kind"] == kind for repair in told)
        if count:
            parts.append(f"{count} {names[count > 1]}")
    tables = len({tuple(repair["ops"]) for repair in told})
    plural = "s" if tables > 1 else ""
    return f"{' and '.join(parts)} in {tables} activation table{plural}" * bool(parts)
