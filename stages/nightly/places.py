"""Where a run can measure: the boards of the hardware map and those projects name."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from k210.fleet.hardware_map import BoardEntry, find_map, match, read_map
from stages import project
from stages.nightly.outcome import Outcome
from stages.nightly.rows import NewJob
from stages.project import ProjectError, ProjectFile

VIRTUAL = "virtual"


@dataclass(frozen=True)
class Place:
    """A board as a run uses it.

    Attributes:
        name: as the map has it, or else the port; a project's own virtual board is
            called ``virtual:PROJECT``.
        section: the YAML's ``board`` section that names it.
        here: whether this machine does its work, because it is in software.
        entry: what the map says of it, if it stands there.
    """

    name: str
    section: dict[str, Any]
    here: bool
    entry: BoardEntry | None = None


@dataclass(frozen=True)
class Plan:
    """What a run is to do: its jobs, and the boards by their names."""

    jobs: tuple[NewJob, ...]
    places: dict[str, Place]


def map_of(root: Path) -> list[BoardEntry]:
    """The boards of the hardware map; none where there is no map.

    Raises:
        MapError: it makes no sense.
    """
    found = find_map(root)
    return read_map(found) if found else []


def plan(
    root: Path,
    files: Iterable[ProjectFile],
    entries: Sequence[BoardEntry],
    every: bool = True,
) -> Plan:
    """The jobs of all projects, in their order.

    Args:
        root: the checkout.
        files: its projects.
        entries: the boards of the hardware map.
        every: each project on every board that it matches, rather than on one of them.
    """
    jobs: list[NewJob] = []
    places: dict[str, Place] = {}
    for file in files:
        try:
            board = project.settings(file, root)["board"]
        except ProjectError as error:
            told = " ".join(str(error).split())
            outcome = Outcome("error", "project", told)
            jobs.append(NewJob("measure", file.name, outcome=outcome))
            continue
        found = {place.name: place for place in _places(file.name, board, entries)}
        places |= found
        jobs += _jobs(file.name, tuple(found), every) or [
            NewJob("measure", file.name, outcome=_skipped(board))
        ]
    return Plan(tuple(jobs), places)


def _jobs(name: str, boards: tuple[str, ...], every: bool) -> list[NewJob]:
    """A preparation and the measurements that follow it."""
    if not boards:
        return []
    measured = (
        [NewJob("measure", name, board, (board,)) for board in boards]
        if every or len(boards) == 1
        else [NewJob("measure", name, "", boards)]
    )
    return [NewJob("prepare", name), *measured]


def _skipped(board: dict[str, Any]) -> Outcome:
    wanted = f"id {board['id']}" if board["id"] else f"tag {board['tag']}"
    return Outcome("skipped", "", f"no connected board of the map has the {wanted}")


def _places(
    name: str, board: dict[str, Any], entries: Sequence[BoardEntry]
) -> Iterable[Place]:
    """The boards that a project can be measured on."""
    port = board["port"]
    if port is None:
        matching = match(entries, board["id"], board["tag"], board["type"])
        return [
            Place(entry.id, {"id": entry.id}, entry.virtual, entry)
            for entry in matching
        ]
    if port == VIRTUAL:
        return [Place(f"{VIRTUAL}:{name}", board, here=True)]
    entry = next((each for each in entries if each.port == port), None)
    return [Place(entry.id if entry else port, board, False, entry)]
