"""Boards of the hardware map in use: reserved, powered, opened, and known again."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from k210 import board
from k210.board import Board
from k210.errors import BoardError
from k210.fleet import board_lock
from k210.fleet.board_lock import Lock, Say
from k210.fleet.hardware_map import BoardEntry

SWITCH_S = 60.0
"""How long a command that switches the power may take."""


@contextmanager
def reserved(
    entries: Sequence[BoardEntry],
    whom: str,
    say: Say = lambda _: None,
    timeout: float | None = None,
) -> Iterator[tuple[BoardEntry, Lock]]:
    """Hold one of several boards, the first that is free; see ``board_lock.locked``.

    Raises:
        BoardError: none of them is plugged in, or none became free in time.
    """
    present: dict[str, tuple[BoardEntry, str]] = {}
    missing: BoardError | None = None
    for entry in entries:
        try:
            present[entry.id] = entry, entry.key()
        except BoardError as error:
            missing = error
    if not present:
        raise missing or BoardError("no board was named: name one")
    keys = {name: key for name, (_, key) in present.items()}
    with board_lock.locked(keys, whom, say, timeout) as lock:
        yield present[lock.name][0], lock


@contextmanager
def opened(entry: BoardEntry, log: Path) -> Iterator[Board]:
    """A board, powered on before and off afterwards, power-cycled once if it is silent.

    Args:
        entry: the board; the caller has reserved it.
        log: the file for the chatter of tools.

    Raises:
        BoardError: it cannot be opened, or is another one than the map says.
    """
    _switch(entry, "on", entry.power.on, log)
    try:
        device = _open(entry, log)
        try:
            yield device
        finally:
            device.close()
    finally:
        _switch(entry, "off", entry.power.off, log)


def cycle(entry: BoardEntry, log: Path) -> None:
    """Switch a board's power off and on, where the map says how.

    Raises:
        BoardError: the command fails.
    """
    _switch(entry, "cycle", entry.power.cycle, log)


def _open(entry: BoardEntry, log: Path) -> Board:
    try:
        device = board.open(entry.spec(log))
    except BoardError:
        if not entry.power.cycle:
            raise
        _switch(entry, "cycle", entry.power.cycle, log)
        device = board.open(entry.spec(log))
    try:
        _require_same(entry, device)
    except BoardError:
        device.close()
        raise
    return device


def _require_same(entry: BoardEntry, device: Board) -> None:
    found = device.identity()["flash_id"]
    if entry.flash_id not in (None, found):
        raise BoardError(
            f"the board on {entry.where()} is not {entry.id}: its flash has the id "
            f"{found}, not {entry.flash_id}; plug in that board or correct the map"
        )
    if entry.flash_size not in (None, device.flash_size):
        raise BoardError(
            f"the board {entry.id} has {device.flash_size:#x} bytes of flash, not "
            f"{entry.flash_size:#x}: correct flash_size"
        )


def _switch(entry: BoardEntry, which: str, command: tuple[str, ...], log: Path) -> None:
    if not command:
        return
    what = f"the power command `{which}` of the board {entry.id} ({' '.join(command)})"
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("ab") as output:
            subprocess.run(
                command,
                cwd=entry.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=SWITCH_S,
                check=True,
            )
    except subprocess.TimeoutExpired:
        raise BoardError(f"{what} does not end: correct it") from None
    except subprocess.CalledProcessError as error:
        raise BoardError(
            f"{what} ends with status {error.returncode}; see {log}"
        ) from None
    except OSError as error:
        raise BoardError(f"{what} cannot be run ({error.strerror})") from None
