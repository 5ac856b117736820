import os
import pty
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from stages import console
from stages.console import PLAIN_VARIABLE, Console, chatter_diverted


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of progress is due at once."""
    monkeypatch.setattr(console, "LINE_EVERY_S", 0.0)


@pytest.mark.usefixtures("impatient")
def test_progress_elsewhere_than_on_a_terminal_is_plain_lines() -> None:
    stream = StringIO()
    with Console(stream, "train").progress("epoch", 2) as advance:
        advance(1, "loss 0.5")
        advance(2, "")
    assert stream.getvalue() == "train: epoch 1/2 loss 0.5\ntrain: epoch 2/2\n"


def test_quick_work_says_nothing() -> None:
    stream = StringIO()
    with Console(stream, "train").progress("epoch", 3) as advance:
        for epoch in range(3):
            advance(epoch + 1, "")
    assert stream.getvalue() == ""


BAR = """
import sys
from stages.console import Console
with Console(sys.stdout, "train").progress("epoch", 2) as advance:
    advance(1, "loss 0.5")
    advance(2, "loss 0.4")
"""


def on_a_terminal(script: str, environment: dict[str, str]) -> str:
    """What a script writes to a terminal of its own."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", **environment},
    ) as process:
        os.close(theirs)
        written = b""
        try:
            while chunk := os.read(ours, 4096):
                written += chunk
        except OSError:  # the terminal's other end is closed
            pass
        os.close(ours)
    assert process.returncode == 0
    return written.decode()


def test_progress_on_a_terminal_is_a_bar() -> None:
    written = on_a_terminal(BAR, {})
    assert "train: epoch" in written
    assert "━" in written


def test_two_stages_on_one_terminal_draw_no_bars() -> None:
    assert on_a_terminal(BAR, {PLAIN_VARIABLE: "1"}) == ""


def test_chatter_goes_to_the_log_and_words_to_the_person(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "logs/train.log"
    with chatter_diverted(log) as stream:
        os.write(1, b"from a library\n")
        os.write(2, b"from another\n")
        subprocess.run(["echo", "from a child"], check=True)
        print("for the person", file=stream, flush=True)
    os.write(1, b"afterwards\n")
    assert capfd.readouterr() == ("for the person\nafterwards\n", "")
    assert log.read_text() == "from a library\nfrom another\nfrom a child\n"


def test_chatter_is_no_longer_diverted_after_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyError), chatter_diverted(tmp_path / "log"):
        raise KeyError
    os.write(2, b"back again\n")
    assert capfd.readouterr() == ("", "back again\n")


def test_a_log_begins_anew_each_time(tmp_path: Path) -> None:
    for text in (b"a long first run\n", b"second\n"):
        with chatter_diverted(tmp_path / "log"):
            os.write(1, text)
    assert (tmp_path / "log").read_bytes() == b"second\n"
