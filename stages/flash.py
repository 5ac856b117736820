"""Bring the model to the board: into its flash, or only into its memory.

What is written is the slot (``k210.flash.slot``), a region whose header is taken away
first and written last, so that a torn write is never taken for a model;
``k210.flash.flashing`` writes only what differs and refuses to overwrite what is not
ours.
"""

from typing import TYPE_CHECKING, Any

from k210 import firmware
from k210.board import Board, Flash
from k210.errors import BoardError, NoRoomError
from k210.flash import flashing, slot
from k210.flash.flash_map import SECTOR, Region
from k210.flash.flashing import Owner, Progress
from k210.flash.images import program_image
from k210.flash.slot import Slot
from k210.fleet.hardware_map import BoardEntry
from stages.artifacts import write_json
from stages.boards import open_entry, reserved

if TYPE_CHECKING:
    from stages.lifecycle import Job, Metrics


def run(job: "Job") -> "Metrics":
    """Bring the kmodel and its manifest to the board; write ``receipt.json``.

    Raises:
        BoardError: there is no room, the flash holds something else or does not hold
            what was written, or another board answers.
        ModelError: the model does not load.
    """
    contents = Slot(
        job.input("compile/model.kmodel").read_bytes(),
        job.input("compile/manifest.json").read_bytes(),
        job.input("compile/known.bin").read_bytes(),
    )
    settings = job.settings.flash
    with reserved(job) as entry:
        _require_room(contents, settings.slot, _flash_size(job, entry))
        with open_entry(job, entry) as board:
            if settings.mode == "ram":
                board.load(contents.kmodel)
                metrics: Metrics = {"outcome": "loaded into memory"}
            else:
                metrics = _write(job, entry, board, contents)
                verify(board, settings.slot, contents)
            receipt = {
                "board": board.identity(),
                "entry": entry.id,
                "engine": board.engine,
                "mode": settings.mode,
                "slot": settings.slot,
                "size": slot.size(contents),
                "parts": _parts(contents, settings.slot),
            }
    write_json(job.output("flash/receipt.json"), receipt)
    return metrics | {"bytes": slot.size(contents)}


def _flash_size(job: "Job", entry: BoardEntry) -> int:
    """As the map says, or else the project."""
    return entry.flash_size or job.settings.board.flash_size


def _require_room(contents: Slot, address: int, flash_size: int) -> None:
    """See before the board is opened that the model fits.

    Raises:
        BoardError: it does not.
    """
    size = slot.size(contents)
    if address + size > flash_size:
        raise NoRoomError(
            f"the model takes {size} bytes of flash from {address:#x} and the flash "
            f"ends at {flash_size:#x}; lower flash.slot"
        )


def _write(job: "Job", entry: BoardEntry, board: Board, contents: Slot) -> "Metrics":
    settings = job.settings.flash
    regions = [slot_region(contents, settings.slot)]
    if settings.mode == "standalone":
        regions.insert(0, firmware_region())
    owner = Owner(
        project=str(job.settings.project.name),
        board=None if entry.virtual else entry.id,
        overwrite=settings.overwrite,
    )
    count = sum(len(region.sectors) for region in regions)
    with job.console.progress("KiB", count * SECTOR // 1024) as advance:

        def tell(progress: Progress) -> None:
            left = progress.total - progress.done
            advance(count * SECTOR // 1024 - left // 1024, str(progress))

        flash_id = str(board.identity()["flash_id"])
        written = flashing.write(board, flash_id, regions, owner, tell)
    return {"written": written, "sectors": count, "outcome": "verified"}


def slot_region(contents: Slot, address: int) -> Region:
    """The slot with a model, at an address."""
    image = bytearray(b"\xff" * slot.size(contents))
    for offset, data in slot.pack(contents):
        image[offset : offset + len(data)] = data
    return Region("the model slot", address, bytes(image), guarded=True)


def firmware_region() -> Region:
    """Our firmware, where the ROM starts it."""
    return Region("the firmware", 0, program_image(firmware.image()), aligned=True)


def verify(board: Flash, address: int, contents: Slot) -> None:
    """Compare SHA-256 of the slot's parts, computed on the board, with what was meant.

    Raises:
        BoardError: they differ.
    """
    for name, part in _parts(contents, address).items():
        found = board.flash_sha256(part["address"], part["length"])
        if found != part["sha256"]:
            raise BoardError(
                f"the {name} in flash at {part['address']:#x} is not what was "
                f"written (SHA-256 {found[:8]}… instead of {part['sha256'][:8]}…); "
                "run the flash stage again; if it stays so, the flash is worn"
            )


def _parts(contents: Slot, address: int) -> dict[str, dict[str, Any]]:
    header = slot.header(contents)
    named = {
        "kmodel": header.kmodel,
        "manifest": header.manifest,
        "known answers": header.known_answers,
    }
    return {
        name: {
            "address": address + part.offset,
            "length": part.length,
            "sha256": part.sha256.hex(),
        }
        for name, part in named.items()
    }
