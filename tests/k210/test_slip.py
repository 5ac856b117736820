from hypothesis import given
from hypothesis import strategies as st

from k210 import slip

PIECES = st.lists(st.sampled_from([b"\xc0", b"\xdb", b"\xdc", b"\xdd", b"a", b"b\0"]))
contents = st.one_of(st.binary(min_size=1), PIECES.map(b"".join).filter(bool))


@given(st.lists(contents), st.integers(1, 9))
def test_frames_come_back_however_the_line_is_cut(
    frames: list[bytes], size: int
) -> None:
    line = b"".join(slip.encode(frame) for frame in frames)
    decoder, found = slip.Decoder(), []
    for at in range(0, len(line), size):
        found += decoder.feed(line[at : at + size])
    assert found == frames


def test_a_wrong_escape_drops_the_frame_and_no_other() -> None:
    line = b"\xc0a\xdbb\xc0\xc0c\xdb\xc0" + slip.encode(b"good")
    assert slip.Decoder().feed(line) == [b"good"]
