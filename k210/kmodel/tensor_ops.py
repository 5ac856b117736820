"""What a tensor operation of the stackvm module is, and the choices it encodes.

Facts: nncase 1.9's `datatypes.h`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from k210.kmodel.buffers import Buffer


class BinaryOp(IntEnum):
    """Elementwise operations on two tensors."""

    ADD = 0
    SUB = 1
    MUL = 2
    DIV = 3
    MIN = 4
    MAX = 5
    POW = 6
    FLOOR_DIV = 7
    FLOOR_MOD = 8


class ReduceOp(IntEnum):
    """How elements are reduced to one."""

    MEAN = 0
    MIN = 1
    MAX = 2
    SUM = 3


class PadMode(IntEnum):
    """What padding is filled with."""

    CONSTANT = 0
    REFLECT = 1
    SYMMETRIC = 2
    EDGE = 3


class ResizeMode(IntEnum):
    """How pixels between pixels are made."""

    BILINEAR = 0
    NEAREST = 1


@dataclass(frozen=True, slots=True)
class Padding:
    """Elements added before, after and between those of a dimension; negative crops."""

    before: int
    after: int
    interior: int


@dataclass(frozen=True, slots=True)
class TensorOp:
    """One tensor operation of the CPU, or a call of a k210 function.

    `scalars` holds immediates and scalar operands by name (an enumeration as its
    number), `vectors` integer registers such as `axis` or `perm`, `paddings` those of
    pad (one per dimension) or of a window (height, width). `offset` is the file offset
    of the instruction, `function` the k210 function that a call runs.
    """

    offset: int
    kind: str
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    scalars: Mapping[str, float]
    vectors: Mapping[str, tuple[int, ...]]
    paddings: tuple[Padding, ...] = ()
    function: int | None = None

    where = "cpu"

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a convolution, 0 for everything else."""
        if self.kind != "conv2d":
            return 0
        return math.prod(self.outputs[0].shape) * math.prod(self.inputs[1].shape[1:])
