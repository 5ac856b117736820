"""A SPI NOR flash of the W25Q family, held in a file that outlives the process.

The array behaves as the chip's does: programming only clears bits and wraps inside
a 256-byte page, erasing sets whole sectors or blocks to 0xFF, and an erase address
is rounded down to the start of its unit. Two liberties of the chip are refused
instead, for they only ever hide a mistake in a driver: an address past the end of
the array (the chip drops the upper bits) and more than 256 bytes for one page (the
chip keeps the last 256). The chip's commands and its busy times belong to the SPI
model; the times are given here as constants.

Facts: Winbond's data sheet of the W25Q128JV; the times are its typical ones.
"""

import contextlib
import hashlib
import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal

from k210.errors import BoardError

PAGE = 256
SECTOR = 4 * 1024
BLOCK = 64 * 1024
SIZE = 16 * 1024 * 1024  # also the most that 24-bit addresses reach

JEDEC_ID = bytes((0xEF, 0x40, 0x18))
"""Of the W25Q128: Winbond, SPI NOR, 2**24 bytes."""

PAGE_PROGRAM_SECONDS = 0.4e-3
SECTOR_ERASE_SECONDS = 45e-3
BLOCK_ERASE_SECONDS = 150e-3


class NorFlash:
    """The flash array in the file `path`; a context manager.

    A missing file is made, blank (all 0xFF), unless `readonly`. Every fault of the
    file, and every address outside the array, is a BoardError.

    `erases` counts the erasures of each 4 KiB sector since the file was opened.
    """

    def __init__(self, path: Path, size: int = SIZE, *, readonly: bool = False) -> None:
        if size & (size - 1) or not BLOCK <= size <= SIZE:
            raise BoardError(
                f"a flash cannot have {size} bytes: "
                f"choose a power of two from {BLOCK} to {SIZE}"
            )
        if not readonly and not os.path.exists(path):
            _create(path, size)
        self.path, self.size, self.readonly = path, size, readonly
        self.erases = [0] * (size // SECTOR)
        self._file, self._array = _open(path, size, readonly)

    @property
    def jedec_id(self) -> bytes:
        """Manufacturer, type and capacity (log2 of the bytes), as command 9F reads."""
        return JEDEC_ID[:2] + bytes([self.size.bit_length() - 1])

    def read(self, address: int, length: int) -> bytes:
        """`length` bytes from `address` on."""
        self._check_range(address, length)
        return self._array[address : address + length]

    def sha256(self, address: int, length: int) -> str:
        """The SHA-256 of that range, in hexadecimal."""
        return hashlib.sha256(self.read(address, length)).hexdigest()

    def program_page(self, address: int, data: bytes) -> None:
        """Clear the bits that are 0 in `data`, at most 256 bytes.

        What runs past the end of the page goes on at its start, as on the chip.
        """
        self._check_writable()
        self._check_range(address, 1)
        if len(data) > PAGE:
            raise BoardError(
                f"{len(data)} bytes for the flash page at {address:#x} are too many: "
                f"program at most {PAGE} at a time"
            )
        page = address - address % PAGE
        room = page + PAGE - address
        self._clear_bits(address, data[:room])
        self._clear_bits(page, data[room:])

    def write(self, address: int, data: bytes) -> None:
        """Program any length page by page, as a driver does; nothing is erased.

        A byte that was not blank becomes the AND of old and new.
        """
        self._check_writable()
        self._check_range(address, len(data))
        view = memoryview(data)
        done = 0
        while done < len(data):
            room = PAGE - (address + done) % PAGE
            self.program_page(address + done, bytes(view[done : done + room]))
            done += room

    def erase_sector(self, address: int) -> None:
        """Blank the 4 KiB sector that holds `address`."""
        self._erase(address, SECTOR)

    def erase_block(self, address: int) -> None:
        """Blank the 64 KiB block that holds `address`."""
        self._erase(address, BLOCK)

    def erase_chip(self) -> None:
        """Blank the whole array."""
        self._erase(0, self.size)

    def flush(self) -> None:
        """Put every change so far on the disk; `close` does so too."""
        if self.readonly:
            return
        try:
            self._array.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise BoardError(
                f"the flash image {self.path} cannot be saved ({error.strerror}): "
                "check the disk"
            ) from error

    def close(self) -> None:
        """Save and let go of the file; closing twice does no harm."""
        if self._array.closed:
            return
        try:
            self.flush()
        finally:
            self._array.close()
            self._file.close()

    def __enter__(self) -> "NorFlash":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        self.close()
        return False

    def _clear_bits(self, address: int, data: bytes) -> None:
        span = slice(address, address + len(data))
        old = int.from_bytes(self._array[span], "little")
        new = old & int.from_bytes(data, "little")
        self._array[span] = new.to_bytes(len(data), "little")

    def _erase(self, address: int, unit: int) -> None:
        self._check_writable()
        self._check_range(address, 1)
        start = address - address % unit
        self._array[start : start + unit] = b"\xff" * unit
        for sector in range(start // SECTOR, (start + unit) // SECTOR):
            self.erases[sector] += 1

    def _check_writable(self) -> None:
        if self.readonly:
            raise BoardError(
                f"the flash image {self.path} is open for reading only: "
                "open it for writing to change it"
            )

    def _check_range(self, address: int, length: int) -> None:
        if min(address, length) < 0 or address + length > self.size:
            raise BoardError(
                f"{length} bytes at {address:#x} do not lie in the flash "
                f"{self.path} of {self.size:#x} bytes: correct the address or length"
            )


def _open(path: Path, size: int, readonly: bool) -> tuple[BinaryIO, mmap.mmap]:
    """The file, once its size is known to be right, and its contents."""
    access = mmap.ACCESS_READ if readonly else mmap.ACCESS_WRITE
    with contextlib.ExitStack() as undo:
        try:
            file = undo.enter_context(path.open("rb" if readonly else "r+b"))
            _check_size(path, os.fstat(file.fileno()).st_size, size)
            array = mmap.mmap(file.fileno(), size, access=access)
        except OSError as error:
            raise BoardError(
                f"the flash image {path} cannot be opened ({error.strerror}): "
                "check the path and its permissions"
            ) from error
        undo.pop_all()
    return file, array


def _check_size(path: Path, found: int, size: int) -> None:
    if found != size:
        raise BoardError(
            f"the flash image {path} has {found} bytes, not the {size} of this flash: "
            "set the right flash size or remove the file"
        )


def _create(path: Path, size: int) -> None:
    """Make a blank image; under its own name only when it is whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with temporary.open("wb") as file:
            for _ in range(size // BLOCK):
                file.write(b"\xff" * BLOCK)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise BoardError(
            f"the flash image {path} of {size} bytes cannot be made "
            f"({error.strerror}): free some space or choose another place"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
