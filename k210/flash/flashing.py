"""Writes to a board's flash what differs, and nothing that is somebody else's.

First the board digests the sectors in question. From that it is known what would be
written: where nothing may be, nothing has been. Then erasing, sending, programming and
digesting overlap; sectors whose digest is not what was meant are written again, a few
times. Whatever stops it, the next run finds out what differs and sets it right.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from k210.board import Digest, Erase, Flash, FlashStep, Program
from k210.errors import BoardError
from k210.flash import flash_map, slot
from k210.flash.flash_map import BLOCK, SECTOR, Region, runs
from k210.flash.images import HEADER as IMAGE_HEADER
from k210.flash.ledger import WRITING, Entry, Ledger, board_called, now, whole

PIECE = 8192
"""Bytes that are programmed by one request."""

TRIES = 3
BLOCK_PAYS_FROM = 4
"""Sectors that are not blank in a block which changes as a whole: erasing 64 KiB takes
150 ms and a sector 45 ms."""

FIRMWARE_MARK, FIRMWARE_MARK_AT = b"K210FWv1", IMAGE_HEADER.size + 8


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


BLANK = _md5(b"\xff" * SECTOR)


@dataclass(frozen=True)
class Progress:
    """How far a write is.

    Attributes:
        done: bytes programmed and verified.
        total: bytes to be written.
        seconds: since the first of them was sent.
    """

    done: int
    total: int
    seconds: float

    def __str__(self) -> str:
        """Rate and time left, in words."""
        if not self.done or self.seconds <= 0:
            return ""
        rate = self.done / self.seconds
        return f"{rate / 1024:.0f} KiB/s, {(self.total - self.done) / rate:.0f} s left"


Tell = Callable[[Progress], None]


@dataclass(frozen=True)
class Owner:
    """For whom something is written.

    Attributes:
        project: what to call him.
        board: what he calls the board, if another one must not be taken for it.
        overwrite: whether somebody else's data, or another board, do not matter.
    """

    project: str
    board: str | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        regions: what was asked for.
        wanted: what each of their sectors shall hold, by address.
        found: the digest of what each holds.
    """

    regions: Sequence[Region]
    wanted: dict[int, bytes]
    found: dict[int, bytes]
    _digests: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._digests.update({at: _md5(data) for at, data in self.wanted.items()})

    @property
    def changed(self) -> list[int]:
        """The addresses of the sectors to be written.

        Where a guarded region changes, its first sector is one of them.
        """
        differ = {at for at in self.wanted if self.found[at] != self._digests[at]}
        for region in self.regions:
            if region.guarded and differ.intersection(region.sectors):
                differ.add(region.first_sector)
        return sorted(differ)

    @property
    def guards(self) -> list[int]:
        """The changed sectors that are taken away first and written last."""
        first = {region.first_sector for region in self.regions if region.guarded}
        return [at for at in self.changed if at in first]

    def digest(self, address: int) -> bytes:
        """The digest of what a sector shall hold."""
        return self._digests[address]

    def lines(self) -> list[str]:
        """What would be written, in words."""
        changed = set(self.changed)
        return [
            f"{region.name} at {region.address:#x}: {len(region.data)} bytes, "
            f"{len(changed.intersection(region.sectors))} of {len(region.sectors)} "
            "sectors would be written"
            for region in self.regions
        ]


def survey(board: Flash, regions: Sequence[Region]) -> Plan:
    """Find out what would have to be written; writes nothing.

    Raises:
        BoardError: the regions do not fit the flash or each other.
    """
    flash_map.check(regions, board.flash_size)
    wanted = flash_map.sectors(regions, board.flash_read)
    found: dict[int, bytes] = {}
    for step, digests in board.flash_run(_digesting(list(wanted))):
        assert isinstance(step, Digest)
        found.update(zip(_places(step), digests, strict=True))
    return Plan(regions, wanted, found)


def _digesting(places: Sequence[int]) -> Iterator[FlashStep]:
    return (Digest(address, length) for address, length in runs(places))


def _places(step: Digest) -> range:
    return range(step.address, step.address + step.length, SECTOR)


def write(
    board: Flash,
    flash_id: str,
    regions: Sequence[Region],
    owner: Owner,
    tell: Tell = lambda _: None,
) -> int:
    """Bring the flash to hold these regions; the number of sectors written.

    Args:
        board: where to.
        flash_id: of the board.
        regions: what.
        owner: for whom.
        tell: called with how far it is.

    Raises:
        BoardError: nothing was written, because the regions do not fit, another board
            answers, or data of somebody else lie there; or the flash does not hold
            what was written.
        UserError: the ledger cannot be written.
    """
    require_same_board(flash_id, owner)
    plan = survey(board, regions)
    ledger = Ledger(flash_id)
    if not owner.overwrite:
        require_ours(board, plan, ledger)
    entries = [_entry(plan, region, owner) for region in regions]
    if plan.changed:
        ledger.put(entries)
        _carry_out(board, plan, tell)
    ledger.put([whole(entry) for entry in entries])
    if owner.board is not None:
        ledger.rename(owner.board)
    return len(plan.changed)


def require_same_board(flash_id: str, owner: Owner) -> None:
    """See that the board is the one that went by its name the last time.

    Raises:
        BoardError: it is another one.
    """
    if owner.board is None or owner.overwrite:
        return
    known = board_called(owner.board)
    if known not in (None, flash_id):
        raise BoardError(
            f"the board on {owner.board} is another one than the last time (its flash "
            f"has the id {flash_id}, not {known}), so nothing was written: plug that "
            "one in, or allow this one with flash.overwrite (--force)"
        )


