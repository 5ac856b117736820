"""Picture files to pixels, in parallel, refusing by name what would be misread.

Pillow reads 16-bit PNGs as 8 bits, takes the first picture of an animation and guesses
colours of CMYK without a word; here these are errors. Sources: the modes in Pillow's
handbook ("Concepts"), the PNG specification (IHDR).
"""

import hashlib
import os
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from k210.errors import UserError
from k210.fitting import SCALING
from k210.manifest import Input
from stages.dataset.files import Item, named
from stages.dataset.samples import Pictures

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "BMP")
RECOGNIZED = (*FORMATS, "GIF", "TIFF", "WEBP")
"""Formats that are told apart, so that a misnamed file is called what it is."""

MAX_PIXELS = 50_000_000
REPAIR = "repair or remove it"
PNG_DEPTH_AT = 24
"""Where IHDR, the first chunk of every PNG, has the bits per channel."""

_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What Pillow's readers raise for damaged files."""


class Flaw(Exception):
    """Why a picture cannot be used, and what to do."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why, remedy)
        self.why, self.remedy = why, remedy


class Decoded(NamedTuple):
    """A fitted picture, uint8 H×W×C, and the digest of its pixels before."""

    pixels: Pictures
    digest: bytes


def decode(items: Sequence[Item], spec: Input) -> tuple[Pictures, list[bytes]]:
    """Decode pictures, turn them upright and fit them to the model's input.

    Args:
        items: the files.
        spec: the input, whose policy and colour they are brought to.

    Returns:
        uint8 N×H×W×C (grey or RGB), and a digest of each picture as it was.

    Raises:
        UserError: some cannot be used; it counts them and names the first.
    """
    _, channels, height, width = spec.shape
    images = np.empty((len(items), height, width, channels), np.uint8)
    digests: list[bytes] = []
    flaws: list[str] = []
    remedies: dict[str, None] = {}

    def attempt(item: Item) -> Decoded | Flaw:
        try:
            return decode_one(item.path, spec)
        except Flaw as flaw:
            return flaw

    with _strict_pillow(), ThreadPoolExecutor(os.cpu_count()) as pool:
        for index, result in enumerate(pool.map(attempt, items)):
            if isinstance(result, Flaw):
                flaws.append(f"{items[index].name} {result.why}")
                remedies[result.remedy] = None
            else:
                images[index] = result.pixels
                digests.append(result.digest)
    if flaws:
        raise UserError(
            f"{len(flaws)} of {len(items)} pictures cannot be used: {named(flaws)}: "
            f"{', and '.join(remedies)}"
        )
    return images, digests


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Refuse pictures that would fill the memory; keep quiet of harmless damage."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode_one(path: Path, spec: Input) -> Decoded:
    """Decode, turn upright and fit one picture.

    Raises:
        Flaw: it cannot be used.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    Image.init()  # knows only the commonest formats before
    try:
        with Image.open(path, formats=RECOGNIZED) as image:
            _require_still(image, path)
            image.load()
            upright = ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise Flaw("does not exist", "correct its name") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Flaw("is larger than any camera's picture", REPAIR) from None
    except UnidentifiedImageError:
        raise Flaw("is damaged or no picture at all", REPAIR) from None
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or str(error) or "no reason given"
        raise Flaw(f"cannot be read ({_one_line(reason)})", REPAIR) from None
    pixels = _eight_bit(upright)
    digest = hashlib.blake2b(f"{pixels.shape}".encode() + pixels.tobytes()).digest()
    return Decoded(_fit(pixels, spec), digest)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _require_still(image: "Image", path: Path) -> None:
    """Refuse what holds more than one picture, or is called what it is not."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise Flaw(f"has {frames} frames", "save one of them as a picture")
    if image.format not in FORMATS:
        raise Flaw(f"is a {image.format} file in disguise", "save it as PNG or JPEG")
    if image.width * image.height > MAX_PIXELS:
        raise Flaw(f"is {image.width}×{image.height} pixels large", "scale it down")
    if image.format == "PNG" and _png_depth(path) == 16 or image.mode[0] in "IF":
        raise Flaw("has 16 bits per channel", "save it with 8")


def _png_depth(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(PNG_DEPTH_AT + 1)[PNG_DEPTH_AT]


def _eight_bit(image: "Image") -> Pictures:
    """Grey or RGB pixels, uint8 H×W×1 or 3."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise Flaw("has transparent parts", "lay it on a background")
        image = image.convert("RGB")
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[..., np.newaxis]
    if image.mode in ("P", "RGB"):
        return np.asarray(image.convert("RGB"))
    raise Flaw(f"has the colours {image.mode}", "save it as RGB")


def _fit(pixels: Pictures, spec: Input) -> Pictures:
    height, width = spec.shape[2:]
    too_large = pixels.shape[0] > height or pixels.shape[1] > width
    misfit = pixels.shape[:2] != (height, width)
    if spec.resize not in SCALING and (too_large or (misfit and spec.resize == "none")):
        raise Flaw(
            f"is {pixels.shape[0]}×{pixels.shape[1]}, and data.resize: {spec.resize} "
            f"does not make that {height}×{width}",
            "set data.resize to crop, letterbox or stretch",
        )
    return spec.fit(pixels)
