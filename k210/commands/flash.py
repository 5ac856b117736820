"""Write files, packages or a program to a board's flash, and verify them."""

import argparse
import hashlib
import sys
from pathlib import Path

from k210 import board
from k210.board import Board, BoardSpec
from k210.boards import TYPES
from k210.errors import BoardError, UserError
from k210.images import program_image, read_package
from k210.virtual.nor import SECTOR, SIZE

HELP = "write to a board's flash"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add = parser.add_argument
    add("file", type=Path, help="a .kfpkg, or bytes to write")
    add("--port", required=True, help="a serial port, a URL, or virtual")
    add("--type", choices=TYPES, help="the board's type")
    add("--baud", type=int, default=2_000_000, help="rate of the link")
    add("--image", type=Path, default=Path("flash.bin"), help="the virtual board's")
    add("--address", type=lambda text: int(text, 0), default=0, help="where to")
    add(
        "--program",
        action="store_true",
        help="the bytes are a program, which the board shall start from now on",
    )


def main(options: argparse.Namespace) -> None:
    """Write and verify.

    Raises:
        UserError: a file or the board is not as it should be.
    """
    wanted = _wanted(options)
    spec = BoardSpec(
        options.port,
        SIZE,
        options.image,
        options.image.with_suffix(".log"),
        options.type,
        options.baud,
    )
    opened = board.open(spec)
    try:
        for address, data in wanted:
            write(opened, address, data)
            print(f"{len(data)} bytes at {address:#x}: verified", file=sys.stderr)
    finally:
        opened.close()


def _wanted(options: argparse.Namespace) -> list[tuple[int, bytes]]:
    """What is to lie in flash, and where."""
    if options.file.suffix == ".kfpkg":
        return [(file.address, file.contents) for file in read_package(options.file)]
    try:
        data = options.file.read_bytes()
    except OSError as error:
        raise UserError(
            f"{options.file}: {error.strerror}; name another file"
        ) from None
    return [(options.address, program_image(data) if options.program else data)]


def write(target: Board, address: int, data: bytes) -> None:
    """Put bytes into flash; what else lies in their sectors stays.

    Raises:
        BoardError: they do not fit, or are not there afterwards.
    """
    end = address + len(data)
    if end > target.flash_size:
        raise BoardError(
            f"{len(data)} bytes at {address:#x} reach beyond the flash of "
            f"{target.flash_size:#x} bytes: choose a lower address"
        )
    first, last = address - address % SECTOR, end + -end % SECTOR
    before = target.flash_read(first, address - first)
    behind = target.flash_read(end, last - end)
    target.flash_erase(first, last - first)
    target.flash_write(first, before + data + behind)
    _verify(target, first, before + data + behind)


def _verify(target: Board, address: int, data: bytes) -> None:
    if target.flash_sha256(address, len(data)) != hashlib.sha256(data).hexdigest():
        raise BoardError(
            f"the flash does not hold what was written at {address:#x}: try again, "
            "and replace the board if it happens again"
        )
