"""What a run tells machines and people: JUnit, notifications, what jobs leave."""

import json
import os
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k210.errors import BoardError, ModelError, NoRoomError, UserError
from k210.flash.slot import SlotError
from stages.nightly import outcome, request
from stages.nightly.junit import junit
from stages.nightly.notify import notify
from stages.nightly.outcome import Outcome

JOB: dict[str, Any] = {
    "project": "p",
    "board": "a",
    "verdict": "pass",
    "cause": "",
    "message": "",
    "seconds": 1.5,
    "worse": [],
}
ELEMENTS = {"fail": "failure", "error": "error", "skipped": "skipped"}


def summary(*jobs: dict[str, Any]) -> dict[str, Any]:
    return {"started": "2026-01-02T03:04:05.678+00:00", "jobs": [JOB | j for j in jobs]}


def test_junit_keeps_failures_errors_and_skips_apart() -> None:
    jobs = [{"board": v, "verdict": v, "cause": "x"} for v in ("pass", *ELEMENTS)]
    top = xml.fromstring(junit(summary(*jobs)))
    assert {
        name: top.get(name) for name in ("tests", "failures", "errors", "skipped")
    } == {
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    for case in top.iter("testcase"):
        verdict = case.get("name", "")
        assert [child.tag for child in case] == [
            ELEMENTS[verdict] for _ in range(verdict != "pass")
        ]


def test_junit_has_a_suite_for_each_project() -> None:
    jobs = [{"project": name} for name in ("b", "a", "b")]
    suites = xml.fromstring(junit(summary(*jobs))).findall("testsuite")
    assert [(s.get("name"), s.get("tests")) for s in suites] == [("a", "1"), ("b", "2")]


@given(st.text())
def test_junit_is_xml_whatever_a_message_holds(message: str) -> None:
    document = junit(summary({"verdict": "error", "message": message}))
    (error,) = xml.fromstring(document).iter("error")
    legal = [c for c in message if c == "\t" or c >= " " and c not in "\x7f"]
    assert len(error.get("message", "")) >= len([c for c in legal if c.isalnum()])


def test_a_notification_gets_the_summary(tmp_path: Path) -> None:
    told = summary({"message": "größer"})
    assert notify(["sh", "-c", "cat > told.json"], told, tmp_path) == ""
    assert json.loads((tmp_path / "told.json").read_bytes()) == told


@pytest.mark.parametrize(
    ("command", "told"),
    [(["false"], "status 1"), (["/no/such/command"], "No such file"), ([], "")],
)
def test_a_notification_that_fails_is_a_sentence(
    command: list[str], told: str, tmp_path: Path
) -> None:
    sentence = notify(command, summary(), tmp_path)
    assert told in sentence
    assert bool(sentence) == bool(told)


@pytest.mark.parametrize(
    ("error", "verdict", "cause", "retried"),
    [
        (ModelError("m"), "fail", "model", False),
        (BoardError("b"), "error", "board", True),
        (SlotError("s"), "error", "board", True),
        (NoRoomError("n"), "error", "room", False),
        (UserError("u"), "error", "project", False),
    ],
)
def test_an_error_says_whose_fault_it_is(
    error: UserError, verdict: str, cause: str, retried: bool
) -> None:
    found = outcome.of_error(error)
    assert (found.verdict, found.cause, found.retriable) == (verdict, cause, retried)


def test_a_process_that_dies_or_takes_too_long_speaks_of_its_board() -> None:
    assert outcome.of_death(-9, 30).retriable
    assert "30 s" in outcome.of_death(-9, 30).message
    assert outcome.of_death(-11, None).retriable


def test_a_mistake_of_ours_is_no_fault_of_the_board() -> None:
    assert not outcome.of_death(1, None).retriable


def test_an_outcome_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    assert outcome.load(path) is None
    Outcome("pass", figures={"device_ms": 1.0}).save(path)
    assert outcome.load(path) == Outcome("pass", figures={"device_ms": 1.0})
    assert list(tmp_path.iterdir()) == [path]


def test_an_attempt_has_one_owner(tmp_path: Path) -> None:
    assert request.claim(tmp_path)
    assert not request.claim(tmp_path)
    assert request.owner(tmp_path) == os.getpid()


def test_a_dead_process_owns_nothing(tmp_path: Path) -> None:
    born = request.birth(os.getpid())
    (tmp_path / request.CLAIM).write_text(json.dumps([2**22 + 1, born]))
    assert request.owner(tmp_path) is None
    (tmp_path / request.CLAIM).write_text(json.dumps([os.getpid(), "0"]))
    assert request.owner(tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="processes are told apart by /proc")
def test_a_process_has_one_birth() -> None:
    assert request.birth(os.getpid()) == request.birth(os.getpid()) is not None
