"""The networks that can be trained, one module each, as Keras models.

All of them take float32 pictures of any size the KPU takes, make no map under 4×4
(they stop striding, or end, before), and end in a softmax over the classes.
"""

from collections.abc import Callable
from typing import Any

from stages.project.schema import Model
from stages.train.architectures.blocks import from_blocks
from stages.train.architectures.cnn import cnn
from stages.train.architectures.ds_cnn import ds_cnn
from stages.train.architectures.kpunet import kpunet
from stages.train.architectures.mobilenet_v1 import mobilenet_v1
from stages.train.architectures.mobilenet_v2 import mobilenet_v2
from stages.train.architectures.mobilenet_v3_large import mobilenet_v3_large
from stages.train.architectures.mobilenet_v3_small import mobilenet_v3_small
from stages.train.architectures.resnet8 import resnet8

Shape = tuple[int, int, int]
Build = Callable[[Model, Shape, int], Any]

ARCHITECTURES: dict[str, Build] = {
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3_small": mobilenet_v3_small,
    "mobilenet_v3_large": mobilenet_v3_large,
    "resnet8": resnet8,
    "ds_cnn": ds_cnn,
    "cnn": cnn,
    "kpunet": kpunet,
}


def build(settings: Model, shape: Shape, classes: int) -> Any:
    """An untrained classifier, as the ``model`` section describes it.

    Its first weights come from Keras' global seed.

    Args:
        settings: the section, with an ``architecture`` or ``blocks``.
        shape: height, width and channels of the input, float32.
        classes: number of outputs, a softmax over them.

    Returns:
        a ``keras.Model``.
    """
    if settings.blocks is not None:
        return from_blocks(settings, shape, classes)
    assert settings.architecture is not None
    return ARCHITECTURES[settings.architecture](settings, shape, classes)
