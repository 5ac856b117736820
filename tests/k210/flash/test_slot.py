import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k210.errors import BoardError
from k210.flash import slot
from k210.flash.slot import HEADER_SIZE, Header, Slot, SlotError
from k210.virtual.nor import NorFlash

FLASH_SIZE = 128 * 1024
ADDRESS = 0x8000
USED_HEADER = 144
EXAMPLE = Slot(kmodel=b"kmodel" * 1000, manifest=b"{}\n", known_answers=b"answers")

PARTS = st.binary(min_size=1, max_size=64) | st.builds(
    lambda seed, length: (seed * length)[:length],
    st.binary(min_size=1, max_size=16),
    st.integers(1, 20_000),
)
SLOTS = st.builds(Slot, PARTS, PARTS, PARTS | st.just(b""))


@pytest.fixture(scope="module")
def nor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NorFlash]:
    with NorFlash(tmp_path_factory.mktemp("nor") / "flash.bin", FLASH_SIZE) as flash:
        yield flash


def image_of(example: Slot) -> bytearray:
    image = bytearray(b"\xff" * FLASH_SIZE)
    for offset, data in slot.pack(example):
        image[ADDRESS + offset : ADDRESS + offset + len(data)] = data
    return image


def reader(image: bytes | bytearray) -> Callable[[int, int], bytes]:
    def read(address: int, length: int) -> bytes:
        assert 0 <= address <= address + length <= len(image)
        return bytes(image[address : address + length])

    return read


def read_image(image: bytes | bytearray) -> Slot:
    return slot.read(reader(image), ADDRESS, len(image))


def header_bytes(*numbers: int, magic: bytes = b"K210SLOT") -> bytes:
    """A header with a true CRC: version, count, 3 × (offset, length), total."""
    version, count, *places, total = numbers
    digest = hashlib.sha256(b"").digest()
    parts = b"".join(
        struct.pack("<II32s", *places[i : i + 2], digest) for i in (0, 2, 4)
    )
    used = (
        struct.pack("<8sII", magic, version, count) + parts + struct.pack("<I", total)
    )
    return (used + struct.pack("<I", zlib.crc32(used))).ljust(HEADER_SIZE, b"\xff")


@settings(max_examples=30, deadline=None)
@given(example=SLOTS)
def test_a_slot_written_to_flash_reads_back(nor: NorFlash, example: Slot) -> None:
    nor.erase_chip()
    for offset, data in slot.pack(example):
        nor.write(ADDRESS + offset, data)
    assert slot.read(nor.read, ADDRESS, nor.size) == example


@settings(deadline=None)
@given(example=SLOTS)
def test_pieces_are_aligned_apart_and_within_the_size(example: Slot) -> None:
    *parts, (last, _) = slot.pack(example)
    ends = [HEADER_SIZE, *(offset + len(data) for offset, data in parts)]
    assert last == 0
    assert all(offset % 4096 == 0 for offset, _ in parts)
    assert all(end <= offset for end, (offset, _) in zip(ends, parts, strict=False))
    assert ends[-1] <= slot.size(example) < ends[-1] + 4096
    assert slot.size(example) % 4096 == 0


def test_the_header_lies_where_the_table_says() -> None:
    (_, header) = slot.pack(EXAMPLE)[-1]
    assert len(header) == HEADER_SIZE
    assert header[:8] == b"K210SLOT"
    assert struct.unpack_from("<2I", header, 8) == (1, 3)
    assert struct.unpack_from("<2I", header, 16) == (4096, 6000)
    assert header[24:56] == hashlib.sha256(EXAMPLE.kmodel).digest()
    assert struct.unpack_from("<2I", header, 56) == (12288, 3)
    assert header[64:96] == hashlib.sha256(EXAMPLE.manifest).digest()
    assert struct.unpack_from("<2I", header, 96) == (16384, 7)
    assert header[104:136] == hashlib.sha256(EXAMPLE.known_answers).digest()
    assert struct.unpack_from("<2I", header, 136) == (20480, zlib.crc32(header[:140]))
    assert header[144:] == b"\xff" * (4096 - 144)


@settings(deadline=None)
@given(example=SLOTS)
def test_a_header_reads_back(example: Slot) -> None:
    header = slot.header(example)
    assert slot.parse_header(header.to_bytes()) == header
    assert header.total == slot.size(example)


def test_blank_flash_holds_no_model() -> None:
    with pytest.raises(SlotError, match="^no model in the slot: run flash first$"):
        read_image(b"\xff" * FLASH_SIZE)


@settings(deadline=None)
@given(data=st.data())
def test_one_corrupted_byte_is_found(data: st.DataObject) -> None:
    header = slot.header(EXAMPLE)
    spans = [(0, USED_HEADER), *((p.offset, p.length) for p in header.parts)]
    offset, length = data.draw(st.sampled_from(spans))
    at = ADDRESS + offset + data.draw(st.integers(0, length - 1))
    image = image_of(EXAMPLE)
    image[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SlotError):
        read_image(image)


@pytest.mark.parametrize("name", ["kmodel", "manifest", "known-answer block"])
def test_the_damaged_part_is_named(name: str) -> None:
    part = dict(zip(slot.PART_NAMES, slot.header(EXAMPLE).parts, strict=True))[name]
    image = image_of(EXAMPLE)
    image[ADDRESS + part.offset] ^= 1
    with pytest.raises(SlotError, match=f"the {name} in .* at 0x8000 is damaged"):
        read_image(image)


