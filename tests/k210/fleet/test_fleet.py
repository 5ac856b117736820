"""Boards of the map in use: power commands, identity, who gets which."""

import stat
from pathlib import Path

import pytest

from k210 import fleet
from k210.errors import BoardError
from k210.fleet.hardware_map import BoardEntry, Power, UsbPort, read_map

MAP = """\
- id: soft
  port: virtual
  flash: soft.bin
  flash_size: 0x100000
  power:
    on: ./power on
    off: ./power off
    cycle: ./power cycle
"""


@pytest.fixture
def entry(tmp_path: Path) -> BoardEntry:
    (tmp_path / "boards.yaml").write_text(MAP)
    script(tmp_path, "echo $1 >> power.log")
    return read_map(tmp_path / "boards.yaml")[0]


def script(folder: Path, command: str) -> None:
    path = folder / "power"
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def switched(folder: Path) -> list[str]:
    return (folder / "power.log").read_text().split()


def test_a_board_is_powered_while_it_is_open(entry: BoardEntry, tmp_path: Path) -> None:
    with fleet.opened(entry, tmp_path / "log") as board:
        assert board.flash_size == 1 << 20
        assert switched(tmp_path) == ["on"]
    assert switched(tmp_path) == ["on", "off"]


def test_a_silent_board_is_power_cycled_once(entry: BoardEntry, tmp_path: Path) -> None:
    (tmp_path / "soft.bin").write_bytes(b"no flash")
    script(tmp_path, "echo $1 >> power.log; [ $1 = cycle ] && rm soft.bin; true")
    with fleet.opened(entry, tmp_path / "log"):
        assert switched(tmp_path) == ["on", "cycle"]
    (tmp_path / "soft.bin").write_bytes(b"no flash")
    script(tmp_path, "echo $1 >> power.log")
    with (
        pytest.raises(BoardError, match="soft.bin"),
        fleet.opened(entry, tmp_path / "log"),
    ):
        pass
    assert switched(tmp_path)[3:] == ["on", "cycle", "off"]


def test_a_power_command_that_fails_is_told(entry: BoardEntry, tmp_path: Path) -> None:
    script(tmp_path, "exit 3")
    with (
        pytest.raises(
            BoardError, match=r"`on` of the board soft .* ends with status 3"
        ),
        fleet.opened(entry, tmp_path / "log"),
    ):
        pass


def test_a_power_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    entry = BoardEntry("soft", "virtual", power=Power(on=("./no-such-command",)))
    with (
        pytest.raises(BoardError, match="cannot be run"),
        fleet.opened(entry, tmp_path / "log"),
    ):
        pass


def test_a_board_that_is_not_plugged_in_does_not_keep_one_from_the_others(
    tmp_path: Path,
) -> None:
    gone = BoardEntry("gone", UsbPort(serial="no such adapter"))
    here = BoardEntry("here", "virtual", flash=tmp_path / "flash.bin")
    with fleet.reserved([gone, here], "the test") as (entry, _):
        assert entry is here
    with (
        pytest.raises(BoardError, match="gone .* is not plugged in"),
        fleet.reserved([gone], "the test"),
    ):
        pass


def test_two_names_of_one_board_are_one_board(tmp_path: Path) -> None:
    one = BoardEntry("one", "virtual", flash=tmp_path / "flash.bin")
    two = BoardEntry("two", "virtual", flash=tmp_path / "x" / ".." / "flash.bin")
    with (
        fleet.reserved([one], "the first"),
        pytest.raises(BoardError, match="the board two is in use for the first"),
        fleet.reserved([two], "the second", timeout=0),
    ):
        pass
