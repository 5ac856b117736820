"""Show what a kmodel consists of: tensors, memory, and every operation by its id."""

import argparse
import json
from pathlib import Path

from k210 import disassembly
from k210.commands.files import read_kmodel

HELP = "show what a kmodel consists of"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", type=Path, help="a .kmodel file of nncase 1.9")
    parser.add_argument("--json", action="store_true", help="all of it, as JSON")


def main(options: argparse.Namespace) -> None:
    """Print it.

    Raises:
        UserError: there is no such kmodel.
    """
    model = read_kmodel(options.model)
    if options.json:
        print(json.dumps(disassembly.as_dict(model), indent=1))
    else:
        print(disassembly.as_text(model), end="")
