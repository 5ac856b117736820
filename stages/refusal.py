"""How a command says why it has done nothing. Standard library only."""

import sys

STATUS = 2
"""The exit status of a mistake that the user can mend."""


def refuse(*sentences: str) -> int:
    """Print each sentence on stderr as an error; the exit status."""
    for sentence in sentences:
        print(f"error: {sentence}", file=sys.stderr)
    return STATUS
