"""Where a board's answers leave the host's: the operation, or the bytes in flash."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210.board import Board
from k210.errors import BoardError
from k210.flash import slot
from k210.flash.slot import ALIGNMENT, SlotError
from k210.kmodel import Kmodel, parse, part_at
from k210.kmodel.flow import sources
from stages.check.cause import Cause

Array = NDArray[Any]


@dataclass(frozen=True)
class Difference:
    """An operation whose inputs are the same on both sides and whose output is not.

    ``values`` of ``of`` differ; ``largest`` is by how much one does.
    """

    op: str
    values: int
    of: int
    largest: float

    @property
    def cause(self) -> Cause:
        """In words."""
        return Cause(
            "device",
            f"its inputs on the board are those of the simulator, and {self.values} of "
            f"its {self.of} values are not (by up to {self.largest:g}): the board "
            "computes it otherwise, or holds other bytes of the model; `doit silicon` "
            "tells which arithmetic this chip has",
        )


def first_difference(
    board: Board, model: Kmodel, expected: Mapping[str, Array], sample: bytes
) -> Difference | None:
    """The first operation that a board computes otherwise than the reference.

    Args:
        board: with the model loaded.
        model: the kmodel.
        expected: what each operation gives for the sample, by op id.
        sample: the input's bytes.
    """
    board.infer(sample)
    differs = _Differs(board, expected)
    ids = [op.id for op in model.ops() if op.kind != "call" and op.id in expected]
    low, high = 0, len(ids) - 1
    if not differs(ids[high]):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if differs(ids[middle]) else (middle + 1, high)
    read = sources(model)
    found = ids[low]
    while wrong := [each for each in read[found] if each in expected and differs(each)]:
        found = wrong[0]
    return differs.difference(found)


def all_differences(
    board: Board, model: Kmodel, expected: Mapping[str, Array], sample: bytes
) -> list[str]:
    """Every operation whose output differs, in the order they run."""
    board.infer(sample)
    differs = _Differs(board, expected)
    return [op.id for op in model.ops() if op.kind != "call" and differs(op.id)]


class _Differs:
    """Whether an operation's output differs; each is fetched once."""

    def __init__(self, board: Board, expected: Mapping[str, Array]) -> None:
        self._board, self._expected = board, expected
        self._found: dict[str, Array] = {}

    def __call__(self, op_id: str) -> bool:
        if op_id not in self._found:
            self._found.update(self._board.trace([op_id]))
        expected = self._expected[op_id]
        found = self._found[op_id].reshape(expected.shape)
        return not np.array_equal(found, expected, equal_nan=True)

    def difference(self, op_id: str) -> Difference:
        expected = self._expected[op_id].astype(np.float64)
        gaps = np.abs(self._found[op_id].reshape(expected.shape) - expected)
        return Difference(op_id, int((gaps != 0).sum()), gaps.size, float(gaps.max()))


def require_flashed(board: Board, address: int, kmodel: bytes) -> None:
    """Make sure that a board's slot holds this kmodel, byte for byte.

    Raises:
        BoardError: it does not: how many bytes differ, and what of the model they are.
    """
    try:
        found = slot.kmodel_digest(board, address)
    except SlotError as error:
        raise BoardError(f"{error}{_damage(board, address, kmodel)}") from None
    if found != hashlib.sha256(kmodel).digest():
        raise BoardError(
            f"the model in the board's flash at {address:#x} is not the compiled one; "
            f"run the flash stage{_damage(board, address, kmodel)}"
        )


def _damage(board: Board, address: int, kmodel: bytes) -> str:
    """Which bytes of a kmodel in flash are others, where the slot holds one at all."""
    try:
        part = slot.parse_header(board.flash_read(address, slot.HEADER_SIZE)).kmodel
    except SlotError:
        return ""
    if part.length != len(kmodel):
        return f" (it has {part.length} bytes instead of {len(kmodel)})"
    changed: list[int] = []
    for start in range(0, len(kmodel), ALIGNMENT):
        wanted = kmodel[start : start + ALIGNMENT]
        place = address + part.offset + start
        digest = hashlib.sha256(wanted).hexdigest()
        if board.flash_sha256(place, len(wanted)) != digest:
            held = board.flash_read(place, len(wanted))
            changed += [start + i for i in range(len(wanted)) if held[i] != wanted[i]]
    if not changed:
        return ""
    where = part_at(parse(kmodel), changed[0])
    count = f"{len(changed)} byte{'s differ' if len(changed) > 1 else ' differs'}"
    return f" ({count}, the first at {changed[0]:#x} of the kmodel: {where})"


def require_self_test(board: Board, address: int) -> None:
    """Make sure that a board computes the known answers in its slot.

    Raises:
        BoardError: it does not: how many are wrong, and what to do.
    """
    found = board.self_test(address)
    if found is not None and found.wrong:
        raise BoardError(
            f"the board gives wrong outputs for {found.wrong} of the {found.answers} "
            f"known inputs in its flash at {address:#x} (the first is number "
            f"{found.first_wrong}), though it holds the compiled model: its memory, "
            "KPU or power is at fault; reset it, and try another one, or run "
            "`doit silicon` to see what its KPU computes"
        )
