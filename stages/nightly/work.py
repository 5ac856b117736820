"""``python -m stages.nightly.work FOLDER PARENT``: one attempt at a job, as a process.

What comes of it is left in the attempt's folder; the exit status says no more than
that something was left. A board is measured in a folder of its own for each project,
so that many boards can work on one project, from copies of what the stages before
flash have made of it once.
"""

import json
import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from k210 import fleet
from k210.child import die_with_parent
from k210.errors import UserError
from stages import project
from stages.artifacts import Workspace, read_json
from stages.console import Console
from stages.faults import disk_sentence
from stages.graph import Stage, stages_of
from stages.lifecycle import run_stage
from stages.nightly import outcome, request
from stages.nightly.outcome import Outcome
from stages.nightly.places import map_of
from stages.nightly.request import Request
from stages.nightly.rows import now
from stages.project.schema import Project
from stages.verdict import ladder_text, summary_line

ON_THE_BOARD = ("flash", "check")


def main(arguments: list[str]) -> int:
    """Do the attempt in a folder; returns the exit status."""
    folder = Path(arguments[0])
    die_with_parent(int(arguments[1]))
    if not request.claim(folder):
        return 0
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    _outcome(Path.cwd(), folder).save(folder / request.RESULT)
    return 0


def _outcome(root: Path, folder: Path) -> Outcome:
    """Do what is asked; whatever happens is an outcome."""
    asked = request.load(folder)
    work = {"prepare": prepare, "measure": measure}[asked.kind]
    try:
        return work(root, asked, folder)
    except UserError as error:
        print(f"error: {error}", flush=True)
        return outcome.of_error(error)
    except Exception as error:  # noqa: BLE001 - the run goes on, and shows the log
        traceback.print_exc()
        if sentence := disk_sentence(root / "build", error):
            return Outcome("error", "host", sentence)
        return Outcome("error", "fault", f"{type(error).__name__}: {error}")


def prepare(root: Path, asked: Request, folder: Path) -> Outcome:
    """Bring the stages before flash up to date, and keep what they have made."""
    file = project.select(root, asked.project)
    settings = project.settings(file, root)
    ws = Workspace(root, file.name)
    for stage in before_the_board(settings):
        if refused := _bring_up_to_date(ws, stage, settings, folder):
            return refused
    target = root / asked.inputs
    with ws.locked():
        for stage in before_the_board(settings):
            _share(ws.path(stage.name), target / stage.name)
    return Outcome("pass")


def before_the_board(settings: dict[str, Any]) -> tuple[Stage, ...]:
    """The stages that do not need the board."""
    stages = stages_of(settings)
    names = [stage.name for stage in stages]
    return stages[: names.index(ON_THE_BOARD[0])]


def _bring_up_to_date(
    ws: Workspace, stage: Stage, settings: dict[str, Any], folder: Path
) -> Outcome | None:
    """Restore or run a stage in the project's own folder; None if all is well."""
    # here, for doit takes a tenth of a second that no measurement need spend
    from stages.commands.processes import run_stage as run_in_process
    from stages.commands.tasks import StageTask

    task = StageTask(ws.root, ws.project, stage.name, settings)
    if done := task.restore():
        print(f"{stage.name}: {done}", flush=True)
        return None
    refusal = folder / f"{stage.name}.json"
    arguments = [stage.name, "--project", ws.project, "--quiet", "--if-stale"]
    status = run_in_process(
        [*arguments, "--refusal", str(refusal)], ws.root, os.environ
    )
    if status == 0:
        return None
    if refusal.exists():
        told = json.loads(refusal.read_bytes())
        return Outcome(*outcome.BLAME[told["kind"]], f"{stage.name}: {told['message']}")
    log = ws.log(stage.name)
    print(f"{log}:\n{log.read_text(errors='replace')}" if log.exists() else "")
    return Outcome("error", "fault", f"{stage.name} ended with status {status}")


def _share(source: Path, target: Path) -> None:
    """Give a finished stage's folder a second place, without copying its bytes.

    Stages replace their folders as a whole, so that what is linked never changes.
    """
    draft = target.with_name(f".{target.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(source, draft, copy_function=_link)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one that has no links
        shutil.copy2(source, target)


def measure(root: Path, asked: Request, folder: Path) -> Outcome:
    """Flash a project's kmodel and check it on one board."""
    found = project.load(project.select(root, asked.project), root)
    board = type(found.board).model_validate(asked.section)
    settings = found.model_copy(update={"board": board})
    ws = Workspace(root, request.work_name(asked.project, asked.board))
    for stage in before_the_board(settings.model_dump(mode="json")):
        _share(root / asked.inputs / stage.name, ws.path(stage.name))
    with _reserved(root, asked, folder):
        for name in ON_THE_BOARD:
            _run(ws, name, settings)
    kmodel = ws.path("compile/model.kmodel").stat().st_size
    check = read_json(ws.path("check/check.json"))
    print(f"{ladder_text(check)}\n{summary_line(check)}", flush=True)
    return outcome.of_check(check, outcome.figures_of(check, kmodel))


@contextmanager
def _reserved(root: Path, asked: Request, folder: Path) -> Iterator[None]:
    """Hold the board for all stages, so that nobody writes to it between them."""
    entries = [each for each in map_of(root) if each.id == asked.board]
    if not entries:  # a port that is in no map: the stages reserve it
        (folder / request.HELD).touch()
        yield
        return
    whom = f"the nightly run, project {asked.project}"
    with fleet.reserved(entries, whom, _say, asked.patience) as (entry, lock):
        (folder / request.HELD).touch()
        os.environ |= lock.environment()
        if asked.power:
            fleet.cycle(entry, folder / request.LOG)
        yield


def _say(line: str) -> None:
    print(line, flush=True)


def _run(ws: Workspace, name: str, settings: Project) -> None:
    """Run a stage here; its errors say which it was."""
    _say(f"{now()}: {name}")
    try:
        run_stage(ws, name, settings, Console(sys.stdout, name))
    except UserError as error:
        raise type(error)(f"{name}: {error}") from None


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # without the libraries' own end, which may take its time
