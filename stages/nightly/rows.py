"""What the store holds: runs, their jobs, and the attempts at them."""

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from stages.nightly.outcome import Outcome

Kind = Literal["prepare", "measure"]
State = Literal["waiting", "running", "done"]


@dataclass(frozen=True)
class NewJob:
    """A job of a run: a project on one of its candidate boards.

    Attributes:
        board: names the job where it is for one board; "" where any candidate will
            do, and for a preparation, which needs none.
        outcome: what came of it, where that is known without running it.
    """

    kind: Kind
    project: str
    board: str = ""
    candidates: tuple[str, ...] = ()
    outcome: Outcome | None = None


@dataclass(frozen=True)
class JobRow:
    """A job as it stands in the store."""

    id: int
    run: int
    kind: Kind
    project: str
    board: str
    candidates: tuple[str, ...]
    state: State
    outcome: Outcome | None


@dataclass(frozen=True)
class AttemptRow:
    """One process that worked on a job.

    ``seconds`` and ``outcome`` are None while it is under way, and ``outcome`` also
    where it was interrupted.
    """

    id: int
    job: int
    number: int
    board: str
    started: str
    seconds: float | None
    outcome: Outcome | None


@dataclass(frozen=True)
class RunRow:
    """One run; ``judgement`` is what ``regression`` has said of it."""

    id: int
    started: str
    finished: str | None
    status: int | None
    judgement: dict[str, Any]


def now() -> str:
    """The time, ISO 8601 in UTC, to the millisecond."""
    return datetime.now(timezone.utc).isoformat("T", "milliseconds")