def require_ours(board: Flash, plan: Plan, ledger: Ledger) -> None:
    """See that nothing would be overwritten which we have not written.

    Raises:
        BoardError: something would.
    """
    foreign = [at for at in plan.changed if plan.found[at] != BLANK]
    for ours in (_in_ledger(board, ledger, foreign), _recognized(board, plan)):
        foreign = [at for at in foreign if not any(at in each for each in ours)]
    if foreign:
        raise BoardError(
            f"the flash is not blank at {foreign[0]:#x} ({len(foreign)} sectors of "
            f"{len(plan.wanted)}) and holds what this computer has not written, so "
            "nothing was written: choose another address, or allow it to be "
            "overwritten with flash.overwrite (--force)"
        )


def _in_ledger(board: Flash, ledger: Ledger, places: Sequence[int]) -> list[range]:
    """Which of our regions at these places are still there, as their heads show.

    What was being written when something stopped it is ours whatever it holds.
    """
    touched = [
        entry
        for entry in ledger.entries
        if any(entry.address <= at < entry.end for at in places)
    ]
    heads = [entry for entry in touched if entry.state != WRITING]
    steps = [Digest(entry.address, SECTOR) for entry in heads]
    found = [digest.hex() for _, (digest,) in board.flash_run(steps)]
    gone = [
        entry for entry, head in zip(heads, found, strict=True) if head != entry.head
    ]
    return [range(each.address, each.end) for each in touched if each not in gone]


def _recognized(board: Flash, plan: Plan) -> list[range]:
    """What on the board tells by itself that this project made it."""
    found = []
    for region in plan.regions:
        start = board.flash_read(region.first_sector, SECTOR)
        length = _slot_size(start) or _firmware_size(start)
        found.append(range(region.first_sector, region.first_sector + length))
    return found


def _slot_size(start: bytes) -> int:
    try:
        return slot.parse_header(start).total
    except slot.SlotError:
        return 0


def _firmware_size(start: bytes) -> int:
    mark = start[FIRMWARE_MARK_AT : FIRMWARE_MARK_AT + len(FIRMWARE_MARK)]
    return flash_map.PROGRAM_SPACE if mark == FIRMWARE_MARK else 0


def _entry(plan: Plan, region: Region, owner: Owner) -> Entry:
    whole_sectors = b"".join(plan.wanted[at] for at in region.sectors)
    return Entry(
        name=region.name,
        address=region.first_sector,
        length=len(whole_sectors),
        sha256=hashlib.sha256(whole_sectors).hexdigest(),
        head=plan.digest(region.first_sector).hex(),
        state=WRITING,
        project=owner.project,
        time=now(),
    )


def _carry_out(board: Flash, plan: Plan, tell: Tell) -> None:
    """Write and verify; what did not take is written again."""
    guards = plan.guards
    writing = _Writing(board, plan, tell)
    if guards:
        writing.blank(guards)
    writing.write([at for at in plan.changed if at not in guards])
    writing.write(guards)


class _Writing:
    """One write under way; `held` is what each sector holds as far as is known."""

    def __init__(self, board: Flash, plan: Plan, tell: Tell) -> None:
        self._board, self._plan, self._tell = board, plan, tell
        self._held = dict(plan.found)
        self._done, self._total = 0, len(plan.changed) * SECTOR
        self._start = time.monotonic()

    def blank(self, places: list[int]) -> None:
        """Erase sectors that are not blank."""
        erase = [Erase(at, SECTOR) for at in places if self._held[at] != BLANK]
        for _ in self._board.flash_run(erase):
            pass
        self._held.update(dict.fromkeys(places, BLANK))

    def write(self, places: list[int]) -> None:
        """Write sectors until they hold what they shall.

        Raises:
            BoardError: they do not, after several tries.
        """
        for _ in range(TRIES):
            if places:
                places = self._write_once(places)
        if places:
            raise BoardError(
                f"the flash does not hold what was written at {places[0]:#x}, nor "
                f"after {TRIES} tries: run it again, and if it stays so replace the "
                "board, for its flash is worn"
            )

    def _write_once(self, places: list[int]) -> list[int]:
        """Write sectors; those that do not hold what they shall."""
        failed = []
        for step, digests in self._board.flash_run(self._steps(places)):
            if isinstance(step, Digest):
                for at, digest in zip(_places(step), digests, strict=True):
                    self._held[at] = digest
                    if digest == self._plan.digest(at):
                        self._done += SECTOR
                    else:
                        failed.append(at)
            seconds = time.monotonic() - self._start
            self._tell(Progress(self._done, self._total, seconds))
        return failed

    def _steps(self, places: list[int]) -> Iterator[FlashStep]:
        """Block by block: erase, program, digest."""
        blocks: dict[int, list[int]] = {}
        for at in places:
            blocks.setdefault(at // BLOCK, []).append(at)
        for each in blocks.values():
            yield from self._erasing(each)
            for address, length in runs(each, PIECE):
                data = b"".join(
                    self._plan.wanted[at]
                    for at in range(address, address + length, SECTOR)
                )
                yield Program(address, data)
            yield from _digesting(each)

    def _erasing(self, places: list[int]) -> Iterator[FlashStep]:
        used = [at for at in places if self._held[at] != BLANK]
        if len(places) * SECTOR == BLOCK and len(used) >= BLOCK_PAYS_FROM:
            yield Erase(places[0], BLOCK)
            return
        for address, length in runs(used):
            yield Erase(address, length)
