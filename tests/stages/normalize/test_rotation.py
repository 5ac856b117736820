"""A rotated network computes the same, and what cannot be rotated is named."""

import numpy as np
import pytest
from judged import parsed, proof
from nets import Net

from k210.errors import ModelError
from stages.normalize.forms import forms
from stages.normalize.geometry import Pixels, least_after, same_pixels
from stages.normalize.graph import Tensor, read
from stages.normalize.listing import layers
from stages.normalize.plans import Plan

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter")


def plans(net: Net, *outputs: Tensor) -> dict[str, Plan]:
    """All plans for a graph, each proved."""
    model = net.bytes(*outputs)
    found = {plan.name: plan for plan in forms(parsed(model))}
    for plan in found.values():
        assert proof(model, plan).difference <= 1e-5
    return found


def refusal(net: Net, *outputs: Tensor) -> str:
    found = forms(parsed(net.bytes(*outputs)))
    assert [plan.name for plan in found if plan.rotation] == []
    return found[0].refusals[0]


def strided(net: Net, x: Tensor, filters: int = 8) -> Tensor:
    return net.convolve(x, filters, stride=2)


# the seed cases


def test_the_first_convolution_of_a_mobilenet_keeps_its_function() -> None:
    net = Net((224, 224, 3))
    found = plans(net, strided(net, net.input, 32))
    (node,) = found["rotated"].graph.nodes
    assert node.told == Pixels(0, 1, 0, 1)
    assert node.pixels == Pixels(1, 1, 1, 1)
    assert node.output.shape == (1, 112, 112, 32)


@pytest.mark.parametrize("sides", [(1, 1, 1, 1), (1, 0, 1, 0)])
def test_symmetric_padding_without_rotation_is_another_function(
    sides: tuple[int, int, int, int],
) -> None:
    net, other = Net((224, 224, 3)), Net((224, 224, 3))
    model = net.bytes(strided(net, net.input, 32))
    padded = other.pad(other.input, *sides)
    x = other.convolve(padded, 32, 3, 2, "VALID")
    (plan, *_) = forms(parsed(other.bytes(x)))
    plan.lowered.outputs[0].origin = read(parsed(model)).outputs[0].origin
    with pytest.raises(ModelError, match="differs from the exported one"):
        proof(model, plan)


def test_a_depthwise_convolution_of_15_by_20_makes_8_by_10() -> None:
    net = Net((15, 20, 3))
    x = net.depthwise(net.convolve(net.input, 256, 1), stride=2)
    found = plans(net, net.convolve(x, 512, 1))
    told = found["rotated"].graph.nodes[1]
    assert told.output.shape == (1, 8, 10, 256)
    assert told.told == Pixels(1, 1, 0, 1)
    assert told.pixels == Pixels(1, 1, 1, 1)


@pytest.mark.parametrize("stride", [(2, 1), (1, 2), (3, 2)])
def test_unequal_strides_keep_their_function(stride: tuple[int, int]) -> None:
    net = Net((32, 40, 3))
    x = net.convolve(net.convolve(net.input, 8, stride=stride), 8, stride=2)
    assert "rotated" in plans(net, x)


# what is rotated with the network


@pytest.mark.parametrize("size", [(16, 16), (15, 16), (13, 17)])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_strided_convolutions(size: tuple[int, int], kernel: int, padding: str) -> None:
    net = Net((*size, 3))
    x = net.convolve(net.input, 8, kernel, 2, padding)
    plans(net, net.depthwise(strided(net, x), 3, 2))


def test_the_picks_of_a_1_by_1_shortcut_become_a_3_by_3_kernel() -> None:
    net = Net((16, 16, 3))
    x = net.convolve(net.input, 8)
    x = net.add(strided(net, x), net.convolve(x, 8, 1, 2))
    found = plans(net, x)["rotated"]
    shortcut = found.graph.nodes[2]
    assert shortcut.kernel == (3, 3)
    assert np.count_nonzero(shortcut.weights.any((0, 3))) == 1


def test_dense_weights_are_permuted() -> None:
    net = Net((16, 12, 3))
    x = net.flatten(strided(net, net.input, 4))
    assert "rotated" in plans(net, net.dense(x, 5))


def test_slices_concatenations_and_paddings_are_mirrored() -> None:
    net = Net((16, 16, 3))
    x = strided(net, net.input)
    x = net.crop(x, (0, 1, 0, 0), (1, 8, 6, 8))
    x = net.concatenate(x, net.pool(x, "MAX", 3, 1, "SAME"))
    x = net.pool(net.pad(x, 1, 2, 0, 3), "AVERAGE")
    assert "rotated" in plans(net, net.convolve(x, 4, 1))


def test_constants_that_differ_along_the_map_are_rotated() -> None:
    net = Net((16, 16, 3))
    x = strided(net, net.input)
    x = net.add(x, net.constant(net.rng.standard_normal((8, 8, 1))))
    assert "rotated" in plans(net, net.convolve(x, 4, 1))


def test_a_maximum_over_a_border_is_padded_with_zeros_behind_a_relu() -> None:
    net = Net((16, 16, 3))
    x = net.pool(strided(net, net.input), "MAX", 3, 2, "SAME")
    assert "rotated" in plans(net, net.convolve(x, 4, 1))


@pytest.mark.parametrize("half_pixel", [True, False])
def test_symmetric_resizing_is_rotated(half_pixel: bool) -> None:
    net = Net((16, 16, 3))
    x = net.resize(strided(net, net.input), 16, "RESIZE_BILINEAR", half_pixel)
    if half_pixel:
        assert "rotated" in plans(net, x)
    else:
        assert "(RESIZE_BILINEAR) cannot be rotated: it samples" in refusal(net, x)


# what cannot be rotated


def test_flattened_outputs_are_refused_by_name() -> None:
    net = Net((16, 16, 3))
    said = refusal(net, net.flatten(strided(net, net.input)))
    assert said.startswith("'reshape_1' (RESHAPE) cannot be rotated")


def test_means_over_a_border_are_refused_by_name() -> None:
    net = Net((16, 16, 3))
    x = net.pool(strided(net, net.input), "AVERAGE", 3, 2, "SAME")
    said = refusal(net, net.convolve(x, 4, 1))
    assert said.startswith("'average_pool_2d_1' (AVERAGE_POOL_2D) cannot be rotated")


def test_signed_maxima_over_a_border_are_refused_by_name() -> None:
    net = Net((16, 16, 3))
    x = net.convolve(net.input, 8, stride=2, activation="NONE")
    said = refusal(net, net.convolve(net.pool(x, "MAX", 3, 2, "SAME"), 4, 1))
    assert said.startswith("'max_pool_2d_1' (MAX_POOL_2D) cannot be rotated")


def test_a_network_that_needs_no_rotation_is_not_rotated() -> None:
    net = Net((16, 16, 3))
    found = plans(net, net.convolve(net.convolve(net.input, 8), 8, 1))
    assert list(found) == ["as it is"]
    assert [each["where"] for each in layers(found["as it is"])] == ["kpu", "kpu"]


# the arithmetic


def test_what_same_pads_is_the_least_that_is_needed() -> None:
    for size in range(1, 40):
        for kernel, stride in ((1, 1), (3, 1), (3, 2), (5, 2), (5, 3), (2, 2)):
            before, after = same_pixels(size, kernel, stride, 1)
            output = -(-size // stride)
            least = least_after(size, output, kernel, stride, 1, before)
            assert after == max(least, 0)
