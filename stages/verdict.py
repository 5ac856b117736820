"""The ladder in words, and what the thresholds say of it.

Standard library only: each ``doit deploy`` prints it, even one with nothing to do.
"""

from collections.abc import Iterator, Mapping, Sequence
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
    """A sentence for each threshold that the last step of the ladder misses.

    A drop is judged by its interval: what too few samples could have made by chance
    does not fail a run, see ``notes``.
    """
    first, device = ladder[0], ladder[-1]
    sentences = []
    if min_accuracy is not None and device["accuracy"] < min_accuracy:
        sentences.append(
            f"device accuracy {device['accuracy']:.2%} is below "
            f"check.min_accuracy {min_accuracy:.2%}"
        )
    if max_drop is not None and device["drop_ci95"][0] > max_drop:
        sentences.append(
            f"accuracy drops by {device['drop']:.2%} from {first['step']} to device "
            f"(95 % interval {_points(device['drop_ci95'])}), more than "
            f"check.max_drop {max_drop:.2%}"
        )
    if min_agreement is not None and device["agreement"] < min_agreement:
        sentences.append(
            f"device and {first['step']} agree on {device['agreement']:.2%}, less than "
            f"check.min_agreement {min_agreement:.2%}"
        )
    return sentences


def notes(ladder: Sequence[Row], max_drop: float | None) -> list[str]:
    """A sentence where the drop is too large, but within what chance may make."""
    first, device = ladder[0], ladder[-1]
    if max_drop is None or device["drop"] is None:
        return []
    low, high = device["drop_ci95"]
    if not device["drop"] > max_drop >= low:
        return []
    return [
        f"accuracy drops by {device['drop']:.2%} from {first['step']} to device, more "
        f"than check.max_drop {max_drop:.2%}, but so few samples cannot tell it from "
        f"chance (95 % interval {_points((low, high))}); raise check.samples"
    ]


def summary_line(check: Mapping[str, Any]) -> str:
    """One line about a run: verdict, accuracy, drop, modelled time, memory."""
    device = check["ladder"][-1]
    parts = [str(check["verdict"]), *_quality(device)]
    timings = check["timings"]
    took = 1e3 * sum(timings["seconds"].values())
    parts.append(f"{took:.2f} ms per inference ({timings['source']})")
    parts.append(f"{check['memory']['total'] / 1024:.0f} KiB of 6 MiB SRAM")
    return f"{check['project']}: {', '.join(parts)}"


def _quality(device: Row) -> Iterator[str]:
    """The device's accuracy and drop, or what there is in place of them."""
    if device["accuracy"] is not None:
        low, high = device["ci95"]
        yield f"device {device['accuracy']:.2%} ({low:.1%}–{high:.1%})"
    elif device["agreement"] is not None:
        yield f"agreement {device['agreement']:.2%}"
    else:
        yield f"SNR {_format(device['snr_db'], '.1f', ' dB') or 'unlimited'}"
    if device["drop"] is not None:
        drop = f"{device['drop']:.2%}".replace("-", "−")
        yield f"drop {drop} ({_points(device['drop_ci95'])})"


def _points(ends: Sequence[float]) -> str:
    """An interval of a difference, either end of which may be negative."""
    return f"{ends[0]:.2%} to {ends[1]:.2%}".replace("-", "−")


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
    lines += [f"  note: {sentence}" for sentence in check["notes"]]
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
