"""Open the board that a project names."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from k210 import board
from k210.board import Board, BoardSpec
from k210.errors import BoardError
from stages.graph import FLASH_IMAGE

if TYPE_CHECKING:
    from stages.lifecycle import Job


@contextmanager
def opened(job: "Job") -> Iterator[Board]:
    """The project's board, closed at the end.

    Raises:
        BoardError: it cannot be opened.
    """
    settings = job.settings.board
    if settings.port is None:
        raise BoardError(
            "board.id and board.tag need a map of boards, which does not exist yet; "
            "name a board.port"
        )
    spec = BoardSpec(
        port=settings.port,
        flash_size=settings.flash_size,
        flash_image=job.board_file(FLASH_IMAGE),
        log=job.log,
        kind=settings.type,
        baud=settings.baud,
    )
    device = board.open(spec)
    try:
        yield device
    finally:
        device.close()
