"""Kmodels as nncase 1.9 should have written them.

`repair` mends every activation table (see `tables`) and clears the bits that nncase
leaves uninitialised. Size and layout stay; a repaired kmodel is repaired to itself.
`jumps` says what is left that cannot be mended.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from k210.kmodel.canonical import canonical
from k210.kmodel.layer import ActivationTable, Segment
from k210.kmodel.model import Kmodel, parse
from k210.kmodel.tables import continued, unwrapped, worst_jump

Entry = dict[str, int]


@dataclass(frozen=True, slots=True)
class Repair:
    """One thing that was mended.

    `kind` is "slope", "minimum", "canonical" or, by who knows the model, "outputs";
    `ops` the layers whose table it was, none for the whole file. `segment` is the
    table's, `before` and `after` what it held and holds.
    """

    kind: str
    ops: tuple[str, ...]
    what: str
    segment: int | None = None
    before: Entry = field(default_factory=dict)
    after: Entry = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Jump:
    """A table that cannot be what nncase meant: a line misses the next one's start.

    `steps` is by how much, of 255, more than rounding explains.
    """

    ops: tuple[str, ...]
    segment: int
    steps: float


def repair(data: bytes) -> tuple[bytes, tuple[Repair, ...]]:
    """The repaired kmodel, as long as it was, and what was done to it.

    Raises KmodelError if `data` is not a kmodel.
    """
    result = bytearray(canonical(data))
    model = parse(bytes(result))
    repairs = [_CANONICAL]
    for offset, ops, table in _tables(model):
        mended = table
        for kind, what, mend in _MENDS:
            before, mended = mended, mend(mended)
            repairs += _differences(kind, what, ops, before, mended)
        raw = mended.pack()
        result[offset : offset + len(raw)] = raw
    return bytes(result), tuple(repairs)


def jumps(model: Kmodel) -> tuple[Jump, ...]:
    """The tables that no longer make sense; empty for a sound kmodel."""
    found = []
    for _, ops, table in _tables(model):
        segment, steps = worst_jump(table)
        if steps > 0:
            found.append(Jump(ops, segment, steps))
    return tuple(found)


_CANONICAL = Repair(
    "canonical", (), "bits that nncase leaves uninitialised are cleared"
)
"""Recorded always: whether they happened to be zero differs from run to run."""

_MENDS: tuple[tuple[str, str, Callable[[ActivationTable], ActivationTable]], ...] = (
    ("slope", "a slope of +32768 that had wrapped to -32768 is restored", unwrapped),
    ("minimum", "inputs below the calibrated minimum give its value, not 0", continued),
)


def _tables(
    model: Kmodel,
) -> Iterator[tuple[int, tuple[str, ...], ActivationTable]]:
    """Each distinct table: its offset in the file, the layers that use it, itself."""
    users: dict[int, list[str]] = {}
    tables: dict[int, ActivationTable] = {}
    for op, conv in model.convs():
        offset = model.file_offset(conv.activation)
        users.setdefault(offset, []).append(op)
        tables[offset] = model.activation(conv)
    for offset, table in tables.items():
        yield offset, tuple(users[offset]), table


def _differences(
    kind: str,
    what: str,
    ops: tuple[str, ...],
    before: ActivationTable,
    after: ActivationTable,
) -> Iterator[Repair]:
    pairs = zip(before.segments, after.segments, strict=True)
    for index, (old, new) in enumerate(pairs):
        if old != new:
            entries = _changed(old, new), _changed(new, old)
            yield Repair(kind, ops, what, index, *entries)


def _changed(segment: Segment, other: Segment) -> Entry:
    """The fields in which a segment differs from another one."""
    return {
        name: getattr(segment, name)
        for name in ("mul", "shift", "bias")
        if getattr(segment, name) != getattr(other, name)
    }
