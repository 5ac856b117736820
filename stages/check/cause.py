"""What a search for a wrong layer works on, and what it finds."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Cause:
    """A key for programs, and a sentence for people."""

    kind: str
    words: str


@dataclass(frozen=True)
class Sample:
    """One picture: what the float graph takes, what each operation made of it."""

    floats: Array
    traced: dict[str, Array]
