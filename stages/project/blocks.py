"""The shapes that a network written as ``model.blocks`` makes, block by block.

Worked out without any framework, so that what does not fit is refused while the YAML
is read. Shapes are (height, width, channels).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from stages.project.inner import Block

Shape = tuple[int, ...]

SMALLEST_MAP = 4
"""The KPU computes no map under 4×4."""

FILTERED = ("conv", "separable", "inverted_residual", "residual", "dense")
"""Kinds that need a number of filters; what the others make has as many as came in."""

POOLS = ("max_pool", "average_pool")
WITH_ACTIVATION = ("conv", "depthwise", "separable", "inverted_residual", "residual")
WITH_KERNEL = WITH_ACTIVATION


class Problem(NamedTuple):
    """What is wrong with a block: its position from 0, the key to blame, a sentence."""

    position: int
    key: str
    message: str


def stride_of(block: Block) -> int:
    """The stride of a block; a pool that names none halves the map."""
    if block.stride is not None:
        return block.stride
    return 2 if block.kind in POOLS else 1


def adds_input(block: Block) -> bool:
    """Whether a block adds its input to its output."""
    return block.residual or block.kind == "residual"


def output_shape(block: Block, shape: Shape) -> Shape:
    """The shape that a block makes of ``shape``; a dense block's is (filters,)."""
    channels = block.filters if block.filters is not None else shape[-1]
    if block.kind == "dense":
        return (channels,)
    stride = stride_of(block)
    if block.kind in POOLS:
        return (shape[0] // stride, shape[1] // stride, channels)
    return (-(-shape[0] // stride), -(-shape[1] // stride), channels)


def shapes(blocks: Sequence[Block], shape: Shape) -> list[Shape]:
    """The shapes after each block, from the input's ``shape`` on."""
    made = []
    for block in blocks:
        shape = output_shape(block, shape)
        made.append(shape)
    return made


def problems(blocks: Sequence[Block], shape: Shape) -> Iterator[Problem]:
    """What is wrong with blocks whose keys are legal one by one.

    A block's shape is only worked out where the ones before it are right.
    """
    own = [problem for index in range(len(blocks)) for problem in _own(blocks, index)]
    if own:
        yield from own
        return
    for index, block in enumerate(blocks):
        made = output_shape(block, shape)
        if problem := _misfit(block, shape, made):
            key, message = problem
            yield Problem(index, key, f"{_called(blocks, index)} {message}")
            return
        shape = made


def _called(blocks: Sequence[Block], index: int) -> str:
    return f"block {index + 1} of {len(blocks)} ({blocks[index].kind})"


def _own(blocks: Sequence[Block], index: int) -> Iterator[Problem]:
    """Keys of one block that do not go together."""
    block, called = blocks[index], _called(blocks, index)
    if block.kind in FILTERED and block.filters is None:
        yield Problem(index, "filters", f"{called} needs a number of filters")
    if block.kind not in FILTERED and block.filters is not None:
        message = "keeps the channels that come in; remove filters"
        yield Problem(index, "filters", f"{called} {message}")
    only = {
        "kernel": WITH_KERNEL,
        "activation": (*WITH_ACTIVATION, "dense"),
        "stride": (*WITH_KERNEL, *POOLS),
        "expand": ("inverted_residual",),
        "squeeze_excite": WITH_ACTIVATION,
        "residual": WITH_ACTIVATION,
    }
    for key, kinds in only.items():
        if block.kind not in kinds and getattr(block, key):
            yield Problem(index, key, f"{called} has no {key}; remove it")
    if index and blocks[index - 1].kind == "dense" != block.kind:
        message = "follows a dense block, after which there is no map; put it before"
        yield Problem(index, "kind", f"{called} {message}")


def _misfit(block: Block, shape: Shape, made: Shape) -> tuple[str, str] | None:
    if adds_input(block) and shape != made:
        key = "residual" if block.residual else "kind"
        return key, (
            f"cannot add its input {shape} to its output {made}: a residual needs "
            "stride 1 and as many filters as channels come in; set stride: 1 and "
            f"filters: {shape[-1]}{', or residual: false' if block.residual else ''}"
        )
    if len(made) == 3 and min(made[:2]) < SMALLEST_MAP:
        return "stride", (
            f"makes a map {made} of {shape}, and the KPU computes none under "
            f"{SMALLEST_MAP}×{SMALLEST_MAP}; use a smaller stride or a larger "
            "data.size"
        )
    return None
