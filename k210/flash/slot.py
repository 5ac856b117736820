"""The model slot: one kmodel in flash with its manifest and known answers.

The layout is this project's own. All integers are little-endian and naturally
aligned; offsets count from the start of the slot, which is 4 KiB-aligned in flash.

======  =======  =============================================================
offset  type     field
======  =======  =============================================================
0       u8[8]    magic, ``K210SLOT``
8       u32      version of this layout, 1
12      u32      count of the parts, 3
16      u32      kmodel: offset
20      u32      kmodel: length in bytes, not 0
24      u8[32]   kmodel: SHA-256
56      u32      manifest (JSON): offset
60      u32      manifest: length in bytes, not 0
64      u8[32]   manifest: SHA-256
96      u32      known-answer block: offset
100     u32      known-answer block: length in bytes, 0 when there is none
104     u8[32]   known-answer block: SHA-256
136     u32      total: bytes of the whole slot, a multiple of 4096
140     u32      CRC-32 (zlib's) of bytes 0 to 139
144     u8[3952] unused, left blank (0xFF)
4096             the parts in that order, each at a multiple of 4096
======  =======  =============================================================

`k210.flash.known_answers` has the layout of the known-answer block.

A kmodel wants an address that is a multiple of 256, which 4 KiB alignment gives.

Who writes a slot erases all of it, the header's sector first, and then writes the
pieces in the order of `pack`: the header comes last, so that a write cut short
leaves no header and is never taken for a model.
"""

import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from k210.board import Flash
from k210.errors import BoardError

MAGIC = b"K210SLOT"
VERSION = 1
ALIGNMENT = 4096
HEADER_SIZE = 4096
PART_NAMES = ("kmodel", "manifest", "known-answer block")

_FIELDS = struct.Struct("<8s2I" + 3 * "2I32s" + "I")
_CRC = struct.Struct("<I")
_USED = _FIELDS.size + _CRC.size

Read = Callable[[int, int], bytes]
"""Reads flash: (address, length) to bytes."""


class SlotError(BoardError):
    """The slot holds no model that can be believed."""


@dataclass(frozen=True)
class Slot:
    """What a slot holds; SlotError when the kmodel or the manifest is empty."""

    kmodel: bytes
    manifest: bytes
    known_answers: bytes = b""

    def __post_init__(self) -> None:
        for name, part in zip(PART_NAMES[:2], self.parts, strict=False):
            if not part:
                raise SlotError(
                    f"the {name} of the model slot is empty: run compile, then flash"
                )

    @property
    def parts(self) -> tuple[bytes, bytes, bytes]:
        """The parts in the order of the layout."""
        return self.kmodel, self.manifest, self.known_answers


@dataclass(frozen=True)
class Part:
    """Where a part lies (bytes from the slot's start) and its SHA-256 (32 bytes)."""

    offset: int
    length: int
    sha256: bytes


@dataclass(frozen=True)
class Header:
    """The first 4 KiB of a slot; equal headers mean equal models."""

    total: int
    kmodel: Part
    manifest: Part
    known_answers: Part

    @property
    def parts(self) -> tuple[Part, Part, Part]:
        """The parts in the order of the layout."""
        return self.kmodel, self.manifest, self.known_answers

    def to_bytes(self) -> bytes:
        """The 4096 bytes as they lie in flash."""
        fields = [f for p in self.parts for f in (p.offset, p.length, p.sha256)]
        used = _FIELDS.pack(MAGIC, VERSION, len(self.parts), *fields, self.total)
        return (used + _CRC.pack(zlib.crc32(used))).ljust(HEADER_SIZE, b"\xff")


def header(slot: Slot) -> Header:
    """The header that `pack` gives the slot."""
    *offsets, total = _offsets(slot)
    parts = [
        Part(offset, len(data), hashlib.sha256(data).digest())
        for offset, data in zip(offsets, slot.parts, strict=True)
    ]
    return Header(total, *parts)


def size(slot: Slot) -> int:
    """The bytes of flash the slot takes, a multiple of 4096."""
    return _offsets(slot)[-1]


def pack(slot: Slot) -> list[tuple[int, bytes]]:
    """The pieces to write, as (offset in the slot, bytes), the header last.

    An empty known-answer block needs no writing and is left out.
    """
    pieces = zip(_offsets(slot), slot.parts, strict=False)
    return [*(p for p in pieces if p[1]), (0, header(slot).to_bytes())]


def image(slot: Slot) -> bytes:
    """The whole slot as one piece, blank (0xFF) between the parts."""
    whole = bytearray(b"\xff" * size(slot))
    for offset, data in pack(slot):
        whole[offset : offset + len(data)] = data
    return bytes(whole)


