"""The feature maps of a kmodel against those of the float graph that it was made of.

An operation is called after one tensor and computes others with it (activations,
poolings), on maps that nncase has padded or not yet cropped or thinned out. Which
tensor it is, and where it lies in the map, is settled by likeness: of all that the
operation can have computed, the one that resembles it most.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from numpy.typing import NDArray

from k210.kmodel import Kmodel, Op
from k210.kmodel.flow import sources
from stages.check.likeness import Likeness, Line
from stages.check.network import Network

Array = NDArray[Any]

COMPUTING = (
    *("kpu_conv2d", "conv2d", "binary", "reduce", "reduce_window2d", "lut1d"),
    *("resize_image", "softmax"),
)
"""Kinds of operations that make new values; the others move or convert them."""

FARTHEST = 3
"""Rows or columns that a map may have too many of, but for those of a stride."""


@dataclass(frozen=True)
class Window:
    """Where a smaller map lies in a larger one: first row and column, step."""

    top: int
    left: int
    step: int

    def of(self, values: Array, height: int, width: int) -> Array:
        """That part of a map N×C×H×W."""
        rows = slice(self.top, self.top + (height - 1) * self.step + 1, self.step)
        columns = slice(self.left, self.left + (width - 1) * self.step + 1, self.step)
        return values[:, :, rows, columns]


@dataclass
class Layer:
    """One operation, the tensor that it computes, and how well it does.

    ``tensor`` is the one that it is called after, ``number`` the one that it gives.
    """

    op: Op
    tensor: str
    number: int
    window: Window
    likeness: Likeness

    @property
    def mapped(self) -> tuple[int, ...]:
        """The operation's output as N×C×H×W."""
        return _mapped(self.op.shape)


class Atlas:
    """All operations of a kmodel that compute, against a float graph.

    Args:
        model: the kmodel.
        network: the graph that it was compiled from.
        named: op id → the TFLite tensor that the operation is called after.
    """

    def __init__(
        self, model: Kmodel, network: Network, named: Mapping[str, str]
    ) -> None:
        self.model, self.network = model, network
        self.ops = {op.id: op for op in model.ops()}
        self.sources = sources(model)
        self._readers = _inverted(self.sources)
        self._candidates: dict[str, list[Layer]] = {}
        computed = {named[id] for id in named if self.ops[id].kind in COMPUTING}
        for op in self.ops.values():
            number = network.number(named.get(op.id, ""))
            if op.kind in COMPUTING and number is not None:
                name = network.names[number]
                self._candidates[op.id] = [
                    Layer(op, name, each, window, Likeness(op.shape[1], self._left(op)))
                    for each in network.fused(number)
                    if each == number or network.names[each] not in computed
                    for window in _windows(op.shape, network.shapes[each])
                ]

    def add(self, traced: Mapping[str, Array], tensors: Mapping[int, Array]) -> None:
        """Take in a sample: each operation's output, each float tensor, N×C×H×W."""
        for layers in self._candidates.values():
            for layer in layers:
                expected = tensors[layer.number]
                found = traced[layer.op.id].reshape(layer.mapped)
                layer.likeness.add(
                    layer.window.of(found, *expected.shape[2:]), expected
                )

    def wanted(self) -> set[int]:
        """The float tensors that ``add`` needs."""
        return {
            layer.number for layers in self._candidates.values() for layer in layers
        }

    def layers(self) -> list[Layer]:
        """Each operation as the tensor that it resembles most, in running order."""
        return [max(each, key=_quality) for each in self._candidates.values() if each]

    def before(self, op_id: str) -> tuple[str, ...]:
        """The computing operations whose values an operation works on, or the input."""
        found: list[str] = []
        for source in self.sources[op_id]:
            if source in self._candidates or source not in self.ops:
                found.append(source)
            else:
                found += self.before(source)
        return tuple(dict.fromkeys(found))

    def entry(self, op_id: str) -> Op | None:
        """The quantize operation that a KPU layer's map comes from, if one does."""
        (source,) = self.sources[op_id][:1]
        while source in self.ops and self.ops[source].where == "dma":
            (source,) = self.sources[source][:1]
        op = self.ops.get(source)
        return op if op is not None and op.kind == "quantize" else None

    def _left(self, op: Op) -> Line | None:
        """What the bytes that a KPU layer gives stand for, where the CPU reads them."""
        ahead = list(self._readers.get(op.id, ()))
        while op.kind in ("kpu_conv2d", "lut1d") and ahead:
            reader = self.ops[ahead.pop(0)]
            if reader.kind == "dequantize":
                scalars = reader.instruction.scalars  # type: ignore[union-attr]
                return Line(scalars["scale"], scalars["bias"])
            if reader.kind not in COMPUTING:
                ahead += self._readers.get(reader.id, ())
        return None


def _inverted(sources: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for reader, read in sources.items():
        for each in read:
            found.setdefault(each, []).append(reader)
    return found


def _mapped(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape as N×C×H×W."""
    return tuple(shape) if len(shape) == 4 else (1, shape[-1], 1, 1)


def _windows(shape: Sequence[int], tensor: Sequence[int]) -> Iterator[Window]:
    """Where a float tensor, N×H×W×C or N×C, can lie in an operation's output."""
    if len(shape) not in (2, 4) or len(tensor) not in (2, 4):
        return
    _, channels, tall, wide = _mapped(shape)
    height, width = tuple(tensor[1:3]) if len(tensor) == 4 else (1, 1)
    if tensor[-1] != channels or min(tall - height, wide - width) < 0:
        return
    spare = tall - height, wide - width
    for top, left in product(*(range(min(each, FARTHEST) + 1) for each in spare)):
        yield Window(top, left, 1)
    for step in (2, 4):
        if min(height, width) > 1 and (tall // step, wide // step) == (height, width):
            for top, left in product(range(step), repeat=2):
                yield Window(top, left, step)


def _quality(layer: Layer) -> float:
    found = layer.likeness.snr_db
    return float("inf") if found is None else found
