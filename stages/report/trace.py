"""The noise of each layer along the network, and the first layer that is wrong.

``check.json`` has it as ``trace``, null where ``check.trace`` was never: ``layers`` in
the order they run, and ``first_wrong`` with its cause, null where all are right. A
layer's ``tensor`` is the one that it is called after, ``gives`` the one compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.report import figures
from stages.report.columns import Columns, columns
from stages.report.layers import Placed, place, short_name


@dataclass(frozen=True)
class TracedLayer(Placed):
    """One layer; ``record`` is its entry in the trace."""

    name: str
    record: Mapping[str, Any]

    @property
    def falls(self) -> bool:
        """Whether it is much noisier than what it works on."""
        return bool(self.record["fall_db"] >= FALL_DB)


@dataclass(frozen=True)
class Trace:
    """The layers and their plot; ``wrong`` is the trace's ``first_wrong``.

    ``weakest`` is the layer that loses most against its inputs, None where none does.
    """

    plot: Columns | None
    layers: tuple[TracedLayer, ...]
    pictures: int
    weakest: TracedLayer | None
    wrong: Mapping[str, Any] | None
    wrong_name: str


FALL_DB = 8.0
"""Lost against its inputs, it marks a layer, as the check does."""


def trace(check: Mapping[str, Any]) -> Trace | None:
    """The noise along the network; None where nothing was traced."""
    told = check["trace"]
    if told is None:
        return None
    layers = tuple(
        TracedLayer(short_name(row["tensor"]), row) for row in told["layers"]
    )
    bars = [
        (place(each.record["where"]), each.record["snr_db"], _words(each))
        for each in layers
        if each.record["snr_db"] is not None
    ]
    losing = [each for each in layers if each.record["fall_db"] > 0]
    wrong = told["first_wrong"]
    return Trace(
        columns(bars, "dB"),
        layers,
        told["pictures"],
        max(losing, key=lambda each: each.record["fall_db"], default=None),
        wrong,
        short_name(wrong["tensor"]) if wrong else "",
    )


def _words(layer: TracedLayer) -> str:
    snr = figures.decibels(layer.record["snr_db"])
    return f"{layer.record['op']} {layer.name}: {snr}"
