from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kpu_layers import Bytes, layers_with_maps, random_layer

from k210 import kpu
from k210.kmodel import Pool, kpu_map_bytes, kpu_row_layout
from k210.kpu import Layer, RamLayer, plain
from k210.limits import KPU_RAM

ROW = 64


@given(layers_with_maps())
def test_the_kernel_computes_what_the_plain_arithmetic_does(
    case: tuple[Layer, Bytes],
) -> None:
    layer, image = case
    assert np.array_equal(kpu.run(layer, image), plain.run(layer, image))


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("depthwise", [False, True])
def test_the_kernel_is_exact_for_many_channels(kernel: int, depthwise: bool) -> None:
    rng = np.random.default_rng(1)
    outputs = 1024 if depthwise else 6
    layer = random_layer(rng, 1024, outputs, kernel, depthwise, Pool.BYPASS)
    image = np.full((1024, 4, 5), 255, np.uint8)
    layer = replace(layer, weights=np.full_like(layer.weights, 255))
    assert np.array_equal(kpu.run(layer, image), plain.run(layer, image))


@given(layers_with_maps(), st.integers(0, 3))
def test_a_layer_works_in_kpu_ram_as_on_dense_maps(
    case: tuple[Layer, Bytes], batch: int
) -> None:
    layer, image = case
    out_shape = layer.out_shape(image.shape)
    source, target = ROW * 5, KPU_RAM // 2
    registers = layer.registers(image.shape, source // ROW, target // ROW)
    tables = layer.weights, layer.batch_norm, layer.activation
    ram = np.zeros(KPU_RAM, np.uint8)
    kpu.upload(image, ram, source + batch * kpu_map_bytes(*image.shape))
    RamLayer(registers, *tables).run(ram, batch)
    found = kpu.download(ram, target + batch * kpu_map_bytes(*out_shape), out_shape)
    assert np.array_equal(found, plain.run(layer, image))


@pytest.mark.parametrize("width", [4, 16, 17, 32, 33, 64, 65, 130])
def test_a_map_lies_in_rows_of_64_bytes(width: int) -> None:
    image = np.random.default_rng(0).integers(1, 256, (5, 3, width), np.uint8)
    ram = np.zeros(KPU_RAM, np.uint8)
    kpu.upload(image, ram, ROW)
    group, lines = kpu_row_layout(width)
    for c, y in np.ndindex(5, 3):
        start = ROW + (c // group * 3 + y) * lines * ROW + c % group * (ROW // group)
        assert ram[start : start + width].tobytes() == image[c, y].tobytes()
    assert np.count_nonzero(ram) == image.size
    assert np.array_equal(kpu.download(ram, ROW, image.shape), image)


def test_a_map_outside_kpu_ram_is_refused() -> None:
    ram = np.zeros(KPU_RAM, np.uint8)
    image = np.zeros((1, 4, 64), np.uint8)
    kpu.upload(image, ram, KPU_RAM - 4 * ROW)
    with pytest.raises(ValueError, match="outside KPU RAM"):
        kpu.upload(image, ram, KPU_RAM - 3 * ROW)
    with pytest.raises(ValueError, match="outside KPU RAM"):
        kpu.download(ram, -ROW, image.shape)


def test_threads_compute_side_by_side() -> None:
    rng = np.random.default_rng(0)
    layer = random_layer(rng, 16, 16, 3, False, Pool.BYPASS)
    images = [rng.integers(0, 256, (16, 32, 32), np.uint8) for _ in range(16)]
    expected = [kpu.run(layer, image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: kpu.run(layer, image), images))
    assert all(map(np.array_equal, found, expected))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kernel", 5),
        ("pool", 10),
        ("weights", np.zeros(7, np.uint8)),
        ("batch_norm", np.zeros(12, np.uint8)),
        ("activation", np.zeros(143, np.uint8)),
        ("activation", np.full(144, 64, np.uint8)),
    ],
)
def test_a_layer_that_contradicts_itself_is_refused(field: str, value: object) -> None:
    layer = random_layer(np.random.default_rng(0), 2, 2, 1, False, Pool.BYPASS)
    with pytest.raises(ValueError, match="."):
        replace(layer, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 3, 8), (2, 8, 3)])
def test_a_map_that_a_layer_does_not_take_is_refused(
    shape: tuple[int, int, int],
) -> None:
    layer = random_layer(np.random.default_rng(0), 2, 2, 1, False, Pool.MAX_4_S4)
    for run in (kpu.run, plain.run):
        with pytest.raises(ValueError, match="does not take"):
            run(layer, np.zeros(shape, np.uint8))
