"""Projects × stages → doit tasks.

``./pipeline.yaml`` has its stages under their plain names, ``projects/NAME.yaml``
as ``NAME:train`` … ``NAME:report``, and ``NAME`` for all of one. No stage is imported
here: each runs in a process of its own.
"""

import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from k210.errors import UserError
from stages import project
from stages.commands import processes
from stages.commands.reporter import LineReporter
from stages.commands.tasks import StageTask, refuse
from stages.graph import STAGES, Stage, stages_of
from stages.project import ProjectFile

processes.settle()

ROOT = Path.cwd()
MEASURE = "_measure"  # the check stage; the task `check` judges what it measured

DOIT_CONFIG = {
    "default_tasks": ["deploy"],
    "backend": "whole_json",
    "dep_file": ".doit.db.json",
    "reporter": LineReporter,
    "verbosity": 2,
}

FRESH = {
    "name": "fresh",
    "long": "fresh",
    "type": bool,
    "default": False,
    "help": "run again, whatever an earlier run has left",
}


def task_projects() -> Iterator[dict[str, Any]]:
    """All tasks of all projects."""
    for file in _found():
        try:
            settings = project.settings(file, ROOT)
        except UserError as error:
            yield from _refused(file, str(error))
        else:
            yield from _tasks(file, settings)


def _found() -> list[ProjectFile]:
    try:
        return project.find(ROOT)
    except UserError as error:
        refuse(str(error))
        sys.exit(2)


def _named(file: ProjectFile, task: str) -> dict[str, Any]:
    if file.prefix:
        return {"basename": file.name, "name": task}
    return {"basename": task}


def _refused(file: ProjectFile, errors: str) -> Iterator[dict[str, Any]]:
    """Tasks that say what is wrong with the project's YAML; others go on working."""
    for name in (*(stage.name for stage in STAGES), "deploy"):
        yield {**_named(file, name), "actions": [functools.partial(refuse, errors)]}


def _tasks(file: ProjectFile, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for stage in stages_of(settings):
        yield _stage_task(file, stage, settings)
    check = StageTask(ROOT, file.name, "check", settings)
    yield {
        **_named(file, "check"),
        "doc": "measure every step from the float model to the board, and judge",
        "actions": [check.judge],
        "task_dep": [f"{file.prefix}{MEASURE}"],
    }
    yield {
        **_named(file, "deploy"),
        "doc": "everything, from the data to a measured accuracy and its report",
        "actions": [check.judge],  # last, so that a failed model has its report too
        "task_dep": [f"{file.prefix}report"],
    }


def _stage_task(
    file: ProjectFile, stage: Stage, settings: dict[str, Any]
) -> dict[str, Any]:
    task = StageTask(ROOT, file.name, stage.name, settings)
    ws = task.ws
    return {
        **_named(file, MEASURE if stage.name == "check" else stage.name),
        "doc": stage.doc,
        "actions": [task.make],
        "params": [FRESH],
        "file_dep": [str(ws.path(name)) for name in stage.inputs],
        "targets": [str(ws.path(name)) for name in (*stage.outputs, stage.summary)],
        "uptodate": [task.is_current],
        "clean": [task.clean],
        "meta": {"root": str(ROOT), "project": file.name, "stage": stage.name},
    }
