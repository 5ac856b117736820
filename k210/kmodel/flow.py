"""Which operation wrote what another one reads.

A kmodel names memory and not tensors, and uses the same memory again and again; here
its operations are walked in the order they run, and each byte remembers who wrote it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from k210.kmodel.buffers import Buffer, Location, MemoryRange, Tensor
from k210.kmodel.model import Kmodel, Op

INPUT = "input"
"""Stands among the sources for the model's input."""

Place = tuple[str, int, Location]
"""A module type, the number of its function where it has memory of its own, where."""


@dataclass(frozen=True, slots=True)
class _Span:
    """Bytes of a place that one operation wrote."""

    start: int
    end: int
    writer: str

    def outside(self, start: int, end: int) -> Iterator["_Span"]:
        """What is left of it when others write from ``start`` to ``end``."""
        if self.start < start:
            yield _Span(self.start, min(self.end, start), self.writer)
        if self.end > end:
            yield _Span(max(self.start, end), self.end, self.writer)

    def moved(self, source: MemoryRange, target: int) -> "_Span":
        """The part of it that lies in ``source``, as it arrives at ``target``."""
        start, end = max(self.start, source.start), min(self.end, source.end)
        return _Span(
            start - source.start + target, end - source.start + target, self.writer
        )


def sources(model: Kmodel) -> dict[str, tuple[str, ...]]:
    """The operations whose results each operation reads, by op id.

    Constants are left out, calls too: what a function is given comes from whoever
    computed it. ``INPUT`` stands for the model's input. In the order of the memory
    that is read, so that the parts of a concatenation come in theirs.
    """
    return _Walk(model).found


class _Walk:
    def __init__(self, model: Kmodel) -> None:
        self._model = model
        self._spans: dict[Place, list[_Span]] = {}
        self.found: dict[str, tuple[str, ...]] = {}
        for tensor in model.entry.inputs:
            self._write(("stackvm", 0, Location.INPUT), tensor.range, INPUT)
        ids = iter(model.ops())
        for instruction in model.program:
            op = next(ids)
            if instruction.function is None:
                self._visit(op, 0)
            else:
                body = islice(ids, len(model.functions[instruction.function]))
                self._call(op, instruction.function, body)

    def _call(self, op: Op, number: int, body: Iterable[Op]) -> None:
        assert self._model.k210 is not None
        callee = self._model.k210.functions[number]
        self._pass(op.inputs, callee.inputs, number, into=True)
        for each in body:
            self._visit(each, number)
        self._pass(op.outputs, callee.outputs, number, into=False)

    def _pass(
        self,
        buffers: Iterable[Buffer],
        tensors: Iterable[Tensor],
        number: int,
        into: bool,
    ) -> None:
        """Arguments go from the caller's buffers into the callee's, results back."""
        for buffer, tensor in zip(buffers, tensors, strict=True):
            outside = MemoryRange(
                buffer.location, buffer.dtype, buffer.offset, buffer.size
            )
            inside = tensor.range
            places = ("stackvm", 0, outside.location), ("k210", number, inside.location)
            source, target = (outside, inside) if into else (inside, outside)
            came, goes = places if into else places[::-1]
            moved = [
                span.moved(source, target.start)
                for span in self._overlapping(came, source.start, source.end)
            ]
            self._clear(goes, target.start, target.end)
            self._spans[goes] += moved

    def _visit(self, op: Op, function: int) -> None:
        spans = [
            span
            for buffer in op.inputs
            if buffer.location != Location.RDATA
            for span in self._overlapping(
                _place(buffer, function), buffer.offset, buffer.end
            )
        ]
        self.found[op.id] = tuple(dict.fromkeys(span.writer for span in spans))
        for buffer in op.outputs:
            bounds = MemoryRange(
                buffer.location, buffer.dtype, buffer.offset, buffer.size
            )
            dense = buffer.location == Location.KPU or buffer.nbytes == buffer.size
            self._write(_place(buffer, function), bounds, op.id, dense)

    def _overlapping(self, place: Place, start: int, end: int) -> list[_Span]:
        spans = self._spans.get(place, [])
        found = [span for span in spans if span.start < end and start < span.end]
        return sorted(found, key=lambda span: span.start)

    def _write(
        self, place: Place, bounds: MemoryRange, writer: str, dense: bool = True
    ) -> None:
        """Note a writer; one that leaves gaps leaves in them what was there."""
        if dense:
            self._clear(place, bounds.start, bounds.end)
        spans = self._spans.setdefault(place, [])
        spans.append(_Span(bounds.start, bounds.end, writer))

    def _clear(self, place: Place, start: int, end: int) -> None:
        self._spans[place] = [
            left
            for span in self._spans.get(place, [])
            for left in span.outside(start, end)
        ]


def _place(buffer: Buffer, function: int) -> Place:
    own = buffer.location in (Location.INPUT, Location.OUTPUT)
    number = function if own and buffer.module == "k210" else 0
    return buffer.module, number, buffer.location
