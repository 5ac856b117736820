"""The command ``python -m k210 virtual FLASH.bin``: a virtual board to connect to."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from k210.boards import TYPES
from k210.errors import UserError
from k210.virtual.nor import SIZE
from k210.virtual.serve import serve


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(
        prog="python -m k210 virtual",
        description="Serve a virtual K210 board on a flash image until interrupted.",
    )
    made.add_argument("flash", type=Path, help="its flash; made, blank, if missing")
    made.add_argument("--size", type=int, default=SIZE, help="of the flash, in bytes")
    made.add_argument(
        "--type", choices=TYPES, default="virtual", help="how DTR and RTS are wired"
    )
    made.add_argument(
        "--rfc2217", type=int, metavar="PORT", help="serve RFC 2217 on loopback"
    )
    made.add_argument(
        "--link", type=Path, metavar="PATH", help="make a tty, and PATH.ctl for its DTR"
    )
    made.add_argument("--child", action="store_true", help="end when stdin closes")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit status."""
    options = parser().parse_args(arguments)
    port = options.rfc2217
    if port is None and options.link is None:
        port = 0
    try:
        parent = sys.stdin.fileno() if options.child else None
        serve(options.flash, options.size, options.type, port, options.link, parent)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0
