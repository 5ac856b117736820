"""The outputs of a kmodel are the model's, whatever order nncase lists them in."""

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from nets import Net

from k210 import kmodel
from k210.errors import ModelError
from stages.compiling import Compiled, compiled
from stages.nncase_child import Request
from stages.outputs import output_order

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter")

SIZE = (16, 16, 3)


def request(model: bytes) -> Request:
    noise = np.random.default_rng(0).integers(0, 256, (4, 3, 16, 16), np.uint8)
    return Request(model, noise, "no_clip", False, (0.0, 1.0))


def map_and_mean() -> bytes:
    net = Net(SIZE)
    x = net.convolve(net.input, 6, 3, 2, activation="NONE")
    return net.bytes(x, net.mean(x))


def three_heads() -> bytes:
    net = Net(SIZE)
    x = net.convolve(net.input, 8, 3, 2)
    return net.bytes(*(net.convolve(x, 4, 1, activation="NONE") for _ in range(3)))


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[bytes], Compiled]:
    log = tmp_path_factory.mktemp("nncase") / "log"
    return lambda model: compiled(request(model), log, "nncase", 120)


def test_a_map_and_its_mean_come_out_in_the_order_of_the_model(
    made: Callable[[bytes], Compiled],
) -> None:
    found = made(map_and_mean())
    shapes = [each.shape for each in kmodel.parse(found.kmodel).entry.outputs]
    assert shapes == [(1, 6, 8, 8), (1, 6)]
    assert "outputs" in {each.kind for each in found.repairs}


def test_outputs_of_one_shape_are_told_apart_by_their_values(
    made: Callable[[bytes], Compiled],
) -> None:
    model = three_heads()
    data = made(model).kmodel
    for order in permutations(range(3)):
        shuffled = kmodel.with_outputs(data, order)
        assert len(shuffled) == len(data)
        found = output_order(kmodel.parse(shuffled), request(model))
        assert kmodel.with_outputs(shuffled, found) == data


def test_outputs_that_the_model_does_not_have_are_refused(
    made: Callable[[bytes], Compiled],
) -> None:
    parsed = kmodel.parse(made(three_heads()).kmodel)
    with pytest.raises(ModelError, match="outputs of .* values where the model's"):
        output_order(parsed, request(map_and_mean()))


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [1, 2, 3]])
def test_what_is_no_order_of_the_outputs_is_an_error(
    made: Callable[[bytes], Compiled], order: list[int]
) -> None:
    with pytest.raises(ValueError, match="does not list 3 outputs once"):
        kmodel.with_outputs(made(three_heads()).kmodel, order)
