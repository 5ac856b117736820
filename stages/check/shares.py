"""Which steps of the ladder lose more than their share.

Conversion and rewriting compute what the model before them computes, the device what
the reference does; only quantization may cost something, but no accuracy that samples
can tell from chance.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

EXACT = ("tflite", "normalized")
EXACT_DB = 60.0
"""Signal over noise below which a float step is not the one before it."""

NOISY_DB = 10.0
AGREEING = 0.9
"""What a quantized model has at least that is worth having."""

SAME_DB = 1.0


def losing(ladder: Sequence[Row]) -> list[str]:
    """The steps that lose too much against the one before them."""
    pairs = zip(ladder, ladder[1:], strict=False)
    return [row["step"] for before, row in pairs if _loses(before, row)]


def _loses(before: Row, row: Row) -> bool:
    step = row["step"]
    if step in EXACT:
        return _decibels(row) < EXACT_DB and _decibels(before) > _decibels(row) + 6
    if step == "device":
        return _decibels(before) > _decibels(row) + SAME_DB
    lost = row["drop_ci95"] is not None and row["drop_ci95"][0] > (before["drop"] or 0)
    agreement = row["agreement"], before["agreement"]
    parted = agreement[0] is not None and agreement[0] < AGREEING * (agreement[1] or 1)
    noisy = _decibels(row) < NOISY_DB <= _decibels(before)
    return bool(lost or parted or noisy)


def _decibels(row: Row) -> float:
    found: float | None = row["snr_db"]
    return float("inf") if found is None else found
