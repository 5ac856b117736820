"""One face for every board, real or not: ``open(spec)`` and what it returns.

Nothing above this module knows what kind of board it has.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Progress = Callable[[int, int], None]
"""Called with the bytes done so far and the bytes in all."""


@dataclass(frozen=True)
class BoardSpec:
    """Which board to open.

    Attributes:
        port: a serial port, a URL or "virtual".
        flash_size: size of its flash in bytes.
        flash_image: the file that holds the flash of a board without hardware.
        log: the file for the chatter of tools behind it.
        kind: its type, a name in ``k210.boards``; None for the port's usual one.
        baud: rate of the link.
        reset: the type whose reset wiring it has; None for its own type's.
    """

    port: str
    flash_size: int
    flash_image: Path
    log: Path
    kind: str | None = None
    baud: int = 2_000_000
    reset: str | None = None


@dataclass(frozen=True)
class Tensor:
    """An input or output of the loaded model: shape, and dtype "u8" or "f32"."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Bytes it takes."""
        count = 4 if self.dtype == "f32" else 1
        for length in self.shape:
            count *= length
        return count


@dataclass(frozen=True)
class Description:
    """What the loaded model takes and gives, in the kmodel's order."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Erase:
    """Set whole 4 KiB sectors to FF."""

    address: int
    length: int


@dataclass(frozen=True)
class Program:
    """Program erased bytes."""

    address: int
    data: bytes


@dataclass(frozen=True)
class Digest:
    """Give the MD5 of each of some whole 4 KiB sectors, computed on the board."""

    address: int
    length: int


FlashStep = Erase | Program | Digest
Done = tuple[FlashStep, tuple[bytes, ...]]
"""A step that was done, and the digests it gave."""


class Flash(Protocol):
    """A flash memory. Addresses and lengths are bytes.

    Every method raises BoardError when the infrastructure fails.
    """

    @property
    def flash_size(self) -> int:
        """Size of the flash in bytes."""

    def flash_read(self, address: int, length: int) -> bytes:
        """Bytes of the flash."""

    def flash_erase(self, address: int, length: int) -> None:
        """Erase whole 4 KiB sectors to FF."""

    def flash_write(self, address: int, data: bytes) -> None:
        """Program erased bytes."""

    def flash_sha256(self, address: int, length: int) -> str:
        """Hex SHA-256 of a range, computed on the board."""

    def flash_run(self, steps: Iterable[FlashStep]) -> Iterator[Done]:
        """Do steps in order, giving each when it is done, overlapped where possible.

        A model that was loaded is forgotten.
        """


class Board(Flash, Protocol):
    """A K210 with a flash memory, that runs kmodels.

    Every method raises BoardError when the infrastructure fails and ModelError when
    the model does.
    """

    engine: str
    """What computes: "firmware"."""

    def identity(self) -> dict[str, str | int]:
        """What tells this board from others: at least kind, flash id and size."""

    def load(self, model: int | bytes) -> None:
        """Load the kmodel in the slot at an address, or these bytes of one."""

    def describe(self) -> Description:
        """The loaded model's inputs and outputs."""

    def infer(self, data: bytes) -> list[bytes]:
        """The outputs for one input, each as the bytes of its tensor."""

    def infer_many(self, samples: Iterable[bytes]) -> Iterator[list[bytes]]:
        """``infer`` for each sample, in order, overlapped where the board can."""

    def trace(self, ids: Sequence[str]) -> dict[str, Any]:
        """The output tensors of these ops in the last inference."""

    def timings(self) -> dict[str, float]:
        """Seconds each op took in the last inference."""

    def reset(self) -> None:
        """Start over: no model loaded."""

    def close(self) -> None:
        """Let go of the board; it can be called twice."""


def open(spec: BoardSpec) -> Board:  # noqa: A001 - called as board.open
    """Open the board that a project names.

    Raises:
        BoardError: there is no such board.
    """
    from k210.linked import open_linked

    return open_linked(spec)
