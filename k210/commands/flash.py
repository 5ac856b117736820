"""Write files, packages or a program to a board's flash, and verify them.

Only what differs is written. What this computer has not written stays, unless --force.
"""

import argparse
import sys
import time
from pathlib import Path

from k210 import fleet
from k210.boards import TYPES
from k210.errors import UserError
from k210.flash import flashing
from k210.flash.flash_map import Region, check
from k210.flash.flashing import Owner, Progress
from k210.flash.images import PackageFile, read_package
from k210.flash.ledger import Ledger
from k210.fleet.hardware_map import BoardEntry, MapError, find_map, match, read_map
from k210.virtual.nor import SIZE

HELP = "write to a board's flash"
LINE_EVERY_S = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add = parser.add_argument
    add("file", type=Path, help="a .kfpkg, or bytes to write")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", help="a serial port, a URL, or virtual")
    where.add_argument("--board", metavar="ID", help="a board of boards.yaml")
    where.add_argument("--tag", help="any board of boards.yaml with this tag")
    add("--type", choices=TYPES, help="the board's type")
    add("--baud", type=int, default=2_000_000, help="rate of the link")
    add("--image", type=Path, default=Path("flash.bin"), help="the virtual board's")
    add("--address", type=lambda text: int(text, 0), default=0, help="where to")
    add(
        "--program",
        action="store_true",
        help="the bytes are a program, which the board shall start from now on",
    )
    add("--dry-run", action="store_true", help="say what would be written")
    add(
        "--force",
        action="store_true",
        help="overwrite what is not ours, and accept another board than the last time",
    )


def main(options: argparse.Namespace) -> None:
    """Write and verify.

    Raises:
        UserError: a file or the board is not as it should be.
    """
    regions = [
        Region(file.name, file.address, file.contents) for file in _files(options)
    ]
    check(regions, SIZE)
    whom = f"flashing {options.file.name}"
    with (
        fleet.reserved(_candidates(options), whom, _say) as (entry, _),
        fleet.opened(entry, options.image.with_suffix(".log")) as board,
    ):
        flash_id = str(board.identity()["flash_id"])
        name = None if entry.virtual else entry.id
        owner = Owner(options.file.name, name, options.force)
        if options.dry_run:
            plan = flashing.survey(board, regions)
            print("\n".join(plan.lines()))
            if plan.changed and not options.force:
                flashing.require_same_board(flash_id, owner)
                flashing.require_ours(board, plan, Ledger(flash_id))
            return
        try:
            written = flashing.write(board, flash_id, regions, owner, _Lines().tell)
        except KeyboardInterrupt:
            raise UserError(
                "interrupted: run it again, and it writes what is missing"
            ) from None
    for region in regions:
        print(
            f"{len(region.data)} bytes at {region.address:#x}: verified",
            file=sys.stderr,
        )
    print(f"{written} sectors written", file=sys.stderr)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _Lines:
    """How far it is: on a terminal a line that changes, elsewhere one now and then."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def tell(self, progress: Progress) -> None:
        """Say it, if it is time to."""
        done = progress.done == progress.total
        text = f"{progress.done // 1024} of {progress.total // 1024} KiB  {progress}"
        if sys.stderr.isatty():
            print(f"\r{text:<60}", end="\n" if done else "", file=sys.stderr)
        elif time.monotonic() - self._said >= LINE_EVERY_S:
            self._said = time.monotonic()
            _say(text)


def _candidates(options: argparse.Namespace) -> list[BoardEntry]:
    if options.port:
        virtual = options.port == "virtual"
        return [
            BoardEntry(
                options.port,
                options.port,
                options.type,
                options.baud,
                flash_size=SIZE if virtual else None,
                flash=options.image,
            )
        ]
    path = find_map(Path())
    if path is None:
        raise MapError("there is no boards.yaml here: write one, or name a --port")
    found = match(read_map(path), options.board, options.tag, options.type)
    if not found:
        raise MapError(
            f"no connected board of {path} is called "
            f"{options.board or options.tag}: name another"
        )
    return found


def _files(options: argparse.Namespace) -> list[PackageFile]:
    """What is to lie in flash, and where."""
    if options.file.suffix == ".kfpkg":
        return read_package(options.file)
    try:
        data = options.file.read_bytes()
    except OSError as error:
        raise UserError(
            f"{options.file}: {error.strerror}; name another file"
        ) from None
    return [PackageFile(options.address, options.file.name, data, options.program)]
