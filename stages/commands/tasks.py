"""What a doit task does for a stage: find it current, restore it, or run it.

Imports nothing heavy: an idle ``doit`` must cost no more than doit itself.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from doit.exceptions import TaskError, TaskFailed

from k210.errors import UserError
from stages.artifacts import (
    RunCache,
    State,
    Workspace,
    inspect,
    read_json,
    recorded_digests,
)
from stages.commands.processes import INTERRUPTED, run_stage
from stages.console import PLAIN_VARIABLE
from stages.faults import disk_sentence
from stages.graph import Stage, find_stage, stages_of
from stages.verdict import failed, ladder_text, summary_line

Failure: TypeAlias = TaskError | TaskFailed


@dataclass(frozen=True)
class StageTask:
    """One stage of one project, as doit's callbacks need it (and can pickle it)."""

    root: Path = field(repr=False)
    project: str
    stage: str
    settings: Mapping[str, Any] = field(repr=False)  # `doit clean` prints the rest

    @property
    def ws(self) -> Workspace:
        """The project's folder."""
        return Workspace(self.root, self.project)

    def declaration(self) -> Stage:
        """The stage's declaration."""
        return find_stage(self.stage, self.settings)

    def state(self) -> State:
        """The stage's state, its inputs taken as recorded."""
        digests = recorded_digests(self.ws, stages_of(self.settings))
        return inspect(self.ws, self.declaration(), self.settings, digests)

    def is_current(self, task: Any, values: Any) -> bool:
        """doit's ``uptodate``: whether there is nothing to do."""
        if (task.options or {}).get("fresh"):
            return False
        try:
            return self.state().kind == "valid"
        except (UserError, OSError):
            return False  # the action will meet it again and say so

    def make(self, fresh: bool = False) -> dict[str, Any] | Failure:
        """doit's action: bring the stage up to date; the outcome for the reporter."""
        started = time.monotonic()
        try:
            outcome = self.restore(fresh) or self._run(fresh)
        except UserError as error:
            return _error(f"{self.stage}: {error}")
        except OSError as error:
            if sentence := disk_sentence(self.ws.build, error):
                return _error(f"{self.stage}: {sentence}")
            raise
        except KeyboardInterrupt:
            return _error(f"{self.stage}: {INTERRUPTED}")
        if isinstance(outcome, str):
            return {"outcome": outcome, "seconds": time.monotonic() - started}
        return outcome

    def restore(self, fresh: bool = False) -> str:
        """Do without running: "up to date" or "restored", or "" where it must run."""
        if fresh:
            return ""
        with self.ws.locked():
            self.ws.recover(self.stage)
            state = self.state()
            if state.kind == "valid":
                return "up to date"
            if state.stage.cached and state.key is not None:
                return "restored" if RunCache(self.ws).restore(state.key) else ""
        return ""

    def _run(self, fresh: bool) -> str | Failure:
        arguments = [self.stage, "--project", self.project, "--quiet"]  # `judge` speaks
        arguments += [] if fresh else ["--if-stale"]
        environment = dict(os.environ)
        if multiprocessing.current_process().name != "MainProcess":
            environment[PLAIN_VARIABLE] = "1"
        status = run_stage(arguments, self.root, environment)
        if status == 2:
            return TaskError(f"{self.stage} was refused", report=False)
        if status:
            return _error(
                f"{self.stage} ended with status {status}; "
                f"see {self.ws.log(self.stage)}"
            )
        return "ran"

    def judge(self) -> Failure | None:
        """doit's action after the check: print the ladder, fail if it says so."""
        try:
            check = read_json(self.ws.path("check/check.json"))
        except UserError as error:
            return _error(str(error))
        print(f"{ladder_text(check)}\n{summary_line(check)}", flush=True)
        if failed(check):
            return TaskFailed("; ".join(check["failures"]), report=False)
        return None

    def clean(self) -> None:
        """doit's ``clean``: remove what the stage has made."""
        try:
            self.ws.remove(self.stage)
        except OSError as error:
            if not (sentence := disk_sentence(self.ws.build, error)):
                raise
            # doit keeps what is printed here, and takes no notice of a result
            print(f"error: {self.stage}: {sentence}", file=sys.__stderr__)
            sys.exit(2)


def refuse(sentence: str) -> Failure:
    """The action of every task of a project whose YAML is wrong."""
    return _error(sentence)


def _error(sentences: str) -> TaskError:
    for sentence in sentences.splitlines():
        print(f"error: {sentence}", file=sys.stderr, flush=True)
    return TaskError(sentences, report=False)
