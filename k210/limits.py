"""What the chip has, and whether a network's feature maps fit before it is compiled.

KPU RAM holds what a region of KPU layers works on: a layer's input and output at the
same time, in rows of 64 bytes (`kpu_map_bytes`), and every map that a
later layer of the region still reads. nncase 1.9 places maps first fit, in the order
of the layers (`kpu_buffer_allocator.cpp`, `freelist.cpp`), and says "Allocator has ran
out of memory" of no layer in particular where that fails. `place` does the same with
plain shapes; `tight` finds the layers that fit nowhere, however maps are placed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from k210.chip import KPU_RAM as KPU_RAM
from k210.chip import MIB as MIB
from k210.chip import SRAM as SRAM
from k210.chip import WEIGHT_LOADS as WEIGHT_LOADS
from k210.kmodel.buffers import kpu_map_bytes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Map:
    """A feature map in KPU RAM; maps of the same name are the same map."""

    name: str
    channels: int
    height: int
    width: int

    @property
    def bytes(self) -> int:
        """What it takes, unused bytes of its rows included."""
        return kpu_map_bytes(self.channels, self.height, self.width)

    def __str__(self) -> str:
        return f"{self.height}×{self.width}×{self.channels}"


@dataclass(frozen=True, slots=True)
class Layer:
    """One KPU layer: the map that it reads, the one that it writes."""

    name: str
    source: Map
    target: Map

    @property
    def bytes(self) -> int:
        """What it needs at least: both maps at once."""
        return self.source.bytes + self.target.bytes


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the maps came to lie.

    `peak` is the highest address in use, `failed` the first layer whose output found
    no room, if any; nothing is placed from there on.
    """

    peak: int
    failed: Layer | None


def tight(layers: Iterable[Layer]) -> list[Layer]:
    """The layers whose input and output together exceed KPU RAM, the worst first."""
    found = [layer for layer in layers if layer.bytes > KPU_RAM]
    return sorted(found, key=lambda layer: -layer.bytes)


def place(layers: Sequence[Layer]) -> Placed:
    """Place the maps of layers, given in the order in which they run, first fit.

    A map that no earlier layer has written is uploaded when it is first read, and
    every map goes when its last reader has run.
    """
    last = {layer.source.name: number for number, layer in enumerate(layers)}
    room, peak = _FirstFit(KPU_RAM), 0
    for number, layer in enumerate(layers):
        for each in (layer.source, layer.target):
            end = room.take(each.name, each.bytes)
            if end is None:
                return Placed(peak, layer)
            peak = max(peak, end)
        for each in (layer.source, layer.target):
            if last.get(each.name, -1) <= number:
                room.free(each.name)
    return Placed(peak, None)


class _FirstFit:
    """Memory in which each block takes the lowest gap that holds it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._blocks: dict[str, tuple[int, int]] = {}

    def take(self, name: str, size: int) -> int | None:
        """The end of the block of that name, placed now if it is not; None: no room."""
        if name in self._blocks:
            return self._blocks[name][1]
        for start, end in self._gaps():
            if end - start >= size:
                self._blocks[name] = start, start + size
                return start + size
        return None

    def free(self, name: str) -> None:
        del self._blocks[name]

    def _gaps(self) -> Iterator[tuple[int, int]]:
        start = 0
        for block, end in sorted(self._blocks.values()):
            yield start, block
            start = end
        yield start, self._size


def scaled(
    layers: Iterable[Layer], height: float = 1, width: float = 1, channels: float = 1
) -> list[Layer]:
    """The layers of the same network with another input size, or another alpha.

    Heights and widths are rounded up, channels to multiples of 8 as alphas do.
    """

    def one(old: Map) -> Map:
        kept = (
            old.channels if channels == 1 else max(8, _eights(old.channels * channels))
        )
        return Map(old.name, kept, _up(old.height * height), _up(old.width * width))

    return [Layer(each.name, one(each.source), one(each.target)) for each in layers]


def _up(size: float) -> int:
    return max(4, -int(-size // 1))


def _eights(count: float) -> int:
    return max(8, int(count / 8 + 0.5) * 8)


@dataclass(frozen=True, slots=True)
class Sram:
    """The least of SRAM that a model takes, in bytes.

    `model` are its weights, `data` what the CPU works on in the layer `at`, `ends` the
    inputs and outputs.
    """

    model: int
    data: int
    at: str
    ends: int

    @property
    def total(self) -> int:
        """What must lie in SRAM at the same time."""
        return self.model + self.data + self.ends


@dataclass(frozen=True, slots=True)
class Advice:
    """What would fit: input sizes (height, width), and a factor for all channels."""

    sizes: tuple[tuple[int, int], ...]
    channels: float | None


def advice(layers: Sequence[Layer], height: int, width: int) -> Advice:
    """The largest inputs that fit: as wide, as high, and of the same proportions.

    Args:
        layers: of a network that does not fit as it is.
        height: of its input, in pixels.
        width: of its input, in pixels.
    """
    step = _step(height, width)
    rows = range((height - 1) // step * step, 0, -step)
    columns = range((width - 1) // step * step, 0, -step)
    both = ((h, round(h * width / height / step) * step) for h in rows)
    tried: tuple[Iterable[tuple[int, int]], ...] = (
        ((h, width) for h in rows),
        ((height, w) for w in columns),
        both,
    )

    def fits(size: tuple[int, int]) -> bool:
        return _fit(scaled(layers, size[0] / height, size[1] / width))

    found = (_first(sizes, fits) for sizes in tried)
    sizes = dict.fromkeys(size for size in found if size is not None)
    factors = (hundredths / 100 for hundredths in range(95, 0, -5))
    factor = _first(factors, lambda each: _fit(scaled(layers, channels=each)))
    return Advice(tuple(sizes), factor)


def _fit(layers: Sequence[Layer]) -> bool:
    return place(layers).failed is None


def _step(height: int, width: int) -> int:
    """By how many pixels sizes are varied: a multiple of all the usual strides."""
    return 32 if min(height, width) > 64 else 8


def _first(candidates: Iterable[T], good: Callable[[T], bool]) -> T | None:
    return next(filter(good, candidates), None)
