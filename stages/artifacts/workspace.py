"""Where a project's files live, and how a stage's folder is replaced in one go."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from k210.errors import UserError

LOCK_PATIENCE_S = 1.0


class Workspace:
    """The folder ``build/PROJECT`` below the root of a checkout."""

    def __init__(self, root: Path, project: str) -> None:
        self.root = root
        self.project = project
        self.build = root / "build"
        self.home = self.build / project

    def path(self, relative: str) -> Path:
        """The file of an artifact such as ``compile/model.kmodel``."""
        return self.home / relative

    def log(self, stage: str) -> Path:
        """Where a stage's tools may chatter."""
        return self.home / "logs" / f"{stage}.log"

    def draft(self, stage: str) -> Path:
        """The folder a stage writes into before it is published."""
        return self.home / f".{stage}.new"

    def scratch(self, stage: str, key: str) -> Path:
        """A folder that outlives a kill, for the work of one key only."""
        return self.home / ".scratch" / f"{stage}-{key[:16]}"

    def clear_scratch(self, stage: str) -> None:
        """Delete a stage's scratch folders, of all keys."""
        for folder in (self.home / ".scratch").glob(f"{stage}-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _retired(self, stage: str) -> Path:
        return self.home / f".{stage}.old"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of this project's folder; waits for them."""
        # imported here, for it takes 70 ms that an idle run can do without
        from filelock import FileLock, Timeout

        self.home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.home / ".lock")
        try:
            lock.acquire(timeout=LOCK_PATIENCE_S)
        except Timeout:
            print(
                f"waiting: another run is at work on project {self.project!r}",
                flush=True,
            )
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def start_draft(self, stage: str) -> Path:
        """An empty draft folder, whatever an earlier, killed run left in it."""
        draft = self.draft(stage)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        return draft

    def publish(self, stage: str) -> None:
        """Put the draft in the place of the stage's folder.

        Killed between the two renames, the last good folder is still there
        under its other name, and ``recover`` puts it back.
        """
        final, retired = self.path(stage), self._retired(stage)
        shutil.rmtree(retired, ignore_errors=True)
        if final.exists():
            os.rename(final, retired)
        os.rename(self.draft(stage), final)
        shutil.rmtree(retired, ignore_errors=True)

    def recover(self, stage: str) -> None:
        """Undo the half of a ``publish`` that was killed in the middle."""
        final, retired = self.path(stage), self._retired(stage)
        if retired.exists() and not final.exists():
            os.rename(retired, final)
        shutil.rmtree(retired, ignore_errors=True)

    def remove(self, stage: str) -> None:
        """Delete what a stage has made."""
        with self.locked():
            shutil.rmtree(self.path(stage), ignore_errors=True)
            shutil.rmtree(self.draft(stage), ignore_errors=True)
            shutil.rmtree(self._retired(stage), ignore_errors=True)
            self.clear_scratch(stage)


def read_json(path: Path) -> Any:
    """The content of a JSON file that one of the stages wrote.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run the stage that writes it") from None
    except ValueError as error:
        raise UserError(
            f"{path}: damaged ({error}); delete it and run its stage again"
        ) from None


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` so that the same value gives the same bytes."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
