"""Where everything lies: KPU RAM over the layers, SRAM, and the flash."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from k210 import limits
from stages.report import axes, figures
from stages.report.axes import Labels

LEFT, RIGHT, TOP, BOTTOM = 64, 936, 12, 232
"""The plot's edges in a drawing of 940 × 262 units."""

FIRMWARE = 0x40000
"""The bytes at the beginning of the flash that belong to the firmware's image."""


@dataclass(frozen=True)
class Map:
    """A feature map in KPU RAM, from the operation that writes it to its last reader.

    ``x`` and ``width`` are its time, ``y`` and ``height`` its addresses.
    """

    x: float
    width: float
    y: float
    height: float
    words: str


@dataclass(frozen=True)
class KpuRam:
    """All feature maps over the operations in order; ``ends`` are the regions'."""

    maps: tuple[Map, ...]
    ticks: Labels
    ends: tuple[float, ...]
    steps: int


@dataclass(frozen=True)
class Part:
    """A piece of memory, its CSS class, name, bytes, and address if it has one."""

    kind: str
    name: str
    size: int
    address: int | None = None


@dataclass(frozen=True)
class Life:
    """A feature map: the columns of its writer and its last reader, its bytes."""

    first: int
    last: int
    low: int
    high: int
    writer: str


def kpu_ram(check: Mapping[str, Any]) -> KpuRam | None:
    """The feature maps of ``check.json``'s model; None where there is none."""
    ops = check["modelled"]["ops"]
    lives = list(_lives(ops))
    if not lives:
        return None
    kib = [0.0, max(life.high for life in lives) / figures.KIB]
    scale = axes.linear(kib, BOTTOM, TOP, 4)
    pitch = (RIGHT - LEFT) / len(ops)
    maps = tuple(
        Map(
            round(LEFT + life.first * pitch, 1),
            round((life.last - life.first + 1) * pitch, 1),
            scale.at(life.high / figures.KIB),
            round(
                scale.at(life.low / figures.KIB) - scale.at(life.high / figures.KIB), 1
            ),
            f"written by {life.writer}: {figures.size(life.high - life.low)} "
            f"from {life.low:#x}",
        )
        for life in lives
    )
    ends = tuple(
        round(LEFT + index * pitch, 1)
        for index in range(1, len(ops))
        if _function(ops[index]) != _function(ops[index - 1])
    )
    return KpuRam(maps, axes.numbers(scale), ends, len(ops))


def _lives(ops: Sequence[Mapping[str, Any]]) -> Iterator[Life]:
    """Each map that an op writes, until the last op that reads it unharmed."""
    for first, op in enumerate(ops):
        if not (written := op["writes"]):
            continue
        low, high = written
        last = first
        for index in range(first + 1, len(ops)):
            other = ops[index]
            if _function(other) != _function(op):
                break
            if other["reads"] and _overlap(other["reads"], written):
                last = index
            if other["writes"] and _overlap(other["writes"], written):
                break
        yield Life(first, last, low, high, op["id"])


def _function(op: Mapping[str, Any]) -> str:
    return str(op["id"]).partition(".")[0]


def _overlap(one: Sequence[int], other: Sequence[int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def sram(check: Mapping[str, Any]) -> list[Part]:
    """What the model takes of the SRAM, of which the last part is free."""
    memory = check["memory"]
    working = memory["data"] - memory["inputs"] - memory["outputs"]
    return [
        Part("model", "model", memory["model"]),
        Part("data", "working memory", working),
        Part("kpu", "input", memory["inputs"]),
        Part("cpu", "output", memory["outputs"]),
        Part("free", "free", max(0, limits.SRAM - memory["total"])),
    ]


def flash(receipt: Mapping[str, Any]) -> list[Part]:
    """The flash from its first byte to its last, gaps included."""
    size = receipt["board"]["flash_size"]
    slot, taken = receipt["slot"], receipt["size"]
    return [
        Part("data", "firmware", FIRMWARE, 0),
        Part("free", "free", slot - FIRMWARE, FIRMWARE),
        Part("kpu", "model slot", taken, slot),
        Part("free", "free", size - slot - taken, slot + taken),
    ]


def slot(receipt: Mapping[str, Any]) -> list[Part]:
    """The model slot in detail: its header, then the parts, whole sectors each."""
    kinds = {"kmodel": "kpu", "manifest": "model"}
    placed = sorted(receipt["parts"].items(), key=lambda item: item[1]["address"])
    starts = [part["address"] for _, part in placed]
    ends = [*starts[1:], receipt["slot"] + receipt["size"]]
    header = Part("data", "header", starts[0] - receipt["slot"], receipt["slot"])
    return [
        header,
        *(
            Part(kinds.get(name, "cpu"), name, end - start, start)
            for (name, _), start, end in zip(placed, starts, ends, strict=True)
        ),
    ]
