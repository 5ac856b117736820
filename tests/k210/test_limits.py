"""KPU RAM foretold from plain shapes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k210 import limits
from k210.kmodel import kpu_map_bytes
from k210.limits import KPU_RAM, Layer, Map, advice, place, scaled, tight

SIZES = st.integers(1, 64)


def chain(*sizes: tuple[int, int, int]) -> list[Layer]:
    """Layers one after the other; sizes are height, width, channels."""
    maps = [Map(str(number), c, h, w) for number, (h, w, c) in enumerate(sizes)]
    pairs = enumerate(zip(maps, maps[1:], strict=False))
    return [Layer(f"layer{number}", *pair) for number, pair in pairs]


WIDE = (120, 160, 48)
"""The map of a MobileNetV1 0.75 at 240×320 that its second depthwise layer has."""


def test_a_map_takes_whole_rows() -> None:
    assert Map("", 3, 2, 17).bytes == kpu_map_bytes(3, 2, 17) == 2 * 2 * 64
    assert Map("", *WIDE[2:], *WIDE[:2]).bytes == 120 * 3 * 48 * 64


def test_a_layer_that_cannot_fit_is_found() -> None:
    layers = chain((120, 160, 24), WIDE, WIDE, (60, 80, 48))
    (found,) = tight(layers)
    assert found.name == "layer1"
    assert found.bytes == 2 * 120 * 3 * 48 * 64
    assert place(layers).failed == found


def test_two_maps_that_fill_the_memory_fit() -> None:
    half = (64, 64, KPU_RAM // 2 // 64 // 64)
    assert place(chain(half, half)) == limits.Placed(KPU_RAM, None)
    assert tight(chain(half, half)) == []


def test_a_gap_that_is_too_small_is_passed_over() -> None:
    layers = chain((1, 64, 1), (1, 64, 2), (1, 64, 2))
    assert place(layers).peak == 5 * 64  # the third map does not fit the first's place


def test_a_map_stays_until_its_last_reader_has_run() -> None:
    image, first, second = (Map(name, 1, 1, 64) for name in "abc")
    branches = [Layer("one", image, first), Layer("two", image, second)]
    assert place(branches).peak == 2 * 64  # the first branch has gone
    joined = [*branches, Layer("three", first, Map("d", 1, 1, 64))]
    assert place(joined).peak == 3 * 64


@given(st.lists(st.tuples(SIZES, SIZES, SIZES), min_size=2, max_size=12))
def test_no_layer_needs_more_than_the_peak(sizes: list[tuple[int, int, int]]) -> None:
    layers = chain(*sizes)
    placed = place(layers)
    assert placed.failed is None
    assert max(layer.bytes for layer in layers) <= placed.peak
    assert placed.peak <= 3 * max(
        each.source.bytes + each.target.bytes for each in layers
    )


def test_advice_fits_and_a_little_more_does_not() -> None:
    layers = chain((120, 160, 24), WIDE, WIDE, (60, 80, 48))
    found = advice(layers, 240, 320)
    assert found.channels is not None
    height, width, (same_height, same_width) = *found.sizes[:2], found.sizes[2]
    assert (height[1], width[0]) == (320, 240)
    assert same_height / same_width == pytest.approx(240 / 320, rel=0.1)

    def fits(height: int, width: int, channels: float = 1) -> bool:
        other = scaled(layers, height / 240, width / 320, channels)
        return place(other).failed is None

    assert fits(*height)
    assert not fits(height[0] + 32, 320)
    assert fits(*width)
    assert not fits(240, width[1] + 32)
    assert fits(same_height, same_width)
    assert fits(240, 320, found.channels)
    assert not fits(240, 320, found.channels + 0.05)


@pytest.mark.parametrize("channels", [8192, 100_000])
def test_where_nothing_fits_there_is_no_advice_of_channels(channels: int) -> None:
    found = advice(chain((200, 512, channels), (200, 512, channels)), 200, 512)
    assert found.channels is None
