"""``python -m k210 COMMAND``: look at kmodels and run them.

Exit status: 0 done, 2 a mistake the user can mend.
"""

import argparse
import sys
from collections.abc import Sequence

from k210.commands import boards, flash, inspect, run, virtual
from k210.errors import UserError

COMMANDS = {
    "boards": boards,
    "flash": flash,
    "inspect": inspect,
    "run": run,
    "virtual": virtual,
}
"""Modules with ``HELP``, ``add_arguments(parser)`` and ``main(options)``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m k210", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name, help=module.HELP, description=module.__doc__
        )
        module.add_arguments(command)
    options = parser.parse_args(arguments)
    try:
        COMMANDS[options.command].main(options)
    except UserError as error:
        print(f"error: {options.command}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
