"""The kmodel parser on a compiled kmodel in which one field has been changed."""

import struct
from collections.abc import Callable

import pytest

from k210.kmodel import Conv2d, Kmodel, KmodelError, canonical, digest, parse


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


@pytest.fixture(scope="module")
def residual(compile_small: Callable[[str], tuple[bytes, str]]) -> bytes:
    return canonical(compile_small("residual")[0])


def first_layer(model: Kmodel) -> Conv2d:
    return dict(model.convs())["k0.1"]


def anchors(model: Kmodel) -> dict[str, int]:
    """File offsets of what the tests below change something in."""
    k210 = model.k210
    assert k210 is not None
    layer = first_layer(model)
    upload, download = model.functions[0][0], model.functions[0][-1]
    second = [op for op in model.program if op.kind == "call"][1]
    return {
        "file": 0,
        "k210": k210.offset,
        "function": k210.functions[1].offset,
        "section": k210.rdata.offset + k210.rdata.size,
        "layer": layer.offset,
        "registers": layer.offset + 56,
        "activation": model.file_offset(layer.activation),
        "upload": upload.offset,
        "download": download.offset,
        "call": second.offset,
    }


def patched(data: bytes, anchor: str, offset: int, value: bytes) -> bytes:
    start = anchors(parse(data))[anchor] + offset
    changed = bytearray(data)
    changed[start : start + len(value)] = value
    return bytes(changed)


Damage = list[tuple[str, int, bytes, str]]

HEADERS: Damage = [
    ("file", 0, b"KMDL", "LDMK"),
    ("file", 4, words(4), "version of the file is 4, not 5"),
    ("file", 8, words(36), "header_size"),
    ("file", 12, words(1), "flags"),
    ("file", 16, words(8), "alignment is 8, not 256"),
    ("file", 20, words(0), "modules is 0"),
    ("file", 20, words(2**32 - 1), "modules is 4294967295"),
    ("file", 20, words(1), "bytes follow the last module"),
    ("file", 24, words(1), "entry_module 1"),
    ("file", 28, words(1), "entry_function 1"),
    ("file", 32, b"cpu\0\0\0\0", "'cpu', unknown"),
    ("file", 32, b"stackvm\0x", "padded name"),
    ("file", 48, words(2), "version"),
    ("file", 52, words(44), "header_size"),
    ("file", 56, words(2**31), "beyond the file"),
    ("file", 56, words(64), "functions of module stackvm is 1, more"),
    ("file", 60, words(2**31), "mempools"),
    ("file", 64, words(1), "shared_mempools"),
    ("file", 68, words(1), "sections"),
    ("file", 72, words(2**20), "functions"),
    ("file", 76, words(1), "reserved0"),
    ("file", 80, b"\x01", "second pool, or none to have, in OUTPUT"),
    ("file", 81, b"\x01", "padding of a mempool"),
    ("file", 84, words(8), "not the size of its .rdata"),
    ("file", 100, words(8), "size of function 0"),
    ("file", 104, words(15), "beyond its pool of 15"),
    ("file", 112, words(2**28), "inputs"),
    ("file", 116, words(0), "1 inputs and 0 outputs"),
    ("file", 120, words(1), "entrypoint"),
    ("file", 124, words(1), "cover 1 bytes"),
    ("file", 128, b"\x03", "lives in DATA"),
    ("file", 129, b"\x0c", "datatype"),
    ("file", 130, b"\x01", "shared_module"),
    ("file", 136, words(17), "takes 17 bytes"),
    ("file", 140, words(2**31), "rank 2147483648"),
    ("file", 144, words(0), "empty dimension"),
    ("file", 144, words(2**31), "takes 3072 bytes"),
    ("k210", 0, b"stackvm", "second pool, or none to have, in KPU"),
    ("k210", 48 + 8, b"\x02", "second pool, or none to have, in RDATA"),
    ("k210", 48 + 16 + 4, words(4096), "not 2 MiB"),
    ("function", 24, words(0), "entrypoint of function 1 of k210 is 0, not 392"),
    ("section", 0, b".data", "'.data' stands where .text should"),
    ("section", 16, words(1), "flags"),
    ("section", 20, words(0), "body_start"),
    ("section", 24, words(2**31), "body of section .text runs past the end"),
    ("section", 28, words(1), "reserved0"),
    ("section", 32, b"\x01", "padding before .text"),
]

