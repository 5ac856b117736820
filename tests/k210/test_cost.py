import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k210 import cost, kmodel
from k210.cost import conv_ms, depthwise_ms, rows
from k210.kmodel.encodings import ENCODINGS

DETECTOR = """\
conv       320x240   3   16    432 0.206
depthwise  160x120  16   16    144 0.039
conv       160x120  16   32    512 0.514
depthwise   80x60   32   32    288 0.029
conv        80x60   32   64   2048 0.680
depthwise   80x60   64   64    576 0.053
conv        80x60   64   64   4096 1.328
depthwise   40x30   64   64    576 0.020
conv        40x30   64  128   8192 0.704
depthwise   40x30  128  128   1152 0.034
conv        40x30  128  128  16384 1.385
depthwise   20x15  128  128   1152 0.016
conv        20x15  128  256  32768 0.781
depthwise   20x15  256  256   2304 0.0255
conv        20x15  256  256  65536 1.521
"""
"""The vendor's face detector as measured by others (kendryte/nncase issue 77):
kind, width × height, channels in and out, weight bytes, milliseconds at 400 MHz. Its
last layer is left out, because it sends its result to main memory."""

SIZES = {
    (32, 32): 1.138,
    (64, 32): 2.125,
    (64, 64): 3.891,
    (128, 64): 7.709,
    (128, 128): 14.778,
    (256, 256): 57.756,
}
"""One 3×3 layer of 128 → 128 channels (Sipeed forum topic 691): width and height →
milliseconds at 300 MHz, the loading of its 16-bit weights included."""

LINE = re.compile(r"(\w+) +(\d+)x(\d+) +(\d+) +(\d+) +(\d+) ([\d.]+)")


def measured(kind: str) -> list[tuple[int, int, int, int, int, float]]:
    return [
        (int(height), int(width), int(inputs), int(outputs), int(size), float(ms))
        for found, width, height, inputs, outputs, size, ms in LINE.findall(DETECTOR)
        if found == kind
    ]


@pytest.mark.parametrize("layer", measured("conv"))
def test_convolutions_take_what_was_measured_on_silicon(
    layer: tuple[int, int, int, int, int, float],
) -> None:
    *shape, ms = layer
    assert conv_ms(*shape) == pytest.approx(ms, rel=0.04)


@pytest.mark.parametrize("layer", measured("depthwise"))
def test_depthwise_layers_take_what_was_measured_on_silicon(
    layer: tuple[int, int, int, int, int, float],
) -> None:
    height, width, channels, _, size, ms = layer
    assert depthwise_ms(height, width, channels, size) == pytest.approx(ms, abs=0.002)


@pytest.mark.parametrize(("smaller", "larger"), list(pairwise(SIZES)))
def test_larger_maps_take_longer_by_what_was_measured_on_silicon(
    smaller: tuple[int, int], larger: tuple[int, int]
) -> None:
    def modelled(size: tuple[int, int]) -> float:
        return conv_ms(size[1], size[0], 128, 128, 2 * 9 * 128 * 128, 300e6)

    difference = SIZES[larger] - SIZES[smaller]
    assert modelled(larger) - modelled(smaller) == pytest.approx(difference, rel=0.15)


@pytest.mark.parametrize(
    ("width", "per_line"), [(4, 0.25), (16, 0.25), (17, 0.5), (32, 0.5), (33, 1)]
)
def test_narrow_maps_share_rows(width: int, per_line: float) -> None:
    assert rows(8, width) == 8 * per_line


@given(st.integers(33, 512))
def test_a_wide_map_takes_as_many_rows_as_hold_it(width: int) -> None:
    per_line = rows(1, width)
    assert 64 * (per_line - 1) < width <= 64 * per_line


def test_a_kernel_costs_only_its_weights() -> None:
    small, large = (conv_ms(32, 32, 64, 64, k * k * 64 * 64) for k in (1, 3))
    assert large - small == pytest.approx(3.6e-6 * 8 * 64 * 64)


@pytest.fixture(scope="module")
def residual(compile_small: Callable[[str], tuple[bytes, str]]) -> kmodel.Kmodel:
    return kmodel.parse(compile_small("residual")[0])


def test_every_op_takes_time(residual: kmodel.Kmodel) -> None:
    timings = cost.timings(residual)
    assert list(timings) == [op.id for op in residual.ops()]
    assert min(timings.values()) > 0


def test_every_kind_of_operation_has_a_cost() -> None:
    assert cost.CPU.keys() >= {encoding.kind for encoding in ENCODINGS.values()}


def test_a_reduction_costs_by_what_it_reads(residual: kmodel.Kmodel) -> None:
    (mean,) = (op for op in residual.ops() if op.kind == "reduce")
    read, work = mean.inputs[0].nbytes // 4, cost.CPU["reduce"]
    expected = work.once + work.value * math.prod(mean.shape) + work.tap * read
    assert cost.op_ms(mean) == pytest.approx(expected / 1e6)


def test_it_says_what_the_virtual_chip_takes(residual: kmodel.Kmodel) -> None:
    from k210.virtual.direct import DirectEngine

    size = sum(each.range.size for each in residual.entry.inputs)
    with DirectEngine(residual) as engine:
        engine.infer(bytes(size))
        taken = 1e3 * engine.seconds
    assert cost.model_ms(residual) == pytest.approx(taken, rel=0.25)


def test_the_benchmark_of_the_model_is_within_its_limits() -> None:
    script = Path(__file__).parents[2] / "bench" / "timing_model.py"
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    line = done.stdout.splitlines()[-1]
    result = json.loads(line.removeprefix("RESULT "))
    assert result["median_error"] <= result["median_limit"]
    assert result["worst_error"] <= result["limit"]
