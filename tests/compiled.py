"""Compiled networks of ``graphs.py``, with what others compute of them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FEW = (
    "width-17",
    "pool-max_3_by_2",
    "case-3x3_dilated",
    "case-3x3_by_2_same",
    "concatenated",
    "squeezed",
    "on_the_cpu",
    "resized-bilinear",
    "upsampled",
    "two_headed",
)
"""Every kind of operation is in one of them."""


@dataclass(frozen=True)
class Compiled:
    """A network of ``graphs.py``; `outputs` is empty where the simulator crashed."""

    name: str
    model: bytes
    inputs: list[bytes]
    outputs: list[NDArray[np.uint8]]
    tflite: list[NDArray[np.float32]]


def compiled(folder: Path) -> Iterator[Compiled]:
    """What ``zoo_kmodels.py`` has written."""
    for name in json.loads((folder / "index.json").read_bytes()):
        with np.load(folder / f"{name}.npz") as archive:
            yield Compiled(
                name,
                (folder / f"{name}.kmodel").read_bytes(),
                [sample.tobytes() for sample in archive["inputs"]],
                [archive[key] for key in archive.files if key.startswith("output")],
                [archive[key] for key in archive.files if key.startswith("tflite")],
            )
