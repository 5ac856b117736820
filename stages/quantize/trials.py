"""Candidates tried: compiled in child processes, repaired, gated, run and scored.

What compile would refuse, a candidate is refused for. nncase may crash or hang; that
ends one child process and is one candidate's result. All stops at a deadline.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from k210 import kmodel
from k210.child import Child, ChildCrashed, ChildTimeout
from k210.errors import ModelError
from k210.kmodel import Kmodel
from stages.compiling import repaired
from stages.console import Advance
from stages.fit import require_fit, require_sound
from stages.nncase_child import NoRoom, Request, Result, prepare
from stages.quantize.candidates import Candidate, Row, in_words
from stages.quantize.scoring import Scorer

WORKERS = 4
"""Child processes at most, each of which may take some hundred MiB."""

LEAST = 16
"""Pictures that candidates are tried on, where there are as many."""


@dataclass(frozen=True)
class Effort:
    """How much a round may take.

    Attributes:
        images: the part of the held-out pictures that candidates see.
        time: the part of the time left after which the rest is late.
        patience: the part of the budget that a single compilation may take.
    """

    images: float
    time: float
    patience: float


ALL = Effort(1.0, 1.0, 1.0)
"""All pictures, as long as there is time."""


class _Late(Exception):
    """The time is up."""


class Trials:
    """What candidates are tried with, until a deadline; to be used in a ``with``.

    Args:
        model: the TFLite file that each is compiled from.
        calibration: so many pictures to calibrate with, uint8 N×C×H×W.
        limits: what the bytes 0 and 255 of the input stand for.
        scorer: what judges them.
        budget: seconds for all there is to do.
        deadline: when they end, by ``time.monotonic``.
        log: the file for nncase's chatter.
    """

    def __init__(
        self,
        model: Callable[[Candidate], bytes],
        calibration: Callable[[int], NDArray[np.uint8]],
        limits: tuple[float, float],
        scorer: Scorer,
        budget: float,
        deadline: float,
        log: Path,
    ) -> None:
        self._model, self._calibration, self._limits = model, calibration, limits
        self._scorer, self._log = scorer, log
        self._budget, self._deadline = budget, deadline
        self._made: dict[Candidate, Kmodel] = {}
        self._endless: list[Candidate] = []
        self._count = count = min(WORKERS, os.cpu_count() or 1)
        self._idle: SimpleQueue[Child | None] = SimpleQueue()
        for _ in range(count):
            self._idle.put(None)
        self._children: set[Child] = set()
        self._over = Event()
        # children die with the threads that started them, so these stay to the end
        self._pool = ThreadPoolExecutor(count)

    def __enter__(self) -> "Trials":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for child in list(self._children):
            child.close()
        self._pool.shutdown(cancel_futures=True)

    def images(self, effort: Effort) -> int:
        """How many pictures an effort means."""
        count = len(self._scorer)
        return min(count, max(LEAST, int(effort.images * count)))

    def run(self, rows: Sequence[Row], effort: Effort, advance: Advance) -> None:
        """Try candidates; their rows tell what came of it.

        Pictures that a row has seen are not repeated. ``advance`` is told how many
        rows are done.
        """
        now = time.monotonic()
        until = now + effort.time * max(0.0, self._deadline - now)
        threads = self._count // min(self._count, max(1, len(rows)))
        futures = {
            self._pool.submit(self._attempt, row, effort, until, threads): row
            for row in rows
        }
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            advance(done, in_words(futures[future].candidate))

    def _attempt(self, row: Row, effort: Effort, until: float, threads: int) -> None:
        way, images = row.candidate, self.images(effort)
        try:
            if way not in self._made:
                self._made[way] = self._compiled(way, effort, until)
            model = self._made[way]
            seen = row.tally.images
            for tally in self._scorer.score(model, seen, images, threads):
                row.tally += tally
                late = self._over.is_set() or time.monotonic() > until
                if late and row.tally.images < images:
                    raise _Late
            row.state = "tried"
        except _Late:
            row.state = "late"
        except ChildTimeout:
            in_time = until - time.monotonic() > 0
            row.state = "timeout" if in_time else "late"
            self._endless += [way] * in_time
        except ChildCrashed as error:
            row.state, row.why = "crashed", str(error).split(";")[0]
        except NoRoom as error:
            row.state, row.why = "no room", str(error)
        except ModelError as error:
            row.state, row.why = "refused", str(error)

    def _compiled(self, way: Candidate, effort: Effort, until: float) -> Kmodel:
        """What compile would believe of a candidate.

        Raises:
            ModelError: nothing; why not.
        """
        limit = min(effort.patience * self._budget, until - time.monotonic())
        if self._over.is_set() or limit <= 0:
            raise _Late
        if any(_no_quicker(way, other) for other in self._endless):
            raise _Late
        samples = self._calibration(way.samples)
        model = self._model(way)
        request = Request(model, samples, way.method, way.mse_weights, self._limits)
        data, _ = repaired(self._ask(request, limit).kmodel, request)
        parsed = kmodel.parse(data)
        require_fit(parsed)
        require_sound(parsed)
        return parsed

    def _ask(self, request: Request, limit: float) -> Result:
        """Have an idle child compile; one that does not survive it is replaced."""
        child = self._idle.get() or self._new_child()
        try:
            result: Result = child.ask(request, limit)
        except (ChildCrashed, ChildTimeout):
            child.close()
            self._children.discard(child)
            self._idle.put(None)
            raise
        except ModelError:
            self._idle.put(child)
            raise
        self._idle.put(child)
        return result

    def _new_child(self) -> Child:
        child = Child(prepare, (), self._log, "nncase")
        self._children.add(child)
        return child


def _no_quicker(way: Candidate, endless: Candidate) -> bool:
    """Whether a candidate will take too long because another one did."""
    return way.method == endless.method and way.samples >= endless.samples
