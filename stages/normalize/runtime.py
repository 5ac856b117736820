"""Graphs as files, and run with TFLite's plain kernels."""

from typing import Any

from numpy.typing import NDArray

from stages import tflite
from stages.normalize.graph import Graph, positions, write
from stages.runtime import Runtime as Runtime
from stages.runtime import plain_interpreter


def shapes_at(model: bytes, size: tuple[int, int]) -> list[tuple[int, ...]] | None:
    """The shapes of a file's tensors for pictures of another height and width.

    None if it does not take them.
    """
    interpreter = plain_interpreter(model)
    details = interpreter.get_input_details()[0]
    channels = int(details["shape"][3])
    try:
        interpreter.resize_tensor_input(details["index"], [1, *size, channels])
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError):
        return None
    found = {each["index"]: each["shape"] for each in interpreter.get_tensor_details()}
    return [
        tuple(int(n) for n in found.get(index, ())) for index in range(max(found) + 1)
    ]


def serialize(graph: Graph) -> bytes:
    """A graph as the bytes of a TFLite file."""
    return tflite.packed(write(graph))


def evaluate(graph: Graph) -> list[NDArray[Any]]:
    """The outputs of a graph without inputs."""
    runtime = Runtime(serialize(graph), "the constants of the model")
    runtime.run()
    index = positions(graph)
    return [runtime.value(index[tensor]) for tensor in graph.outputs]
