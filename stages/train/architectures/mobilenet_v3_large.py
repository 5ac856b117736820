"""MobileNetV3-Large (Howard et al., 2019, table 1)."""

from typing import Any

from stages.project.schema import Model
from stages.train.architectures.mobilenet_v3 import Block, mobilenet_v3

BLOCKS = (
    Block(1, 16, False, "relu", 1),
    Block(4, 24, False, "relu", 2),
    Block(3, 24, False, "relu", 1),
    Block(3, 40, True, "relu", 2),
    Block(3, 40, True, "relu", 1),
    Block(3, 40, True, "relu", 1),
    Block(6, 80, False, "hard_swish", 2),
    Block(2.5, 80, False, "hard_swish", 1),
    Block(2.3, 80, False, "hard_swish", 1),
    Block(2.3, 80, False, "hard_swish", 1),
    Block(6, 112, True, "hard_swish", 1),
    Block(6, 112, True, "hard_swish", 1),
    Block(6, 160, True, "hard_swish", 2),
    Block(6, 160, True, "hard_swish", 1),
    Block(6, 160, True, "hard_swish", 1),
)
HEAD = 1280


def mobilenet_v3_large(
    settings: Model, shape: tuple[int, int, int], classes: int
) -> Any:
    """An untrained classifier."""
    name = "mobilenet_v3_large"
    return mobilenet_v3(settings, shape, classes, BLOCKS, HEAD, name)
