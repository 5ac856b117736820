"""Columns along the network: the time and the noise of each operation.

Beside what every ``check.json`` has, these are drawn where it has them:

* ``timings: {source: "measured" | "modelled", seconds: {op id: s}}``, of one
  inference on the device, the CPU's operations included;
* ``trace: [{id, tensor, snr_db}]``, in the order they run: how far each tensor of the
  quantized graph is from the float one; ``snr_db`` is null where they are equal.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.report import axes, figures
from stages.report.axes import Labels
from stages.report.layers import Operation, short_name

LEFT, RIGHT, TOP, BOTTOM = 44, 936, 14, 170
"""The plot's edges in a drawing of 940 × 200 units."""

WIDEST = 60


@dataclass(frozen=True)
class Column:
    """One operation: where its column stands, its CSS class, what it says."""

    x: float
    width: float
    y: float
    height: float
    place: str
    words: str


@dataclass(frozen=True)
class Timeline:
    """Columns over one scale; ``unit`` is what it counts."""

    columns: tuple[Column, ...]
    ticks: Labels
    unit: str


@dataclass(frozen=True)
class Times:
    """The time of one inference, op by op; ``source`` is "measured" or "modelled".

    Modelled times are the KPU's alone unless ``complete``. ``slowest`` are the ops
    that take most: the op, milliseconds, fraction of the whole.
    """

    plot: Timeline | None
    total_ms: float
    source: str
    complete: bool
    slowest: tuple[tuple[Operation, float, float], ...]


@dataclass(frozen=True)
class Trace:
    """The noise of each tensor, and the first after which it is worse by far."""

    plot: Timeline
    first: str | None
    fall: str


FALL_DB = 10.0
"""A tensor this much noisier than those before it is pointed out."""


def times(check: Mapping[str, Any], operations: Sequence[Operation]) -> Times:
    """Milliseconds per operation, as the device tells them or else as modelled."""
    told = check.get("timings")
    if told:
        found = {key: 1e3 * seconds for key, seconds in told["seconds"].items()}
    else:
        found = {op["id"]: op["ms"] for op in check["modelled"]["ops"] if op["ms"]}
    taken = [
        (op, found[op.record["id"]]) for op in operations if op.record["id"] in found
    ]
    total = sum(found.values())
    bars = [(op.place, ms, f"{_label(op)}: {ms:.3g} ms") for op, ms in taken]
    slowest = sorted(taken, key=lambda each: -each[1])[:5]
    return Times(
        _plot(bars, "ms"),
        total,
        told["source"] if told else "modelled",
        bool(told),
        tuple((op, ms, ms / total) for op, ms in slowest if total),
    )


def trace(check: Mapping[str, Any], operations: Sequence[Operation]) -> Trace | None:
    """The noise along the network; None where nothing was traced."""
    rows = [row for row in check.get("trace") or () if row["snr_db"] is not None]
    places = {op.record["id"]: op.place for op in operations}
    bars = [
        (
            places.get(row["id"], "cpu"),
            row["snr_db"],
            f"{_tensor(row)}: {figures.decibels(row['snr_db'])}",
        )
        for row in rows
    ]
    if (plot := _plot(bars, "dB")) is None:
        return None
    for before, after in zip(rows, rows[1:], strict=False):
        if before["snr_db"] - after["snr_db"] > FALL_DB:
            ends = figures.decibels(before["snr_db"]), figures.decibels(after["snr_db"])
            return Trace(plot, _tensor(after), f"from {ends[0]} to {ends[1]}")
    return Trace(plot, None, "")


def _tensor(row: Mapping[str, Any]) -> str:
    return f"{row['id']} {short_name(row['tensor'])}"


def _label(op: Operation) -> str:
    name = f" {op.name}" if op.name else ""
    return f"{op.record['id']} {op.record['kind']}{name}"


def _plot(bars: Iterable[tuple[str, float, str]], unit: str) -> Timeline | None:
    bars = list(bars)
    if not bars:
        return None
    scale = axes.linear([0.0, *(value for _, value, _ in bars)], BOTTOM, TOP, 4)
    pitch = min(WIDEST, (RIGHT - LEFT) / len(bars))
    zero = scale.at(0)
    columns = tuple(
        Column(
            round(LEFT + index * pitch + pitch * 0.08, 1),
            round(pitch * 0.84, 1),
            min(zero, scale.at(value)),
            round(abs(zero - scale.at(value)), 1),
            place,
            words,
        )
        for index, (place, value, words) in enumerate(bars)
    )
    return Timeline(columns, axes.numbers(scale), unit)
