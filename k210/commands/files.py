"""Files that a user names on the command line: errors say what and which."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from k210 import kmodel
from k210.errors import UserError
from k210.kmodel import Kmodel, KmodelError


def read_kmodel(path: Path) -> Kmodel:
    """Read and parse a kmodel.

    Raises:
        UserError: it cannot be read, or is no kmodel.
    """
    try:
        return kmodel.parse(read_bytes(path))
    except KmodelError as error:
        raise UserError(f"{path}: {error}") from None


def read_bytes(path: Path) -> bytes:
    """A file's bytes; UserError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; name another file") from None


def read_array(path: Path) -> NDArray[np.uint8]:
    """The array of a .npy file; UserError unless it holds uint8."""
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except (ValueError, EOFError):
        raise UserError(f"{path}: is no .npy file; write it with numpy.save") from None
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
        raise UserError(f"{path}: holds no uint8 array; kmodels take bytes")
    return array


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture, upright, as uint8 H×W (grey) or H×W×3; UserError if it is none."""
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            grey = upright.mode in ("1", "L", "LA")
            return np.asarray(upright.convert("L" if grey else "RGB"))
    except UnidentifiedImageError:
        raise UserError(f"{path}: is no picture that can be read") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a .npz; UserError where that fails."""
    named: dict[str, Any] = dict(arrays)
    _write(path, lambda file: np.savez(file, **named))


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a .npy; UserError where that fails."""
    _write(path, lambda file: np.save(file, array))


def write_text(path: Path, text: str) -> None:
    """Write a text file; UserError where that fails."""
    _write(path, lambda file: file.write(text.encode()))


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    try:
        with path.open("wb") as file:
            write(file)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; name another file") from None
