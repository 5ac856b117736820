"""The link's codec and streams: C against Python, over lines that do their worst."""

import ctypes
import random

import native_link
import pytest
from bad_line import BadLine
from hypothesis import given
from hypothesis import strategies as st

from k210.link.frame import (
    MAX_PAYLOAD,
    Decoder,
    Frame,
    Kind,
    cobs_decode,
    cobs_encode,
    encode,
)
from k210.link.stream import Stream

ZERO_RICH = st.lists(st.sampled_from([0, 0, 1, 255]), max_size=600).map(bytes)
PAYLOADS = st.binary(max_size=MAX_PAYLOAD) | ZERO_RICH
FRAMES = st.builds(
    Frame,
    st.sampled_from([int(kind) for kind in Kind]),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF_FFFF),
    PAYLOADS,
)


def encoded_in_c(frame: Frame) -> bytes:
    header = native_link.CFrame(
        frame.kind, frame.version, frame.session, frame.offset, len(frame.payload)
    )
    out = ctypes.create_string_buffer(2 * MAX_PAYLOAD)
    encode_in_c = native_link.library().frame_encode
    length = encode_in_c(ctypes.byref(header), frame.payload, out)
    return out.raw[:length]


@given(PAYLOADS)
def test_cobs_leaves_no_zero_and_comes_back(data: bytes) -> None:
    assert 0 not in cobs_encode(data)
    assert cobs_decode(cobs_encode(data)) == data


@given(FRAMES)
def test_c_and_python_code_a_frame_alike(frame: Frame) -> None:
    assert encoded_in_c(frame) == encode(frame)
    assert Decoder().feed(encode(frame)) == [frame]


@given(st.lists(FRAMES, max_size=4), st.binary(max_size=40), st.integers(1, 50))
def test_frames_are_found_behind_noise(
    frames: list[Frame], noise: bytes, step: int
) -> None:
    line = noise + b"\0" + b"".join(map(encode, frames))
    decoder = Decoder()
    found = []
    for at in range(0, len(line), step):
        found += decoder.feed(line[at : at + step])
    assert found[len(found) - len(frames) :] == frames


class Pair:
    """A host's stream and a board's, with a line between, in a time of their own."""

    def __init__(self, seed: int, rate: float) -> None:
        self.now = 0.0
        self.board = native_link.NativeStream(lambda: self.now)
        self.down, self.up = BadLine(seed, rate), BadLine(seed + 1, rate)
        clean = encode(Frame(Kind.HELLO, 7, 0))
        self.board.receive(clean)
        (welcome,) = Decoder().feed(bytes(self.board.out))
        self.board.out.clear()
        assert welcome.kind == Kind.WELCOME
        self.host = Stream(7, int.from_bytes(welcome.payload[2:6], "little"))
        self.got_by_board, self.got_by_host = bytearray(), bytearray()

    def step(self, to_host: bytes) -> int:
        """Carry what is due each way; returns how much of `to_host` found room."""
        written = self.board.write(to_host)
        self.board.receive(self.down.carry(self.host.due(self.now)))
        self.got_by_board += self.board.read(5000)
        self.board.poll()
        up = self.up.carry(bytes(self.board.out))
        self.board.out.clear()
        self.host.receive(up, self.now)
        self.got_by_host += self.host.read()
        self.now += 0.01
        return written

    def exchange(self, down: bytes, up: bytes, steps: int) -> None:
        self.host.write(down)
        for _ in range(steps):
            up = up[self.step(up) :]
            if self.done and not up and len(self.got_by_board) == len(down):
                return
        pytest.fail("the link does not come to an end")

    @property
    def done(self) -> bool:
        return self.host.sender.idle and self.board.flushed()


@pytest.mark.parametrize("rate", [0.0, 0.0003, 0.002])
@pytest.mark.parametrize("seed", [1, 2])
def test_both_streams_arrive_whole(seed: int, rate: float) -> None:
    pair = Pair(seed, rate)
    content = random.Random(seed)
    down, up = content.randbytes(40_000), content.randbytes(20_000)
    pair.exchange(down, up, 20_000)
    assert pair.got_by_board == down
    assert pair.got_by_host == up


def test_frames_shrink_on_a_bad_line_and_grow_on_a_clean_one() -> None:
    pair = Pair(1, 0.002)
    pair.exchange(bytes(30_000), b"", 10_000)
    assert pair.host.sender.payload_size < 256
    pair.down, pair.up = BadLine(1, 0.0), BadLine(1, 0.0)
    pair.got_by_board.clear()
    pair.exchange(bytes(100_000), b"", 1000)
    assert pair.host.sender.payload_size == MAX_PAYLOAD


def test_a_clean_line_carries_95_percent_payload() -> None:
    pair = Pair(1, 0.0)
    pair.exchange(random.Random(1).randbytes(200_000), b"", 1000)
    assert 200_000 / pair.host.wire_bytes >= 0.95


def test_a_board_that_has_restarted_says_so() -> None:
    pair = Pair(1, 0.0)
    pair.board = native_link.NativeStream(lambda: pair.now)
    pair.host.write(b"hello?")
    pair.step(b"")
    assert pair.host.lost
