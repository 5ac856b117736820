"""List the serial ports that boards may be on; --probe finds out what answers."""

import argparse
import sys

from k210.errors import UserError
from k210.fleet import board_lock, finding
from k210.fleet.finding import Found, FoundPort
from k210.fleet.hardware_map import BoardEntry

HELP = "find boards"
WHOM = "a probe"
PATIENCE_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add = parser.add_argument
    add(
        "port",
        nargs="*",
        help="paths and URLs; default: all ports of USB adapters",
    )
    add(
        "--probe",
        action="store_true",
        help="reset what is there and see whether a K210 answers",
    )


def main(options: argparse.Namespace) -> None:
    """List, and probe if asked to.

    Raises:
        UserError: a port was named, and no board found on it.
    """
    plugged = {port.path: port for port in finding.ports()}
    names = options.port or list(plugged)
    if not names:
        print(
            "no serial port of a USB adapter is plugged in: check the cable, which may "
            "be one for charging only, and on a virtual machine pass the adapter on"
        )
    for name in names:
        port = plugged.get(name)
        print(_described(port) if port else name)
        if options.probe:
            _probe(name, port, strict=bool(options.port))
        elif port and port.trouble:
            print(f"  {port.trouble}")


def _described(port: FoundPort) -> str:
    parts = [port.path, port.usb]
    parts += [f"serial {port.serial}"] if port.serial else []
    parts += [f"at {port.location}"] if port.location else []
    parts += [port.product] if port.product else []
    parts += [f"likely {' or '.join(port.likely)}"] if port.likely else []
    return "  ".join(parts)


def _probe(name: str, port: FoundPort | None, strict: bool) -> None:
    key = BoardEntry(name, name).key()
    try:
        with board_lock.locked({name: key}, WHOM, _say, PATIENCE_S):
            found = finding.probe(name, port.likely if port else (), _say)
    except UserError as error:
        if strict:
            raise
        print(f"  {error}")
    else:
        print(f"  {_found(found)}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _found(found: Found) -> str:
    firmware = found.firmware or "none of ours"
    return (
        f"a K210, reset as {found.types[0]} (as are {', '.join(found.types[1:])}); "
        f"flash {found.flash_id}, {found.flash_size >> 20} MiB; firmware that ran: "
        f"{firmware}"
    )
