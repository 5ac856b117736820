from pathlib import Path

import pytest
import serial.tools.list_ports
from hypothesis import given
from hypothesis import strategies as st
from serial.tools.list_ports_common import ListPortInfo

from k210.errors import BoardError
from k210.fleet.hardware_map import (
    BoardEntry,
    MapError,
    UsbPort,
    find_map,
    match,
    read_map,
)

MAP = """\
- id: dock
  port: {serial: "0001A2"}
  type: dan
  baud: 1500000
  reset: kd233
  flash_size: 0x800000
  flash_id: "D66154F71B3E4A2C"
  tags: [camera, small]
  power:
    on: uhubctl -a on
    cycle: [./cycle, "port 3"]
- id: attic
  port: rfc2217://Attic:4000?logging=debug
  tags: [camera]
- id: spare
  port: /dev/ttyUSB7
  connected: false
  tags: [camera]
- {id: soft, port: virtual, flash: soft.bin}
"""


@pytest.fixture
def entries(tmp_path: Path) -> list[BoardEntry]:
    (tmp_path / "boards.yaml").write_text(MAP)
    return read_map(tmp_path / "boards.yaml")


def refusal(folder: Path, text: str) -> str:
    (folder / "boards.yaml").write_text(text)
    with pytest.raises(MapError) as raised:
        read_map(folder / "boards.yaml")
    return str(raised.value)


def test_every_key_of_a_board_is_read(entries: list[BoardEntry]) -> None:
    dock = entries[0]
    assert dock.port == UsbPort(serial="0001A2")
    assert (dock.type, dock.baud, dock.reset) == ("dan", 1_500_000, "kd233")
    assert (dock.flash_size, dock.flash_id) == (0x800000, "d66154f71b3e4a2c")
    assert dock.power.on == ("uhubctl", "-a", "on")
    assert dock.power.cycle == ("./cycle", "port 3")
    assert dock.connected


def test_boards_are_found_by_id_flash_id_and_tag(entries: list[BoardEntry]) -> None:
    assert [each.id for each in match(entries, id="dock")] == ["dock"]
    assert [each.id for each in match(entries, id="d66154f71b3e4a2c")] == ["dock"]
    assert [each.id for each in match(entries, tag="camera")] == ["dock", "attic"]
    assert match(entries, id="dock", tag="radio") == []
    assert [each.id for each in match(entries, type="virtual")] == ["soft"]


def test_a_board_that_is_not_connected_is_not_found(entries: list[BoardEntry]) -> None:
    assert match(entries, id="spare") == []


def test_a_virtual_board_has_its_flash_beside_the_map(
    entries: list[BoardEntry], tmp_path: Path
) -> None:
    spec = entries[3].spec(tmp_path / "log")
    assert (spec.port, spec.flash_image) == ("virtual", tmp_path / "soft.bin")


def test_one_port_has_one_key_whatever_it_is_called(
    entries: list[BoardEntry], tmp_path: Path
) -> None:
    assert entries[1].key() == BoardEntry("other", "rfc2217://attic:4000/").key()
    link = tmp_path / "by-id"
    link.symlink_to("/dev/null")
    assert BoardEntry("a", str(link)).key() == BoardEntry("b", "/dev/null").key()
    assert entries[3].key() == BoardEntry("c", "virtual", flash=entries[3].flash).key()


def plug_in(monkeypatch: pytest.MonkeyPatch, *ports: tuple[str, str, str]) -> None:
    infos = []
    for device, number, location in ports:
        info = ListPortInfo(device)
        info.serial_number, info.location = number, location
        infos.append(info)
    monkeypatch.setattr(serial.tools.list_ports, "comports", lambda: infos)


def test_a_usb_board_is_found_wherever_it_is_plugged_in(
    entries: list[BoardEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(
        monkeypatch, ("/dev/ttyUSB1", "0001A2", "1-2"), ("/dev/ttyUSB0", "X", "1-1:1.1")
    )
    assert entries[0].where() == "/dev/ttyUSB1"
    assert BoardEntry("a", UsbPort(location="1-1")).where() == "/dev/ttyUSB0"


def test_the_second_port_of_an_adapter_can_be_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plug_in(
        monkeypatch, ("/dev/ttyUSB1", "S", "1-2:1.1"), ("/dev/ttyUSB0", "S", "1-2:1.0")
    )
    assert BoardEntry("go", UsbPort(serial="S", interface=1)).where() == "/dev/ttyUSB1"


def test_a_usb_board_that_is_not_there_is_told(
    entries: list[BoardEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch)
    with pytest.raises(BoardError, match="dock .USB serial number 0001A2. is not plug"):
        entries[0].where()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("id: a", "must be a list"),
        ("[]\n- x", "is no YAML"),
        ("- 3", ":1: a board is a mapping"),
        ("- {id: a, port: virtual}\n- {id: b}", ":2: a board needs port"),
        ("- {id: a, port: p, colour: red}", ":1: colour is no key of a board"),
        ("- {id: a, port: p, type: dam}", "type: 'dam' is not known; choose from dan"),
        ("- {id: a, port: {usb: 1}}", "port: a USB port is"),
        ("- {id: 7, port: p}", "id: expected text, found 7"),
        ("- {id: a, port: p, baud: fast}", "baud: expected a whole number"),
        ("- {id: a, port: p, flash_size: 1000000}", "1000000 is not a power of two"),
        ("- {id: a, port: p, flash_id: ef}", "flash_id: expected 16 hexadecimal"),
        ("- {id: a, port: p}\n- {id: a, port: q}", ":2: the board of line 1 is called"),
        ("- {id: a, port: p, connected: maybe}", "connected: expected true or false"),
        ("- {id: a, port: p, power: {up: x}}", "power: expected a mapping"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, text: str, complaint: str
) -> None:
    said = refusal(tmp_path, text)
    assert complaint in said
    assert "boards.yaml" in said


@given(st.text(alphabet=" -:{}[]&*!|>'\"%@`idport\n#0x", max_size=60))
def test_any_text_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text)
    try:
        assert isinstance(read_map(path), list)
    except MapError as error:
        assert str(path) in str(error)  # noqa: PT017 - any refusal is fine


def test_the_map_is_looked_for_where_people_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("K210_BOARDS", raising=False)
    assert find_map(tmp_path) is None
    own = tmp_path / "config/k210/boards.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("[]")
    assert find_map(tmp_path) == own
    (tmp_path / "boards.yaml").write_text("[]")
    assert find_map(tmp_path) == tmp_path / "boards.yaml"
    monkeypatch.setenv("K210_BOARDS", str(tmp_path / "none.yaml"))
    with pytest.raises(MapError, match="which is no file"):
        find_map(tmp_path)
