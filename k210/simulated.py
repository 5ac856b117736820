"""A board without hardware: a flash memory in a file, nncase's simulator as the chip.

What it runs is what its flash gives back, so a torn or forgotten write shows.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from k210 import slot
from k210.board import BoardSpec, Description
from k210.errors import BoardError, ModelError
from k210.simulator import Simulator
from k210.virtual.nor import SECTOR, NorFlash

CHUNK = 16
"""Samples per request to the simulator's process."""


class SimulatedBoard:
    """See ``k210.board.Board``."""

    engine = "nncase-simulator"

    def __init__(self, spec: BoardSpec) -> None:
        self._spec = spec
        self._readonly = spec.flash_image.exists()
        spec.flash_image.parent.mkdir(parents=True, exist_ok=True)
        self._flash = NorFlash(
            spec.flash_image, spec.flash_size, readonly=self._readonly
        )
        self._simulator: Simulator | None = None

    @property
    def flash_size(self) -> int:
        """Size of the flash in bytes."""
        return self._flash.size

    def identity(self) -> dict[str, str | int]:
        """Kind, flash id and size."""
        return {
            "kind": "simulated",
            "flash_id": self._flash.jedec_id.hex(),
            "flash_size": self.flash_size,
        }

    def flash_read(self, address: int, length: int) -> bytes:
        """Bytes of the flash."""
        return self._flash.read(address, length)

    def flash_erase(self, address: int, length: int) -> None:
        """Erase whole sectors.

        Raises:
            BoardError: the range does not consist of whole sectors.
        """
        if address % SECTOR or length % SECTOR:
            raise BoardError(
                f"cannot erase {length} bytes at {address:#x}: "
                f"flash erases in whole sectors of {SECTOR} bytes"
            )
        flash = self._writable()
        for sector in range(address, address + length, SECTOR):
            flash.erase_sector(sector)

    def flash_write(self, address: int, data: bytes) -> None:
        """Program erased bytes."""
        self._writable().write(address, data)

    def _writable(self) -> NorFlash:
        """The flash, opened for writing from the first write on."""
        if self._readonly:
            self._flash.close()
            self._flash = NorFlash(self._spec.flash_image, self._spec.flash_size)
            self._readonly = False
        return self._flash

    def flash_sha256(self, address: int, length: int) -> str:
        """Hex SHA-256 of a range."""
        return self._flash.sha256(address, length)

    def load(self, model: int | bytes) -> None:
        """Load the kmodel in the slot at an address, or these bytes of one."""
        if isinstance(model, int):
            model = slot.read(self.flash_read, model, self.flash_size).kmodel
        self.reset()
        self._simulator = Simulator(model, self._spec.log)

    def _loaded(self) -> Simulator:
        if self._simulator is None:
            raise ModelError("no model is loaded on the board; load one first")
        return self._simulator

    def describe(self) -> Description:
        """The loaded model's inputs and outputs."""
        return self._loaded().description

    def infer(self, data: bytes) -> list[bytes]:
        """The outputs for one input."""
        return self._loaded().infer([data])[0]

    def infer_many(self, samples: Iterable[bytes]) -> Iterator[list[bytes]]:
        """The outputs for each sample, in order."""
        waiting = iter(samples)
        while chunk := list(islice(waiting, CHUNK)):
            yield from self._loaded().infer(chunk)

    def trace(self, ids: Sequence[str]) -> dict[str, Any]:
        """Not possible here: nncase's simulator does not show its tensors."""
        raise BoardError("the simulated board cannot trace ops; a real one can")

    def timings(self) -> dict[str, float]:
        """Not possible here: nncase's simulator does not model time."""
        raise BoardError("the simulated board does not model time; a real one has it")

    def reset(self) -> None:
        """Forget the loaded model."""
        if self._simulator is not None:
            self._simulator.close()
            self._simulator = None

    def close(self) -> None:
        """End the simulator and close the flash."""
        self.reset()
        self._flash.close()
