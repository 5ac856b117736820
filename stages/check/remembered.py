"""What the steps on the host have computed, so that another board need not wait for it.

Of the ladder only its last step depends on the board. The outputs of all others are
kept below ``build/.ladder``, one file for each set of models, samples, tools and
sources; with them a check imports no TensorFlow.
"""

import contextlib
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from stages.artifacts.keys import sources, tool_version
from stages.artifacts.records import sha256
from stages.check.ladder import Floats
from stages.dataset import Split

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

Samples = TypeVar("Samples")


class Remembered:
    """The outputs of one check's steps on the host.

    Args:
        path: the file that keeps them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found = _read(path)
        self._made: dict[str, Outputs] = {}

    def step(
        self,
        name: str,
        make: Callable[[], Callable[[Samples], Outputs]],
        count: Callable[[Samples], int],
    ) -> Callable[[Samples], Outputs]:
        """A step that computes only what is not known.

        Args:
            name: the step's.
            make: what computes it, made only where it is needed.
            count: how many samples there are in what the step is given.

        Returns the step; it must be given the samples in the same order each time.
        """
        if f"{name}.0" in self._found:
            return self._recall(name, count)
        predict, made = make(), self._made.setdefault(name, [])

        def compute(samples: Samples) -> Outputs:
            outputs = predict(samples)
            made.extend(outputs)
            return outputs

        return compute

    def _recall(
        self, name: str, count: Callable[[Samples], int]
    ) -> Callable[[Samples], Outputs]:
        known = [self._found[f"{name}.{k}"] for k in range(self._outputs(name))]
        done = 0

        def recall(samples: Samples) -> Outputs:
            nonlocal done
            start, done = done, done + count(samples)
            return [[values[i] for values in known] for i in range(start, done)]

        return recall

    def _outputs(self, name: str) -> int:
        return sum(key.rpartition(".")[0] == name for key in self._found)

    def save(self) -> None:
        """Keep what was computed; a disk that takes no more keeps less."""
        arrays = {
            f"{name}.{k}": np.stack([sample[k] for sample in made])
            for name, made in self._made.items()
            for k in range(len(made[0]))
        }
        size = sum(array.nbytes for array in arrays.values())
        if not arrays or size > LARGEST:
            return
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                np.savez(file, **cast(Any, {**self._found, **arrays}))
            os.replace(draft, self._path)
            _prune(self._path.parent)


def remembered(job: "Job", test: Split) -> Remembered:
    """What is known of these samples on the models of a project."""
    facts = {
        "models": {name: sha256(job.input(name)) for name in MODELS if job.has(name)},
        "samples": [len(test), Split(test.images, None).digest()],
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


def _read(path: Path) -> dict[str, NDArray[np.float32]]:
    """The arrays of a file, named STEP.OUTPUT; none where it is missing or damaged."""
    try:
        with np.load(path) as archive:
            found = dict(archive)
        os.utime(path)
    except DAMAGE:
        return {}
    return found
