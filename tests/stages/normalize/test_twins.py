"""The same network written in other ways normalizes to the same."""

import numpy as np
import pytest
from judged import parsed
from nets import Net, Pair

from k210.errors import ModelError
from stages.normalize.forms import forms
from stages.normalize.geometry import same_pixels
from stages.normalize.graph import Tensor, constant_tensor, new_node
from stages.normalize.plans import Plan

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter")


class Halves(Net):
    """A net whose constants are float16 values; stored as such if ``halved``."""

    halved = False

    def weights(self, *shape: int, inputs: int) -> Tensor:
        full = super().weights(*shape, inputs=inputs)
        assert full.value is not None
        half = full.value.astype(np.float16)
        if not self.halved:
            return constant_tensor(full.name, half.astype(np.float32))
        output = Tensor(f"{full.name}/float", full.shape)
        stored = constant_tensor(full.name, half)
        self.nodes.append(new_node("DEQUANTIZE", [stored], [output]))
        return output


class Padded(Net):
    """A net that pads by hand in front of every strided convolution."""

    def convolve(
        self,
        x: Tensor,
        filters: int,
        kernel: int | Pair = 3,
        stride: int | Pair = 1,
        padding: str = "SAME",
        dilation: int = 1,
        groups: int = 1,
        activation: str = "RELU",
    ) -> Tensor:
        if stride == 2:
            (top, bottom), (left, right) = (
                same_pixels(size, 3, stride, 1) for size in x.shape[1:3]
            )
            x, padding = self.pad(x, top, bottom, left, right), "VALID"
        return super().convolve(x, filters, kernel, stride, padding)


def mobile(net: Net) -> bytes:
    x = net.convolve(net.input, 8, stride=2)
    x = net.convolve(net.depthwise(x, 3, 2), 16, 1)
    return net.bytes(net.dense(net.flatten(net.convolve(x, 4, stride=2)), 5))


def rotated(model: bytes) -> Plan:
    return {plan.name: plan for plan in forms(parsed(model))}["rotated"]


def constants(plan: Plan) -> list[bytes]:
    return [
        tensor.value.tobytes()
        for node in plan.lowered.nodes
        for tensor in node.inputs
        if tensor is not None and tensor.value is not None
    ]


def same(one: Plan, other: Plan) -> bool:
    nodes = [
        [(node.kind, node.output.shape, node.pixels) for node in plan.lowered.nodes]
        for plan in (one, other)
    ]
    return nodes[0] == nodes[1] and constants(one) == constants(other)


def test_float16_weights_normalize_to_their_float32_twin() -> None:
    full, half = Halves((32, 24, 3)), Halves((32, 24, 3))
    half.halved = True
    assert same(rotated(mobile(full)), rotated(mobile(half)))


def test_explicit_paddings_normalize_to_their_same_twin() -> None:
    one, other = Net((32, 24, 3)), Padded((32, 24, 3))
    assert same(rotated(mobile(one)), rotated(mobile(other)))


def test_constants_are_computed_beforehand() -> None:
    net = Net((8, 8, 3))
    half = net.constant(np.full((1, 1, 1, 3), 0.5))
    total = net.add_node("ADD", [half, half], half.shape)
    x = net.convolve(net.multiply(net.input, total), 4)
    (plan, *_) = forms(parsed(net.bytes(x)))
    assert [node.kind for node in plan.graph.nodes] == ["MUL", "CONV_2D"]
    assert [each.by for each in plan.applied] == ["constants"]


def test_what_nothing_reads_is_dropped() -> None:
    net = Net((8, 8, 3))
    x = net.convolve(net.input, 4)
    net.convolve(x, 512)
    (plan, *_) = forms(parsed(net.bytes(x)))
    assert len(plan.graph.nodes) == 1


def test_a_model_that_computes_constants_is_refused() -> None:
    net = Net((8, 8, 3))
    half = net.constant(np.full((1, 4), 0.5))
    with pytest.raises(ModelError, match="do not depend on its input"):
        forms(parsed(net.bytes(net.add_node("ADD", [half, half], (1, 4)))))


def test_open_sizes_are_refused_by_name() -> None:
    net = Net((8, 8, 3))
    model = parsed(net.bytes(net.convolve(net.input, 4)))
    for tensor in model.subgraphs[0].tensors:
        if len(tensor.shape) == 4 and tensor.buffer == 0:
            tensor.shapeSignature = np.array([1, -1, -1, tensor.shape[3]], np.int32)
    with pytest.raises(ModelError, match=r"'input' has an open size"):
        forms(model)


def test_an_open_batch_becomes_one() -> None:
    net = Net((8, 8, 3))
    model = parsed(net.bytes(net.convolve(net.input, 4)))
    for tensor in model.subgraphs[0].tensors:
        if len(tensor.shape) == 4 and tensor.buffer == 0:
            tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)
    (plan, *_) = forms(model)
    assert plan.graph.inputs[0].shape == (1, 8, 8, 3)