def test_a_damaged_header_is_named() -> None:
    image = image_of(EXAMPLE)
    image[ADDRESS + 20] ^= 1
    with pytest.raises(SlotError, match="header is damaged"):
        read_image(image)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_write_cut_short_is_never_taken_for_another_model(
    data: st.DataObject,
) -> None:
    """Over an older model, whose sectors are blanked from the header on."""
    old = Slot(kmodel=b"old" * 3000, manifest=b'{"old": 1}')
    pieces = slot.pack(EXAMPLE)
    cut = data.draw(st.integers(0, sum(len(piece) for _, piece in pieces)))
    image = image_of(old)
    image[ADDRESS : ADDRESS + slot.size(EXAMPLE)] = b"\xff" * slot.size(EXAMPLE)
    left = cut
    for offset, piece in pieces:
        written = piece[:left]
        left -= len(written)
        image[ADDRESS + offset : ADDRESS + offset + len(written)] = written
    header_left = HEADER_SIZE - (sum(len(piece) for _, piece in pieces) - cut)
    if header_left >= USED_HEADER:
        assert read_image(image) == EXAMPLE
    else:
        with pytest.raises(SlotError):
            read_image(image)


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (header_bytes(1, 3, 4096, 0, 4096, 0, 4096, 0, 4096)[:-1], "4095 bytes"),
        (header_bytes(1, 3, *[4096, 0] * 3, 4096, magic=b"MODELS!!"), "not a model"),
        (header_bytes(2, 3, *[4096, 0] * 3, 4096), "layout 2"),
        (header_bytes(1, 4, *[4096, 0] * 3, 4096), "4 parts"),
        (header_bytes(1, 3, 4352, 0, 8192, 0, 8192, 0, 8192), "kmodel .* 4096-aligned"),
        (header_bytes(1, 3, 0, 9, 4096, 0, 4096, 0, 8192), "kmodel .* overlaps"),
        (header_bytes(1, 3, 4096, 5000, 8192, 1, 16384, 0, 16384), "manifest .* over"),
        (header_bytes(1, 3, 4096, 9, 8192, 9, 12288, 4097, 16384), "answer .* past"),
        (header_bytes(1, 3, 4096, 9, 8192, 9, 12288, 9, 12300), "total of 0x300c"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(header: bytes, complaint: str) -> None:
    with pytest.raises(SlotError, match=complaint):
        slot.parse_header(header)


@settings(deadline=None)
@given(data=st.binary(max_size=200), magic=st.sampled_from([b"", b"K210SLOT"]))
def test_random_bytes_are_no_header(data: bytes, magic: bytes) -> None:
    for header in (data, (magic + data).ljust(HEADER_SIZE, b"\xff")):
        with pytest.raises(SlotError):
            slot.parse_header(header)


@st.composite
def places_in_order_but_for_one(draw: st.DrawFn) -> list[int]:
    """Three times offset and length, then the total; or one of them any number."""
    sectors = sorted(draw(st.lists(st.integers(1, 20), min_size=7, max_size=7)))
    places = [sector * 4096 for sector in sectors]
    for i in (1, 3, 5):
        places[i] -= places[i - 1]
    if draw(st.booleans()):
        places[draw(st.integers(0, 6))] = draw(st.integers(0, 2**32 - 1))
    return places


@settings(deadline=None)
@given(places=places_in_order_but_for_one())
def test_whatever_header_passes_stays_inside_its_total(places: list[int]) -> None:
    try:
        header: Header = slot.parse_header(header_bytes(1, 3, *places))
    except SlotError:
        return
    end = HEADER_SIZE
    for part in header.parts:
        assert part.offset >= end
        end = part.offset + part.length
    assert end <= header.total == places[-1]


def test_a_slot_past_the_end_of_the_flash_is_refused() -> None:
    image = image_of(EXAMPLE)[: ADDRESS + slot.size(EXAMPLE) - 1]
    with pytest.raises(SlotError, match="past the end of the flash"):
        read_image(image)


@pytest.mark.parametrize("address", [-4096, 100, FLASH_SIZE - 2048, FLASH_SIZE])
def test_a_slot_can_only_begin_at_a_whole_sector_of_the_flash(address: int) -> None:
    with pytest.raises(SlotError, match=r"correct flash\.slot"):
        slot.read(reader(b"\xff" * FLASH_SIZE), address, FLASH_SIZE)


@pytest.mark.parametrize(("kmodel", "manifest"), [(b"", b"{}"), (b"k", b"")])
def test_an_empty_kmodel_or_manifest_is_no_model(
    kmodel: bytes, manifest: bytes
) -> None:
    with pytest.raises(SlotError, match="of the model slot is empty"):
        Slot(kmodel, manifest)


def test_a_header_of_empty_parts_is_no_model() -> None:
    image = bytearray(b"\xff" * FLASH_SIZE)
    header = header_bytes(1, 3, *[4096, 0] * 3, 4096)
    image[ADDRESS : ADDRESS + HEADER_SIZE] = header
    with pytest.raises(SlotError, match="kmodel of the model slot is empty"):
        read_image(image)


def test_a_reader_that_falls_short_is_noticed() -> None:
    with pytest.raises(SlotError, match="came with 10 bytes"):
        slot.read(lambda address, length: b"\xff" * 10, 0, FLASH_SIZE)


def test_errors_of_the_board_pass_through(tmp_path: Path) -> None:
    with (
        NorFlash(tmp_path / "flash.bin", FLASH_SIZE) as small,
        pytest.raises(BoardError, match="do not lie in the flash"),
    ):
        slot.read(small.read, FLASH_SIZE, 2 * FLASH_SIZE)
