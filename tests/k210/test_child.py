import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from k210.child import Answer, Child, ChildCrashed, ChildTimeout
from k210.errors import ModelError, UserError

PATIENCE = 60.0
"""Far more seconds than anything here takes."""


# what the children do; they import this module, so that it must stay light


def echo() -> Answer:
    return lambda request: request


def add(first: int) -> Callable[[int], int]:
    return lambda second: first + second


def refuse() -> Answer:
    def answer(request: object) -> object:
        raise ModelError(f"{request}: no good, give another")

    return answer


def refuse_at_once() -> Answer:
    raise UserError("it is not installed; install it")


def kill_itself() -> Answer:
    def answer(number: int) -> None:
        os.kill(os.getpid(), number)

    return answer


def leave(status: int) -> Answer:
    os._exit(status)


def fail() -> Answer:
    raise ZeroDivisionError("a fault of the program's")


def sleep() -> Answer:
    return lambda request: time.sleep(3600)


def sleep_at_once() -> Answer:
    time.sleep(3600)
    return echo()


def chatter() -> Answer:
    def answer(request: object) -> None:
        print("from Python", flush=True)
        os.write(1, b"from a library, on 1\n")
        os.write(2, b"from a library, on 2\n")

    return answer


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "child.log"


def gone(pid: int | None) -> bool:
    """Whether a process is no more, or soon will be: it may take its time to die."""
    assert pid is not None
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":  # dead, but its new parent has not taken notice
            return True
        time.sleep(0.02)
    return False


# answers


def test_a_child_answers_every_request_in_turn(log: Path) -> None:
    with Child(add, (40,), log, "adding") as child:
        assert [child.ask(number, PATIENCE) for number in (1, 2, 3)] == [41, 42, 43]


def test_large_requests_and_answers_pass_whole(log: Path) -> None:
    large = os.urandom(1 << 24)
    with Child(echo, (), log, "echoing") as child:
        assert child.ask(large, PATIENCE) == large


def test_a_child_is_another_process_and_ends_with_its_block(log: Path) -> None:
    with Child(echo, (), log, "echoing") as child:
        child.ask(None, PATIENCE)
        pid = child.pid
        assert pid != os.getpid()
    assert gone(pid)


def test_closing_twice_does_no_harm(log: Path) -> None:
    child = Child(echo, (), log, "echoing")
    child.close()
    child.close()


# refusals


def test_a_refusal_travels_with_its_class_and_words(log: Path) -> None:
    with (
        Child(refuse, (), log, "refusing") as child,
        pytest.raises(ModelError, match="^this: no good, give another$"),
    ):
        child.ask("this", PATIENCE)


def test_a_child_goes_on_after_a_refusal(log: Path) -> None:
    with Child(refuse, (), log, "refusing") as child:
        for request in ("one", "two"):
            with pytest.raises(ModelError, match=request):
                child.ask(request, PATIENCE)


def test_a_refusal_to_begin_travels_too(log: Path) -> None:
    with (
        Child(refuse_at_once, (), log, "refusing") as child,
        pytest.raises(UserError, match="^it is not installed; install it$"),
    ):
        child.ask("this", PATIENCE)


# crashes


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_is_told_with_its_signal(log: Path, number: signal.Signals) -> None:
    with (
        Child(kill_itself, (), log, "nncase compiling a.tflite") as child,
        pytest.raises(ChildCrashed) as crash,
    ):
        child.ask(number, PATIENCE)
    expected = f"nncase compiling a.tflite crashed ({number.name}); see {log}"
    assert str(crash.value) == expected


def test_a_crash_while_it_prepares_is_told(log: Path) -> None:
    with (
        Child(leave, (3,), log, "leaving") as child,
        pytest.raises(ChildCrashed, match=r"leaving crashed \(exit status 3\)"),
    ):
        child.ask(bytes(1 << 20), PATIENCE)


def test_a_fault_of_the_program_leaves_its_traceback_in_the_log(log: Path) -> None:
    with Child(fail, (), log, "failing") as child, pytest.raises(ChildCrashed):
        child.ask(None, PATIENCE)
    assert "ZeroDivisionError: a fault of the program's" in log.read_text()


def test_a_crashed_child_is_not_asked_again(log: Path) -> None:
    with Child(kill_itself, (), log, "crashing") as child:
        for _ in range(2):
            with pytest.raises(ChildCrashed, match="SIGSEGV"):
                child.ask(signal.SIGSEGV, PATIENCE)


# hanging


def test_a_child_that_hangs_is_stopped(log: Path) -> None:
    with Child(sleep, (), log, "sleeping") as child:
        pid = child.pid
        with pytest.raises(ChildTimeout, match=r"did not end within 2 s .*child\.log"):
            child.ask(None, 2)
        assert gone(pid)


def test_a_child_that_never_listens_is_stopped(log: Path) -> None:
    large = bytes(1 << 24)  # more than a pipe holds
    with (
        Child(sleep_at_once, (), log, "sleeping") as child,
        pytest.raises(ChildTimeout, match="did not end within 1 s"),
    ):
        child.ask(large, 1)


def test_a_stopped_child_is_not_asked_again(log: Path) -> None:
    with Child(sleep, (), log, "sleeping") as child:
        with pytest.raises(ChildTimeout):
            child.ask(None, 1)
        with pytest.raises(ChildCrashed, match="SIGKILL"):
            child.ask(None, 1)


# its surroundings


def test_what_a_child_prints_goes_to_the_log(
    log: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Child(chatter, (), log, "chattering") as child:
        child.ask(None, PATIENCE)
    assert capfd.readouterr() == ("", "")
    lines = log.read_text().splitlines()
    assert lines == ["from Python", "from a library, on 1", "from a library, on 2"]


def test_the_log_keeps_what_was_there(log: Path) -> None:
    log.write_text("from an earlier child\n")
    with Child(chatter, (), log, "chattering") as child:
        child.ask(None, PATIENCE)
    assert log.read_text().startswith("from an earlier child\nfrom Python\n")


PARENT = """
import time
from pathlib import Path
from k210.child import Child

if __name__ == "__main__":
    child = Child(time.sleep, (3600,), Path("log"), "sleeping")
    print(child.pid, flush=True)
    child.ask(None, 3600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the child")
def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, str(script)], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        while not (tmp_path / "log").exists():  # it makes its log after it has begun
            time.sleep(0.02)
        parent.kill()
    assert gone(pid)
