"""Ranges that ruin a layer, and what is said of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import Net

from k210 import kmodel
from k210.child import Child
from k210.reference import Reference
from stages.check.cause import Cause, Sample
from stages.check.causes import cause
from stages.check.maps import Atlas, Layer
from stages.check.network import Network
from stages.compile.placement import placement
from stages.nncase_child import Request, Result, prepare
from stages.normalize.graph import Tensor

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter")

SIDE, CHANNELS, SMALL = 16, 12, 1 / 64
LOUD = np.arange(CHANNELS) < CHANNELS // 2
RANGE = (0.0, 1.0)

Compile = Callable[[Request], Result]


@pytest.fixture(scope="module")
def nncase(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compile]:
    log = tmp_path_factory.mktemp("nncase") / "log"
    with Child(prepare, (), log, "nncase") as child:
        yield lambda request: child.ask(request, 120)


def scale(net: Net, factors: Any, output: bool = True) -> None:
    """Scale the last layer's channels, those that it gives or those that it reads."""
    for tensor in net.nodes[-1].inputs[1 : 3 if output else 2]:
        assert tensor is not None
        assert tensor.value is not None
        shape = (-1,) + (1,) * (tensor.value.ndim - 1) if output else (-1,)
        values = tensor.value * factors.reshape(shape)
        tensor.value = values.astype(np.float32)


def uneven(net: Net) -> Tensor:
    """Half the channels are small, and the next layer makes up for it."""
    x = net.convolve(net.input, CHANNELS)
    scale(net, np.where(LOUD, 1, SMALL))
    x = net.convolve(x, CHANNELS, 1)
    scale(net, np.where(LOUD, 0, 1 / SMALL), output=False)
    return x


def shared(net: Net) -> Tensor:
    """Two branches of other channels and other size, of which one is read."""
    x = net.convolve(net.input, CHANNELS)
    one = net.convolve(x, CHANNELS, 1)
    scale(net, np.where(LOUD, 1, 0))
    other = net.convolve(x, CHANNELS, 1)
    scale(net, np.where(LOUD, 0, SMALL))
    x = net.convolve(net.add(one, other), CHANNELS, 1)
    scale(net, np.where(LOUD, 0, 1), output=False)
    return x


def traced(
    nncase: Compile,
    folder: Path,
    build: Callable[[Net], Tensor],
    usual: int = 24,
    brightest: int = 23,
) -> tuple[Atlas, list[Sample]]:
    """A network compiled with pictures below a brightness; one has a bright spot."""
    net = Net((SIDE, SIDE, 3), seed=2)
    path = folder / "model.tflite"
    path.write_bytes(net.bytes(net.flatten(build(net))))
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, usual, (8, 3, SIDE, SIDE)).astype(np.uint8)
    calibration = pictures.copy()
    calibration[0, :, :2, :2] = brightest
    found = nncase(Request(path.read_bytes(), calibration, "no_clip", False, RANGE))
    model, network = kmodel.parse(found.kmodel), Network(path)
    ops = placement(model, found.op_names, network.names)["ops"]
    named = {op["id"]: op["tensors"][0] for op in ops if op["tensors"]}
    atlas, reference = Atlas(model, network, named), Reference(model)
    samples = []
    for picture in pictures:
        upright = np.moveaxis(picture, 0, 2)[np.newaxis]
        floats = upright.astype(np.float32) / np.float32(255)
        network.run(floats)
        maps = {each: network.planar(each) for each in atlas.wanted()}
        samples.append(Sample(floats, reference.trace(picture.tobytes())))
        atlas.add(samples[-1].traced, maps)
    return atlas, samples


def last(atlas: Atlas) -> Layer:
    return [each for each in atlas.layers() if each.op.where == "kpu"][-1]


def found(atlas: Atlas, samples: list[Sample], layer: Layer) -> Cause:
    return cause(atlas, layer, samples, RANGE)


def test_channels_of_other_sizes_are_named(nncase: Compile, tmp_path: Path) -> None:
    atlas, samples = traced(nncase, tmp_path, uneven)
    layer = last(atlas)
    noise = layer.likeness.snr_db
    assert noise is not None
    assert noise < 20
    likely = found(atlas, samples, layer)
    assert likely.kind == "uneven channels"
    assert "5 of the 12 channels of k0.1 'conv_2d_0', which it reads" in likely.words


def test_operands_of_other_sizes_are_named(nncase: Compile, tmp_path: Path) -> None:
    atlas, samples = traced(nncase, tmp_path, shared)
    likely = found(atlas, samples, last(atlas))
    assert likely.kind == "shared range"
    assert "'conv_2d_2' uses" in likely.words


def test_outliers_in_the_calibration_are_named(nncase: Compile, tmp_path: Path) -> None:
    atlas, samples = traced(
        nncase, tmp_path, lambda net: net.convolve(net.input, CHANNELS), 6, 255
    )
    likely = found(atlas, samples, last(atlas))
    assert likely.kind == "wasted range"
    assert "outliers among the calibration pictures" in likely.words
