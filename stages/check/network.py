"""A float TFLite graph as the trace reads it: by name, with every feature map.

Read are names, because that is what nncase leaves of a graph: each operation of a
kmodel is called after the tensor that it computes first, and computes whatever nncase
could fuse into it as well (`Network.fused`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages import tflite
from stages.memory import CONVOLUTIONS, ELEMENTWISE, POOLS
from stages.runtime import Runtime

Floats = NDArray[np.float32]

RESHAPES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
LAYERS = (*CONVOLUTIONS, "FULLY_CONNECTED")


@dataclass(frozen=True)
class Node:
    """One operator: its kind, the tensors it computes from, its constants by place."""

    kind: str
    inputs: tuple[int, ...]
    constants: tuple[NDArray[Any], ...]
    output: int
    options: Any


class Network:
    """A float TFLite file that can be run, with all its tensors.

    Raises:
        ModelError: TFLite refuses it.
    """

    def __init__(self, path: Path) -> None:
        model = tflite.read(path)
        graph = model.subgraphs[0]
        self._runtime = Runtime(path.read_bytes(), str(path))
        self.input = tflite.indices(graph.inputs)[0]
        self.outputs = tflite.indices(graph.outputs)
        self.names = [tflite.name(tensor) for tensor in graph.tensors]
        self.shapes = [tflite.static_shape(tensor) for tensor in graph.tensors]
        self.nodes = list(_nodes(model))
        self.makers = {node.output: node for node in self.nodes}
        self._numbers = {name: number for number, name in enumerate(self.names)}

    def number(self, name: str) -> int | None:
        """The tensor of that name."""
        return self._numbers.get(name)

    def run(self, sample: Floats) -> None:
        """Compute all tensors for a float32 sample 1×H×W×C."""
        self._runtime.run(sample)

    def value(self, tensor: int) -> NDArray[Any]:
        """A tensor of the last run."""
        return self._runtime.value(tensor)

    def planar(self, tensor: int) -> Floats:
        """A tensor of the last run as a kmodel has it, N×C×H×W; vectors as N×C×1×1."""
        return planar(self.value(tensor))

    def readers(self, tensor: int) -> list[Node]:
        """The nodes that compute from a tensor."""
        return [node for node in self.nodes if tensor in node.inputs]

    def fused(self, tensor: int) -> tuple[int, ...]:
        """A tensor and all that could be computed in one go with it.

        That is whatever follows from it alone by pointwise arithmetic and pooling.
        """
        found = [tensor]
        for node in self.nodes:
            pointwise = node.kind in (*ELEMENTWISE, *POOLS, *RESHAPES)
            if pointwise and node.inputs and set(node.inputs) <= set(found):
                found.append(node.output)
        return tuple(found)


def planar(values: NDArray[Any]) -> NDArray[Any]:
    """A TFLite tensor with its channels second: 1×H×W×C or 1×C to 1×C×H×W."""
    if values.ndim == 4:
        return np.moveaxis(values, 3, 1)
    return values.reshape(1, -1, 1, 1)


def _nodes(model: Any) -> Iterator[Node]:
    graph = model.subgraphs[0]
    for operator in graph.operators:
        read = tflite.indices(operator.inputs)
        constants = {i: tflite.constant(model, graph.tensors[i]) for i in read}
        yield Node(
            tflite.operator_name(model, operator),
            tuple(i for i in read if constants[i] is None),
            tuple(c for i in read if (c := constants[i]) is not None),
            int(operator.outputs[0]),
            operator.builtinOptions,
        )
