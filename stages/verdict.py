"""The ladder in words, and what the thresholds say of it.

Standard library only: each ``doit deploy`` prints it, even one with nothing to do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

HEADINGS = ("step", "accuracy", "95 % interval", "agreement", "SNR", "PSNR", "L1")


def failed(check: Mapping[str, Any]) -> bool:
    """Whether a ``check.json`` says that the model does not do."""
    return bool(check["verdict"] != "pass")


def failures(
    ladder: Sequence[Row],
    min_accuracy: float | None,
    max_drop: float | None,
    min_agreement: float | None,
) -> list[str]:
    """A sentence for each threshold that the last step of the ladder misses."""
    first, device = ladder[0], ladder[-1]
    sentences = []
    if min_accuracy is not None and device["accuracy"] < min_accuracy:
        sentences.append(
            f"device accuracy {device['accuracy']:.2%} is below "
            f"check.min_accuracy {min_accuracy:.2%}"
        )
    if max_drop is not None:
        drop = first["accuracy"] - device["accuracy"]
        if drop > max_drop:
            sentences.append(
                f"accuracy drops by {drop:.2%} from {first['step']} to device, more "
                f"than check.max_drop {max_drop:.2%}"
            )
    if min_agreement is not None and device["agreement"] < min_agreement:
        sentences.append(
            f"device and {first['step']} agree on {device['agreement']:.2%}, less than "
            f"check.min_agreement {min_agreement:.2%}"
        )
    return sentences


def ladder_text(check: Mapping[str, Any]) -> str:
    """The ladder as an aligned table, and the verdict below it."""
    rows = [HEADINGS, *(_cells(row) for row in check["ladder"])]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    measured = f"{check['samples']} test samples, device = {check['engine']}"
    lines = [f"{check['project']}: {measured}"]
    for name, *cells in rows:
        padded = (c.rjust(w) for c, w in zip(cells, widths[1:], strict=True))
        lines.append(f"  {name.ljust(widths[0])}  {'  '.join(padded)}")
    lines.append(f"verdict: {check['verdict']}")
    lines += [f"  {sentence}" for sentence in check["failures"]]
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    interval = row["ci95"]
    measured = row["accuracy"] is not None
    exact = row["l1"] == 0
    return (
        row["step"],
        f"{row['accuracy']:.2%}" if measured else "not measured",
        f"{interval[0]:.1%}–{interval[1]:.1%}" if interval else "",
        _format(row["agreement"], ".2%"),
        "exact" if exact else _format(row["snr_db"], ".1f", " dB"),
        _format(row["psnr_db"], ".1f", " dB"),
        _format(row["l1"], ".2g"),
    )


def _format(value: float | None, spec: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{spec}}{unit}"
