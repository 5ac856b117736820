"""A float TFLite model whose weights are rewritten before it is quantized.

Read are convolutions and dense layers, here called layers, and which of them sees a
feature map channel by channel, through operations that commute with the scaling of
channels by positive numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210.manifest import Input
from stages import tflite
from stages.runtime import Runtime

Floats = NDArray[np.float64]
Maps = dict[int, NDArray[np.float32]]

LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
HOMOGENEOUS = (
    *("PAD", "MAX_POOL_2D", "AVERAGE_POOL_2D", "MEAN", "RESHAPE"),
    *("RELU", "LEAKY_RELU"),
)
"""Operations for which scaling a channel before is scaling it after."""

LINEAR, RELU, RELU6 = 0, 1, 3
"""Fused activations, by their numbers in the schema."""

_WEIGHTS, _BIAS = 1, 2


@dataclass(eq=False)
class Layer:
    """One layer; ``source`` and ``output`` are tensors' indices.

    ``weights`` is O×H×W×I, 1×H×W×C for a depthwise one, O×I for a dense one; ``bias``
    has a number for each channel that it makes. Both may be replaced.
    """

    operator: Any
    kind: str
    source: int
    output: int
    weights: Floats
    bias: Floats

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself."""
        return self.kind == "DEPTHWISE_CONV_2D"

    @property
    def activation(self) -> int:
        """The fused activation."""
        return int(self.operator.builtinOptions.fusedActivationFunction)


class Network:
    """A model as it is rewritten.

    Args:
        model: a float TFLite file's bytes.

    Attributes:
        layers: those whose weights are constant.
    """

    def __init__(self, model: bytes) -> None:
        self._model = tflite.unpack(model)
        self._graph = self._model.subgraphs[0]
        self._outputs = tflite.indices(self._graph.outputs)
        found = (self._layer(operator) for operator in self._graph.operators)
        self.layers = [layer for layer in found if layer is not None]

    def _layer(self, operator: Any) -> Layer | None:
        kind = tflite.operator_name(self._model, operator)
        if kind not in LAYERS:
            return None
        weights = self._constant(operator, _WEIGHTS)
        if weights is None:
            return None
        bias = self._constant(operator, _BIAS)
        if bias is None:
            bias = np.zeros(weights.shape[-1 if kind == "DEPTHWISE_CONV_2D" else 0])
        ends = int(operator.inputs[0]), int(operator.outputs[0])
        layer = Layer(operator, kind, *ends, weights, bias)
        return layer if not layer.depthwise or self._fits(layer) else None

    def _constant(self, operator: Any, position: int) -> Floats | None:
        if len(operator.inputs) <= position or operator.inputs[position] < 0:
            return None
        tensor = self._graph.tensors[int(operator.inputs[position])]
        values = tflite.constant(self._model, tensor)
        return None if values is None else values.astype(np.float64)

    def sinks(self, tensor: int) -> list[Layer] | None:
        """The layers that a map's channels go to; None if they go elsewhere too."""
        if tensor in self._outputs:
            return None
        found: list[Layer] = []
        for operator in self._readers(tensor):
            further = self._behind(operator, tensor)
            if further is None:
                return None
            found += further
        return found

    def _behind(self, operator: Any, tensor: int) -> list[Layer] | None:
        for layer in self.layers:
            if layer.operator is operator:
                fits = layer.source == tensor and self._fits(layer)
                return [layer] if fits else None
        if self._commutes(operator):
            return self.sinks(int(operator.outputs[0]))
        return None

    def _readers(self, tensor: int) -> list[Any]:
        return [
            operator
            for operator in self._graph.operators
            if tensor in tflite.indices(operator.inputs)
        ]

    def _fits(self, layer: Layer) -> bool:
        """Whether a layer's weights have one slice for each channel it reads."""
        source = self._graph.tensors[layer.source]
        return layer.weights.shape[-1] == tflite.static_shape(source)[-1]

    def _commutes(self, operator: Any) -> bool:
        """Whether an operation works on each channel by itself, and homogeneously."""
        kind = tflite.operator_name(self._model, operator)
        if kind not in HOMOGENEOUS:
            return False
        fused = getattr(operator.builtinOptions, "fusedActivationFunction", LINEAR)
        ends = (operator.inputs[0], operator.outputs[0])
        shapes = [tflite.static_shape(self._graph.tensors[int(end)]) for end in ends]
        return fused in (LINEAR, RELU) and shapes[0][-1] == shapes[1][-1]

    def serialized(self) -> bytes:
        """The model with its layers' present weights and biases, as a TFLite file."""
        for layer in self.layers:
            tflite.set_constant(self._model, layer.operator, _WEIGHTS, layer.weights)
            tflite.set_constant(self._model, layer.operator, _BIAS, layer.bias)
        return tflite.packed(self._model)


def maps(
    model: bytes, spec: Input, samples: NDArray[np.uint8], wanted: list[int]
) -> Iterator[Maps]:
    """What a model computes for each prepared sample, tensor by tensor."""
    runtime = Runtime(model, "the normalized model")
    for sample in samples:
        runtime.run(spec.to_float(sample[np.newaxis]))
        yield {index: runtime.value(index) for index in wanted}
