"""What happens to a model between training and the kmodel, and where it shows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import Checkout
from jobs import job_of

from stages import check, tflite
from stages.artifacts import read_json
from stages.normalize.graph import Graph, Node, constant_tensor, new_node, read, write

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter")


def edited(checkout: Checkout, name: str, edit: Callable[[Graph], None]) -> None:
    """Change a float model of the tiny project by hand."""
    path = checkout.root / "build/tiny" / name
    graph = read(tflite.read(path))
    edit(graph)
    tflite.write(write(graph), path)


def traced(checkout: Checkout) -> Any:
    """The trace of a check that believes its inputs."""
    job = job_of(checkout, "check")
    check.run(job)
    return read_json(job.output("check/check.json"))["trace"]


def strided(graph: Graph) -> Node:
    """The first convolution with a stride that TensorFlow pads at the end only."""
    return next(n for n in graph.nodes if n.convolves and n.stride == (2, 2))


def pad_before(graph: Graph) -> None:
    node = strided(graph)
    source = node.source
    _, height, width, channels = source.shape
    amounts = np.array([[0, 0], [1, 0], [1, 0], [0, 0]], np.int32)
    padded = graph.fresh(source, "padded", (1, height + 1, width + 1, channels))
    pad = new_node("PAD", [source, constant_tensor("amounts", amounts)], [padded])
    graph.add(pad, before=node)
    node.inputs[0] = padded
    node.operator.builtinOptions.padding = tflite.schema().Padding.VALID


def swap_weights(graph: Graph) -> None:
    node = [each for each in graph.nodes if each.convolves][3]
    weights = node.weights.copy()
    weights[..., 2] *= -1
    node.inputs[1] = constant_tensor("others", weights)


def test_a_padding_swapped_after_training_is_named(deployed: Checkout) -> None:
    edited(deployed, "export/model.tflite", pad_before)
    found = traced(deployed)["first_wrong"]
    assert (found["step"], found["cause"]) == ("tflite", "padding")
    assert "it fits a convolution that pads its map by 0 above" in found["words"]
    assert "and this one pads by 1 and 1" in found["words"]
    assert "conv" in found["tensor"]
