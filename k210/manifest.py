"""What a kmodel does not say of itself: names, layouts, scales and how to feed it.

A kmodel holds shapes and nothing else of its inputs and outputs, so compile writes
this manifest next to it, as JSON, and everything that feeds the kmodel or reads its
answers goes by it. The classes below are the schema (see ``manifest_schema``).

Input pictures are prepared here and nowhere else; the firmware never turns pixels.
The K210's KPU takes planar (NCHW) u8. A model may have been rotated by 180 degrees
to make its padding symmetric: its pictures are then turned before they go in, and
its spatial outputs are turned back.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from k210 import fitting
from k210.errors import ModelError, UserError
from k210.manifest_schema import ManifestError as ManifestError
from k210.manifest_schema import Record, convert_at, shown, unique_keys

SCHEMA: Final = 1
CHANNELS = {"grey": 1, "rgb": 3, "bgr": 3}
CHIP_MEMORY = 8 * 1024 * 1024  # all RAM of the K210: no tensor is larger

_ITEM_BYTES = {"u8": 1, "f32": 4}
_HEIGHT_AND_WIDTH = {"NCHW": (2, 3), "NHWC": (1, 2)}

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, kw_only=True)
class Input(Record):
    """One input of the kmodel; ManifestError for an illegal value.

    shape: (1, C, H, W). range: what u8 0 and 255 stand for before mean and std.
    mean, std: one number per channel, in the kmodel's order of channels.
    color: that order. resize: what happens to a picture of another size.
    rotation: degrees by which a picture is turned before it goes in.
    """

    name: str
    shape: tuple[int, int, int, int]
    dtype: Literal["u8"] = "u8"
    layout: Literal["NCHW"] = "NCHW"
    range: tuple[float, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    color: Literal["grey", "rgb", "bgr"]
    resize: Literal["none", "pad", "stretch", "crop", "letterbox"] = "none"
    rotation: Literal[0, 180] = 0

    def fit(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """One picture, uint8 H×W or H×W×C, in the input's size and number of channels.

        Returns uint8 H×W×C, grey or RGB. Colours become grey and grey becomes RGB
        whatever the policy; scaling is `k210.fitting`'s. Raises UserError for a
        picture of another type, and for one that "none" or "pad" cannot take.
        """
        picture = self._as_pictures(image[np.newaxis])
        if picture.shape[3] not in CHANNELS.values():
            raise UserError(self._miscolored(picture))
        self._check_size(picture)
        colored = fitting.colored(picture[0], self.shape[1])
        return fitting.fitted(colored, *self.shape[2:], self.resize)

    def prepare(self, image: NDArray[np.uint8]) -> bytes:
        """One picture, uint8 H×W×C (RGB; grey also H×W), as the kmodel's C·H·W bytes.

        Raises UserError for a picture of another type, size or number of channels.
        """
        return self.prepare_batch(image[np.newaxis]).tobytes()

    def prepare_batch(
        self, images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
    ) -> NDArray[np.uint8]:
        """Pictures (RGB; grey also without axis C) as uint8 N×C×H×W.

        They are uint8 N×H×W×C, or a sequence of H×W×C of different sizes. Policies
        that scale `fit` them. With "none" and "pad" they must have the input's
        channels, and "pad" centres smaller ones on zeros, odd ones of which go to the
        bottom or right. Then the channels are put in order, and the whole is turned.
        """
        pictures = self._fit_all(images)
        planes = np.moveaxis(pictures, 3, 1)
        ordered = planes[:, ::-1] if self.color == "bgr" else planes
        turned = np.flip(ordered, (2, 3)) if self.rotation else ordered
        return np.array(turned, order="C")

    def to_float(self, prepared: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the float model sees: uint8 N×C×H×W as float32 N×H×W×C.

        value = (lo + u8 / 255 · (hi - lo) - mean) / std, all in float32; the picture
        stays turned and its channels stay as they are. Raises UserError for pixels
        that `prepare_batch` did not make.
        """
        if prepared.dtype != np.uint8 or prepared.shape[1:] != self.shape[1:]:
            raise UserError(
                f"{_describe(prepared)} is not what input {self.name!r} takes, "
                f"uint8 N×{_times(self.shape[1:])}: prepare the pictures first"
            )
        low, high = np.float32(self.range[0]), np.float32(self.range[1])
        values = np.moveaxis(prepared, 1, 3).astype(np.float32, order="C")
        values /= np.float32(255)
        values *= high - low
        values += low
        values -= np.asarray(self.mean, np.float32)
        values /= np.asarray(self.std, np.float32)
        return values

    def _check(self) -> None:
        _check_name(self.name)
        _check_shape(self.shape, self.dtype)
        channels = CHANNELS[self.color]
        if self.shape[:2] != (1, channels):
            wanted = f"begin with 1, {channels} as color is {self.color}"
            raise ManifestError(".shape", f"must {wanted}, not {self.shape}")
        if not np.float32(self.range[0]) < np.float32(self.range[1]):
            raise ManifestError(".range", f"must rise, unlike {self.range}")
        for name, numbers in ((".mean", self.mean), (".std", self.std)):
            if len(numbers) != channels:
                wanted = f"one number per channel ({channels})"
                raise ManifestError(name, f"must have {wanted}, not {len(numbers)}")
        if not all(np.float32(number) > 0 for number in self.std):
            raise ManifestError(".std", f"must be above zero, unlike {self.std}")

    def _fit_all(
        self, images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
    ) -> NDArray[np.uint8]:
        """The pictures as one uint8 N×H×W×C of the input's size, grey or RGB."""
        _, channels, height, width = self.shape
        if not isinstance(images, np.ndarray):
            batches = [self._fit_all(image[np.newaxis]) for image in images]
            empty = np.empty((0, height, width, channels), np.uint8)
            return np.concatenate(batches or [empty])
        pictures = self._as_pictures(images)
        if self.resize in fitting.SCALING:
            if pictures.shape[1:] != (height, width, channels):
                return self._fit_all([self.fit(picture) for picture in pictures])
            return pictures
        if pictures.shape[3] != channels:
            raise UserError(self._miscolored(pictures))
        self._check_size(pictures)
        return fitting.padded(pictures, height, width)

    def _as_pictures(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The same pictures as N×H×W×C."""
        pictures = images[..., np.newaxis] if images.ndim == 3 else images
        if pictures.dtype != np.uint8 or pictures.ndim != 4 or 0 in pictures.shape[1:]:
            raise UserError(
                f"{_describe(images)} holds no pictures for input {self.name!r}: "
                "give uint8, rows by columns by channels"
            )
        return pictures

    def _miscolored(self, pictures: NDArray[np.uint8]) -> str:
        return (
            f"the picture has {pictures.shape[3]} channels but input "
            f"{self.name!r} takes {self.shape[1]} ({self.color}): convert it first"
        )

    def _check_size(self, pictures: NDArray[np.uint8]) -> None:
        _, _, height, width = self.shape
        if not self._accepts(*pictures.shape[1:3]):
            raise UserError(
                f"the picture is {pictures.shape[2]} wide and {pictures.shape[1]} high "
                f"but input {self.name!r} takes {width} by {height} "
                f"(resize: {self.resize}): crop or scale it first"
            )

    def _accepts(self, height: int, width: int) -> bool:
        if self.resize == "none":
            return (height, width) == self.shape[2:]
        if self.resize in fitting.SCALING:
            return True
        return height <= self.shape[2] and width <= self.shape[3]


@dataclass(frozen=True, kw_only=True)
class Output(Record):
    """One output of the kmodel; ManifestError for an illegal value.

    layout: "none" unless the rank is 4. rotation: degrees by which the model has
    turned a spatial output. labels: the names of the classes, where there are some.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["u8", "f32"]
    layout: Literal["NCHW", "NHWC", "none"] = "none"
    rotation: Literal[0, 180] = 0
    labels: tuple[str, ...] = ()

    def restore(self, array: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """The output (its shape, or N in front for 1) upright again, as a view.

        Only spatial outputs, those of rank 4, are turned; others pass as they are.
        Raises ModelError for an array of another shape.
        """
        if not self.rotation or self.layout == "none":
            return array
        if array.shape[1:] != self.shape[1:]:
            raise ModelError(
                f"{_describe(array)} is not output {self.name!r} of shape "
                f"{_times(self.shape)}: check that kmodel and manifest belong together"
            )
        return np.flip(array, _HEIGHT_AND_WIDTH[self.layout])

    def _check(self) -> None:
        _check_name(self.name)
        _check_shape(self.shape, self.dtype)
        if (len(self.shape) == 4) != (self.layout != "none"):
            wanted = "NCHW or NHWC for rank 4 and none otherwise"
            raise ManifestError(".layout", f"must be {wanted}, not {self.layout}")


@dataclass(frozen=True, kw_only=True)
class Manifest(Record):
    """All of a kmodel's inputs and outputs; ManifestError for an illegal value.

    kmodel_sha256: hexadecimal, of the kmodel's file. memory: bytes the kmodel takes,
    by kind. tools: the versions that made it, by tool.
    """

    schema: Literal[1] = SCHEMA
    kmodel_sha256: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    memory: Mapping[str, int] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)

    def prepare(self, image: NDArray[np.uint8]) -> bytes:
        """One picture for the first input; see `Input.prepare`."""
        return self.inputs[0].prepare(image)

    def prepare_batch(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Pictures for the first input; see `Input.prepare_batch`."""
        return self.inputs[0].prepare_batch(images)

    def to_json(self) -> bytes:
        """UTF-8 JSON with sorted keys; equal manifests give equal bytes."""
        return json.dumps(asdict(self), sort_keys=True, indent=2).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> "Manifest":
        """Read what `to_json` writes; ManifestError says where it is malformed."""
        try:
            document = json.loads(data.decode(), object_pairs_hook=unique_keys)
        except (ValueError, RecursionError) as error:
            raise ManifestError("", f"is not JSON ({error})") from error
        if isinstance(document, dict) and document.get("schema", SCHEMA) != SCHEMA:
            version = shown(document["schema"])
            raise ManifestError("schema", f"must be {SCHEMA}, not {version}")
        manifest: Manifest = convert_at("", cls, document)
        return manifest

    def _check(self) -> None:
        if not re.fullmatch("[0-9a-f]{64}", self.kmodel_sha256):
            raise ManifestError(".kmodel_sha256", "must be 64 hexadecimal digits")
        for name, tensors in ((".inputs", self.inputs), (".outputs", self.outputs)):
            if not tensors:
                raise ManifestError(name, "must not be empty")
        for kind, count in self.memory.items():
            if count < 0:
                raise ManifestError(
                    f".memory[{kind!r}]", f"must not be negative: {count}"
                )


def _describe(array: NDArray[Any]) -> str:
    return f"an array of {array.dtype} {_times(array.shape)}"


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _check_name(name: str) -> None:
    if not name:
        raise ManifestError(".name", "must not be empty")


def _check_shape(shape: tuple[int, ...], dtype: str) -> None:
    size = _ITEM_BYTES[dtype]
    for dimension in shape:
        size *= dimension
        if dimension < 1 or size > CHIP_MEMORY:
            wanted = f"positive and within {CHIP_MEMORY} bytes of memory"
            raise ManifestError(".shape", f"must be {wanted}, unlike {shown(shape)}")
    if not shape:
        raise ManifestError(".shape", "must not be empty")
