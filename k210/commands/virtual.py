"""Serve a virtual K210 board on a flash image until interrupted."""

import argparse
import contextlib
import sys
from pathlib import Path

from k210.boards import TYPES
from k210.virtual.injected import KINDS, parse
from k210.virtual.nor import SIZE
from k210.virtual.serve import serve

HELP = "serve a virtual board"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add = parser.add_argument
    add("flash", type=Path, help="its flash; made, blank, if missing")
    add("--size", type=int, default=SIZE, help="of the flash, in bytes")
    add("--type", choices=TYPES, default="virtual", help="how DTR and RTS are wired")
    add("--rfc2217", type=int, metavar="PORT", help="serve RFC 2217 on loopback")
    add("--link", type=Path, metavar="PATH", help="make a tty, and PATH.ctl for DTR")
    add(
        "--fault",
        type=parse,
        action="append",
        default=[],
        metavar="KIND=N",
        help="; ".join(f"{kind}: {words}" for kind, words in KINDS.items()),
    )
    add("--child", action="store_true", help="end when standard input does")


def main(options: argparse.Namespace) -> None:
    """Serve.

    Raises:
        UserError: the flash image, a port or the core are not to be had.
    """
    port = options.rfc2217
    if port is None and options.link is None:
        port = 0
    parent = sys.stdin.fileno() if options.child else None
    with contextlib.suppress(KeyboardInterrupt):
        serve(
            *(options.flash, options.size, options.type, port, options.link, parent),
            faults=options.fault,
        )
