"""Classifiers of digits that need no training, and channels rescaled to spoil them.

Convolutions are random, the dense layer behind them is fitted by least squares. As
channels commute with ReLU, a network can be rescaled channel by channel without
changing what it computes, which nncase's one scale for a map does not survive.
"""

from itertools import pairwise

import numpy as np
from nets import Net
from numpy.typing import NDArray

from k210.manifest import Input
from stages import tflite
from stages.normalize.graph import Graph, Node, Tensor, constant_tensor
from stages.normalize.runtime import serialize
from stages.runtime import Runtime

SPEC = Input(
    name="input",
    shape=(1, 1, 32, 32),
    range=(0.0, 1.0),
    mean=(0.0,),
    std=(1.0,),
    color="grey",
    resize="pad",
)
RIDGE = 1e-3
CLASSES = 10


def features(activation: str = "RELU", seed: int = 0) -> tuple[Net, Tensor]:
    """Four convolutions in a chain, the second of them depthwise, and their maps."""
    net = Net((32, 32, 1), seed)
    x = net.pool(net.convolve(net.input, 16, activation=activation))
    x = net.depthwise(x, activation=activation)
    x = net.pool(net.convolve(x, 32, 1, activation=activation))
    x = net.convolve(x, 32, activation=activation)
    return net, net.flatten(net.pool(x))


def classifier(
    samples: NDArray[np.uint8], labels: NDArray[np.int64], activation: str = "RELU"
) -> Graph:
    """A network that tells the samples' classes, uint8 N×1×32×32, quite well."""
    net, end = features(activation)
    found = values(net.bytes(end), samples)
    inputs = np.hstack([found, np.ones((len(found), 1))])
    wanted = 4 * np.eye(CLASSES)[labels]
    square = inputs.T @ inputs
    square += RIDGE * np.trace(square) / len(square) * np.eye(len(square))
    fitted = np.linalg.solve(square, inputs.T @ wanted).astype(np.float32)
    scores = net.dense(end, CLASSES)
    node = net.nodes[-1]
    node.inputs[1] = constant_tensor("fitted", np.ascontiguousarray(fitted[:-1].T))
    node.inputs[2] = constant_tensor("offsets", fitted[-1])
    return net.graph(scores)


def values(model: bytes, samples: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The first output of a model for each sample, N×…"""
    runtime = Runtime(model, "the model under test")
    (index,) = tflite.indices(tflite.unpack(model).subgraphs[0].outputs)
    rows = []
    for sample in samples:
        runtime.run(SPEC.to_float(sample[np.newaxis]))
        rows.append(runtime.value(index)[0])
    return np.array(rows)


def rescaled(graph: Graph, largest: float, seed: int = 0) -> bytes:
    """The same function with channels multiplied by 1/largest to largest at random.

    The graph's convolutions are a chain, whose last one keeps its channels.
    """
    rng = np.random.default_rng(seed)
    graph = graph.copy()
    chain = [node for node in graph.nodes if node.convolves]
    for layer, reader in pairwise(chain):
        scales = largest ** rng.uniform(-1, 1, layer.output.shape[3])
        by_output = scales if layer.depthwise else scales.reshape(-1, 1, 1, 1)
        _multiply(layer, 1, by_output)
        _multiply(layer, 2, scales)
        _multiply(reader, 1, 1 / scales)
    return serialize(graph)


def _multiply(node: Node, position: int, factors: NDArray[np.float64]) -> None:
    old = node.inputs[position]
    assert old is not None
    assert old.value is not None
    value = (old.value * factors).astype(np.float32)
    node.inputs[position] = constant_tensor(old.name, value)
