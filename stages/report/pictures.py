"""The samples that the device takes for something else, as pictures inside the page."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.report import figures

LARGEST = 128
"""Pictures are scaled down until no side is longer, in pixels."""


@dataclass(frozen=True)
class Shown:
    """One sample: its picture as a data: address, and who takes it for what.

    ``actual`` is None where the data has no labels, ``first`` where the first step
    of the ladder decides the same.
    """

    index: int
    picture: str
    actual: str | None
    decided: str
    score: str
    first: str | None
    first_score: str


@dataclass(frozen=True)
class Gallery:
    """Samples that are wrong, and those that the first step decides otherwise."""

    worst: tuple[Shown, ...]
    disagreements: tuple[Shown, ...]


def gallery(check: Mapping[str, Any], path: Path) -> Gallery | None:
    """The samples that ``check.json`` lists; None where there is none.

    Args:
        check: its content.
        path: of ``pictures.npz``.
    """
    with np.load(path, allow_pickle=False) as archive:
        indices, images = archive["indices"], archive["images"]
    pictures = {
        int(index): data_address(image)
        for index, image in zip(indices, images, strict=True)
    }
    kinds = [
        tuple(_shown(row, pictures, check["classes"]) for row in check[kind])
        for kind in ("worst", "disagreements")
    ]
    return Gallery(*kinds) if any(kinds) else None


def _shown(
    row: Mapping[str, Any], pictures: Mapping[int, str], classes: Sequence[str] | None
) -> Shown:
    same = row["decision"] == row["first_decision"]
    return Shown(
        index=row["index"],
        picture=pictures[row["index"]],
        actual=None if row["label"] is None else _name(row["label"], classes),
        decided=_name(row["decision"], classes),
        score=_score(row["score"]),
        first=None if same else _name(row["first_decision"], classes),
        first_score=_score(row["first_score"]),
    )


def _name(decision: int, classes: Sequence[str] | None) -> str:
    if classes is None or decision >= len(classes):
        return f"output {decision}"
    return figures.named(classes[decision])


def _score(score: float) -> str:
    """A probability as a percentage; anything else, such as a logit, as a number."""
    return f"{score:.0%}" if 0 <= score <= 1 else figures.scientific(score, 3)


def data_address(image: NDArray[np.uint8]) -> str:
    """A picture, uint8 H×W×C (grey or RGB), as a ``data:`` address of a PNG."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture.thumbnail((LARGEST, LARGEST))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
