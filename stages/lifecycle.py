"""A stage's run from start to finish, the same for every stage.

Inputs are compared with what earlier stages recorded, the stage writes into a draft
folder, its outputs are digested, and the draft takes the place of the last good
result in one rename. Killed at any point, the last good result stands.
"""

import importlib
import os
import shutil
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from k210.errors import UserError
from stages.artifacts import Run, RunCache, State, Workspace, digest, inspect
from stages.artifacts.keys import tool_version
from stages.artifacts.records import RUN, read_run, record_file
from stages.artifacts.userfiles import user_path
from stages.artifacts.workspace import write_json
from stages.console import Console
from stages.graph import Stage, stages_of
from stages.project.schema import Project

Metrics = dict[str, float | int | str | None]


class Job:
    """What a stage is given: settings, inputs, a place for outputs, a console.

    Attributes:
        settings: the project's validated settings.
        root: the folder of its checkout, which has its map of boards.
        console: where progress and results are shown.
        log: the file for a child's chatter.
        scratch: a folder that survives a kill, for the work of this key only.
    """

    def __init__(
        self,
        ws: Workspace,
        stage: Stage,
        settings: Project,
        key: str,
        console: Console,
    ) -> None:
        self._ws, self._stage = ws, stage
        self.settings = settings
        self.root = ws.root
        self.console = console
        self.log = ws.log(stage.name)
        self.scratch = ws.scratch(stage.name, key)

    def input(self, name: str) -> Path:
        """The file of a declared input."""
        if name not in self._stage.inputs:
            raise AssertionError(f"{self._stage.name} does not declare {name}")
        return self._ws.path(name)

    def has(self, name: str) -> bool:
        """Whether this project has the declared input or output at all."""
        return name in (*self._stage.inputs, *self._stage.outputs)

    def output(self, name: str) -> Path:
        """Where to write a declared output; for now in the stage's draft."""
        if name not in self._stage.outputs:
            raise AssertionError(f"{self._stage.name} does not declare {name}")
        folder, _, rest = name.partition("/")
        if folder == self._stage.name:
            return self._ws.draft(folder) / rest
        return self._ws.path(name)

    def board_file(self, name: str) -> Path:
        """A file that is the board's, not a stage's: it outlives their drafts."""
        return self._ws.path(name)

    def user_file(self, path: str, setting: str = "the YAML") -> Path:
        """A file or folder that a setting of the YAML names.

        Raises:
            UserError: it is given by an environment variable that is not set.
        """
        return user_path(self._ws.root, path, setting)


def run_stage(
    ws: Workspace,
    name: str,
    settings: Project,
    console: Console,
    only_if_stale: bool = False,
) -> None:
    """Run one stage and publish what it made.

    Args:
        ws: the project's folder.
        name: the stage.
        settings: the project's settings.
        console: where it shows its progress.
        only_if_stale: do nothing where, once the project's lock is ours, another
            process turns out to have left a valid result.

    Raises:
        UserError: its inputs are missing, changed or wrong, or its output is.
    """
    data = settings.model_dump(mode="json")
    stages = stages_of(data)
    position = [stage.name for stage in stages].index(name)
    with ws.locked():
        for stage in stages[: position + 1]:
            ws.recover(stage.name)
        digests = _linked_digests(ws, stages[:position])
        state = inspect(ws, stages[position], data, _needed(stages[position], digests))
        if only_if_stale and state.kind == "valid":
            return
        run = _execute(ws, state, settings, console)
        if state.stage.cached:
            _keep(ws, run, console)


def _keep(ws: Workspace, run: Run, console: Console) -> None:
    """Store a result; where that fails it is still the stage's result."""
    try:
        RunCache(ws).store(run)
    except OSError as error:
        console.say(f"cache: this result is not kept for later: {error.strerror}")


def _needed(stage: Stage, digests: dict[str, str]) -> dict[str, str]:
    for name in stage.inputs:
        if name not in digests:
            maker = name.split("/")[0]
            raise UserError(f"{name} is missing; run the {maker} stage first")
    return digests


def _linked_digests(ws: Workspace, earlier: tuple[Stage, ...]) -> dict[str, str]:
    """Digests of all earlier outputs, once it is clear that they form one chain.

    Raises:
        UserError: a file was changed by hand, or made from another one than stands
            there now.
    """
    digests: dict[str, str] = {}
    for stage in earlier:
        if (run := read_run(ws, stage.name)) is None:
            continue
        if broken := run.broken(ws):
            raise UserError(f"{broken[0]}; run the {stage.name} stage to make it again")
        for name in stage.inputs:
            if run.parts.get(f"input {name}") != digests.get(name):
                raise UserError(
                    f"{stage.name}/ was made from another {name} than the one that "
                    f"stands there now; run the {stage.name} stage to link the chain"
                )
        digests.update({name: record.digest for name, record in run.files.items()})
    return digests


def _execute(ws: Workspace, state: State, settings: Project, console: Console) -> Run:
    assert state.key is not None
    stage, started, clock = state.stage, datetime.now(timezone.utc), time.monotonic()
    ws.start_draft(stage.name)
    job = Job(ws, stage, settings, state.key, console)
    work: Callable[[Job], Metrics]
    work = importlib.import_module(f"stages.{stage.name}").run
    try:
        metrics = work(job)
        seconds = round(time.monotonic() - clock, 3)
        run = _record(
            job, ws, state, metrics, started.isoformat("T", "seconds"), seconds
        )
        ws.publish(stage.name)
    finally:
        shutil.rmtree(ws.draft(stage.name), ignore_errors=True)
    ws.clear_scratch(stage.name)
    return run


def _record(
    job: Job,
    ws: Workspace,
    state: State,
    metrics: Metrics,
    started: str,
    seconds: float,
) -> Run:
    """Write ``summary.json`` and ``run.json`` into the draft."""
    stage = state.stage
    assert state.key is not None
    files = {}
    for name in stage.outputs:
        path = job.output(name)
        if not path.exists():
            raise AssertionError(
                f"{stage.name} did not write {name}, which it declares"
            )
        files[name] = record_file(path, digest(path))
    tools = {tool: tool_version(tool) for tool in stage.tools}
    summary = {
        **metrics,
        "started": started,
        "seconds": seconds,
        "tools": tools,
        "inputs": {name: state.parts[f"input {name}"] for name in stage.inputs},
        "outputs": {name: record.digest for name, record in files.items()},
    }
    path = ws.draft(stage.name) / "summary.json"
    write_json(path, summary)
    files[stage.summary] = record_file(path, digest(path))
    run = Run(
        stage=stage.name,
        key=state.key,
        parts=state.parts,
        files=files,
        tools=tools,
        started=started,
        seconds=seconds,
        metrics=metrics,
    )
    record = ws.draft(stage.name) / RUN
    record.write_bytes(run.to_json())
    _flush(ws.draft(stage.name))
    return run


def _flush(folder: Path) -> None:
    """Have everything on the disk before the rename makes it the good result."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
