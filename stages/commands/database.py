"""doit's own notes of what it has done, in a file that a kill cannot tear.

Little hangs on them: whether a stage is up to date its own record says. So a file
that is damaged counts as empty, and one that cannot be written is done without.
"""

import os
from pathlib import Path
from typing import Any

from doit.dependency import DatabaseException, JsonDB


class WholeJson(JsonDB):
    """doit's JSON file, replaced in one go."""

    desc = "JSON, replaced in one go"

    def _load(self) -> dict[str, Any]:
        try:
            found = super()._load()
        except (DatabaseException, OSError):
            return {}
        return found if isinstance(found, dict) else {}

    def dump(self) -> None:
        """Write the file; doit calls this once, at its end."""
        draft = Path(f"{self.name}.{os.getpid()}")
        try:
            draft.write_text(self.codec.encode(self._db), encoding="utf-8")
            draft.replace(self.name)
        except OSError:
            draft.unlink(missing_ok=True)
