"""What a job's process is asked, and where it leaves its answer.

Every attempt has a folder of its own, ``build/nightly/runs/RUN/JOB/NUMBER``, with the
request, a claim, the log and the result. Who makes the claim owns the attempt: the
process itself when it begins, or a later run that gives the attempt up. So a process
that comes too late does nothing.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stages.nightly.rows import AttemptRow, JobRow, Kind

REQUEST, CLAIM, HELD = "request.json", "claim", "held"
LOG, RESULT = "log.txt", "result.json"
"""``HELD`` appears when the board is the attempt's: from then on its time counts."""


@dataclass(frozen=True)
class Request:
    """One attempt at a job.

    Attributes:
        kind: "prepare" (from the data to the kmodel) or "measure" (flash and check).
        board: the board's name; "" to prepare.
        section: the YAML's ``board`` section to measure with.
        inputs: the folder with what the stages before flash have made, relative to
            the root: written by "prepare", read by "measure".
        power: the board's power is cycled first.
        patience: seconds to wait for a board that somebody else uses.
    """

    kind: Kind
    project: str
    board: str
    section: dict[str, Any]
    inputs: str
    power: bool
    patience: float

    def save(self, folder: Path) -> None:
        """Write it into the attempt's folder."""
        text = json.dumps(asdict(self), indent=1)
        (folder / REQUEST).write_text(text, encoding="utf-8")


def load(folder: Path) -> Request:
    """What ``save`` wrote."""
    return Request(**json.loads((folder / REQUEST).read_bytes()))


def claim(folder: Path) -> bool:
    """Become the owner of an attempt; False if it has one."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    try:
        file = os.open(folder / CLAIM, flags, 0o644)
    except FileExistsError:
        return False
    os.write(file, json.dumps([os.getpid(), birth(os.getpid())]).encode())
    os.close(file)
    return True


def owner(folder: Path) -> int | None:
    """The process that owns an attempt and still is alive."""
    try:
        pid, born = json.loads((folder / CLAIM).read_bytes())
    except (OSError, ValueError):  # killed while it was writing that
        return None
    return pid if born is not None and birth(pid) == born else None


def birth(pid: int) -> str | None:
    """When a process was started, which tells it from a later one of the same id."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()
    return None if state == "Z" else fields[18]


def run_folder(root: Path, run: int) -> Path:
    """Where the jobs of a run have their folders."""
    return root / "build" / "nightly" / "runs" / str(run)


def attempt_folder(root: Path, job: JobRow, attempt: AttemptRow) -> Path:
    """The folder of an attempt."""
    return run_folder(root, job.run) / f"{job.id}" / str(attempt.number)


def inputs_folder(root: Path, run: int, project: str) -> Path:
    """Where a run keeps what the stages before flash have made of a project."""
    return run_folder(root, run) / "inputs" / project


def work_name(project: str, board: str) -> str:
    """The folder below ``build`` in which a project is measured on a board."""
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in board)
    return f"nightly/work/{project}@{safe}"
