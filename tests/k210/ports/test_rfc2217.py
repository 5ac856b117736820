"""RFC 2217: our client and pyserial's, at a board behind pyserial's server half."""

import socket
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st

from k210 import slip
from k210.errors import BoardError
from k210.isp import GREETING
from k210.ports import Port, open_port, read_some, telnet
from k210.virtual.process import BoardProcess

SIZE = 1 << 20
options = st.binary(min_size=1, max_size=1)
DATA = st.binary(min_size=1, max_size=20)
LINES = st.one_of(
    DATA.map(lambda data: (telnet.doubled(data), data)),
    options.map(lambda option: (b"\xff\xfd" + option, (telnet.DO, option))),
    DATA.map(lambda data: (telnet.subnegotiation(data), (telnet.SUBNEGOTIATION, data))),
)
Meaning = bytes | tuple[bytes, bytes]


@given(st.lists(LINES), st.integers(1, 7))
def test_commands_and_data_are_told_apart_however_the_line_is_cut(
    pieces: list[tuple[bytes, Meaning]], size: int
) -> None:
    line = b"".join(raw for raw, _ in pieces)
    parser, data, found = telnet.Parser(), b"", []
    for at in range(0, len(line), size):
        for each in parser.feed(line[at : at + size]):
            if isinstance(each, telnet.Command):
                found.append((len(data), each.verb, each.content))
            else:
                data += each
    expected, before = [], b""
    for _, meaning in pieces:
        if isinstance(meaning, bytes):
            before += meaning
        else:
            expected.append((len(before), *meaning))
    assert (data, found) == (before, expected)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoardProcess]:
    folder = tmp_path_factory.mktemp("board")
    process = BoardProcess(folder / "flash.bin", SIZE, "virtual", folder / "log")
    yield process
    process.close()


def greeted(port: Port, seconds: float = 20.0) -> bool:
    """Reset the board into its ROM; whether it answers a greeting."""
    port.dtr = True
    port.rts = True
    port.dtr = False
    port.reset_input_buffer()
    port.write(slip.encode(GREETING))
    answer, end = b"", time.monotonic() + seconds
    while not answer.endswith(b"\xc0") and time.monotonic() < end:
        answer += read_some(port)
    return answer == slip.encode(b"\xc2\xe0")


def test_our_client_resets_a_board_and_talks_to_it(board: BoardProcess) -> None:
    port = open_port(board.url, 9600)
    port.baudrate = 115200
    assert greeted(port)
    assert (port.dtr, port.rts, port.baudrate) == (False, True, 115200)
    port.close()


def test_pyserials_client_finds_the_same_board(board: BoardProcess) -> None:
    with warnings.catch_warnings():  # pyserial 3.5 starts threads in the old way
        warnings.simplefilter("ignore", DeprecationWarning)
        port = serial.serial_for_url(board.url, 115200, timeout=0.1)
    assert greeted(port)
    port.close()


def serve_once(answer: bytes) -> str:
    """A server that says one thing to its only client; its URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.sendall(answer)
            while connection.recv(100):
                pass

    threading.Thread(target=serve, daemon=True).start()
    return f"rfc2217://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n", b"\xff\xfe\x2c", b""])
def test_a_server_of_something_else_is_told(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k210.ports.rfc2217.ANSWER_S", 0.1)
    with pytest.raises(BoardError, match="does not answer as a server of RFC 2217"):
        open_port(serve_once(answer), 115200)


def test_a_board_that_is_gone_is_told(tmp_path: Path) -> None:
    process = BoardProcess(tmp_path / "flash.bin", SIZE, "virtual", tmp_path / "log")
    port = open_port(process.url, 115200)
    process.close()
    with pytest.raises(BoardError, match="has hung up"):
        read_some(port)
    port.close()
    with pytest.raises(BoardError, match="cannot be opened"):
        open_port(process.url, 115200)


@pytest.mark.parametrize("url", ["rfc2217://host", "rfc2217://host:1?logging=debug"])
def test_a_url_that_is_none_is_told(url: str) -> None:
    with pytest.raises(BoardError, match="write rfc2217://host:port"):
        open_port(url, 115200)