def parse_header(data: bytes) -> Header:
    """Read the first 4096 bytes of a slot; SlotError says what is wrong with them."""
    if len(data) != HEADER_SIZE:
        raise SlotError(
            f"the model slot's header came with {len(data)} bytes instead of "
            f"{HEADER_SIZE}: read it again"
        )
    used = data[:_USED]
    if used == b"\xff" * _USED:
        raise SlotError("no model in the slot: run flash first")
    magic, version, count, *fields, total = _FIELDS.unpack_from(used)
    _check(magic == MAGIC, "what lies in the model slot is not a model")
    _check(
        version == VERSION,
        f"the model slot has layout {version}, this program reads {VERSION}",
    )
    (crc,) = _CRC.unpack_from(used, _FIELDS.size)
    _check(
        crc == zlib.crc32(used[: _FIELDS.size]), "the model slot's header is damaged"
    )
    _check(
        count == len(PART_NAMES),
        f"the model slot names {count} parts instead of {len(PART_NAMES)}",
    )
    parts = [Part(*fields[i : i + 3]) for i in range(0, len(fields), 3)]
    _check_layout(parts, total)
    return Header(total, *parts)


def read(read_fn: Read, address: int, flash_size: int) -> Slot:
    """Read the slot at `address` and believe nothing that its header does not prove.

    Nothing outside `flash_size` bytes is ever asked of `read_fn`, whose own errors
    pass. SlotError says which part is missing, misplaced or damaged.
    """
    head = _located(read_fn, address, flash_size)
    kmodel, manifest, known_answers = (
        _read_part(read_fn, address, name, part)
        for name, part in zip(PART_NAMES, head.parts, strict=True)
    )
    return Slot(kmodel, manifest, known_answers)


def kmodel_digest(flash: Flash, address: int) -> bytes:
    """The SHA-256 of the kmodel in the slot, which the board itself computes.

    SlotError says that there is none, or that it is not what the header promises.
    """
    part = _located(flash.flash_read, address, flash.flash_size).kmodel
    found = bytes.fromhex(flash.flash_sha256(address + part.offset, part.length))
    _require_digest(found == part.sha256, address, PART_NAMES[0])
    return found


def _located(read_fn: Read, address: int, flash_size: int) -> Header:
    """The header of a slot that lies wholly in the flash."""
    where = f"the model slot at {address:#x}"
    if address < 0 or address % ALIGNMENT or address + HEADER_SIZE > flash_size:
        raise SlotError(
            f"{where} must begin at a multiple of {ALIGNMENT} inside the flash of "
            f"{flash_size:#x} bytes: correct flash.slot"
        )
    head = parse_header(read_fn(address, HEADER_SIZE))
    _check(
        address + head.total <= flash_size,
        f"{where} claims {head.total:#x} bytes, past the end of the flash",
    )
    return head


def _read_part(read_fn: Read, address: int, name: str, part: Part) -> bytes:
    data = read_fn(address + part.offset, part.length) if part.length else b""
    _require_digest(hashlib.sha256(data).digest() == part.sha256, address, name)
    return data


def _require_digest(right: bool, address: int, name: str) -> None:
    _check(
        right,
        f"the {name} in the model slot at {address:#x} is damaged "
        "(its SHA-256 is not the header's)",
    )


def _check_layout(parts: list[Part], total: int) -> None:
    """Every part aligned, after the one before it, and inside the total."""
    end = HEADER_SIZE
    for name, part in zip(PART_NAMES, parts, strict=True):
        place = f"the {name} at offset {part.offset:#x} of the model slot"
        _check(part.offset % ALIGNMENT == 0, f"{place} is not {ALIGNMENT}-aligned")
        _check(part.offset >= end, f"{place} overlaps what lies before it")
        end = part.offset + part.length
        _check(end <= total, f"{place} runs past the slot's {total:#x} bytes")
    _check(
        total % ALIGNMENT == 0,
        f"the model slot's total of {total:#x} bytes is not {ALIGNMENT}-aligned",
    )


def _check(right: bool, complaint: str) -> None:
    if not right:
        raise SlotError(f"{complaint}: run flash again")


def _offsets(slot: Slot) -> list[int]:
    """Where each part begins, and after them the total."""
    return list(accumulate(map(_whole, map(len, slot.parts)), initial=HEADER_SIZE))


def _whole(length: int) -> int:
    """The length rounded up to the alignment."""
    return length + -length % ALIGNMENT
