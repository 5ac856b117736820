"""What came of a job: its verdict, whose fault it was, and its figures."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from k210.errors import BoardError, ModelError, NoRoomError, UserError

Verdict = Literal["pass", "fail", "error", "skipped"]
Cause = Literal["", "threshold", "model", "board", "room", "project", "host", "fault"]
"""Why it is no pass: a threshold is missed; the model is refused; the board or its
line failed; the board is too small; the project's YAML or data are wrong; this
machine's disk; our own code."""

VERDICTS: tuple[Verdict, ...] = ("pass", "fail", "error", "skipped")

RETRIED: tuple[Cause, ...] = ("board",)
"""Only what is infrastructure may come out otherwise next time."""


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt, or of a job in the end.

    Attributes:
        message: one sentence for people; empty for a pass.
        figures: what was measured, by name; see ``figures_of``.
    """

    verdict: Verdict
    cause: Cause = ""
    message: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def retriable(self) -> bool:
        """Whether another attempt may end otherwise."""
        return self.verdict == "error" and self.cause in RETRIED

    def save(self, path: Path) -> None:
        """Write it so that it is there as a whole or not at all."""
        draft = path.with_name(f".{path.name}.new")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)


def load(path: Path) -> Outcome | None:
    """What ``save`` wrote; None where there is none."""
    try:
        return Outcome(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None


BLAME: dict[str, tuple[Verdict, Cause]] = {
    ModelError.__name__: ("fail", "model"),
    NoRoomError.__name__: ("error", "room"),
    BoardError.__name__: ("error", "board"),
    UserError.__name__: ("error", "project"),
}
"""What each kind of error says, by the name of its class."""


def of_error(error: UserError) -> Outcome:
    """What an error says about model, board and project."""
    return Outcome(*BLAME[kind_of(error)], " ".join(str(error).split()))


def kind_of(error: UserError) -> str:
    """Which kind of error it is: the nearest class that ``BLAME`` knows."""
    return next(each.__name__ for each in type(error).__mro__ if each.__name__ in BLAME)


def of_death(status: int, limit: float | None) -> Outcome:
    """What a process that has left no result has ended with.

    Args:
        status: its exit status, negative for a signal.
        limit: the seconds after which it was ended; None if it ended by itself.
    """
    if limit is not None:
        return Outcome(
            "error", "board", f"did not end within {limit:g} s and was ended"
        )
    if status < 0:
        return Outcome("error", "board", f"its process was ended by signal {-status}")
    return Outcome(
        "error", "fault", f"its process ended with status {status}; see its log"
    )


def of_check(check: Mapping[str, Any], figures: dict[str, Any]) -> Outcome:
    """What a ``check.json`` says."""
    if check["verdict"] == "pass":
        return Outcome("pass", figures=figures)
    return Outcome("fail", "threshold", "; ".join(check["failures"]), figures)


def figures_of(check: Mapping[str, Any], kmodel_bytes: int) -> dict[str, Any]:
    """The figures that are kept and drawn.

    ``accuracy`` and ``agreement`` are fractions, ``right`` a count of ``samples``,
    ``device_ms`` milliseconds for an inference, ``memory_kib`` and ``kmodel_kib`` KiB.
    """
    device = check["ladder"][-1]
    accuracy, samples = device["accuracy"], check["samples"]
    return {
        "samples": samples,
        "accuracy": accuracy,
        "right": None if accuracy is None else round(accuracy * samples),
        "agreement": device["agreement"],
        "snr_db": device["snr_db"],
        "device_ms": 1e3 * sum(check["timings"]["seconds"].values()),
        "timing": check["timings"]["source"],
        "memory_kib": check["memory"]["total"] / 1024,
        "kmodel_kib": kmodel_bytes / 1024,
        "kmodel_sha256": check["kmodel_sha256"],
        "flash_id": check["board"].get("flash_id"),
    }
