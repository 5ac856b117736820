"""Images of programs in flash, and the flasher's packages (.kfpkg).

Facts: what the vendor's flasher writes and the mask ROM reads. A program's image is
a flag byte, its length, its bytes, and the SHA-256 of all of that.
"""

import hashlib
import io
import json
import re
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from k210.errors import UserError

HEADER = struct.Struct("<BI")
DIGEST_SIZE = 32
LISTING = "flash-list.json"
VERSION = "0.1.0"
ADDRESS_LIMIT = 1 << 24
"""Addresses of the flash have 24 bits."""

BARE_HEX = re.compile(r'("address"\s*:\s*)(0[xX][0-9a-fA-F]+)')


class PackageError(UserError):
    """A package cannot be read, or would make no sense in flash."""


def program_image(program: bytes) -> bytes:
    """What the ROM wants at flash offset 0 to start a program."""
    image = HEADER.pack(0, len(program)) + program
    return image + hashlib.sha256(image).digest()


def program_in(flash: bytes) -> bytes | None:
    """The program whose image flash begins with; None if it is not whole."""
    if len(flash) < HEADER.size:
        return None
    _, length = HEADER.unpack_from(flash)
    end = HEADER.size + length
    if flash[end : end + DIGEST_SIZE] != hashlib.sha256(flash[:end]).digest():
        return None
    return flash[HEADER.size : end]


@dataclass(frozen=True)
class PackageFile:
    """A file of a package.

    Attributes:
        address: where it belongs in flash.
        name: its name in the package.
        data: its bytes.
        program: whether it is written as a program's image.
    """

    address: int
    name: str
    data: bytes
    program: bool

    @property
    def contents(self) -> bytes:
        """What is to lie in flash."""
        return program_image(self.data) if self.program else self.data


def write_package(path: Path, files: Sequence[PackageFile]) -> None:
    """Write a package.

    Raises:
        PackageError: files overlap, two have one name, or it cannot be written.
    """
    _check(path, files)
    listing = {
        "version": VERSION,
        "files": [
            {"address": file.address, "bin": file.name, "sha256Prefix": file.program}
            for file in files
        ],
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        # on several lines: the vendor's flasher rewrites addresses line by line
        archive.writestr(LISTING, json.dumps(listing, indent=2))
        for file in files:
            archive.writestr(file.name, file.data)
    try:
        path.write_bytes(packed.getvalue())
    except OSError as error:
        raise PackageError(
            f"{path} cannot be written ({error.strerror}): choose another place"
        ) from None


def read_package(path: Path) -> list[PackageFile]:
    """The files of a package; addresses may be bare hex, as they are in the wild.

    Raises:
        PackageError: it is damaged, or its files overlap.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            listing = archive.read(LISTING).decode()
            listed = json.loads(BARE_HEX.sub(_decimal, listing))["files"]
            files = [
                PackageFile(
                    int(entry["address"]),
                    str(entry["bin"]),
                    archive.read(entry["bin"]),
                    bool(entry.get("sha256Prefix", False)),
                )
                for entry in listed
            ]
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise PackageError(
            f"{path} is no package that can be flashed ({error}): make it anew"
        ) from None
    _check(path, files)
    return files


def _decimal(found: re.Match[str]) -> str:
    return f"{found[1]}{int(found[2], 16)}"


def _check(path: Path, files: Sequence[PackageFile]) -> None:
    if len({file.name for file in files}) < len(files):
        raise PackageError(f"{path} has two files of one name: rename one")
    for file in files:
        end = file.address + len(file.contents)
        if file.address < 0 or end > ADDRESS_LIMIT:
            raise PackageError(
                f"{path}: {file.name} at {file.address:#x} reaches beyond the "
                f"{ADDRESS_LIMIT:#x} bytes that a flash can have: move it"
            )
    ordered = sorted(files, key=lambda file: file.address)
    for before, after in zip(ordered, ordered[1:], strict=False):
        if before.address + len(before.contents) > after.address:
            raise PackageError(
                f"{path}: {before.name} at {before.address:#x} reaches into "
                f"{after.name} at {after.address:#x}: move one of them"
            )
