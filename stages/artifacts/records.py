"""``run.json``: how a stage's result came to be, and whether it is still that result.

Beside every stage's outputs stands a record of the key they were made under, the
parts of that key, and each file's canonical digest, SHA-256 and stat. An output is
intact when its stat is as recorded or, failing that, its bytes are.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stages.artifacts.workspace import Workspace

RUN = "run.json"
CHUNK = 1 << 20


@dataclass(frozen=True)
class FileRecord:
    """One file as its stage left it; ``digest`` is canonical, ``sha256`` of bytes."""

    digest: str
    sha256: str
    size: int
    mtime_ns: int

    def describes(self, path: Path) -> bool:
        """Whether the file still is what was recorded."""
        try:
            stat = path.stat()
            if stat.st_size != self.size:
                return False
            return stat.st_mtime_ns == self.mtime_ns or sha256(path) == self.sha256
        except OSError:
            return False


@dataclass(frozen=True)
class Run:
    """A finished run of one stage.

    ``parts`` are the named parts of ``key``; ``files`` maps each output (and the
    summary) to its record; ``started`` is ISO 8601 in UTC; ``seconds`` wall time.
    """

    stage: str
    key: str
    parts: dict[str, Any]
    files: dict[str, FileRecord]
    tools: dict[str, str]
    started: str
    seconds: float
    metrics: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: bytes) -> "Run":
        """Parse a record.

        Raises:
            ValueError: it is not one.
        """
        try:
            fields = json.loads(text)
            files = {k: FileRecord(**v) for k, v in fields.pop("files").items()}
            return cls(files=files, **fields)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a run record: {error}") from error

    def to_json(self) -> bytes:
        """The record as ``from_json`` reads it."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"

    def broken(self, ws: Workspace) -> list[str]:
        """A sentence for each output that is no longer what this run wrote."""
        sentences = []
        for relative, record in self.files.items():
            path = ws.path(relative)
            if not path.exists():
                sentences.append(f"{relative} is missing")
            elif not record.describes(path):
                sentences.append(f"{relative} is not what the stage wrote")
        return sentences


def read_run(ws: Workspace, stage: str) -> Run | None:
    """The record of the stage's present result, or None where there is none."""
    try:
        return Run.from_json((ws.path(stage) / RUN).read_bytes())
    except (OSError, ValueError):
        return None


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def record_file(path: Path, digest: str, content: str | None = None) -> FileRecord:
    """Record a file as it stands; ``content`` is its SHA-256 where already known."""
    stat = os.stat(path)
    return FileRecord(digest, content or sha256(path), stat.st_size, stat.st_mtime_ns)
