"""The hardware map: which boards there are, and how each is reached (``boards.yaml``).

A list with one mapping for each board, after the hardware map of Zephyr's twister:

=============  ===============================================================
key            meaning
=============  ===============================================================
``id``         the board's name; required, and the only one of its kind
``port``       required: a path, ``rfc2217://host:port``, ``virtual``, or
               ``{serial: …}`` or ``{location: …}`` of the USB adapter, and
               ``interface``, which of its ports, counted from 0
``type``       its type, as ``board.type`` of a project
``baud``       rate of the link, 2000000
``reset``      a type whose reset wiring it has, if not its own type's
``flash_size`` bytes of flash that it must have; by default what it says it has
``flash_id``   unique id of its flash chip; another board is refused
``flash``      of a virtual board: the file that holds its flash
``tags``       words that projects can ask for
``power``      commands: ``on`` before use, ``off`` after it, ``cycle`` when it is
               silent
``connected``  false for a board that is not to be used now
=============  ===============================================================

Relative files are relative to the map, and so is the folder the commands run in.
"""

import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from k210.board import BoardSpec
from k210.boards import TYPES
from k210.errors import BoardError, UserError

VARIABLE = "K210_BOARDS"
NAME = "boards.yaml"
VIRTUAL = "virtual"
DEFAULT_BAUD = 2_000_000
DEFAULT_SIZE = 1 << 24
FLASH_ID = re.compile("[0-9a-f]{16}")


class MapError(UserError):
    """The hardware map cannot be read, or makes no sense."""


@dataclass(frozen=True)
class UsbPort:
    """A port of a USB adapter: by its serial number or where it is plugged in."""

    serial: str | None = None
    location: str | None = None
    interface: int = 0

    def __str__(self) -> str:
        kind = "serial number" if self.serial else "location"
        return f"USB {kind} {self.serial or self.location}"


@dataclass(frozen=True)
class Power:
    """Commands that switch a board's power, as words; empty where there is none."""

    on: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    cycle: tuple[str, ...] = ()


@dataclass(frozen=True)
class BoardEntry:
    """A board of the map, or the one that a port names; see the table above.

    Attributes:
        folder: where its commands run.
    """

    id: str
    port: str | UsbPort
    type: str | None = None
    baud: int = DEFAULT_BAUD
    reset: str | None = None
    flash_size: int | None = None
    flash_id: str | None = None
    flash: Path | None = None
    tags: tuple[str, ...] = ()
    power: Power = Power()
    connected: bool = True
    folder: Path = Path()

    @property
    def virtual(self) -> bool:
        """Whether it is a board in software, started when it is opened."""
        return self.port == VIRTUAL

    def where(self) -> str:
        """The path or URL of its port now.

        Raises:
            BoardError: no such USB adapter is plugged in.
        """
        return self.port if isinstance(self.port, str) else _plugged(self.id, self.port)

    def key(self) -> str:
        """What tells its port from others, whatever it is called: what is locked.

        Raises:
            BoardError: no such USB adapter is plugged in.
        """
        where = self.where()
        if self.virtual:
            return f"virtual {_flash_file(self).resolve()}"
        if "://" in where:
            return where.partition("?")[0].lower().rstrip("/")
        return os.path.realpath(where)

    def spec(self, log: Path) -> BoardSpec:
        """What ``k210.board.open`` takes; `log` is for the chatter of tools.

        Raises:
            BoardError: no such USB adapter is plugged in.
        """
        return BoardSpec(
            port=self.where(),
            flash_size=self.flash_size or DEFAULT_SIZE,
            flash_image=_flash_file(self),
            log=log,
            kind=self.type,
            baud=self.baud,
            reset=self.reset,
        )


def _flash_file(entry: BoardEntry) -> Path:
    return entry.flash or entry.folder / f"{entry.id}.bin"


def _plugged(name: str, wanted: UsbPort) -> str:
    from serial.tools.list_ports import comports

    found = sorted(
        port.device
        for port in comports()
        if (wanted.serial and port.serial_number == wanted.serial)
        or (
            wanted.location
            and (port.location or "").partition(":")[0] == wanted.location
        )
    )
    if wanted.interface >= len(found):
        raise BoardError(
            f"the board {name} ({wanted}) is not plugged in: "
            "`python -m k210 boards` lists what is"
        )
    return str(found[wanted.interface])


def find_map(root: Path) -> Path | None:
    """The map to use: $K210_BOARDS, `root`/boards.yaml, or the user's own; or none.

    Raises:
        MapError: $K210_BOARDS names no file.
    """
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_file():
            raise MapError(f"{VARIABLE} names {named}, which is no file: correct it")
        return Path(named)
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    places = (root / NAME, config / "k210" / NAME)
    return next((place for place in places if place.is_file()), None)


def match(
    entries: Iterable[BoardEntry],
    id: str | None = None,  # noqa: A002 - as the YAML calls it
    tag: str | None = None,
    type: str | None = None,  # noqa: A002 - likewise
) -> list[BoardEntry]:
    """The connected boards of that id (or flash id), tag and type, in the map's order.

    What is None does not matter.
    """
    return [
        entry
        for entry in entries
        if entry.connected
        and (id is None or id in (entry.id, entry.flash_id))
        and (tag is None or tag in entry.tags)
        and (type is None or type == (entry.type or _usual_type(entry)))
    ]


