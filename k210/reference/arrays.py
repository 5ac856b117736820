"""What the operations of the CPU have in common."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210.errors import ModelError

Array = NDArray[Any]
Step = Callable[[], None]
"""One operation, bound to the memory it reads and writes."""


def require(condition: bool, problem: str) -> None:
    """Raise ModelError unless the condition holds; the caller says which op it is."""
    if not condition:
        raise ModelError(problem)


def require_type(dtype: type, *arrays: Array) -> None:
    """Raise ModelError unless all arrays hold that type."""
    for array in arrays:
        require(array.dtype == dtype, f"it works on {array.dtype}")


def clamped(values: Array, low: np.float32, high: np.float32) -> Array:
    """The values within [low, high], NaN staying NaN."""
    within: Array = np.maximum(np.minimum(values, high), low)
    return within
