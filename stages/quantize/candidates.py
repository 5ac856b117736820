"""Ways to quantize a model: which are tried, in which order, and which is better.

Only methods that are known to be sound (``stages.nncase_child.METHODS``). First all of
them are tried with the calibration set that was asked for, then the best ones also with
other sizes of it and with corrected biases.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from stages.nncase_child import METHODS
from stages.quantize.scoring import Tally

LEAST_SAMPLES = 16
"""Fewer cost several dB of signal-to-noise ratio."""

FACTORS = (0.25, 4)
"""Other sizes of the calibration set, as multiples of the one asked for."""

BY_COST = ("no_clip", "cdf", "kld_m2", "l2")
"""The methods; l2 takes some ten times as long as the first."""

AGREEING = 0.995
"""Of the decisions: a candidate that reaches it and loses nothing is good enough."""

CLEAN_DB = 40.0
"""The same, of signal over noise, where the model chooses no class."""

assert sorted(BY_COST) == sorted(METHODS)


@dataclass(frozen=True)
class Candidate:
    """One way to quantize.

    Attributes:
        method: nncase's way to choose the range of each feature map.
        mse_weights: whether the weights' ranges have the least squared error.
        equalized: whether channels are rescaled so that they share ranges well.
        corrected: whether biases make up for what rounding the weights shifts.
        samples: pictures in the calibration set.
    """

    method: str
    mse_weights: bool
    equalized: bool
    corrected: bool
    samples: int


@dataclass(eq=False)
class Row:
    """What is known of a candidate: ``state`` is one of STATES, ``why`` in words."""

    candidate: Candidate
    state: str = "waiting"
    why: str = ""
    tally: Tally = Tally()

    def record(self) -> dict[str, Any]:
        """What ``plan.json`` holds; figures are null where it was not run."""
        tally = self.tally
        run = tally.images > 0
        return {
            **asdict(self.candidate),
            "state": self.state,
            "why": self.why,
            "images": tally.images,
            "accuracy": tally.accuracy,
            "agreement": tally.agreement,
            "snr_db": round(tally.snr_db, 2) if run else None,
        }


STATES = {
    "chosen": "the one that is used",
    "tried": "measured on all pictures",
    "behind": "left out after the pictures that it was measured on",
    "crashed": "nncase crashed",
    "timeout": "took too long",
    "no room": "nncase found no room in KPU RAM",
    "refused": "nncase or the chip refuses it",
    "late": "the time was up before its turn",
}
"""What became of a candidate."""


def first(
    base: Candidate, mse: Iterable[bool], equalized: Sequence[bool]
) -> list[Candidate]:
    """All ways with the calibration set asked for, the given and cheap ones first."""
    ways = [
        Candidate(method, weights, equal, False, base.samples)
        for method in BY_COST
        for equal in equalized
        for weights in mse
    ]
    return [base, *(way for way in ways if way != base)]


def further(way: Candidate, most: int) -> Iterator[Candidate]:
    """What else to try of a way that did well, with at most ``most`` samples."""
    yield replace(way, corrected=True)
    sizes = {max(LEAST_SAMPLES, int(way.samples * factor)) for factor in FACTORS}
    for size in sorted(sizes - {way.samples}):
        if size <= most:
            yield replace(way, samples=size)


def in_words(way: Candidate) -> str:
    """Such as "l2, mse weights, equalized, 64 samples"."""
    options = {
        "mse weights": way.mse_weights,
        "equalized": way.equalized,
        "corrected biases": way.corrected,
    }
    chosen = [words for words, is_so in options.items() if is_so]
    return ", ".join([way.method, *chosen, f"{way.samples} samples"])


def figures(row: Row) -> str:
    """Such as "97.9 % right, 99.3 % as the float model, 31.4 dB"; else what became."""
    tally = row.tally
    if not tally.images:
        return row.why or STATES.get(row.state, row.state)
    shares = ((tally.accuracy, "right"), (tally.agreement, "as the float model"))
    told = [f"{share:.1%} {words}" for share, words in shares if share is not None]
    return ", ".join([*told, f"{tally.snr_db:.1f} dB"])


def merit(row: Row) -> tuple[float, float, float]:
    """Larger is better: accuracy, then agreement, then signal over noise."""
    tally = row.tally
    return tally.accuracy or 0.0, tally.agreement or 0.0, tally.snr_db


def ranked(rows: Iterable[Row]) -> list[Row]:
    """The rows that were measured, the best first; of equals the one tried first."""
    return sorted((row for row in rows if row.tally.images), key=merit, reverse=True)


def good_enough(tally: Tally) -> bool:
    """Whether a kmodel answers as the float model does."""
    if tally.agreement is None:
        return tally.images > 0 and tally.snr_db >= CLEAN_DB
    return tally.right >= tally.float_right and tally.agreement >= AGREEING
