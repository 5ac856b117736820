"""What became of the model: its convolutions' padding, and which operation runs where.

The names of TFLite tensors list everything that was fused into them; what is shown
is the part that names the layer.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.report.figures import named

LONGEST_NAME = 26
OPERATIONS = ("convolution", "conv2d", "depthwise", "matmul", "biasadd", "relu", "add")
"""Last parts of TensorFlow's names that tell the operation and not the layer."""

PAID_BY_CPU = ("kpu+cpu", "cpu")
WHERE = {
    "kpu": "KPU",
    "kpu+copy": "KPU + crop",
    "kpu+cpu": "KPU + CPU",
    "cpu": "CPU",
    "dma": "DMA",
}


class Placed:
    """Something that runs somewhere; ``record`` says where under ``where``."""

    record: Mapping[str, Any]

    @property
    def where(self) -> str:
        """Where it runs, in words."""
        return WHERE.get(name := str(self.record["where"]), name)

    @property
    def place(self) -> str:
        """The CSS class of where it runs."""
        return place(self.record["where"])


@dataclass(frozen=True)
class Layer(Placed):
    """One convolution; ``record`` is its entry in ``layers.json``."""

    name: str
    record: Mapping[str, Any]

    @property
    def costly(self) -> bool:
        """Whether the CPU has work with it."""
        return self.record["where"] in PAID_BY_CPU

    @property
    def given(self) -> tuple[int, ...]:
        """The padding in pixels that nncase is given, in the order of ``sides``."""
        pixels = self.record["given"]
        return tuple(pixels[side] for side in ("top", "bottom", "left", "right"))

    @property
    def shifted(self) -> bool:
        """Whether that is another than TensorFlow's."""
        return self.given != self.sides

    @property
    def sides(self) -> tuple[int, ...]:
        """TensorFlow's padding in pixels: top, bottom, left, right."""
        pixels = self.record["pixels"]
        return tuple(pixels[side] for side in ("top", "bottom", "left", "right"))

    @property
    def strided(self) -> bool:
        """Whether the kernel takes steps of more than a pixel."""
        return any(step != 1 for step in self.record["stride"])

    @property
    def dilated(self) -> bool:
        """Whether the kernel has holes."""
        return any(step != 1 for step in self.record["dilation"])


@dataclass(frozen=True)
class Operation(Placed):
    """One operation of the kmodel; ``record`` is its entry in ``placement.json``.

    ``region`` numbers the KPU's regions from 1; it is None outside of them.
    """

    name: str
    record: Mapping[str, Any]
    region: int | None

    @property
    def arrow(self) -> str:
        """Which way a transfer goes: up into the KPU's memory or down out of it."""
        return _ARROWS.get(self.record["kind"], "")


@dataclass(frozen=True)
class Kind:
    """All CPU operations of one kind, and the bytes that they make."""

    name: str
    count: int
    bytes: int
    why: str


@dataclass(frozen=True)
class Placement:
    """The operations in order, the CPU's by kind, counts and MACs by place."""

    operations: tuple[Operation, ...]
    kinds: tuple[Kind, ...]
    counts: Mapping[str, int]
    macs: Mapping[str, int]
    regions: int

    @property
    def kpu_share(self) -> float | None:
        """The fraction of multiply-accumulates that the KPU does."""
        total = sum(self.macs.values())
        return self.macs.get("kpu", 0) / total if total else None


_ARROWS = {"kpu_upload": "↑", "kpu_download": "↓", "kpu_copy": "↔"}


def layers(document: Mapping[str, Any]) -> list[Layer]:
    """The convolutions of ``layers.json``."""
    return [Layer(short_name(each["name"]), each) for each in document["layers"]]


def placement(document: Mapping[str, Any]) -> Placement:
    """What ``placement.json`` says of the operations; calls are not counted."""
    operations, region = [], 0
    for record in document["ops"]:
        region += record["kind"] == "call"
        if record["kind"] != "call":
            name = short_name(record["tensors"][0]) if record["tensors"] else ""
            inside = region if record["id"].startswith("k") else None
            operations.append(Operation(name, record, inside))
    counts: Counter[str] = Counter()
    macs: Counter[str] = Counter()
    for operation in operations:
        counts[operation.record["where"]] += 1
        macs[operation.record["where"]] += operation.record["macs"]
    return Placement(
        tuple(operations), tuple(_kinds(operations)), counts, macs, document["regions"]
    )


def _kinds(operations: Sequence[Operation]) -> list[Kind]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for operation in operations:
        if operation.record["where"] == "cpu":
            found.setdefault(operation.record["kind"], []).append(operation.record)
    kinds = [
        Kind(kind, len(each), sum(op["bytes"] for op in each), each[0]["why"])
        for kind, each in found.items()
    ]
    return sorted(kinds, key=lambda kind: (-kind.count, kind.name))


def place(where: str) -> str:
    """The CSS class of a place."""
    return where.replace("+", "-")


def short_name(tensor: str) -> str:
    """The layer that a TFLite tensor's name tells, at most 26 characters.

    ``net/relu/Relu6;net/conv2d_1/convolution`` → ``conv2d_1``.
    """
    pieces = [piece.strip("/ ") for piece in tensor.split(";")]
    piece = next(filter(_names_convolution, pieces), pieces[0])
    parts = [part for part in piece.split("/") if part]
    if len(parts) > 1 and parts[-1].lower().startswith(OPERATIONS):
        parts.pop()
    name = named(parts[-1] if parts else "")
    if len(name) <= LONGEST_NAME:
        return name
    half = LONGEST_NAME // 2
    return f"{name[: half - 1]}…{name[-half:]}"


def _names_convolution(piece: str) -> bool:
    return piece.split("/")[-1].lower().startswith(OPERATIONS[:4])
