"""The order in which a kmodel lists its outputs.

nncase 1.9 lists them in an order of its own, which no option and no name in the file
tells: a model that gives a map and the mean of it comes out with the mean first. Code
writes to places, not to numbers, so the list can be put in any order.
"""

import struct
from collections.abc import Sequence

from k210.kmodel.buffers import RANGE_BYTES, Tensor
from k210.kmodel.container import FUNCTION_HEADER_BYTES
from k210.kmodel.model import parse


def with_outputs(data: bytes, order: Sequence[int]) -> bytes:
    """The kmodel with its outputs in another order; same length, same ops.

    Args:
        data: the file.
        order: for each output to be, its number in the file.

    Raises:
        KmodelError: it is not a kmodel.
        ValueError: that is no order of its outputs.
    """
    entry = parse(data).entry
    if sorted(order) != [*range(len(entry.outputs))]:
        raise ValueError(f"{order} does not list {len(entry.outputs)} outputs once")
    start = entry.offset + FUNCTION_HEADER_BYTES + _size(entry.inputs)
    places = [
        data[at : at + RANGE_BYTES]
        for at in range(start, start + RANGE_BYTES * len(order), RANGE_BYTES)
    ]
    shapes = [
        struct.pack(f"<{len(each.shape) + 1}I", len(each.shape), *each.shape)
        for each in entry.outputs
    ]
    listed = b"".join(part[number] for part in (places, shapes) for number in order)
    return data[:start] + listed + data[start + len(listed) :]


def _size(tensors: Sequence[Tensor]) -> int:
    """Bytes of a list of inputs or outputs: ranges, then ranks and shapes."""
    return sum(RANGE_BYTES + 4 + 4 * len(each.shape) for each in tensors)
