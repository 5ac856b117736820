"""What nncase alone gets wrong without a word, the pipeline gets right."""

from collections.abc import Callable, Iterator

import pytest
from judged import Judge
from nets import Net

from k210.errors import ModelError
from k210.kmodel import parse
from stages.normalize.graph import Tensor

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter")

RIGHT_DB, WRONG_DB = 25.0, 20.0

Built = tuple[Net, Tensor]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    judge = Judge(tmp_path_factory.mktemp("nncase"))
    yield judge
    judge.close()


def begun(size: int = 16, activation: str = "RELU") -> Built:
    net = Net((size, size, 3))
    return net, net.convolve(net.input, 8, activation=activation)


def grouped() -> Built:
    net, x = begun()
    return net, net.convolve(net.convolve(x, 16, groups=2), 8, 1)


def cropped_from_the_end() -> Built:
    net, x = begun()
    return net, net.convolve(net.crop(x, (0, 2, 3, 0), (1, -1, -2, 8)), 8, 1)


def maximum_with_a_fused_relu() -> Built:
    net, x = begun(activation="NONE")
    return net, net.convolve(net.pool(x, activation="RELU"), 8, 1)


def mean_with_a_fused_relu() -> Built:
    net, x = begun(activation="NONE")
    return net, net.convolve(net.pool(x, "AVERAGE", activation="RELU6"), 8, 1)


def linear_without_padding() -> Built:
    net = Net((9, 9, 3))
    x = net.convolve(net.input, 8, 3, 1, "VALID", activation="NONE")
    return net, net.convolve(x, 4, 1, activation="NONE")


def multiplied() -> Built:
    net, x = begun()
    return net, net.convolve(net.depthwise(x, multiplier=2), 8, 1)


def pooled_then_activated() -> Built:
    net, x = begun(activation="NONE")
    return net, net.convolve(net.activate(net.pool(x), "LEAKY_RELU", alpha=0.1), 8, 1)


def transposed() -> Built:
    net, x = begun()
    return net, net.convolve(net.transposed(x, 6, 2, 2), 8, 1)


SILENT = (
    grouped,
    cropped_from_the_end,
    maximum_with_a_fused_relu,
    mean_with_a_fused_relu,
    linear_without_padding,
)
REFUSED = (multiplied, pooled_then_activated, transposed)


def named(builders: tuple[Callable[[], Built], ...]) -> list[object]:
    return [pytest.param(each, id=each.__name__) for each in builders]


@pytest.mark.parametrize("build", named(SILENT))
def test_what_nncase_gets_wrong_comes_out_right(
    judge: Judge, build: Callable[[], Built]
) -> None:
    net, output = build()
    model = net.bytes(output)
    _, found, proof = judge.best(model)
    assert judge.simulated(model) < WRONG_DB
    assert found.snr_db is not None
    assert found.snr_db > RIGHT_DB
    assert proof.difference <= 1e-5


@pytest.mark.parametrize("build", named(REFUSED))
def test_what_nncase_refuses_comes_out_right(
    judge: Judge, build: Callable[[], Built]
) -> None:
    net, output = build()
    model = net.bytes(output)
    with pytest.raises(ModelError, match="nncase refuses the model"):
        judge.alone(model)
    _, found, proof = judge.best(model)
    assert found.snr_db is not None
    assert found.snr_db > RIGHT_DB
    assert proof.difference <= 1e-5


def test_the_count_of_weight_loads_does_not_wrap(judge: Judge) -> None:
    net = Net((4, 4, 3))
    model = net.bytes(net.convolve(net.convolve(net.input, 512, 1), 512))
    loads = [
        max(layer.weight_loads for _, layer in parse(data).convs())
        for data in (judge.compiled(model), judge.compiled_best(model))
    ]
    assert loads[0] > 64
    assert loads[1] <= 64


def test_a_rotated_map_comes_out_upright(judge: Judge) -> None:
    net, x = begun()
    model = net.bytes(net.convolve(net.convolve(x, 16, stride=2), 8, 1))
    plan, found, _ = judge.best(model)
    assert plan.rotation == 180
    assert found.snr_db is not None
    assert found.snr_db > RIGHT_DB
    assert (found.regions, found.cpu_pads) == (1, 0)
