from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from fitted import SPEC, features, rescaled
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net
from numpy.typing import NDArray

from k210.manifest import Input
from stages.normalize.graph import Graph
from stages.normalize.runtime import serialize
from stages.quantize.equalize import CAP, LIMIT, equalized, factors
from stages.quantize.network import Layer, Network, maps

SAMPLES = np.random.default_rng(0).integers(0, 256, (4, 1, 32, 32), np.uint8)


def chain(activation: str = "RELU") -> Graph:
    net, end = features(activation)
    return net.graph(net.dense(end, 10))


def peaks(model: bytes, spec: Input = SPEC) -> list[NDArray[np.float32]]:
    """The largest value of each channel of each layer's output, layer by layer."""
    wanted = [layer.output for layer in Network(model).layers]
    found = list(maps(model, spec, SAMPLES, wanted))
    return [
        np.max(
            [np.abs(each[index]).reshape(-1, each[index].shape[-1]) for each in found],
            (0, 1),
        )
        for index in wanted
    ]


def imbalance(values: NDArray[np.float32]) -> float:
    """The largest of a map's channels over the median of those that are not silent."""
    return float(values.max() / np.median(values[values > 0]))


@settings(max_examples=20)
@given(largest=st.floats(1, 16), seed=st.integers(0, 2**16))
def test_equalization_changes_nothing_however_channels_were_scaled(
    largest: float, seed: int
) -> None:
    model = rescaled(chain(), largest, seed)
    made = equalized(model, SPEC, SAMPLES)
    assert made is not None
    assert made.exact
    assert made.difference <= LIMIT
    assert made.maps == 3  # all but the last, whose pixels go to a dense layer


def test_the_proof_compares_the_outputs() -> None:
    model = rescaled(chain(), 8)
    made = equalized(model, SPEC, SAMPLES)
    assert made is not None
    (output,) = {Network(model).layers[-1].output}
    before = [each[output] for each in maps(model, SPEC, SAMPLES, [output])]
    after = [each[output] for each in maps(made.model, SPEC, SAMPLES, [output])]
    gap = np.abs(np.array(after) - before).max() / np.abs(before).max()
    assert made.difference == pytest.approx(float(gap))
    assert made.difference > 0


def test_rescaled_channels_share_their_range_again() -> None:
    spoilt = rescaled(chain(), 16)
    made = equalized(spoilt, SPEC, SAMPLES)
    assert made is not None
    before, after = (list(map(imbalance, peaks(m))) for m in (spoilt, made.model))
    assert max(before[:-2]) > 10
    assert max(after[:-2]) < 5


def test_channels_before_a_depthwise_layer_get_the_same_range() -> None:
    made = equalized(rescaled(chain(), 4), SPEC, SAMPLES)
    assert made is not None
    layers = Network(made.model).layers
    found = peaks(made.model)
    for (_, reader), values in zip(pairwise(layers), found[:-1], strict=True):
        if reader.depthwise:
            assert np.median(values) == pytest.approx(values.max(), rel=1e-3)


def test_channels_that_the_cap_of_relu6_binds_stay_as_they_are() -> None:
    peak = np.array([CAP, 3.0, 0.5, 0.0])
    scales = factors(peak, [depthwise(4)], capped=True)
    assert scales[0] == 1
    after = peak / scales
    assert after[1:3] == pytest.approx([CAP, CAP], rel=2e-3)
    assert after.max() <= CAP  # so that the cap binds no other


def test_a_network_with_relu6_computes_the_same_on_the_calibration_set() -> None:
    model, bright = serialize(chain("RELU6")), replace(SPEC, range=(0.0, 4.0))
    assert max(values.max() for values in peaks(model, bright)[:-1]) == CAP
    made = equalized(model, bright, SAMPLES)
    assert made is not None
    assert made.exact


def test_a_silent_map_is_left_alone() -> None:
    assert (factors(np.zeros(5), [depthwise(5)], capped=False) == 1).all()


def test_maps_that_go_elsewhere_are_left_alone() -> None:
    net = Net((32, 32, 1))
    x = net.convolve(net.input, 8)
    y = net.convolve(x, 8)
    both = net.add(x, y)  # x and y are read by an addition
    z = net.convolve(both, 8, activation="TANH")
    model = net.bytes(net.convolve(z, 4))
    assert equalized(model, SPEC, SAMPLES) is None


def depthwise(channels: int) -> Layer:
    """The depthwise layer of a small network."""
    net = Net((32, 32, 1))
    net_end = net.depthwise(net.convolve(net.input, channels))
    return Network(net.bytes(net_end)).layers[1]
