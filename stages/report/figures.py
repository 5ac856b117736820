"""How figures are written on the page; accuracies as the terminal writes them too.

Each function takes what the artifacts hold, null included, and is a template filter.
"""

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

NOTHING = "–"
"""Stands where there is nothing to say."""

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
KIB, MIB = 1 << 10, 1 << 20


def percent(fraction: float | None, digits: int = 2) -> str:
    """A fraction as a percentage."""
    return "not measured" if fraction is None else f"{fraction:.{digits}%}"


def rate(fraction: float | None) -> str:
    """A fraction of a few samples as a percentage."""
    return NOTHING if fraction is None else f"{fraction:.1%}"


def hundredths(fraction: float | None) -> str:
    """The same where the heading says that it is a percentage."""
    return rate(fraction).rstrip("%")


def points(difference: float | None) -> str:
    """A difference of two fractions, in percentage points, with its sign."""
    if difference is None:
        return NOTHING
    sign = "−" if difference < 0 else "+" if difference > 0 else ""
    return f"{sign}{abs(difference) * 100:.2f} points"


def interval(ends: Sequence[float] | None) -> str:
    """A confidence interval of a fraction."""
    return NOTHING if ends is None else f"{ends[0]:.1%}–{ends[1]:.1%}"


def change(ends: Sequence[float]) -> str:
    """The interval of a loss as one of the change that it is, in points."""
    low, high = (f"{-end * 100:+.2f}".replace("-", "−") for end in reversed(ends))
    return f"{low} to {high}"


def similarity(value: float | None) -> str:
    """A cosine, to as many digits as tell it from 1."""
    return NOTHING if value is None else f"{value:.5f}".replace("-", "−")


def decibels(value: float | None) -> str:
    """A ratio of powers."""
    return NOTHING if value is None else f"{value:.1f} dB".replace("-", "−")


def number(value: float | None) -> str:
    """A number: whole ones grouped from five digits on, others to four digits."""
    if value is None:
        return NOTHING
    if float(value).is_integer() and abs(value) < 1e15:
        text = f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.0f}"
        return text.replace("-", "−")
    return scientific(value, 4)


def scientific(value: float | None, digits: int = 2) -> str:
    """A number to so many digits, very large and small ones as a power of ten."""
    if value is None:
        return NOTHING
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    if exponent:
        power = str(int(exponent)).translate(SUPERSCRIPT)
        return f"{mantissa}×10{power}".replace("-", "−")
    return mantissa.replace("-", "−")


def size(count: int | None) -> str:
    """A number of bytes in the unit that suits it."""
    if count is None:
        return NOTHING
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if count >= unit:
            return f"{round(count / unit, 1):g} {name}"
    return f"{count} bytes"


def duration(seconds: float) -> str:
    """A stretch of time, to about three digits."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def moment(text: str) -> str:
    """An ISO 8601 time in UTC, to the second; anything else as it stands."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{when.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def address(value: int) -> str:
    """An address in flash."""
    return f"{value:#08x}"


def times(shape: Sequence[int]) -> str:
    """A shape, such as 1×3×32×32."""
    return "×".join(map(str, shape))


def short(digest: str) -> str:
    """The beginning of a digest."""
    return f"{digest[:12]}…" if len(digest) > 12 else digest


def named(text: str, fallback: str = "(no name)") -> str:
    """A name, or what is shown for one that cannot be seen."""
    return text if text.strip() else fallback


def words(key: str) -> str:
    """A key of an artifact as words: ``kpu_ram_kib`` → ``KPU RAM``."""
    parts = [_ACRONYMS.get(part, part) for part in key.split("_")]
    if len(parts) > 1 and parts[-1] in _UNITS:
        parts.pop()
    return " ".join(parts)


def metric(value: Any, key: str) -> str:
    """The value of a stage's metric, in the unit that its name tells."""
    if not isinstance(value, int | float):
        return str(value)
    unit = key.split("_")[-1]
    if unit in ("accuracy", "agreement"):
        return percent(value)
    if unit == "db":
        return decibels(value)
    if unit in ("bytes", "size"):
        return size(int(value))
    if unit in ("kib", "ms"):
        return f"{number(value)} {_UNITS[unit]}"
    return number(value)


_UNITS = {"kib": "KiB", "db": "dB", "bytes": "bytes", "ms": "ms"}
_ACRONYMS = {name.lower(): name for name in ("KPU", "CPU", "RAM", "SNR", "ID")}

FILTERS = {
    function.__name__: function
    for function in (
        *(
            percent,
            rate,
            hundredths,
            points,
            interval,
            similarity,
            decibels,
            number,
            scientific,
            size,
            duration,
        ),
        *(moment, address, times, short, named, words, metric),
    )
}
