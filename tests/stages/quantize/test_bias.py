import numpy as np
import pytest
from fitted import SPEC
from nets import Net

from stages.quantize.bias import corrected, rounded, shift
from stages.quantize.network import Layer, Network, maps

SAMPLES = np.random.default_rng(0).integers(0, 256, (4, 1, 32, 32), np.uint8)


def network() -> bytes:
    net = Net((32, 32, 1), seed=3)
    x = net.depthwise(net.convolve(net.input, 16))
    return net.bytes(net.convolve(x, 8, 1, activation="NONE"))


def layers() -> list[Layer]:
    return Network(network()).layers


@pytest.mark.parametrize("mse_weights", [False, True])
def test_rounded_weights_are_off_by_half_a_step_at_most(mse_weights: bool) -> None:
    for layer in layers():
        axes = (0, 1, 2) if layer.depthwise else tuple(range(1, layer.weights.ndim))
        step = 2 * np.abs(layer.weights).max(axis=axes, keepdims=True) / 255
        error = np.abs(rounded(layer, mse_weights) - layer.weights)
        # the largest weight itself may lie half a step beyond byte 255
        assert (error <= step * (1.01 if not mse_weights else 1.26)).all()
        assert (error > 0).any()


def test_the_range_of_least_squares_is_no_worse() -> None:
    for layer in layers():
        plain, best = (
            np.square(rounded(layer, mse) - layer.weights).sum()
            for mse in (False, True)
        )
        assert best <= plain


def test_the_shift_is_what_errors_do_to_a_constant_map() -> None:
    error = np.random.default_rng(0).normal(size=(8, 3, 3, 4))
    means = np.array([1.0, -2.0, 0.5, 3.0])
    expected = (error * means).sum(axis=(1, 2, 3))
    assert shift(error, means, False) == pytest.approx(expected)
    assert shift(error[:1], means, True) == pytest.approx(
        (error[0] * means).sum(axis=(0, 1))
    )


def test_corrected_biases_undo_the_mean_shift_of_rounded_weights() -> None:
    model = network()
    last = Network(model).layers[-1].output
    wanted = [each[last] for each in maps(model, SPEC, SAMPLES, [last])]
    gaps = []
    for correct in (False, True):
        given = corrected(model, SPEC, SAMPLES, False) if correct else model
        spoilt = Network(given)
        for layer, original in zip(spoilt.layers, layers(), strict=True):
            layer.weights = rounded(original, False)
        made = spoilt.serialized()
        found = [each[last] for each in maps(made, SPEC, SAMPLES, [last])]
        gaps.append(np.abs((np.array(found) - wanted).mean(axis=(0, 1, 2, 3))).mean())
    assert gaps[1] < gaps[0] / 2
