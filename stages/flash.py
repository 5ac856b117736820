"""Write the model into the slot of the board's flash, and read it back.

Only sectors whose digest on the board differs are erased and written. The slot's
header goes first when it is taken away and last when it is written, so that a torn
write is never taken for a model.
"""

import hashlib
from typing import TYPE_CHECKING

from k210 import slot
from k210.board import Flash
from k210.errors import BoardError
from k210.slot import Slot
from k210.virtual.nor import SECTOR
from stages.artifacts import write_json
from stages.boards import opened
from stages.console import Advance

if TYPE_CHECKING:
    from stages.lifecycle import Job, Metrics

BLANK = hashlib.sha256(b"\xff" * SECTOR).hexdigest()


def run(job: "Job") -> "Metrics":
    """Flash the kmodel and its manifest; write ``receipt.json``.

    Raises:
        BoardError: the flash is too small, or does not hold what was written.
    """
    contents = Slot(
        job.input("compile/model.kmodel").read_bytes(),
        job.input("compile/manifest.json").read_bytes(),
        job.input("compile/known.bin").read_bytes(),
    )
    address = job.settings.flash.slot
    size = slot.size(contents)
    if address + size > job.settings.board.flash_size:
        raise BoardError(
            f"the model takes {size} bytes of flash from {address:#x} and the flash "
            f"ends at {job.settings.board.flash_size:#x}; lower flash.slot"
        )
    with opened(job) as board:
        with job.console.progress("KiB", size // 1024) as advance:
            written = write(board, address, contents, advance)
        verify(board, address, contents)
        receipt = {
            "board": board.identity(),
            "engine": board.engine,
            "slot": address,
            "size": size,
            "parts": {
                name: {
                    "address": address + part.offset,
                    "length": part.length,
                    "sha256": part.sha256.hex(),
                }
                for name, part in _parts(contents).items()
            },
        }
    write_json(job.output("flash/receipt.json"), receipt)
    return {"written": written, "sectors": size // SECTOR, "bytes": size}


def _parts(contents: Slot) -> dict[str, slot.Part]:
    header = slot.header(contents)
    return {
        "kmodel": header.kmodel,
        "manifest": header.manifest,
        "known answers": header.known_answers,
    }


def write(board: Flash, address: int, contents: Slot, advance: Advance) -> int:
    """Bring the slot to these contents; returns how many sectors were written."""
    wanted = _sectors(contents)
    present = {
        index: board.flash_sha256(address + index * SECTOR, SECTOR) for index in wanted
    }
    changed = [
        index
        for index, data in wanted.items()
        if present[index] != hashlib.sha256(data).hexdigest()
    ]
    if not changed:
        advance(len(wanted) * SECTOR // 1024, "")
        return 0
    board.flash_erase(address, SECTOR)
    body = [index for index in changed if index != 0]
    for done, index in enumerate([*body, 0], start=1):
        place = address + index * SECTOR
        if index and present[index] != BLANK:
            board.flash_erase(place, SECTOR)
        board.flash_write(place, wanted[index])
        advance(done * SECTOR // 1024, "")
    advance(len(wanted) * SECTOR // 1024, "")
    return len(body) + 1


def _sectors(contents: Slot) -> dict[int, bytes]:
    """What each sector of the slot shall hold, by its number."""
    image = bytearray(b"\xff" * slot.size(contents))
    for offset, data in slot.pack(contents):
        image[offset : offset + len(data)] = data
    return {
        start // SECTOR: bytes(image[start : start + SECTOR])
        for start in range(0, len(image), SECTOR)
    }


def verify(board: Flash, address: int, contents: Slot) -> None:
    """Compare SHA-256, computed on the board, with what was meant.

    Raises:
        BoardError: they differ.
    """
    for name, part in _parts(contents).items():
        found = board.flash_sha256(address + part.offset, part.length)
        if found != part.sha256.hex():
            raise BoardError(
                f"the {name} in flash at {address + part.offset:#x} is not what was "
                f"written (SHA-256 {found[:8]}… instead of {part.sha256.hex()[:8]}…); "
                "run the flash stage again; if it stays so, the flash is worn"
            )