LAYERS: Damage = [
    ("layer", 0, b"\x04", "opcode 4"),
    ("layer", 4, b"\x03", "weights is U8 in DATA"),
    ("layer", 12, words(8), "weights takes 8 bytes"),
    ("layer", 8, words(2**32 - 8), "weights takes 216 bytes"),
    ("layer", 17, b"\x04", "batch_norm is U8"),
    ("layer", 20, words(0), "tables.*overlap"),
    ("layer", 20, words(4), "8-byte aligned"),
    ("layer", 32, words(128), "256-byte aligned"),
    ("layer", 48, words(16), "main_mem_output"),
    ("layer", 52, words(0), "0 batches"),
    ("layer", 52, words(2**31), "beyond KPU RAM"),
    ("registers", 0, b"\x01", "int_en"),
    ("registers", 0, b"\x08", "i_ch_num"),
    ("registers", 7, b"\x80", "reserved bits"),
    ("registers", 8, b"\xff\x7f", "beyond KPU RAM"),
    ("registers", 12, words(0), "overwrite its own input"),
    ("registers", 32, b"\x02", "kernel_type"),
    ("registers", 32, b"\xa1", "pool_type"),
    ("registers", 32, b"\x11", "o_row_wid"),
    ("registers", 33, b"\x05", "first_stride"),
    ("registers", 40, b"\x03", "load_time"),
    ("registers", 42, b"\xff", "para_size"),
    ("registers", 58, b"\x02", "row_switch_addr"),
    ("registers", 92, words(1), "dma_total_byte"),
    ("activation", 16, b"\x2c", "shifts by 44"),
]

TRANSFERS: Damage = [
    ("upload", 16, b"\x03", "U8 in DATA is not a map"),
    ("upload", 20, words(1), "bytes at 1"),
    ("upload", 24, words(255), "has 255 bytes"),
    ("upload", 32, words(0), "empty dimension"),
    ("upload", 32, words(2**31), "does not fit"),
    ("upload", 8, words(8), "does not fit at 8 in INPUT"),
    ("upload", 4, b"\x02", "in RDATA is out of place"),
    ("download", 16, b"\x00", "in INPUT is out of place"),
    ("download", 20, words(8), "does not fit at 8 in OUTPUT"),
    ("call", 3, words(0), "called twice"),
    ("call", 3, words(2**31), "missing"),
    ("call", 7, b"\x00", "not k210"),
    ("call", 9, b"\x02", "wrong arguments"),
]


@pytest.mark.parametrize(
    ("anchor", "offset", "value", "message"), HEADERS + LAYERS + TRANSFERS
)
def test_a_field_that_lies_is_refused(
    residual: bytes, anchor: str, offset: int, value: bytes, message: str
) -> None:
    with pytest.raises(KmodelError, match=message):
        parse(patched(residual, anchor, offset, value))


def test_a_kmodel_without_its_sections_is_refused(residual: bytes) -> None:
    model = parse(residual)
    assert model.k210 is not None
    for end in (model.stackvm.rdata.offset - 32, model.k210.text.offset):
        with pytest.raises(KmodelError):
            parse(residual[:end])


def test_a_module_larger_than_its_sections_is_refused(residual: bytes) -> None:
    size = parse(residual).stackvm.size
    with pytest.raises(KmodelError, match="bytes follow the last section"):
        parse(patched(residual, "file", 56, words(size + 8)))


def test_code_that_ends_within_an_instruction_is_refused(residual: bytes) -> None:
    """The first function of the k210 module gives four bytes to the second."""
    model = parse(residual)
    assert model.k210 is not None
    first, second = model.k210.functions[:2]
    changed = bytearray(residual)
    for offset, value in (
        (first.offset + 28, first.text_size - 4),
        (second.offset + 24, second.entrypoint - 4),
        (second.offset + 28, second.text_size + 4),
    ):
        changed[offset : offset + 4] = words(value)
    with pytest.raises(KmodelError, match="past the end of k210 function 0"):
        parse(bytes(changed))


def test_padding_after_an_opcode_is_ignored(residual: bytes) -> None:
    padded = patched(residual, "layer", 1, b"\xff\xff\xff")
    assert parse(padded) == parse(residual)
    assert digest(padded) == digest(residual)


def test_an_error_names_the_offset_of_the_field(residual: bytes) -> None:
    with pytest.raises(KmodelError, match="offset 0x4c") as caught:
        parse(patched(residual, "file", 76, words(1)))
    assert caught.value.offset == 76
