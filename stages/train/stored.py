"""The weighted operators of a float TFLite graph, laid out as Keras has them.

TFLite keeps a convolution as O×H×W×I, a depthwise one as 1×H×W×(C·M) and a dense
layer as outputs × inputs; Keras keeps H×W×I×O, H×W×C×M and inputs × outputs. Batch
norms are folded: of the weights and the bias nothing else is left.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210.errors import ModelError
from stages import tflite

Floats = NDArray[np.float32]

KINDS = {
    "CONV_2D": "conv",
    "DEPTHWISE_CONV_2D": "depthwise",
    "FULLY_CONNECTED": "dense",
    "TRANSPOSE_CONV": "transposed",
}
"""Operators with weights, by what they are called here."""

WEIGHTS_AT, BIAS_AT = 1, {"TRANSPOSE_CONV": 3}
"""Operands: the weights are the second, the bias the third but for one kind."""

ACTIVATIONS = {"NONE": None, "RELU": "relu", "RELU6": "relu6"}
"""Fused activations that are told apart; all others stand behind the operator."""


@dataclass(frozen=True)
class Stored:
    """The weights of one operator.

    Attributes:
        name: the tensor of the weights.
        stored_shape: its shape in the file.
        kind: conv, depthwise, dense or transposed.
        weights: float32, in Keras' order of axes.
        bias: float32, one per output, or None.
        level: how many operators with weights lie on the longest way to it,
            itself included.
        position: its place among the weighted operators of the file, from 1.
        activation: relu or relu6 where that is fused, else None.
    """

    name: str
    stored_shape: tuple[int, ...]
    kind: str
    weights: Floats
    bias: Floats | None
    level: int
    position: int
    activation: str | None

    def __str__(self) -> str:
        size = "×".join(map(str, self.stored_shape))
        return f"tensor {self.name!r} ({self.kind}, {size}, number {self.position})"


def stored_weights(model: Any, path: Path) -> list[Stored]:
    """The weighted operators of a TFLite model in the order of its graph.

    Raises:
        ModelError: one has weights that are computed, or there are constants that
            belong to no operator of these kinds.
    """
    graph = model.subgraphs[0]
    levels: dict[int, int] = {}
    found: list[Stored] = []
    for operator in graph.operators:
        kind = tflite.operator_name(model, operator)
        level = max(
            (levels.get(i, 0) for i in tflite.indices(operator.inputs)), default=0
        )
        if kind in KINDS:
            level += 1
            found.append(_stored(model, operator, level, len(found) + 1, path))
        else:
            _refuse_constants(model, operator, path)
        levels.update(dict.fromkeys(tflite.indices(operator.outputs), level))
    return found


def _stored(model: Any, operator: Any, level: int, position: int, path: Path) -> Stored:
    graph, kind = model.subgraphs[0], tflite.operator_name(model, operator)
    tensor = graph.tensors[operator.inputs[WEIGHTS_AT]]
    weights = tflite.constant(model, tensor)
    if weights is None:
        raise ModelError(
            f"{path}: the weights {tflite.name(tensor)!r} of a {kind} are computed by "
            "the model itself; they cannot be loaded into a layer"
        )
    at = BIAS_AT.get(kind, 2)
    index = operator.inputs[at] if len(operator.inputs) > at else -1
    bias = tflite.constant(model, graph.tensors[index]) if index >= 0 else None
    return Stored(
        name=tflite.name(tensor).split(";")[0],  # of all that was fused into it
        stored_shape=weights.shape,
        kind=KINDS[kind],
        weights=_as_keras(weights, KINDS[kind], operator.builtinOptions),
        bias=bias,
        level=level,
        position=position,
        activation=_activation(operator.builtinOptions),
    )


def _as_keras(weights: Floats, kind: str, options: Any) -> Floats:
    if kind == "conv":
        return weights.transpose(1, 2, 3, 0)
    if kind == "transposed":
        return weights.transpose(1, 2, 0, 3)
    if kind == "dense":
        return weights.transpose()
    _, height, width, outputs = weights.shape
    each = options.depthMultiplier or 1
    return weights.reshape(height, width, outputs // each, each)


def _activation(options: Any) -> str | None:
    fused = getattr(options, "fusedActivationFunction", 0)
    names = vars(tflite.schema().ActivationFunctionType)
    by_number = {v: k for k, v in names.items() if isinstance(v, int)}
    return ACTIVATIONS.get(by_number.get(fused, "NONE"))


def _refuse_constants(model: Any, operator: Any, path: Path) -> None:
    """Refuse weights elsewhere, such as a batch norm that was not folded."""
    graph = model.subgraphs[0]
    for index in tflite.indices(operator.inputs):
        tensor = graph.tensors[index]
        values = tflite.constant(model, tensor)
        if values is None or tflite.type_name(tensor) != "FLOAT32" or values.size == 1:
            continue
        raise ModelError(
            f"{path}: {tflite.operator_name(model, operator)} has the weights "
            f"{tflite.name(tensor)!r} of shape {'×'.join(map(str, values.shape))}, and "
            "only those of convolutions and dense layers are loaded; give a file in "
            "which batch norms are folded"
        )
