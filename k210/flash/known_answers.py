"""The known-answer block of the model slot: inputs, and what the model makes of them.

With it a board tells by itself whether it computes what the host did, without one. All
integers and floats are little-endian; inputs and outputs are those of one inference,
all tensors one after the other without gaps, as the link carries them.

======  ====  ================================================================
offset  type  field
======  ====  ================================================================
0       u8[8] magic, ``K210KNOW``
8       u32   version of this layout, 1
12      u32   count of the answers, not 0
16      u32   bytes of an input
20      u32   bytes of an output
24      f32   tolerance: by how much a float of an output may differ; 0: outputs
              are equal to the byte
28      u32   0
32            count times an input and its output
======  ====  ================================================================
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from k210.flash.slot import SlotError

MAGIC = b"K210KNOW"
VERSION = 1
MOST_BYTES = 1 << 16
"""What a block of several answers takes at most."""

MOST_ANSWERS = 3
TOLERANCE = 1 / 16
"""Of the largest value: faults are larger, another chip's rounding is smaller."""

_HEADER = struct.Struct("<8s4IfI")


@dataclass(frozen=True)
class KnownAnswers:
    """Inputs and their outputs, each as bytes; all inputs, all outputs alike long."""

    inputs: tuple[bytes, ...]
    outputs: tuple[bytes, ...]
    tolerance: float

    def pack(self) -> bytes:
        """The block as it lies in flash."""
        sizes = len(self.inputs[0]), len(self.outputs[0])
        header = _HEADER.pack(
            MAGIC, VERSION, len(self.inputs), *sizes, self.tolerance, 0
        )
        pairs = zip(self.inputs, self.outputs, strict=True)
        return header + b"".join(part for pair in pairs for part in pair)


def known_answers(answers: Iterable[tuple[bytes, Sequence[bytes]]]) -> KnownAnswers:
    """As many answers as are worth their room in flash, at least one.

    Args:
        answers: inputs, and for each the float32 outputs of the model.
    """
    pairs = [(given, b"".join(outputs)) for given, outputs in answers]
    room = MOST_BYTES // len(b"".join(pairs[0]))
    kept = pairs[: max(1, min(MOST_ANSWERS, room))]
    largest = max(float(np.abs(np.frombuffer(out, "<f4")).max()) for _, out in kept)
    return KnownAnswers(
        tuple(given for given, _ in kept),
        tuple(out for _, out in kept),
        TOLERANCE * largest,
    )


def parse_known_answers(data: bytes) -> KnownAnswers:
    """Read a block; SlotError says what is wrong with it."""
    if len(data) < _HEADER.size or not data.startswith(MAGIC):
        raise SlotError("the model slot's known answers are none: run flash again")
    _, version, count, given, taken, tolerance, _ = _HEADER.unpack_from(data)
    if version != VERSION or len(data) != _HEADER.size + count * (given + taken):
        raise SlotError("the model slot's known answers are damaged: run flash again")
    starts = range(_HEADER.size, len(data), max(1, given + taken))
    return KnownAnswers(
        tuple(data[at : at + given] for at in starts),
        tuple(data[at + given : at + given + taken] for at in starts),
        tolerance,
    )
