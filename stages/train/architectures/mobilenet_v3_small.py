"""MobileNetV3-Small (Howard et al., 2019, table 2)."""

from typing import Any

from stages.project.schema import Model
from stages.train.architectures.mobilenet_v3 import Block, mobilenet_v3

BLOCKS = (
    Block(1, 16, True, "relu", 2),
    Block(72 / 16, 24, False, "relu", 2),
    Block(88 / 24, 24, False, "relu", 1),
    Block(4, 40, True, "hard_swish", 2),
    Block(6, 40, True, "hard_swish", 1),
    Block(6, 40, True, "hard_swish", 1),
    Block(3, 48, True, "hard_swish", 1),
    Block(3, 48, True, "hard_swish", 1),
    Block(6, 96, True, "hard_swish", 2),
    Block(6, 96, True, "hard_swish", 1),
    Block(6, 96, True, "hard_swish", 1),
)
HEAD = 1024


def mobilenet_v3_small(
    settings: Model, shape: tuple[int, int, int], classes: int
) -> Any:
    """An untrained classifier."""
    name = "mobilenet_v3_small"
    return mobilenet_v3(settings, shape, classes, BLOCKS, HEAD, name)
