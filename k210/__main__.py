"""``python -m k210 COMMAND``: look at kmodels and run them.

Exit status: 0 done, 2 a mistake the user can mend.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from k210.errors import UserError

COMMANDS = ("boards", "flash", "inspect", "package", "run", "virtual")
"""Modules of k210.commands, with ``HELP``, ``add_arguments(parser)`` and
``main(options)``; only the one that is asked for is imported, which saves time."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m k210", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    words = sys.argv[1:] if arguments is None else arguments
    asked = [name for name in COMMANDS if name in words[:1]]
    for name in asked or COMMANDS:
        module = import_module(f"k210.commands.{name}")
        command = commands.add_parser(
            name, help=module.HELP, description=module.__doc__
        )
        command.set_defaults(main=module.main)
        module.add_arguments(command)
    options = parser.parse_args(arguments)
    try:
        options.main(options)
    except UserError as error:
        print(f"error: {options.command}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
