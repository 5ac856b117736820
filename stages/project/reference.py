"""The reference of a project's YAML as Markdown tables, for the README.

``python -m stages.project.reference`` prints it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from stages.project import words
from stages.project.schema import EXTENDS

_HEAD = "| key | legal values | default | meaning |\n|---|---|---|---|\n"


def reference() -> str:
    """Return a Markdown table per section: key, legal values, default, meaning."""
    parts = [_HEAD + _row("extends", "text", "", EXTENDS)]
    parts += [_section(name) for name in words.at(())["properties"]]
    return "\n".join(parts)


def _section(name: str) -> str:
    rows = "".join(_rows((name,)))
    title = f"### `{name}`\n\n{words.at((name,))['description']}\n"
    return f"{title}\n{_HEAD}{rows}" if rows else title


def _rows(path: words.KeyPath) -> Iterator[str]:
    for key, part in words.at(path)["properties"].items():
        here = (*path, key)
        if words.at(here).get("type") == "object":
            yield from _rows(here)
            continue
        default = f"`{_value(part['default'])}`" if "default" in part else ""
        legal = words.expected(here)
        name = ".".join("[]" if step == 0 else str(step) for step in here[1:])
        yield _row(name, legal, default, part["description"])
        if words.at((*here, 0)).get("type") == "object":
            yield from _rows((*here, 0))


def _row(key: str, legal: str, default: str, meaning: str) -> str:
    cells = (f"`{key}`", legal, default, meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _value(default: Any) -> str:
    if isinstance(default, str):
        return default or '""'
    if type(default) is int:
        return words.number(default)
    return json.dumps(default)


if __name__ == "__main__":
    print(reference(), end="")
