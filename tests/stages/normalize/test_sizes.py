"""Other sizes of pictures, at which no map is odd."""

from pathlib import Path

import numpy as np
import pytest
from judged import parsed
from nets import Net

from stages.normalize.forms import forms
from stages.normalize.graph import read
from stages.normalize.plans import Compiler
from stages.normalize.sizes import advice, nearest, odd, whole_stride

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter")


def mobile(height: int, width: int) -> bytes:
    net = Net((height, width, 3))
    x = net.convolve(net.input, 8, stride=2)
    x = net.convolve(net.depthwise(x, stride=2), 16, 1)
    x = net.convolve(net.depthwise(x, stride=2), 16, 1)
    return net.bytes(net.mean(x))


def compiler(folder: Path, height: int, width: int) -> Compiler:
    black = np.zeros((1, 3, height, width), np.uint8)
    return Compiler(black, black, [], (0.0, 1.0), 120, folder / "log")


def test_maps_are_odd_where_a_stride_meets_an_odd_size() -> None:
    assert odd(read(parsed(mobile(60, 40))))
    assert not odd(read(parsed(mobile(64, 40))))


def test_the_nearest_sizes_are_multiples_of_the_whole_stride() -> None:
    graph = read(parsed(mobile(60, 44)))
    assert whole_stride(graph) == (8, 8)
    assert nearest(graph) == [(56, 40), (56, 48), (64, 40), (64, 48)]


def test_sizes_that_fit_already_are_kept() -> None:
    assert nearest(read(parsed(mobile(60, 40)))) == [(56, 40), (64, 40)]


def test_advice_tells_what_the_sizes_cost(tmp_path: Path) -> None:
    model = mobile(60, 40)
    plan = forms(parsed(model))[-1]
    found = advice(model, parsed(model), plan, compiler(tmp_path, 60, 40))
    assert [each["size"] for each in found] == [[56, 40], [64, 40]]
    for each in found:
        assert each["cpu_pads"] == 0
        assert each["regions"] == 1
        assert each["total"] > 0


def test_a_model_without_odd_maps_needs_no_advice(tmp_path: Path) -> None:
    model = mobile(64, 40)
    plan = forms(parsed(model))[-1]
    assert advice(model, parsed(model), plan, compiler(tmp_path, 64, 40)) == []


def test_sizes_that_a_dense_layer_does_not_take_are_left_out(tmp_path: Path) -> None:
    net = Net((20, 20, 3))
    x = net.convolve(net.convolve(net.input, 4, stride=2), 4, stride=2)
    x = net.convolve(x, 4, stride=2)
    model = net.bytes(net.dense(net.flatten(x), 5))
    plan = forms(parsed(model))[-1]
    found = advice(model, parsed(model), plan, compiler(tmp_path, 20, 20))
    assert [each["size"] for each in found] == [[24, 24]]
