"""``doit cache``: list the earlier results that can be given back, or prune them."""

import time
from pathlib import Path
from typing import Any

from doit.cmd_base import Command

from k210.errors import UserError
from stages.artifacts import RunCache, Workspace, capacity
from stages.artifacts.cache import mebibytes
from stages.faults import disk_sentence
from stages.graph import STAGES
from stages.refusal import refuse

MIB = 1 << 20


class Cache(Command):
    """The command's face to doit."""

    name = "cache"
    doc_purpose = "list or prune earlier results"
    doc_usage = "[prune [MIB]]"
    doc_description = (
        "prune drops the least recently used results until MIB are left; "
        "without a number, K210_CACHE_MIB or 2048."
    )

    def execute(self, opt_values: dict[str, Any], pos_args: list[str]) -> int:
        """List or prune."""
        ws = Workspace(Path.cwd(), ".")
        cache = RunCache(ws)
        try:
            if not pos_args:
                _list(cache)
            elif pos_args[0] == "prune" and len(pos_args) <= 2:
                _prune(cache, pos_args[1:])
            else:
                raise UserError(
                    f"`doit cache {' '.join(pos_args)}` is not a command; "
                    f"use `doit cache {self.doc_usage}`"
                )
        except UserError as error:
            return refuse(str(error))
        except OSError as error:
            if sentence := disk_sentence(ws.build, error):
                return refuse(f"cache: {sentence}")
            raise
        return 0


def _list(cache: RunCache) -> None:
    headlines = {stage.name: stage.describe for stage in STAGES}
    entries = cache.entries()
    for entry in entries:
        run = cache.peek(entry.key)
        if run is None:
            print(f"{entry.key[:12]}  damaged")
            continue
        age = (time.time() - entry.used) / 3600
        print(
            f"{entry.key[:12]}  {run.stage:<9}  {entry.size / MIB:7.2f} MiB  "
            f"used {age:.1f} h ago  {headlines[run.stage](run.metrics)}"
        )
    total = sum(entry.size for entry in entries) / MIB
    print(f"{len(entries)} results, {total:.1f} of {capacity():g} MiB")


def _prune(cache: RunCache, arguments: list[str]) -> None:
    limit = capacity()
    if arguments:
        if (size := mebibytes(arguments[0])) is None:
            raise UserError(
                f"{arguments[0]!r} is not a number of MiB; say for example "
                "`doit cache prune 500`"
            )
        limit = size
    dropped = cache.prune(limit)
    freed = sum(entry.size for entry in dropped) / MIB
    print(f"dropped {len(dropped)} results, {freed:.1f} MiB")
