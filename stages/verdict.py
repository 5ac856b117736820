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


def unusable(ladder: Sequence[Row]) -> list[str]:
    """A sentence for each step with outputs that are no numbers, which always fails."""
    return [
        f"step {row['step']} gives NaN or infinity for {row['unusable']} sample(s)"
        for row in ladder
        if row["unusable"]
    ]


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
    """One line about a run: verdict, accuracy and what it lost, time, memory.

    Such as ``signs: pass  device 98.7 % (float 99.4 %, −0.6 [−1.9, +0.3])  1.61 ms
    modelled  3.1 MiB``; differences and their 95 % interval are in points.
    """
    timings = check["timings"]
    took = 1e3 * sum(timings["seconds"].values())
    parts = [
        f"{check['project']}: {check['verdict']}",
        _quality(check["ladder"][0], check["ladder"][-1]),
        f"{took:.2f} ms {timings['source']}",
        _memory(check["memory"]["total"]),
    ]
    if (wrong := _first_wrong(check)) is not None:
        parts.append(f"wrong from {_place(wrong)} on: {wrong['cause']}")
    return "  ".join(parts)


def _quality(first: Row, device: Row) -> str:
    """The device's accuracy and its change, or what there is in place of them."""
    if device["accuracy"] is None:
        if device["agreement"] is not None:
            return f"agreement {_hundredths(device['agreement'])}"
        return f"SNR {_format(device['snr_db'], '.1f', ' dB') or 'unlimited'}"
    text = f"device {_hundredths(device['accuracy'])}"
    if device["drop"] is None:
        return text
    low, high = (_change(end) for end in reversed(device["drop_ci95"]))
    return (
        f"{text} ({first['step']} {_hundredths(first['accuracy'])}, "
        f"{_change(device['drop'])} [{low}, {high}])"
    )


def _hundredths(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _change(drop: float) -> str:
    """A loss as the change that it is, in points."""
    return f"{0.0 - 100 * drop:+.1f}".replace("-", "−")


def _memory(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 1024:.0f} KiB"


def _first_wrong(check: Mapping[str, Any]) -> Mapping[str, Any] | None:
    traced = check["trace"]
    return None if traced is None else traced["first_wrong"]


def _place(wrong: Mapping[str, Any]) -> str:
    """Where it goes wrong: op and tensor, as much of them as there is."""
    parts = wrong["op"], _layer(wrong["tensor"])
    return " ".join(each for each in parts if each)


def _layer(tensor: str) -> str:
    """What of a TFLite tensor's name, which lists all that was fused, says the most."""
    return "/".join(tensor.split(";")[0].split("/")[-2:])


def trace_lines(check: Mapping[str, Any]) -> list[str]:
    """What the terminal says of the first wrong layer; nothing where there is none."""
    wrong = _first_wrong(check)
    if wrong is None:
        return []
    lines = [f"first wrong: {_place(wrong)}, on the step to {wrong['step']}"]
    if wrong.get("snr_db") is not None and wrong.get("fall_db") is not None:
        snr = f"{wrong['snr_db']:.1f}".replace("-", "−")
        lines.append(
            f"  its signal-to-noise ratio is {snr} dB, {wrong['fall_db']:.1f} less "
            "than that of its inputs"
        )
    if wrong.get("range"):
        low, high = wrong["range"]
        seen = wrong["seen"]
        lines.append(
            f"  its bytes stand for {low:.3g} to {high:.3g}, the float map has "
            f"{seen[0]:.3g} to {seen[1]:.3g}"
        )
    return [*lines, f"  {wrong['words']}"]


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
    lines += trace_lines(check)
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
