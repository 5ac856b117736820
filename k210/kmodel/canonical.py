"""The bytes of a kmodel that mean something, for hashing and comparing.

nncase 1.9 leaves four bits of every batch norm entry and activation word
uninitialised, so two compiles of one model differ in them and in nothing else. The
three bytes after an opcode of the k210 module are read by nobody either. All other
padding is zero already, or the file does not parse.
"""

import hashlib
from collections.abc import Iterator

from k210.kmodel.k210_code import OPCODE_PADDING
from k210.kmodel.model import Kmodel, parse

_ACTIVATION_WORD_BYTES = 16 * 8  # the sixteen biases follow
_MEANT = 0x0F  # of the last byte of a batch norm entry or activation word


def canonical(data: bytes) -> bytes:
    """Return the kmodel with its uninitialised bits zeroed; same length, same ops.

    Raises KmodelError if `data` is not a kmodel.
    """
    model = parse(data)
    result = bytearray(data)
    for function in model.functions:
        for each in function:
            start = each.offset + 1
            result[start : start + OPCODE_PADDING] = bytes(OPCODE_PADDING)
    for last in _last_bytes(model):
        result[last] &= _MEANT
    return bytes(result)


def digest(data: bytes) -> str:
    """SHA-256 of the canonical bytes, in hex; raises KmodelError as `canonical`."""
    return hashlib.sha256(canonical(data)).hexdigest()


def _last_bytes(model: Kmodel) -> Iterator[int]:
    """File offsets of the last byte of every batch norm entry and activation word."""
    tables = set()
    for _, conv in model.convs():
        tables.add((model.file_offset(conv.batch_norm), conv.batch_norm.size))
        tables.add((model.file_offset(conv.activation), _ACTIVATION_WORD_BYTES))
    for start, size in tables:
        yield from range(start + 7, start + size, 8)
