"""The index page of nightly runs as a browser shows it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, Browser, browser
from conftest import REPOSITORY

from stages.nightly import regression, request
from stages.nightly.outcome import Outcome
from stages.nightly.page import page
from stages.nightly.rows import NewJob, now
from stages.nightly.settings import Regression
from stages.nightly.store import Store
from stages.nightly.summary import summarize

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here to open the page with"
)

RUNS = 6
SECRET = "the board <b>coughed</b> & died"
SCREENSHOTS = REPOSITORY / "build/screenshots"


def figures(number: int, accuracy: float) -> dict[str, Any]:
    return {
        "samples": 500,
        "accuracy": accuracy,
        "agreement": 0.99,
        "device_ms": 1.5 + number / 100,
        "timing": "modelled",
        "memory_kib": 60.0 + number,
        "kmodel_kib": 40.0,
    }


def outcomes(number: int) -> dict[str, Outcome]:
    """What came of the project on each board in a run."""
    last = number == RUNS - 1
    good = Outcome("pass", figures=figures(number, 0.97))
    bad = Outcome("fail", "threshold", "accuracy is low", figures(number, 0.6))
    broken = Outcome("error", "board", "no answer")
    return {"unit-1": bad if last else good, "unit-2": broken if number > 2 else good}


def night(store: Store, root: Path, number: int) -> int:
    """One run, with what its processes leave; its id."""
    run = store.begin([NewJob("measure", "digits", b, (b,)) for b in outcomes(number)])
    for job in store.jobs(run):
        attempt = store.start(job.id, job.board)
        folder = request.attempt_folder(root, job, attempt)
        folder.mkdir(parents=True)
        (folder / request.LOG).write_text(f"{job.board}: {SECRET}\n")
        store.end(attempt, outcomes(number)[job.board], 3.5, final=True)
    return run


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page after some runs, the last of which is worse."""
    root = tmp_path_factory.mktemp("night")
    home = root / "build/nightly"
    store = Store(home / "history.sqlite")
    for number in range(RUNS):
        run = night(store, root, number)
        findings = regression.judge(store, run, Regression())
        told = summarize(store, root, run, findings, now())
        path = home / "index.html"
        path.write_bytes(page(told, store, home))
        for name in ("summary.json", "junit.xml"):
            (home / name).touch()
        store.finish(run, told["status"], {"verdicts": told["verdicts"]})
    store.close()
    return path


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as tab:
        yield tab


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_drawn_without_a_complaint_or_a_request(
    shown: Path, tab: Browser, scheme: str
) -> None:
    tab.open(shown, scheme)
    tab.screenshot(SCREENSHOTS / f"nightly-{scheme}.png")
    assert tab.run("document.documentElement.scrollWidth <= innerWidth")
    asked = [e for e in tab.events if e["method"] == "Network.requestWillBeSent"]
    assert [e["params"]["request"]["url"] for e in asked] == [shown.as_uri()]
    complaints = ("Runtime.exceptionThrown", "Log.entryAdded")
    assert [e for e in tab.events if e["method"] in complaints] == []


def test_the_table_tells_what_came_of_each_project_on_each_board(
    shown: Path, tab: Browser
) -> None:
    tab.open(shown, "light")
    head = "[...document.querySelectorAll('.nights thead th')].map(c => c.innerText)"
    assert tab.run(head) == ["project", "unit-1", "unit-2"]
    cells = "[...document.querySelectorAll('.nights tbody td')].map(c => c.innerText)"
    fail, error = tab.run(cells)
    assert fail.splitlines() == ["fail", "60.00%, 1.55 ms"]
    assert error.splitlines() == ["error", "board"]
    assert tab.run("document.querySelector('.word').innerText") == "✗ worse than before"


def test_the_log_of_a_failing_job_is_read_on_the_page(
    shown: Path, tab: Browser
) -> None:
    tab.open(shown, "light")
    text = "document.querySelector('.trouble pre').innerText"
    visible = "document.querySelector('.trouble pre').checkVisibility()"
    assert not tab.run(visible)
    tab.run("document.querySelector('.trouble summary').click(), true")
    assert tab.run(visible)
    assert tab.run(text).strip() == f"unit-1: {SECRET}"


def test_the_trend_is_drawn_run_by_run(shown: Path, tab: Browser) -> None:
    tab.open(shown, "light")
    titles = (
        "[...document.querySelectorAll('#trends figcaption')].map(c => c.innerText)"
    )
    found = tab.run(titles)
    assert [title.split()[0] for title in found] == [
        *("Accuracy", "Time", "Memory", "Size"),
        *("Accuracy", "Time", "Memory", "Size"),
    ]
    assert "60.00%" in found[0]
    dots = (
        "document.querySelectorAll('#trends figure')[{}].querySelectorAll('{}').length"
    )
    assert tab.run(dots.format(0, "circle.pass")) == RUNS - 1
    assert tab.run(dots.format(0, "circle.fail")) == 1
    assert tab.run(dots.format(4, "rect.gap")) == 3
    place = "(()=>{const b = document.querySelector('#trends polyline').getBBox();"
    width, height = tab.run(place + "return [b.width, b.height]})()")
    assert width > 100
    assert height > 20


def test_a_narrow_page_does_not_scroll_sideways(shown: Path, tab: Browser) -> None:
    tab.open(shown, "light", width=390)
    assert tab.run("document.documentElement.scrollWidth") <= 390
    tab.screenshot(SCREENSHOTS / "nightly-narrow.png")
