"""What this computer has written to which board: the ledger.

One file for each board, ``$XDG_STATE_HOME/k210/boards/FLASH_ID.json``. It tells what
is ours to overwrite, and is not believed blindly: of each region it keeps the digest of
the first sector, which is compared with the board's.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from k210.errors import UserError

WRITING, WHOLE = "writing", "whole"


@dataclass(frozen=True)
class Entry:
    """A region that was written.

    Attributes:
        name: what it holds.
        address: its first sector's address.
        length: bytes, whole sectors.
        sha256: hex digest of its sectors.
        head: hex MD5 of its first sector.
        state: "writing" until it was verified, then "whole".
        project: whose it is.
        time: when, in UTC.
    """

    name: str
    address: int
    length: int
    sha256: str
    head: str
    state: str
    project: str
    time: str

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.address + self.length


def now() -> str:
    """The time as entries have it."""
    return datetime.now(timezone.utc).isoformat("T", "seconds")


def folder() -> Path:
    """Where the ledgers are."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "k210" / "boards"


class Ledger:
    """The ledger of the board with a flash id.

    Attributes:
        names: what people call the board: its id in the map, or its port.
        entries: the regions, none of which overlap.
    """

    def __init__(self, flash_id: str) -> None:
        self.flash_id = flash_id
        self._path = folder() / f"{flash_id}.json"
        content = _read(self._path)
        self.names: list[str] = [str(name) for name in content.get("names", [])]
        self.entries = list(_entries(content))

    def put(self, entries: Sequence[Entry]) -> None:
        """Enter regions; those that they overlap are no more.

        Raises:
            UserError: the ledger cannot be written.
        """
        kept = [
            old
            for old in self.entries
            if all(old.end <= new.address or new.end <= old.address for new in entries)
        ]
        self.entries = sorted([*kept, *entries], key=lambda entry: entry.address)
        self._write()

    def rename(self, name: str) -> None:
        """Have the board, and no other, go by a name from now on.

        Raises:
            UserError: the ledger cannot be written.
        """
        if (other := board_called(name)) not in (None, self.flash_id):
            before = Ledger(str(other))
            before.names.remove(name)
            before._write()
        if name not in self.names:
            self.names.append(name)
            self._write()

    def _write(self) -> None:
        content = {
            "flash_id": self.flash_id,
            "names": self.names,
            "regions": [asdict(entry) for entry in self.entries],
        }
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            draft.replace(self._path)
        except OSError as error:
            raise UserError(
                f"the board's ledger {self._path} cannot be written "
                f"({error.strerror}): mend that, or set XDG_STATE_HOME"
            ) from None


def board_called(name: str) -> str | None:
    """The flash id of the board that went by a name when it was last written to."""
    for path in sorted(folder().glob("*.json")):
        if name in _read(path).get("names", []):
            return path.stem
    return None


def whole(entry: Entry) -> Entry:
    """The entry of a region that was verified."""
    return replace(entry, state=WHOLE, time=now())


def _read(path: Path) -> dict[str, Any]:
    """A ledger's content; a missing or damaged one knows nothing."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _entries(content: dict[str, Any]) -> Iterator[Entry]:
    for each in content.get("regions", []):
        try:
            yield Entry(**each)
        except TypeError:  # of another version: as good as unknown
            continue
