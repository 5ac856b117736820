"""What is to lie where in a flash: regions, checked before anything is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from k210.errors import BoardError, NoRoomError

SECTOR = 4096
BLOCK = 1 << 16
PROGRAM_SPACE = 0x40000
"""Bytes at the start of the flash that belong to the program the ROM boots."""

Read = Callable[[int, int], bytes]
"""Reads flash: (address, length) to bytes."""


@dataclass(frozen=True)
class Region:
    """A stretch of flash.

    Attributes:
        name: what it holds, for people.
        address: its first byte.
        data: its bytes.
        guarded: it is only good as a whole, and begins with a header that says so: the
            first sector is taken away first and written last.
        aligned: it must begin a sector, because nothing else may share one with it.
    """

    name: str
    address: int
    data: bytes
    guarded: bool = False
    aligned: bool = False

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.address + len(self.data)

    @property
    def first_sector(self) -> int:
        """The address of the sector that it begins in."""
        return self.address - self.address % SECTOR

    @property
    def sectors(self) -> range:
        """The addresses of the sectors that it lies in."""
        return range(self.first_sector, self.end, SECTOR)


def check(regions: Sequence[Region], flash_size: int) -> None:
    """See that regions fit the flash and leave each other alone.

    Raises:
        BoardError: says which do not, and what to do.
    """
    for region in regions:
        _check_place(region, flash_size)
    ordered = sorted(regions, key=lambda region: region.address)
    for before, after in zip(ordered, ordered[1:], strict=False):
        if before.end > after.address:
            raise BoardError(
                f"{before.name} ({before.address:#x} to {before.end:#x}) reaches into "
                f"{after.name} at {after.address:#x}: move one of them"
            )
        shared = before.sectors and before.sectors[-1] == after.first_sector
        if shared and (before.guarded or after.guarded or after.aligned):
            raise BoardError(
                f"{before.name} and {after.name} share the sector at "
                f"{after.first_sector:#x}: move one of them by {SECTOR} bytes"
            )


def _check_place(region: Region, flash_size: int) -> None:
    if not region.data:
        raise BoardError(f"{region.name} is empty: there is nothing to write")
    if (region.aligned or region.guarded) and region.address % SECTOR:
        raise BoardError(
            f"{region.name} at {region.address:#x} does not begin at a multiple of "
            f"{SECTOR}: choose another address"
        )
    if region.address < 0 or region.end > flash_size:
        raise NoRoomError(
            f"{region.name} takes {len(region.data)} bytes from {region.address:#x} "
            f"and the flash ends at {flash_size:#x}: choose a lower address or make it "
            "smaller"
        )


def sectors(regions: Sequence[Region], read: Read) -> dict[int, bytes]:
    """What each sector shall hold, by its address, in order.

    Args:
        regions: checked.
        read: gives what lies beside them in their sectors, which stays.
    """
    wanted: dict[int, bytearray] = {}
    for region in sorted(regions, key=lambda region: region.address):
        for place in (region.first_sector, *region.sectors[-1:]):
            if place not in wanted and _is_edge(region, place):
                wanted[place] = bytearray(read(place, SECTOR))
        for place in region.sectors:
            image = wanted.setdefault(place, bytearray(SECTOR))
            start, end = max(place, region.address), min(place + SECTOR, region.end)
            image[start - place : end - place] = region.data[
                start - region.address : end - region.address
            ]
    return {place: bytes(wanted[place]) for place in sorted(wanted)}


def _is_edge(region: Region, place: int) -> bool:
    """Whether the region leaves some of the sector alone."""
    return place < region.address or place + SECTOR > region.end


def runs(places: Sequence[int], most: int = BLOCK) -> list[tuple[int, int]]:
    """Sectors that follow each other, as (address, length), cut at 64 KiB blocks."""
    found: list[tuple[int, int]] = []
    for place in sorted(places):
        address, length = found[-1] if found else (0, 0)
        if length and place == address + length and place % BLOCK and length < most:
            found[-1] = address, length + SECTOR
        else:
            found.append((place, SECTOR))
    return found
