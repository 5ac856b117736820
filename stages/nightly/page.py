"""The index page of nightly runs: one HTML file, in the report's style, no network."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from stages.nightly.places import VIRTUAL
from stages.nightly.rows import RunRow
from stages.nightly.store import Store
from stages.nightly.summary import Summary
from stages.nightly.trends import Series, series
from stages.report.templates import environment

MOST_LOGS = 60
"""Jobs whose logs stand on the page; those of others are linked."""

LOG_BYTES = 16 * 1024
"""So much of a log stands on the page: its end."""

WORDS = {
    0: ("✓", "nothing is worse", "passed"),
    1: ("✗", "worse than before", "failed"),
    2: ("✗", "no model could be judged", "failed"),
}
"""A sign, a few words and a CSS class for each status of a run."""


@dataclass(frozen=True)
class Grid:
    """What came of each project (a row) on each board (a column), if it ran there."""

    boards: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Mapping[str, Any] | None, ...]], ...]


@dataclass(frozen=True)
class Trouble:
    """A job that did not pass: the end of its log, and whether that is all of it."""

    job: Mapping[str, Any]
    log: str
    whole: bool


def page(summary: Summary, store: Store, home: Path) -> bytes:
    """The page about a run and those before it, UTF-8.

    Args:
        summary: the run.
        store: the history.
        home: the folder that the page will lie in, and to which logs are relative.
    """
    templates = environment(Path(__file__).parent, board=label)
    drawn = series(store, summary["run"])
    text = templates.get_template("index.html.j2").render(
        run=summary,
        words=WORDS[summary["status"]],
        grid=grid(summary["jobs"]),
        troubles=list(_troubles(summary["jobs"], home)),
        trends=_by_project(drawn),
        runs=list(_past(store, summary)),
        statuses=WORDS,
    )
    return text.encode()


def label(board: str) -> str:
    """A board's name as the page shows it."""
    return VIRTUAL if board.startswith(f"{VIRTUAL}:") else board or "any"


def grid(jobs: list[dict[str, Any]]) -> Grid:
    """Projects and boards, each in the order they come in."""
    boards = tuple(dict.fromkeys(label(job["board"]) for job in jobs))
    projects = dict.fromkeys(job["project"] for job in jobs)
    found = {(job["project"], label(job["board"])): job for job in jobs}
    return Grid(
        boards,
        tuple(
            (project, tuple(found.get((project, board)) for board in boards))
            for project in projects
        ),
    )


def _troubles(jobs: list[dict[str, Any]], home: Path) -> Iterator[Trouble]:
    """The jobs that need somebody's attention, those about models first."""
    order = ("fail", "error")
    wanted = [job for job in jobs if job["verdict"] in order or job["worse"]]
    wanted.sort(key=lambda job: job["verdict"] == "error")
    for number, job in enumerate(wanted):
        text, whole = _tail(home, job["log"]) if number < MOST_LOGS else ("", True)
        yield Trouble(job, text, whole)


def _tail(home: Path, log: str | None) -> tuple[str, bool]:
    """The end of a log, and whether that is all of it."""
    try:
        data = (home / log).read_bytes() if log else b""
    except OSError:
        return "", True
    text = data[-LOG_BYTES:].decode("utf-8", "replace")
    return text.strip(), len(data) <= LOG_BYTES


def _by_project(drawn: list[Series]) -> list[tuple[str, list[Series]]]:
    return [
        (project, list(group))
        for project, group in groupby(drawn, key=lambda each: each.project)
    ]


def _past(store: Store, summary: Summary) -> Iterator[tuple[RunRow, dict[str, int]]]:
    """The finished runs, the last one first, with the counts of their verdicts."""
    for row in reversed(store.runs()):
        if row.id == summary["run"]:
            yield row, summary["verdicts"]
        elif row.finished is not None and row.id < summary["run"]:
            yield row, row.judgement["verdicts"]
