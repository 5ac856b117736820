"""The run cache: earlier results by key, so that going back costs nothing.

One zip per key holds a stage's outputs and record. It appears by a rename, so that
two processes can share the cache; it is believed only after each file's SHA-256 has
been compared with the record; the least recently used go when it grows too large.
"""

import hashlib
import lzma
import os
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from k210.errors import UserError
from stages.artifacts.records import CHUNK, RUN, Run, record_file
from stages.artifacts.workspace import Workspace

CAPACITY_VARIABLE = "K210_CACHE_MIB"
DEFAULT_CAPACITY_MIB = 2048
STALE_S = 3600.0


class DamagedEntry(Exception):
    """A cache entry that is not what was stored."""


DAMAGE = (
    DamagedEntry,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What damage to an archive makes zipfile raise."""


@dataclass(frozen=True)
class Entry:
    """A stored result: its file, size in bytes and time of last use."""

    path: Path
    size: int
    used: float

    @property
    def key(self) -> str:
        """The key it is stored under."""
        return self.path.stem


class RunCache:
    """The cache that all projects of a checkout share, in ``build/.cache``."""

    def __init__(self, ws: Workspace) -> None:
        self.ws = ws
        self.folder = ws.build / ".cache"

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.zip"

    def peek(self, key: str) -> Run | None:
        """The record stored under a key, or None; reads nothing else."""
        try:
            with zipfile.ZipFile(self._path(key)) as archive:
                return Run.from_json(archive.read(RUN))
        except (OSError, *DAMAGE):
            return None

    def store(self, run: Run) -> None:
        """Keep a finished run, then drop what is over the capacity."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".{run.key}.{os.getpid()}"
        try:
            with zipfile.ZipFile(
                draft, "w", zipfile.ZIP_DEFLATED, compresslevel=1
            ) as archive:
                archive.writestr(RUN, run.to_json())
                for name in run.files:
                    archive.write(self.ws.path(name), name)
            os.replace(draft, self._path(run.key))
        finally:
            draft.unlink(missing_ok=True)
        self.prune(capacity())

    def restore(self, key: str) -> Run | None:
        """Put a stored result in the place of its stage's present one.

        The caller holds the project's lock. A damaged entry is dropped, and
        None is returned as if it had never been there.
        """
        if (run := self.peek(key)) is None:
            if self._path(key).exists():
                self._drop(key, "it is no archive with a record")
            return None
        draft = self.ws.start_draft(run.stage)
        unpacked = {name: self._unpacked(draft, run.stage, name) for name in run.files}
        try:
            self._unpack(key, run, unpacked)
        except DAMAGE as error:
            shutil.rmtree(draft)
            for path in unpacked.values():
                path.unlink(missing_ok=True)
            self._drop(key, str(error))
            return None
        files = {
            name: record_file(unpacked[name], record.digest, record.sha256)
            for name, record in run.files.items()
        }
        for name, path in unpacked.items():
            if not path.is_relative_to(draft):
                os.replace(path, self.ws.path(name))
        restored = replace(run, files=files)
        (draft / RUN).write_bytes(restored.to_json())
        self.ws.publish(run.stage)
        os.utime(self._path(key))
        return restored

    def _drop(self, key: str, damage: str) -> None:
        self._path(key).unlink(missing_ok=True)
        print(f"cache: dropped a damaged entry, {key[:12]} ({damage})", flush=True)

    def _unpacked(self, draft: Path, stage: str, name: str) -> Path:
        """Where an output waits until all of them are verified."""
        folder, _, rest = name.partition("/")
        return draft / rest if folder == stage else self.ws.path(f"{name}.new")

    def _unpack(self, key: str, run: Run, unpacked: dict[str, Path]) -> None:
        with zipfile.ZipFile(self._path(key)) as archive:
            for name, record in run.files.items():
                unpacked[name].parent.mkdir(parents=True, exist_ok=True)
                if name not in archive.NameToInfo:
                    raise DamagedEntry(f"{name} is missing")
                if _copy(archive, name, unpacked[name]) != record.sha256:
                    raise DamagedEntry(f"{name} is not what was stored")

    def entries(self) -> list[Entry]:
        """What is stored, the most recently used first."""
        found = []
        for path in self.folder.glob("*.zip"):
            try:
                stat = path.stat()
            except FileNotFoundError:  # another process pruned it
                continue
            found.append(Entry(path, stat.st_size, stat.st_mtime))
        return sorted(found, key=lambda entry: -entry.used)

    def prune(self, capacity_mib: float) -> list[Entry]:
        """Drop the least recently used entries over the capacity; returns them."""
        dropped, total = [], 0
        for entry in self.entries():
            total += entry.size
            if total > capacity_mib * (1 << 20):
                entry.path.unlink(missing_ok=True)
                dropped.append(entry)
        for draft in self._abandoned():
            draft.unlink(missing_ok=True)
        return dropped

    def _abandoned(self) -> Iterator[Path]:
        """Drafts that a killed process left behind."""
        for path in self.folder.glob(".*"):
            try:
                if time.time() - path.stat().st_mtime > STALE_S:
                    yield path
            except FileNotFoundError:
                continue


def capacity() -> float:
    """How much the cache may hold, in MiB.

    Raises:
        UserError: the environment variable is not a number.
    """
    text = os.environ.get(CAPACITY_VARIABLE, str(DEFAULT_CAPACITY_MIB))
    if (size := mebibytes(text)) is None:
        raise UserError(
            f"{CAPACITY_VARIABLE}={text}: not a size; give the cache's in MiB"
        )
    return size


def mebibytes(text: str) -> float | None:
    """A size as a person writes it; None if it is no number from 0."""
    try:
        size = float(text)
    except ValueError:
        return None
    return size if size >= 0 else None


def _copy(archive: zipfile.ZipFile, name: str, target: Path) -> str:
    """Unpack one member; returns the SHA-256 of what was written."""
    digest = hashlib.sha256()
    with archive.open(name) as source, target.open("wb") as file:
        while chunk := _read(source):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _read(source: IO[bytes]) -> bytes:
    """The next bytes of a member; bz2 reports damage as an OSError."""
    try:
        return source.read(CHUNK)
    except OSError as error:
        raise DamagedEntry(str(error)) from None
