"""What nncase refuses or miscompiles computes the same in another form."""

import numpy as np
import pytest
from judged import parsed, proof
from nets import Net

from k210.errors import ModelError
from stages.normalize.forms import forms
from stages.normalize.graph import Graph, Tensor
from stages.normalize.plans import Plan

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter")


def plan(net: Net, *outputs: Tensor, name: str = "as it is") -> Plan:
    """A plan for a graph, proved."""
    model = net.bytes(*outputs)
    found = {plan.name: plan for plan in forms(parsed(model))}[name]
    assert proof(model, found).difference <= 1e-5
    return found


def refusal(net: Net, *outputs: Tensor) -> str:
    with pytest.raises(ModelError) as raised:
        forms(parsed(net.bytes(*outputs)))
    return str(raised.value)


def kinds(graph: Graph) -> list[str]:
    return [node.kind for node in graph.nodes]


def test_a_grouped_convolution_becomes_a_plain_one() -> None:
    net = Net((8, 8, 3))
    x = net.convolve(net.input, 16, stride=2)
    found = plan(net, net.convolve(x, 12, groups=4))
    assert kinds(found.graph) == ["CONV_2D", "CONV_2D"]
    assert found.graph.nodes[1].weights.shape == (12, 3, 3, 16)


def test_large_groups_are_taken_apart() -> None:
    net = Net((6, 6, 3))
    x = net.convolve(net.input, 512, 1)
    found = plan(net, net.convolve(x, 512, 3, groups=2))
    assert kinds(found.graph)[1:] == ["SPLIT", "CONV_2D", "CONV_2D", "CONCATENATION"]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_a_channel_multiplier_becomes_a_plain_convolution(
    stride: int, dilation: int
) -> None:
    if stride > 1 and dilation > 1:
        pytest.skip("refused, and tested elsewhere")
    net = Net((9, 8, 3))
    x = net.depthwise(net.input, 3, stride, dilation=dilation, multiplier=4)
    assert kinds(plan(net, x).graph) == ["CONV_2D"]


@pytest.mark.parametrize("kind", ["RELU", "RELU6", "LOGISTIC", "TANH", "LEAKY_RELU"])
def test_an_activation_that_never_falls_moves_before_a_maximum(kind: str) -> None:
    net = Net((8, 8, 3))
    x = net.pool(net.convolve(net.input, 8, activation="NONE"))
    options = {"alpha": 0.1} if kind == "LEAKY_RELU" else {}
    found = plan(net, net.convolve(net.activate(x, kind, **options), 4, 1))
    assert kinds(found.graph)[1:3] == [kind, "MAX_POOL_2D"]


@pytest.mark.parametrize(
    ("pool", "kind"),
    [("AVERAGE", "RELU"), ("AVERAGE", "LOGISTIC"), ("MAX", "HARD_SWISH")],
)
def test_a_convolution_by_one_takes_in_any_other(pool: str, kind: str) -> None:
    net = Net((8, 8, 3))
    x = net.pool(net.convolve(net.input, 8, activation="NONE"), pool)
    found = plan(net, net.convolve(net.activate(x, kind), 4, 1))
    assert kinds(found.graph)[2:4] == ["DEPTHWISE_CONV_2D", kind]


def test_a_leak_that_rises_on_the_left_does_not_move() -> None:
    net = Net((8, 8, 3))
    x = net.pool(net.convolve(net.input, 8, activation="NONE"))
    found = plan(net, net.activate(x, "LEAKY_RELU", alpha=-0.5))
    assert kinds(found.graph)[2:] == ["DEPTHWISE_CONV_2D", "LEAKY_RELU"]


def test_a_pooling_read_twice_keeps_its_readers() -> None:
    net = Net((8, 8, 3))
    x = net.pool(net.convolve(net.input, 8, activation="NONE"))
    plan(net, net.add(x, net.activate(x, "RELU")))


@pytest.mark.parametrize(
    ("begin", "end", "masks"),
    [
        ((0, 1, 2, 0), (1, -1, -2, 8), {}),
        ((0, -7, -5, 0), (1, 8, 9, 8), {}),
        ((0, 2, 0, 0), (1, 7, 9, 8), {"beginMask": 4, "endMask": 4}),
    ],
)
def test_slices_have_positive_bounds(
    begin: tuple[int, ...], end: tuple[int, ...], masks: dict[str, int]
) -> None:
    net = Net((8, 9, 3))
    x = net.crop(net.convolve(net.input, 8), begin, end, **masks)
    node = plan(net, net.convolve(x, 4, 1)).graph.nodes[1]
    for bound in node.inputs[1:3]:
        assert bound is not None
        assert bound.value is not None
        assert (bound.value >= 0).all()
    assert node.options.beginMask == node.options.endMask == 0


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (4, 2), (3, 1), (3, 3)])
def test_a_transposed_convolution_becomes_a_plain_one(
    size: tuple[int, int], padding: str, kernel: int, stride: int
) -> None:
    net = Net((*size, 3))
    x = net.transposed(net.convolve(net.input, 4), 5, kernel, stride, padding)
    found = plan(net, net.convolve(x, 4, 1))
    assert "TRANSPOSE_CONV" not in kinds(found.graph)


