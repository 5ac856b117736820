"""``python -m k210 boards``: ports listed, explained and probed."""

import os
import subprocess
import sys
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial.tools.list_ports
from serial.tools.list_ports_common import ListPortInfo

from k210.__main__ import main
from k210.errors import BoardError
from k210.fleet import finding
from k210.ports import open_port, users
from k210.virtual.process import BoardProcess

HOLD = """
import os, sys
os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
print("open", flush=True)
sys.stdin.read()
"""


@contextmanager
def pseudo_terminal() -> Iterator[str]:
    """A tty, without the lines that reset a board."""
    master, slave = os.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    os.close(slave)
    yield path
    os.close(master)


@contextmanager
def held(path: str) -> Iterator[int]:
    """Another process has the device open; gives its id."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        yield process.pid
        process.kill()


@pytest.fixture
def adapters(monkeypatch: pytest.MonkeyPatch) -> list[ListPortInfo]:
    """The ports that the system lists; empty at first."""
    listed: list[ListPortInfo] = []
    monkeypatch.setattr(serial.tools.list_ports, "comports", lambda: listed)
    return listed


def adapter(path: str, vendor: int = 0x1A86) -> ListPortInfo:
    info = ListPortInfo(path)
    info.vid, info.pid = vendor, 0x7523
    info.serial_number, info.location, info.product = "0001A2", "1-1.2", "USB Serial"
    return info


def test_ports_are_listed_with_what_is_known_of_them(
    adapters: list[ListPortInfo], capsys: pytest.CaptureFixture[str]
) -> None:
    with pseudo_terminal() as path:
        adapters += [adapter(path), ListPortInfo("/dev/ttyS0")]
        assert main(["boards"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{path}  1a86:7523  serial 0001A2  at 1-1.2  USB Serial")
    assert "likely dan or bit" in said
    assert "ttyS0" not in said


def test_without_any_port_it_says_what_to_look_at(
    adapters: list[ListPortInfo], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["boards"]) == 0
    assert "no serial port of a USB adapter" in capsys.readouterr().out


def test_a_port_in_use_is_listed_with_who_uses_it(
    adapters: list[ListPortInfo], capsys: pytest.CaptureFixture[str]
) -> None:
    with pseudo_terminal() as path, held(path) as pid:
        adapters.append(adapter(path))
        assert main(["boards"]) == 0
        assert f"(process {pid}); end that" in capsys.readouterr().out


def test_a_port_that_somebody_else_of_us_has_is_refused_by_name() -> None:
    with pseudo_terminal() as path, held(path) as pid:
        first = open_port(path, 115200)  # others of ours keep out from now on
        with pytest.raises(BoardError, match=rf"in use by .*process {pid}"):
            open_port(path, 115200)
        first.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_port_that_is_not_ours_is_explained(tmp_path: Path) -> None:
    device = tmp_path / "tty"
    device.touch()
    device.chmod(0)
    assert "usermod -aG" in str(users.trouble(str(device)))


def test_the_group_to_join_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    (tmp_path / "tty").touch()
    said = str(users.trouble(str(tmp_path / "tty")))
    assert "it belongs to the group" in said
    assert "log out and in again" in said


def test_a_port_without_reset_lines_is_told() -> None:
    with (
        pseudo_terminal() as path,
        pytest.raises(BoardError, match="(DTR|RTS) of .* cannot be set"),
    ):
        finding.reset_into_rom(path, "dan")


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(BoardError, match="cannot be opened"):
        finding.probe("rfc2217://127.0.0.1:9")


@pytest.mark.parametrize(("wiring", "likely"), [("dan", ()), ("kd233", ("dan",))])
def test_a_probe_finds_the_board_and_how_it_is_reset(
    tmp_path: Path, wiring: str, likely: tuple[str, ...]
) -> None:
    image = tmp_path / "flash.bin"
    process = BoardProcess(image, 1 << 20, wiring, tmp_path / "log")
    try:
        found = finding.probe(process.url, likely)
        assert wiring in found.types
        assert not set(likely) & set(found.types)
        assert found.flash_size == 1 << 20
        assert found.firmware is None
    finally:
        process.close()
    assert set(image.read_bytes()) == {0xFF}


def test_silence_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pseudo_terminal() as path:
        assert main(["boards", "--probe", path]) == 2
    assert "cannot be set" in capsys.readouterr().err
