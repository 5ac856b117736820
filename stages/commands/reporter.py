"""One line per stage: what came of it, how long it took, its headline figures."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from stages.artifacts import Workspace, read_run
from stages.graph import STAGES


class LineReporter:
    """doit's reporter for this project; the interface is doit's."""

    desc = "one line per stage"

    def __init__(self, outstream: TextIO, options: dict[str, Any]) -> None:
        self._stream = outstream
        self._width = 0

    def initialize(self, tasks: dict[str, Any], selected_tasks: Iterable[str]) -> None:
        """Called before anything runs."""
        names = (_label(task) for task in tasks.values() if _place(task))
        self._width = max(map(len, names), default=0)

    def get_status(self, task: Any) -> None:
        """Called when a task is looked at."""

    def execute_task(self, task: Any) -> None:
        """Called before a task runs."""

    def add_success(self, task: Any) -> None:
        """Called after a task."""
        if "outcome" in task.values:
            self._line(task, task.values["outcome"], task.values["seconds"])

    def skip_uptodate(self, task: Any) -> None:
        """Called for a task with nothing to do."""
        self._line(task, "up to date", None)

    def skip_ignore(self, task: Any) -> None:
        """Called for a task that ``doit ignore`` has named."""
        self._line(task, "ignored", None)

    def add_failure(self, task: Any, fail_info: Any) -> None:
        """Called after a task that failed; its sentence is already printed."""
        self._line(task, "failed", None)
        if fail_info.report:  # a fault of ours or of doit's, not of the user
            print(fail_info.get_msg(), file=sys.stderr)

    def cleanup_error(self, exception: Any) -> None:
        """Called when cleaning up failed."""
        print(exception.get_msg(), file=sys.stderr)

    def runtime_error(self, msg: str) -> None:
        """Called for errors in the task graph."""
        print(f"error: {msg}", file=sys.stderr)

    def teardown_task(self, task: Any) -> None:
        """Called before a task's teardown."""

    def complete_run(self) -> None:
        """Called at the end."""

    def _line(self, task: Any, outcome: str, seconds: float | None) -> None:
        if (place := _place(task)) is None:
            return
        ws, stage = place
        run = read_run(ws, stage) if outcome not in ("failed", "ignored") else None
        headline = _HEADLINES[stage](run.metrics) if run else ""
        time = "" if seconds is None else f"{seconds:.1f} s"
        line = f"{_label(task):<{self._width}}  {outcome:<10}  {time:>8}  {headline}"
        self._stream.write(line.rstrip() + "\n")
        self._stream.flush()


_HEADLINES = {stage.name: stage.describe for stage in STAGES}


def _place(task: Any) -> tuple[Workspace, str] | None:
    """Whose stage a task is, or None for doit's groups and the verdict."""
    meta = task.meta or {}
    if "stage" not in meta:
        return None
    return Workspace(Path(meta["root"]), meta["project"]), meta["stage"]


def _label(task: Any) -> str:
    prefix, _, _ = task.name.rpartition(":")
    stage = (task.meta or {}).get("stage", task.name)
    return f"{prefix}:{stage}" if prefix else str(stage)
