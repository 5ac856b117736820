"""``build/history.jsonl``: a line for every finished run of the check, never changed.

A line is written in one go at the end of the file, with the file locked, so that two
processes do not mix theirs. A kill in the middle of it leaves a line that is not
whole: readers pass over it, and the next line begins after it.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stages.artifacts import Workspace, read_json, read_run
from stages.graph import stages_of

FORMAT = 1
Value = float | int | str | bool | None


@dataclass(frozen=True)
class Entry:
    """One run, from its data to its measured accuracy.

    Attributes:
        id: names the run on the command line; 8 hex digits of the check's key and
            start.
        started: when the check did, ISO 8601 in UTC.
        settings: the YAML's, with dotted names.
        figures: the stages' metrics, as STAGE.METRIC.
    """

    id: str
    project: str
    started: str
    verdict: str
    engine: str
    samples: int
    kmodel_sha256: str
    settings: dict[str, Value]
    figures: dict[str, Value]
    format: int = FORMAT

    @classmethod
    def from_json(cls, line: str) -> "Entry":
        """Parse one line.

        Raises:
            ValueError: it is not one that this version has written.
        """
        try:
            entry = cls(**json.loads(line))
        except TypeError as error:
            raise ValueError(f"not a run: {error}") from error
        if entry.format != FORMAT:
            raise ValueError(f"format {entry.format}")
        return entry


def history_path(root: Path) -> Path:
    """Where the history of a checkout lies."""
    return root / "build" / "history.jsonl"


def present(ws: Workspace, settings: Mapping[str, Any]) -> Entry:
    """The run whose results stand in the project's folder.

    Raises:
        UserError: its check has not run.
    """
    check = read_json(ws.path("check/check.json"))
    runs = {stage.name: read_run(ws, stage.name) for stage in stages_of(settings)}
    run = runs["check"]
    started = run.started if run else ""
    return Entry(
        id=_id(ws.project, started, run.key if run else ""),
        project=ws.project,
        started=started,
        verdict=check["verdict"],
        engine=check["engine"],
        samples=check["samples"],
        kmodel_sha256=check["kmodel_sha256"],
        settings=flat(settings),
        figures={
            f"{name}.{metric}": value
            for name, each in runs.items()
            if each and name != "report"
            for metric, value in {**each.metrics, "seconds": each.seconds}.items()
        },
    )


def _id(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """Settings with dotted names; lists as JSON."""
    found: dict[str, Value] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            found[prefix + name] = json.dumps(value, ensure_ascii=False)
        else:
            found[prefix + name] = value
    return found


def append(root: Path, entry: Entry) -> None:
    """Add a run at the end; one that is there already is not added again.

    Raises:
        OSError: the file cannot be written.
    """
    from filelock import FileLock

    path = history_path(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(".history.lock")):
        if any(known.id == entry.id for known in read(root)):
            return
        line = json.dumps(asdict(entry), ensure_ascii=False) + "\n"
        with path.open("ab+") as file:
            if file.tell() and not _ends_whole(file.fileno()):
                line = "\n" + line
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())


def _ends_whole(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, 1, size - 1) == b"\n"


def read(root: Path) -> list[Entry]:
    """All runs, the oldest first; lines that are not whole are left out."""
    try:
        text = history_path(root).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    entries = []
    for line in text.split("\n"):
        try:
            entries.append(Entry.from_json(line))
        except ValueError:
            continue
    return entries
