import json
from typing import Any

import pytest
from foreign import VWW, weight_cases

Case = dict[str, Any]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    path = weight_cases(tmp_path_factory) / "cases.json"
    found: dict[str, Case] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize(
    "name", ["plain", "plain, float16", "residual", "varied", "settled"]
)
def test_a_network_computes_what_the_file_does(
    cases: dict[str, Case], name: str
) -> None:
    assert cases[name]["difference"] < 1e-5


def test_parallel_branches_are_told_apart_by_their_shapes(
    cases: dict[str, Case],
) -> None:
    numbers = [line.rpartition("number ")[2] for line in cases["residual"]["lines"]]
    assert sorted(numbers[:-1]) == [f"{n})" for n in range(1, 8)]
    assert numbers[:-1] != sorted(numbers[:-1])  # or this test would prove nothing


def test_batch_norms_take_the_statistics_of_the_pictures(
    cases: dict[str, Case],
) -> None:
    case = cases["settled"]
    assert all(abs(variance - 1) > 0.1 for variance in case["variance"])
    assert case["in_training"] < 1e-4  # the statistics of the batch are the same


@pytest.mark.parametrize(
    ("name", "fragments"),
    [
        ("width", ("(conv, 3×3×8×16) does not fit", "8×3×3×8, number 2")),
        ("classes", ("(dense, 12×7) does not fit", "(dense, 5×12, number 4)")),
        ("shallow", ("(dense, 8×5) does not fit", "12×1×1×8, number 3")),
        ("deep", ("(conv, 3×3×8×8) does not fit", "12×1×1×8, number 3")),
        ("too few", ("(dense, 5×3) finds no tensor, the file holds no more",)),
        ("too many", ("number 2) finds no layer, the network has no more",)),
        ("activation", ("followed by relu and", "set model.activation: relu6")),
        ("padding", ("computes something else: outputs differ by", "padding")),
        ("no bias", ("number 2) has a bias and", "build the layer with a bias")),
        ("not folded", ("MUL has the weights", "batch norms are folded")),
        ("separable", ("is a SeparableConv2D, whose weights cannot be loaded",)),
        ("shared", ("reads a layer that is used in several places",)),
        ("nested", ("layer 'inner' is a model within the model",)),
        ("garbage", ("not a TFLite file",)),
    ],
)
def test_what_does_not_match_is_refused_by_name(
    cases: dict[str, Case], name: str, fragments: tuple[str, ...]
) -> None:
    sentence = cases[name]["error"]
    assert "\n" not in sentence
    for fragment in fragments:
        assert fragment in sentence


def test_visual_wake_words_of_mlperf_tiny_becomes_a_keras_network(
    cases: dict[str, Case],
) -> None:
    if not VWW.exists():
        pytest.skip(f"{VWW} is missing; K210_DATA names the folder above")
    assert cases["vww"]["difference"] < 1e-5
    assert len(cases["vww"]["lines"]) == 29  # 28 layers and the comparison
    assert "set model.activation: relu" in cases["vww, relu6"]["error"]
    assert "'conv2d" in cases["vww, alpha"]["error"]