def test_transposed_convolutions_are_rotated_too() -> None:
    net = Net((16, 12, 3))
    x = net.convolve(net.input, 8, stride=2)
    plan(net, net.transposed(x, 5, 3, 2), name="rotated")


def test_weights_of_more_than_64_loads_are_split() -> None:
    net = Net((4, 4, 3))
    x = net.convolve(net.input, 512, 1)
    found = plan(net, net.convolve(x, 512))
    assert kinds(found.graph)[1:] == ["CONV_2D", "CONV_2D", "CONCATENATION"]


def test_more_than_1024_channels_may_be_split() -> None:
    net = Net((4, 4, 3))
    x = net.convolve(net.input, 1280, 1)
    assert kinds(plan(net, x).graph) == ["CONV_2D"]
    found = plan(net, x, name="wide layers in parts")
    shapes = [node.output.shape[3] for node in found.graph.nodes]
    assert shapes == [640, 640, 1280]


@pytest.mark.parametrize("kernel", [(2, 2), (1, 3), (3, 1), (1, 2), (2, 3)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("depthwise", [False, True])
def test_small_kernels_become_3_by_3(
    kernel: tuple[int, int], padding: str, depthwise: bool
) -> None:
    net = Net((9, 8, 4))
    if depthwise:
        x = net.depthwise(net.input, kernel, 1, padding)
    else:
        stride = 2 if padding == "VALID" else 1
        x = net.convolve(net.input, 8, kernel, stride, padding)
    reach = max(size - 1 for size in kernel)
    if padding == "VALID" and reach == 2:
        pytest.skip("its taps reach two pixels to one side")
    found = plan(net, x, name="3×3 kernels")
    assert found.graph.nodes[0].kernel == (3, 3)


def gated(factor: float = 1 / 6, twice: bool = False) -> tuple[Net, list[Tensor]]:
    """A squeeze-and-excite block with a hard-sigmoid gate."""
    net = Net((8, 8, 3))
    x = net.convolve(net.input, 8)
    gate = net.convolve(net.mean(x, keep=True), 8, 1, activation="RELU6")
    scaled = net.multiply(gate, net.constant(factor))
    product = net.multiply(x, scaled)
    outputs = [net.convolve(product, 4, 1)]
    return net, [*outputs, product] if twice else outputs


def test_the_factor_of_a_gate_goes_into_the_convolution_behind_it() -> None:
    net, outputs = gated()
    found = plan(net, *outputs)
    assert kinds(found.graph).count("MUL") == 1
    assert [each.by for each in found.graph.nodes[-1].notes] == ["gates"]


def test_the_factor_stays_where_the_product_is_read_twice() -> None:
    net, outputs = gated(twice=True)
    assert kinds(plan(net, *outputs).graph).count("MUL") == 2


def test_strides_move_off_odd_maps_to_where_channels_are_few() -> None:
    net = Net((15, 21, 3))
    x = net.depthwise(net.convolve(net.input, 24, 1), stride=2)
    found = plan(net, net.convolve(x, 4, 1, activation="NONE"), name="strides later")
    assert kinds(found.graph)[-1] == "STRIDED_SLICE"
    assert found.graph.nodes[-1].output.shape == (1, 8, 11, 4)


def test_a_stride_stays_where_padding_makes_pixels_from_beyond_the_map() -> None:
    net = Net((33, 17, 3))
    x = net.pad(net.convolve(net.input, 8), 1, 3, 1, 1)
    x = net.convolve(x, 4, 3, 2, "VALID")
    assert x.shape == (1, 18, 9, 4)
    found = [plan.name for plan in forms(parsed(net.bytes(net.convolve(x, 4))))]
    assert not any("later" in name for name in found)


def test_dilation_with_a_stride_is_refused_by_name() -> None:
    net = Net((32, 32, 3))
    x = net.convolve(net.input, 8)
    said = refusal(net, net.convolve(x, 8, stride=4, dilation=3))
    assert "'conv_2d_1' is a convolution dilated by 3×3 with stride 4×4" in said


def test_unsupported_operators_are_refused_by_name() -> None:
    net = Net((8, 8, 4))
    x = net.add_node("DEPTH_TO_SPACE", [net.input], (1, 16, 16, 1), blockSize=2)
    assert "'depth_to_space_0' is a DEPTH_TO_SPACE" in refusal(net, x)


def test_wide_inputs_and_large_maps_are_refused_by_name() -> None:
    net = Net((2, 2, 1025))
    assert "'conv_2d_0' convolves 1025 channels" in refusal(
        net, net.convolve(net.input, 4, 1)
    )
    net = Net((257, 8, 1))
    assert "'conv_2d_0' convolves a map of 257×8" in refusal(
        net, net.convolve(net.input, 4)
    )


def test_computed_weights_are_refused_by_name() -> None:
    net = Net((3, 3, 4))
    x = net.convolve(net.input, 4)
    kernel = net.activate(x, "RELU")
    bias = net.constant(np.zeros(1))
    made = net.add_node(
        "CONV_2D",
        [x, kernel, bias],
        (1, 3, 3, 1),
        strideH=1,
        strideW=1,
        dilationHFactor=1,
        dilationWFactor=1,
    )
    assert "computes what must be constant" in refusal(net, made)
