"""How a picture of any size becomes one of the model's size and colour.

Scaling is Pillow's bilinear filter, which averages over what it shrinks, so that a
picture comes out the same whether it is fitted here or by any other user of Pillow.
Grey is made of colour as Pillow makes mode L: ITU-R 601 in 16-bit fixed point.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Resize = Literal["none", "pad", "stretch", "crop", "letterbox"]
Pixels = NDArray[np.uint8]

SCALING = ("stretch", "crop", "letterbox")
"""Policies that take pictures of any size."""

_RED, _GREEN, _BLUE, _HALF = map(np.uint32, (19595, 38470, 7471, 0x8000))
_SHIFT = np.uint32(16)


def colored(picture: Pixels, channels: int) -> Pixels:
    """A picture, uint8 …×H×W×1 or 3 (RGB), with that many channels."""
    if picture.shape[-1] == channels:
        return picture
    if channels == 3:
        return np.repeat(picture, 3, axis=-1)
    red, green, blue = np.moveaxis(picture.astype(np.uint32), -1, 0)
    luma = (red * _RED + green * _GREEN + blue * _BLUE + _HALF) >> _SHIFT
    grey: Pixels = luma[..., np.newaxis].astype(np.uint8)
    return grey


def fitted(picture: Pixels, height: int, width: int, resize: Resize) -> Pixels:
    """A picture, uint8 H×W×1 or 3, as height×width with the same channels.

    stretch: each axis is scaled by itself. crop: the largest centred part of the
    model's proportions. letterbox: scaled until it just fits, and padded. pad, none:
    not scaled; it must not be larger.
    """
    if picture.shape[:2] == (height, width):
        return picture
    if resize == "stretch":
        return _scaled(picture, height, width)
    if resize == "crop":
        return _scaled(picture, height, width, _centre(picture, height, width))
    if resize == "letterbox":
        picture = _scaled(picture, *_contained(picture, height, width))
    alone: Pixels = padded(picture[np.newaxis], height, width)[0]
    return alone


def padded(pictures: Pixels, height: int, width: int) -> Pixels:
    """Pictures, uint8 N×H×W×C, centred on zeros; odd ones go to bottom and right."""
    count, rows, columns, channels = pictures.shape
    canvas = np.zeros((count, height, width, channels), np.uint8)
    top, left = (height - rows) // 2, (width - columns) // 2
    canvas[:, top : top + rows, left : left + columns] = pictures
    return canvas


Box = tuple[float, float, float, float]


def _centre(picture: Pixels, height: int, width: int) -> Box:
    """The box (left, top, right, bottom) that crop keeps, in pixels."""
    rows, columns = picture.shape[:2]
    scale = min(rows / height, columns / width)
    left = max(0.0, (columns - width * scale) / 2)
    top = max(0.0, (rows - height * scale) / 2)
    return left, top, columns - left, rows - top


def _contained(picture: Pixels, height: int, width: int) -> tuple[int, int]:
    """The rows and columns of a picture scaled until it just fits."""
    rows, columns = picture.shape[:2]
    scale = min(height / rows, width / columns)
    return (
        min(height, max(1, round(rows * scale))),
        min(width, max(1, round(columns * scale))),
    )


def _scaled(picture: Pixels, height: int, width: int, box: Box | None = None) -> Pixels:
    from PIL import Image

    flat = picture[..., 0] if picture.shape[2] == 1 else picture
    bilinear = Image.Resampling.BILINEAR
    scaled = Image.fromarray(flat).resize((width, height), bilinear, box=box)
    pixels: Pixels = np.asarray(scaled, np.uint8)
    return pixels.reshape(height, width, picture.shape[2])
