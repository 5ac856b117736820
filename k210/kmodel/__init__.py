"""Kmodel files, version 5, as nncase 1.9 writes them for target k210.

`parse` decodes a file down to every instruction and checks each bound on the way:
any bytes either parse or raise `KmodelError`. `canonical` and `digest` compare files
by meaning. `repair` mends what nncase gets wrong, `jumps` finds what it cannot mend.
"""

from k210.kmodel.binary import KmodelError
from k210.kmodel.buffers import (
    Buffer,
    DType,
    Location,
    MemoryRange,
    Shape,
    Tensor,
    dense_strides,
    kpu_map_bytes,
    kpu_row_layout,
)
from k210.kmodel.canonical import canonical, digest
from k210.kmodel.container import Function, Header, Mempool, Module, Section
from k210.kmodel.instructions import Conv2d, Instruction, Transfer
from k210.kmodel.layer import (
    ActivationTable,
    BatchNorm,
    LayerRegisters,
    Pool,
    Segment,
)
from k210.kmodel.model import Kmodel, Memory, Op, parse
from k210.kmodel.outputs import with_outputs
from k210.kmodel.parts import part_at
from k210.kmodel.repair import Jump, Repair, jumps, repair
from k210.kmodel.tensor_ops import (
    BinaryOp,
    Padding,
    PadMode,
    ReduceOp,
    ResizeMode,
    TensorOp,
)

__all__ = [
    "ActivationTable",
    "BatchNorm",
    "BinaryOp",
    "Buffer",
    "Conv2d",
    "DType",
    "Function",
    "Header",
    "Instruction",
    "Jump",
    "Kmodel",
    "KmodelError",
    "LayerRegisters",
    "Location",
    "Memory",
    "MemoryRange",
    "Mempool",
    "Module",
    "Op",
    "PadMode",
    "Padding",
    "Pool",
    "ReduceOp",
    "Repair",
    "ResizeMode",
    "Section",
    "Segment",
    "Shape",
    "Tensor",
    "TensorOp",
    "Transfer",
    "canonical",
    "dense_strides",
    "digest",
    "jumps",
    "kpu_map_bytes",
    "kpu_row_layout",
    "parse",
    "part_at",
    "repair",
    "with_outputs",
]
