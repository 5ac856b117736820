"""Names of operations, as inspect, traces and timings give them.

`s<i>` is the i-th tensor instruction of the entry function, `k<f>.<i>` instruction i of
k210 function f; the firmware counts them alike (``kmodel.h``).
"""

import re

from k210.errors import ModelError

ENTRY = 0xFFFF
"""The number that stands for the entry function."""


def format_op_id(function: int, index: int) -> str:
    """The op id of a function and an index into it."""
    return f"s{index}" if function == ENTRY else f"k{function}.{index}"


def parse_op_id(op_id: str) -> tuple[int, int]:
    """Function and index of an op id.

    Raises:
        ModelError: it is none.
    """
    if found := re.fullmatch(r"s([0-9]+)", op_id):
        return ENTRY, int(found[1])
    if found := re.fullmatch(r"k([0-9]+)\.([0-9]+)", op_id):
        return int(found[1]), int(found[2])
    raise ModelError(f"{op_id!r} is no op id: they are s<i> or k<f>.<i>")