def _usual_type(entry: BoardEntry) -> str:
    return "virtual" if entry.virtual else "dan"


def read_map(path: Path) -> list[BoardEntry]:
    """The boards of a map.

    Raises:
        MapError: it cannot be read or makes no sense; says where.
    """
    import yaml

    try:
        with path.open("rb") as file:
            root = yaml.compose(file, yaml.SafeLoader)
            file.seek(0)
            content = yaml.safe_load(file)
    except OSError as error:
        raise MapError(f"{path}: {error.strerror}; name another file") from None
    except yaml.YAMLError as error:
        raise MapError(f"{path} is no YAML ({error}): correct it") from None
    if not isinstance(content, list) or not isinstance(root, yaml.SequenceNode):
        raise MapError(f"{path} must be a list with one mapping for each board")
    lines = [node.start_mark.line + 1 for node in root.value]
    entries = [
        _entry(f"{path}:{line}", path.parent, value)
        for line, value in zip(lines, content, strict=True)
    ]
    _require_apart(path, lines, entries)
    return entries


def _require_apart(path: Path, lines: list[int], entries: list[BoardEntry]) -> None:
    seen: dict[str, int] = {}
    for line, entry in zip(lines, entries, strict=True):
        for name in {entry.id, entry.flash_id} - {None}:
            if name in seen:
                raise MapError(
                    f"{path}:{line}: the board of line {seen[name]} is called {name} "
                    "too: rename one"
                )
            seen[str(name)] = line


def _entry(place: str, folder: Path, value: Any) -> BoardEntry:
    if not isinstance(value, Mapping):
        raise MapError(f"{place}: a board is a mapping, with at least id and port")
    given = {str(key): each for key, each in value.items() if each is not None}
    for key in given:
        if key not in _READERS:
            raise MapError(
                f"{place}: {key} is no key of a board; there are {', '.join(_READERS)}"
            )
    for key in ("id", "port"):
        if key not in given:
            raise MapError(f"{place}: a board needs {key}")
    found: dict[str, Any] = {}
    for key, each in given.items():
        try:
            found[key] = _READERS[key](each)
        except ValueError as error:
            raise MapError(f"{place}: {key}: {error}") from None
    if "flash" in found:
        found["flash"] = folder / found["flash"]
    return BoardEntry(**found, folder=folder)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected text, found {value!r}; quote it if it is a number")
    return value


def _port(value: Any) -> str | UsbPort:
    if not isinstance(value, Mapping):
        return _text(value)
    known = {"serial", "location", "interface"}
    if set(value) - known or len(set(value) & {"serial", "location"}) != 1:
        raise ValueError("a USB port is {serial: …} or {location: …}, and interface")
    interface = value.get("interface", 0)
    if not isinstance(interface, int) or interface < 0:
        raise ValueError(f"interface is a number from 0 on, found {interface!r}")
    names = {key: _text(value[key]) for key in value if key != "interface"}
    return UsbPort(**names, interface=interface)


def _type(value: Any) -> str:
    if not isinstance(value, str) or value not in TYPES:
        raise ValueError(f"{value!r} is not known; choose from {', '.join(TYPES)}")
    return str(value)


def _number(least: int, most: int, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"expected a whole number, found {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{value} is not from {least} to {most}")
    return value


def _size(value: Any) -> int:
    size = _number(1 << 16, DEFAULT_SIZE, value)
    if size & (size - 1):
        raise ValueError(f"{size} is not a power of two")
    return size


def _flash_id(value: Any) -> str:
    if not isinstance(value, str) or not FLASH_ID.fullmatch(value.lower()):
        raise ValueError("expected 16 hexadecimal digits in quotes")
    return value.lower()


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, found {value!r}")
    return value


def _tags(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("expected a list of words")
    return tuple(_text(each) for each in value)


def _power(value: Any) -> Power:
    """YAML takes unquoted keys `on` and `off` for true and false."""
    if not isinstance(value, Mapping):
        raise ValueError("expected a mapping with on, off or cycle")
    named: dict[Any, Any] = {True: "on", False: "off"}
    given = {str(named.get(key, key)): value[key] for key in value}
    if set(given) - {"on", "off", "cycle"}:
        raise ValueError("expected a mapping with on, off or cycle")
    return Power(**{key: _words(each) for key, each in given.items()})


def _words(value: Any) -> tuple[str, ...]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_text(each) for each in value)
    return tuple(shlex.split(_text(value)))


_READERS: dict[str, Callable[[Any], Any]] = {
    "id": _text,
    "port": _port,
    "type": _type,
    "baud": partial(_number, 1200, 2_000_000),
    "reset": _type,
    "flash_size": _size,
    "flash_id": _flash_id,
    "flash": lambda value: Path(_text(value)).expanduser(),
    "tags": _tags,
    "power": _power,
    "connected": _flag,
}
