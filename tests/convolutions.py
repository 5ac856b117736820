"""Convolutions of which is tested what nncase makes of them."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

Sides = tuple[int, int, int, int]


@dataclass(frozen=True)
class Case:
    """A convolution of 8 channels to 8, between two 1×1 ones unless said otherwise.

    ``where`` is what the normalize stage shall foretell and nncase shall do. ``pad``
    is what a PAD in front adds (top, bottom, left, right); with it goes VALID.
    """

    name: str
    where: Literal["kpu", "kpu+copy", "kpu+cpu", "cpu"]
    size: tuple[int, int] = (32, 32)
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    dilation: int = 1
    valid: bool = False
    pad: Sides | None = None
    depthwise: bool = False
    then: Literal["1x1", "3x3", "1x1 twice"] = "1x1"

    @property
    def padding(self) -> str:
        """TensorFlow's name of it."""
        return "VALID" if self.valid or self.pad else "SAME"


ONE = (1, 1)
ODD, MIXED, TINY = (33, 33), (32, 33), (6, 6)
PAD1, PAD2 = (1, 1, 1, 1), (2, 2, 2, 2)
FIRST, LAST = (1, 0, 1, 0), (0, 1, 0, 1)

By2 = partial(Case, stride=(2, 2))
Depthwise = partial(Case, depthwise=True)
DepthwiseBy2 = partial(By2, depthwise=True)

CASES = (
    Case("3x3 same", "kpu"),
    Case("3x3 same, odd", "kpu", ODD),
    Case("3x3 padded by 1", "kpu", pad=PAD1),
    Case("1x1", "kpu", kernel=ONE),
    Case("3x3 valid", "kpu+copy", valid=True),
    Case("3x3 padded last", "kpu+copy", pad=LAST),
    Case("3x3 padded first", "kpu+copy", pad=FIRST),
    Case("3x3 padded in one direction", "kpu+copy", pad=(1, 1, 0, 0)),
    Case("3x3 padded by 2", "kpu+cpu", pad=PAD2),
    Case("3x3 padded by 2 above", "kpu+cpu", pad=(2, 0, 0, 0)),
    Case("1x1 padded by 1", "kpu+cpu", kernel=ONE, pad=PAD1),
    Depthwise("depthwise same", "kpu"),
    Depthwise("depthwise 1x1", "kpu", kernel=ONE),
    Depthwise("depthwise valid", "kpu+copy", valid=True),
    By2("3x3 by 2 same", "kpu+cpu"),
    By2("3x3 by 2 same, odd", "kpu+cpu", ODD),
    By2("3x3 by 2 padded by 1", "kpu", pad=PAD1),
    By2("3x3 by 2 padded by 1, odd", "kpu+cpu", ODD, pad=PAD1),
    By2("3x3 by 2 padded by 1, one odd", "kpu+cpu", MIXED, pad=PAD1),
    By2("3x3 by 2 padded first", "kpu", pad=FIRST),
    By2("3x3 by 2 padded unevenly", "kpu", pad=(1, 0, 1, 1)),
    By2("3x3 by 2 padded but left", "kpu+cpu", pad=(1, 1, 0, 1)),
    By2("3x3 by 2 padded by 2", "kpu+cpu", pad=PAD2),
    By2("3x3 by 2 valid", "kpu+cpu", valid=True),
    By2("3x3 by 2 valid, odd", "kpu+cpu", ODD, valid=True),
    By2("3x3 by 2 before a 3x3", "kpu", pad=PAD1, then="3x3"),
    By2("1x1 by 2", "kpu", kernel=ONE),
    By2("1x1 by 2, odd", "kpu+cpu", ODD, kernel=ONE),
    DepthwiseBy2("depthwise by 2 same", "kpu+cpu"),
    DepthwiseBy2("depthwise by 2 same, odd", "kpu+cpu", ODD),
    DepthwiseBy2("depthwise by 2 padded by 1", "kpu", pad=PAD1),
    DepthwiseBy2("depthwise by 2 before a 3x3", "kpu+cpu", pad=PAD1, then="3x3"),
    DepthwiseBy2("depthwise by 2 read twice", "kpu+cpu", pad=PAD1, then="1x1 twice"),
    Case("3x3 by 2,1", "kpu+cpu", stride=(2, 1)),
    Case("3x3 by 3", "kpu+cpu", stride=(3, 3)),
    Case("3x3 dilated", "kpu+cpu", dilation=2),
    Depthwise("depthwise dilated valid", "kpu+cpu", dilation=2, valid=True),
    Case("3x3 dilated, small", "kpu+cpu", TINY, dilation=2),
    Case("3x3 dilated to phases under 4x4", "cpu", TINY, dilation=2, valid=True),
    Case("3x3 on a map under 4x4", "kpu+cpu", (3, 3)),
    Case("3x3 to a map under 4x4", "kpu+cpu", (5, 5), valid=True),
    By2("3x3 by 2 to a map under 4x4", "kpu+cpu", TINY, pad=PAD1),
    Case("5x5", "cpu", kernel=(5, 5)),
    Case("1x3", "cpu", kernel=(1, 3)),
    Case("the highest map", "kpu", (256, 8)),
    Case("the widest map", "kpu", (8, 512)),
    Case("too high a map", "cpu", (257, 8)),
    Case("too wide a map", "cpu", (8, 513)),
    Case("the highest map, padded by the KPU", "kpu", (256, 8), pad=PAD1),
    Case("the highest map, padded by the CPU", "cpu", (256, 8), pad=PAD2),
    By2("the highest map by 2, padded by the CPU", "cpu", (256, 8), pad=PAD2),
    Case("as high as the CPU may pad it", "kpu+cpu", (254, 8), pad=PAD2),
    Case("the highest map, dilated", "kpu+cpu", (256, 8), dilation=2),
)
