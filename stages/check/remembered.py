"""What the steps on the host have computed, so that another board need not wait for it.

Of the ladder only its last step depends on the board. The outputs of all others are
kept below ``build/.ladder``, one file for each set of models, tools and sources, by
the samples they were given; with them a check imports no TensorFlow.
"""

import contextlib
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from stages.artifacts.keys import sources, tool_version
from stages.artifacts.records import sha256
from stages.runtime import Floats

if TYPE_CHECKING:
    from stages.lifecycle import Job

FOLDER = Path("build", ".ladder")
LARGEST, CAPACITY = 64 << 20, 256 << 20
"""Bytes of one file, and of all; what is used least goes first."""

MODELS = (
    *("train/model.keras", "export/model.tflite", "normalize/model.tflite"),
    *("compile/model.kmodel", "compile/manifest.json"),
)
TOOLS = ("tensorflow", "keras", "numpy")
DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)

Outputs = list[list[Floats]]
"""Those of each sample."""

Known = dict[str, dict[bytes, list[Floats]]]
"""By step, and by the digest of the sample."""

DIGEST_SIZE = 16

Samples = TypeVar("Samples", bound="Sequence[NDArray[np.uint8]]")
"""Some samples: arrays, along whose first axis they lie."""


class Remembered:
    """The outputs of one check's steps on the host.

    Args:
        path: the file that keeps them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _read(path)
        self._news = False

    def step(
        self, name: str, make: Callable[[], Callable[[Samples], Outputs]]
    ) -> Callable[[Samples], Outputs]:
        """A step that computes only what is not known.

        Args:
            name: the step's.
            make: what computes it, made only where it is needed.
        """
        known = self._known.setdefault(name, {})
        made: list[Callable[[Samples], Outputs]] = []

        def predict(samples: Samples) -> Outputs:
            digests = [_digest(sample) for sample in zip(*samples, strict=True)]
            if not all(digest in known for digest in digests):
                if not made:
                    made.append(make())
                known.update(zip(digests, made[0](samples), strict=True))
                self._news = True
            return [known[digest] for digest in digests]

        return predict

    def save(self) -> None:
        """Keep what was computed; a disk that takes no more keeps less."""
        arrays = dict(_packed(self._known))
        size = sum(array.nbytes for array in arrays.values())
        if not self._news or size > LARGEST:
            return
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                np.savez(file, **cast(Any, arrays))
            os.replace(draft, self._path)
            _prune(self._path.parent)


def _digest(sample: tuple[NDArray[np.uint8], ...]) -> bytes:
    value = hashlib.blake2b(digest_size=DIGEST_SIZE)
    for array in sample:
        value.update(f"{array.shape}".encode())
        value.update(np.ascontiguousarray(array).data)
    return value.digest()


def _packed(known: Known) -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays of a file: STEP.of are the samples' digests, STEP.0 … the outputs."""
    for name, outputs in known.items():
        if outputs:
            digests = np.frombuffer(b"".join(outputs), np.uint8)
            yield f"{name}.of", digests.reshape(-1, DIGEST_SIZE)
            for number, column in enumerate(zip(*outputs.values(), strict=True)):
                yield f"{name}.{number}", np.stack(column)


def _read(path: Path) -> Known:
    """What ``_packed`` has made; nothing where the file is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as archive:
            found = dict(archive)
        os.utime(path)
    except DAMAGE:
        return {}
    known: Known = {}
    for name in (key.removesuffix(".of") for key in found if key.endswith(".of")):
        count = sum(key.startswith(f"{name}.") for key in found) - 1
        columns = [found[f"{name}.{number}"] for number in range(count)]
        digests = [row.tobytes() for row in found[f"{name}.of"]]
        outputs = (list(sample) for sample in zip(*columns, strict=True))
        known[name] = dict(zip(digests, outputs, strict=True))
    return known


def remembered(job: "Job") -> Remembered:
    """What is known of the models of a project."""
    facts = {
        "models": {name: sha256(job.input(name)) for name in MODELS if job.has(name)},
        "data": job.settings.data.model_dump(mode="json"),
        "tools": {tool: tool_version(tool) for tool in TOOLS},
        "sources": {str(path): sha256(path) for path in sources("stages.check")},
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return Remembered(job.root / FOLDER / f"{key[:32]}.npz")


def _prune(folder: Path) -> None:
    """Delete what was used least recently, down to the capacity."""
    files = [(path.stat().st_mtime, path) for path in folder.glob("*.npz")]
    total = 0
    for _, path in sorted(files, reverse=True):
        total += path.stat().st_size
        if total > CAPACITY:
            path.unlink(missing_ok=True)
