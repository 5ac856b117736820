"""Runs as text: a table for the terminal, a list of the history, and CSV."""

import csv
import io
from collections.abc import Iterable, Sequence

from stages.compare import runs
from stages.compare.runs import Row
from stages.history import Entry

FIELDS = ("id", "project", "started", "verdict", "engine", "samples", "kmodel_sha256")
HEADINGS = ("run", "project", "started", "verdict", "accuracy", "drop", "KPU, ms")


def side_by_side(names: Sequence[str], entries: Sequence[Entry]) -> str:
    """Runs in columns: what they are, the parameters that differ, the figures."""
    parameters = runs.differing(entries)
    blocks = {
        "": [Row("", tuple(names)), *runs.heads(entries)],
        "parameters that differ": parameters or [Row("none", ("",) * len(names))],
        "figures": runs.figures(entries),
    }
    rows = [row for block in blocks.values() for row in block]
    first = max(len(row.name) for row in rows) + 2
    columns = zip(*(row.cells for row in rows), strict=True)
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for title, block in blocks.items():
        lines += [title] if title else []
        for row in block:
            cells = (c.ljust(w) for c, w in zip(row.cells, widths, strict=True))
            lines.append(f"{'  ' + row.name:<{first}}  {'  '.join(cells)}".rstrip())
    return "\n".join(lines)


def listed(entries: Iterable[Entry]) -> str:
    """The history, a line for each run, the oldest first."""
    rows: list[tuple[str, ...]] = [HEADINGS]
    for entry in entries:
        told = ("check.device_accuracy", "check.device_drop", "check.modelled_kpu_ms")
        rows.append(
            (
                entry.id,
                entry.project,
                entry.started[:19].replace("T", " "),
                entry.verdict,
                *(runs.written(name, entry.figures.get(name)) for name in told),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def to_csv(entries: Sequence[Entry]) -> str:
    """All runs with all their figures and settings, the latter as ``yaml.NAME``."""
    figures = dict.fromkeys(name for each in entries for name in each.figures)
    settings = dict.fromkeys(name for each in entries for name in each.settings)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*FIELDS, *figures, *(f"yaml.{name}" for name in settings)])
    for entry in entries:
        writer.writerow(
            [
                *(getattr(entry, name) for name in FIELDS),
                *(entry.figures.get(name) for name in figures),
                *(entry.settings.get(name) for name in settings),
            ]
        )
    return file.getvalue()
