"""What a kmodel can be run with."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from numpy.typing import NDArray

from k210.kmodel import Kmodel


class Engine(Protocol):
    """Something that holds a kmodel; it raises UserError."""

    def infer_many(self, samples: Iterable[bytes]) -> Iterator[list[bytes]]:
        """For each sample the outputs, each as the bytes of its tensor."""

    def trace(self, data: bytes) -> Mapping[str, NDArray[Any]]:
        """What each operation gives for one sample, by op id."""

    def timings(self) -> Mapping[str, float]:
        """Seconds that each operation takes on the chip, by op id."""


@contextmanager
def reference(model: Kmodel) -> Iterator[Engine]:
    """The host reference, which models the chip's time."""
    from k210.reference import Reference

    yield Reference(model)


@contextmanager
def firmware(model: Kmodel) -> Iterator[Engine]:
    """The firmware's runtime, executed by the virtual chip."""
    from k210.virtual.direct import DirectEngine

    yield DirectEngine(model)


ENGINES: Mapping[str, Callable[[Kmodel], AbstractContextManager[Engine]]] = {
    "firmware": firmware,
    "reference": reference,
}
"""By the name that ``--engine`` takes; the first one is the default."""
