from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from k210.errors import UserError
from k210.fitting import SCALING, colored
from k210.manifest import CHANNELS, Input

BILINEAR = Image.Resampling.BILINEAR
SIDES = st.integers(1, 24)


def taker(height: int, width: int, color: Any, resize: Any) -> Input:
    channels = CHANNELS[color]
    return Input(
        name="input",
        shape=(1, channels, height, width),
        range=(0, 1),
        mean=(0,) * channels,
        std=(1,) * channels,
        color=color,
        resize=resize,
    )


@st.composite
def pictures(draw: st.DrawFn) -> NDArray[np.uint8]:
    shape = (draw(SIDES), draw(SIDES), draw(st.sampled_from([1, 3])))
    seed = draw(st.integers(0, 1000))
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def as_pillow(picture: NDArray[np.uint8], color: str) -> Image.Image:
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    return image.convert("L" if color == "grey" else "RGB")


def by_pillow(spec: Input, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same by Pillow's own calls, scaling before it crops or pads."""
    height, width = spec.shape[2:]
    image = as_pillow(picture, spec.color)
    rows, columns = picture.shape[:2]
    if spec.resize == "stretch":
        image = image.resize((width, height), BILINEAR)
    if spec.resize == "crop":
        scale = max(height / rows, width / columns)
        left, top = (columns - width / scale) / 2, (rows - height / scale) / 2
        box = (max(left, 0), max(top, 0), columns - max(left, 0), rows - max(top, 0))
        image = image.resize((width, height), BILINEAR, box=box)
    if spec.resize == "letterbox":
        scale = min(height / rows, width / columns)
        size = max(1, round(columns * scale)), max(1, round(rows * scale))
        small = image.resize(size, BILINEAR)
        image = Image.new(image.mode, (width, height))
        image.paste(small, ((width - size[0]) // 2, (height - size[1]) // 2))
    return np.asarray(image).reshape(height, width, -1)


@given(
    picture=pictures(),
    height=SIDES,
    width=SIDES,
    color=st.sampled_from(["grey", "rgb", "bgr"]),
    resize=st.sampled_from(SCALING),
)
def test_a_picture_is_fitted_as_pillow_does_it(
    picture: NDArray[np.uint8], height: int, width: int, color: str, resize: str
) -> None:
    spec = taker(height, width, color, resize)
    fitted = spec.fit(picture)
    assert fitted.dtype == np.uint8
    expected = by_pillow(spec, picture).astype(np.int16)
    # the boxes of the two ways may differ in the last bit of a double
    assert np.abs(fitted - expected).max() <= 1


@given(arrays.arrays(np.uint8, (3, 5, 3)))
def test_grey_is_made_of_colour_as_pillow_does_it(picture: NDArray[np.uint8]) -> None:
    expected = np.asarray(Image.fromarray(picture).convert("L"))
    assert np.array_equal(colored(picture, 1)[..., 0], expected)


@given(picture=pictures(), resize=st.sampled_from(SCALING))
def test_a_fitted_picture_is_not_fitted_again(
    picture: NDArray[np.uint8], resize: str
) -> None:
    spec = taker(7, 9, "rgb", resize)
    fitted = spec.fit(picture)
    assert np.array_equal(spec.fit(fitted), fitted)
    planes = np.moveaxis(fitted, 2, 0)
    assert spec.prepare(picture) == spec.prepare(fitted) == planes.tobytes()


@pytest.mark.parametrize("resize", SCALING)
def test_pictures_of_different_sizes_are_prepared_together(resize: str) -> None:
    spec = taker(6, 8, "bgr", resize)
    rng = np.random.default_rng(0)
    shapes = [(5, 5, 3), (30, 8, 3), (6, 8, 1), (6, 8, 3)]
    mixed = [rng.integers(0, 256, shape, np.uint8) for shape in shapes]
    batch = spec.prepare_batch(mixed)
    assert batch.shape == (4, 3, 6, 8)
    assert [one.tobytes() for one in batch] == [spec.prepare(one) for one in mixed]


def test_letterboxing_puts_black_bars_beside_a_tall_picture() -> None:
    white = np.full((40, 20, 3), 255, np.uint8)
    fitted = taker(8, 8, "grey", "letterbox").fit(white)[..., 0]
    assert (fitted[:, 2:6] == 255).all()
    assert not fitted[:, :2].any()
    assert not fitted[:, 6:].any()


def test_cropping_keeps_the_middle() -> None:
    picture = np.zeros((10, 30, 1), np.uint8)
    picture[:, 10:20] = 200
    fitted = taker(5, 5, "grey", "crop").fit(picture)
    assert (fitted[:, 1:4] == 200).all()
    assert (fitted > 100).all()  # the filter reaches a little beyond the edge


def test_padding_takes_another_colour_but_no_larger_picture() -> None:
    spec = taker(6, 6, "rgb", "pad")
    assert spec.fit(np.full((4, 4), 9, np.uint8))[3, 3].tolist() == [9, 9, 9]
    with pytest.raises(UserError, match=r"7 wide .* takes 6 by 6 \(resize: pad\)"):
        spec.fit(np.zeros((6, 7, 3), np.uint8))


def test_no_policy_takes_two_channels() -> None:
    for resize in ("none", "pad", *SCALING):
        spec = taker(4, 4, "rgb", resize)
        with pytest.raises(UserError, match="has 2 channels"):
            spec.fit(np.zeros((4, 4, 2), np.uint8))
