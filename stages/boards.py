"""Reserve and open the board that a project names: by its port, or through the map."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from k210 import fleet
from k210.board import Board
from k210.errors import BoardError
from k210.fleet.hardware_map import NAME, VIRTUAL, BoardEntry, find_map, match, read_map
from stages.graph import FLASH_IMAGE

if TYPE_CHECKING:
    from stages.lifecycle import Job


@contextmanager
def opened(job: "Job", id: str | None = None) -> Iterator[Board]:  # noqa: A002
    """The project's board, reserved and opened; closed at the end.

    Args:
        job: the stage's job.
        id: the one of several matching boards that is meant; None for any.

    Raises:
        BoardError: it cannot be opened.
    """
    with reserved(job, id) as entry, open_entry(job, entry) as board:
        yield board


@contextmanager
def open_entry(job: "Job", entry: BoardEntry) -> Iterator[Board]:
    """A board that is reserved, opened; closed at the end.

    Raises:
        BoardError: it cannot be opened.
    """
    with fleet.opened(entry, job.log) as board:
        yield board


@contextmanager
def reserved(job: "Job", id: str | None = None) -> Iterator[BoardEntry]:  # noqa: A002
    """The project's board, for nobody else meanwhile; see ``opened``.

    Raises:
        BoardError: there is none.
    """
    whom = f"project {job.settings.project.name}"
    with fleet.reserved(_candidates(job, id), whom, job.console.say) as (entry, _):
        yield entry


def _candidates(job: "Job", id: str | None) -> Sequence[BoardEntry]:  # noqa: A002
    settings = job.settings.board
    if settings.port is not None:
        return [
            BoardEntry(
                id=settings.port,
                port=settings.port,
                type=settings.type,
                baud=settings.baud,
                flash_size=settings.flash_size if settings.port == VIRTUAL else None,
                flash=job.board_file(FLASH_IMAGE),
            )
        ]
    asked = f"board.id {settings.id}" if settings.id else f"board.tag {settings.tag}"
    path = find_map(job.root)
    if path is None:
        raise BoardError(
            f"{asked} needs a map of boards, and there is no {NAME} here: write one, "
            "or name a board.port"
        )
    found = match(read_map(path), id or settings.id, settings.tag, settings.type)
    if not found:
        raise BoardError(
            f"no connected board of {path} goes by {asked}"
            + (f" and id {id}" if id else "")
            + ": plug one in and say so there, or ask for another"
        )
    return found
