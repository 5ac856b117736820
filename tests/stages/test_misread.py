"""A brought model whose pictures are prepared otherwise than it was trained."""

from typing import Any

import numpy as np
import pytest
from nets import Net

from stages.check.cause import Cause
from stages.check.misread import misread
from stages.check.network import Network

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter")

SIDE = 8


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Answers with the brightest of three colours."""
    net = Net((SIDE, SIDE, 3))
    scores = net.dense(net.mean(net.convolve(net.input, 3, 1)), 3)
    for node in (net.nodes[0], net.nodes[-1]):
        for tensor, values in zip(
            node.inputs[1:], (np.eye(3), np.zeros(3)), strict=True
        ):
            assert tensor is not None
            assert tensor.value is not None
            tensor.value = values.reshape(tensor.value.shape).astype(np.float32)
    path = tmp_path_factory.mktemp("misread") / "model.tflite"
    path.write_bytes(net.bytes(scores))
    return Network(path)


@pytest.fixture(scope="module")
def pictures() -> list[Any]:
    """Each of one colour more than of the others."""
    rng = np.random.default_rng(0)
    noise = rng.random((30, 1, SIDE, SIDE, 3), np.float32) / 2
    colours = np.eye(3, dtype=np.float32)[np.arange(30) % 3] / 2
    return list(noise + colours[:, None, None, None])


def tried(network: Network, pictures: list[Any], colours: list[int]) -> Cause | None:
    return misread(network, pictures, [colours[i % 3] for i in range(30)], (0.0, 1.0))


def test_swapped_colours_are_found_out(network: Network, pictures: list[Any]) -> None:
    found = tried(network, pictures, [2, 1, 0])
    assert found is not None
    assert found.kind == "channel order"
    assert found.words == (
        "33% of 30 answers are right as the pictures are prepared, and 100% where red "
        "and blue are swapped; correct data.color"
    )


def test_a_model_that_errs_in_every_way_is_let_be(
    network: Network, pictures: list[Any]
) -> None:
    assert tried(network, pictures, [1, 2, 0]) is None


def test_a_model_that_is_right_is_let_be(network: Network, pictures: list[Any]) -> None:
    assert tried(network, pictures, [0, 1, 2]) is None
