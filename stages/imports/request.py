"""What an import is asked for, and what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

Runtime = Callable[[Floats], list[Floats]]
"""A model in a runtime: from float32 1×H×W×C to its outputs, batch of one."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A trained model from elsewhere, and what it is to become.

    Attributes:
        source: the user's file, or the folder of a SavedModel.
        target: the TFLite file to write.
        folder: an empty folder to work in.
        shape: height, width and channels of the pictures.
        samples: float32 N×H×W×C, on which source and target are compared.
        signature: the signature of a SavedModel; None: the obvious one.
        dequantize: take 8-bit weights back to float.
    """

    source: Path
    target: Path
    folder: Path
    shape: tuple[int, int, int]
    samples: Floats
    signature: str | None = None
    dequantize: bool = False


@dataclass(frozen=True)
class Imported:
    """A converted model, with the original in a runtime of its own.

    Attributes:
        original: computes as the source's own runtime does, outputs laid out as the
            target's.
        others: further runtimes that the target is measured against, by metric.
    """

    original: Runtime
    others: Mapping[str, Runtime] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How far the target's outputs are from the source's.

    Attributes:
        difference: the largest absolute difference over all samples and outputs.
        scale: the largest absolute value among the source's outputs.
        others: the same difference from ``Imported.others``, by metric.
    """

    difference: float
    scale: float
    others: Mapping[str, float]
