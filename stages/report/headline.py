"""What comes first: the device's figures and the thresholds they are held to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.report import figures
from stages.report.ladder import Row, snr
from stages.verdict import failures


@dataclass(frozen=True)
class Tile:
    """A figure, what it is, and a few words about it."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Threshold:
    """One of the project's thresholds: what it asks, what was measured."""

    name: str
    asks: str
    measured: str
    missed: bool


def tiles(check: Mapping[str, Any]) -> list[Tile]:
    """The device's figures, the most telling first.

    Without an accuracy that is the agreement, and without decisions the SNR.
    """
    ladder: Sequence[Row] = check["ladder"]
    first, device = ladder[0]["step"], ladder[-1]
    same = Tile(
        "agreement",
        figures.percent(device["agreement"]),
        f"of decisions are those of {first}",
    )
    noise = Tile("signal to noise", snr(device), f"compared with {first}'s outputs")
    if device["agreement"] is None:
        why = "the model does not classify"
        return [noise, same, Tile("accuracy", "not measured", why)]
    if device["accuracy"] is None:
        return [same, noise, Tile("accuracy", "not measured", "the data has no labels")]
    interval = f"95% interval {figures.interval(device['ci95'])}"
    right = Tile("device accuracy", figures.percent(device["accuracy"]), interval)
    note = f"{first} to device"
    if device["drop_ci95"] is not None:
        note = f"{figures.change(device['drop_ci95'])}, {note}"
    change = Tile("change", figures.points(_change(ladder)), note)
    return [right, same, noise, change]


def _change(ladder: Sequence[Row]) -> float | None:
    """The device's accuracy less the first step's, where both are measured."""
    first, device = ladder[0]["accuracy"], ladder[-1]["accuracy"]
    return None if first is None or device is None else device - first


def thresholds(check: Mapping[str, Any]) -> list[Threshold]:
    """The thresholds that the project sets, judged as the verdict judges them."""
    ladder, wanted = check["ladder"], check["thresholds"]
    least, most = wanted["min_accuracy"], wanted["max_drop"]
    agreement = wanted["min_agreement"]
    found = []
    if least is not None:
        missed = failures(ladder, least, None, None)
        measured = figures.percent(ladder[-1]["accuracy"])
        found.append(("accuracy", "at least", least, measured, missed))
    if most is not None:
        missed = failures(ladder, None, most, None)
        measured = figures.points(_change(ladder))
        found.append(("loss of accuracy", "at most", most, measured, missed))
    if agreement is not None:
        missed = failures(ladder, None, None, agreement)
        measured = figures.percent(ladder[-1]["agreement"])
        found.append(("agreement", "at least", agreement, measured, missed))
    return [
        Threshold(name, f"{how} {value:.2%}", measured, bool(missed))
        for name, how, value, measured, missed in found
    ]
