"""The report as a browser shows it; screenshots are left in ``build/screenshots``."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser, browser
from conftest import REPOSITORY
from PIL import Image

from stages.compare.page import page
from stages.history import read

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here to open the page with"
)

SCREENSHOTS = REPOSITORY / "build/screenshots"
SCHEMES = ("light", "dark")
PLOTS = (
    *("#ladder figure svg", "#trace figure svg", "#training figure svg"),
    "#time figure svg",
    *("#memory figure svg", "#memory svg.bar", "#quantization figure svg"),
    *("#history svg.bar", "#confusion img"),
)

UNDRAWN = """
[...document.querySelectorAll("svg, img")].filter(each => {
  if (each.tagName === "IMG") return !(each.complete && each.naturalWidth > 0);
  if (each.closest("details:not([open])")) return false;
  const box = each.getBBox(), place = each.getBoundingClientRect();
  const drawn = box.width > 0 || box.height > 0; // a line has no height
  return !(drawn && place.width > 0 && place.height > 0);
}).map(each => each.outerHTML.slice(0, 200))
"""
"""What takes no place on the page, though it should."""

UNREADABLE = """
[...document.querySelectorAll("svg text")].filter(each => {
  const box = each.getBoundingClientRect();
  const all = each.closest("svg").getBoundingClientRect();
  return box.left < all.left - 2 || box.right > all.right + 2;
}).map(each => each.textContent)
"""
"""Words that reach out of their drawing."""

COMPLAINTS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as tab:
        yield tab


def requests(tab: Browser) -> list[str]:
    """What the page has asked for, but for what it holds itself."""
    urls = [
        event["params"]["request"]["url"]
        for event in tab.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    return [url for url in urls if not url.startswith("data:")]


def shown(tab: Browser, path: Path, scheme: str, name: str) -> Image.Image:
    """Open a page, see to it that all is well, and keep how it looks."""
    tab.open(path, scheme)
    assert tab.run(UNDRAWN) == []
    assert tab.run(UNREADABLE) == []
    assert tab.run("document.documentElement.scrollWidth <= innerWidth")
    picture = tab.screenshot(SCREENSHOTS / f"{name}-{scheme}.png")
    assert [e for e in tab.events if e["method"] in COMPLAINTS] == []
    assert requests(tab) == [path.as_uri()]
    return Image.open(io.BytesIO(picture)).convert("L")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_report_is_drawn_without_a_complaint_or_a_request(
    deployed_once: Path, tab: Browser, scheme: str
) -> None:
    path = deployed_once / "build/tiny/report/index.html"
    picture = shown(tab, path, scheme, "report")
    for plot in PLOTS:
        assert tab.run(f"document.querySelectorAll({plot!r}).length") > 0, plot
    corner = picture.getpixel((2, 2))
    assert isinstance(corner, int)
    assert (corner < 64) == (scheme == "dark")


def test_every_link_leads_somewhere(deployed_once: Path, tab: Browser) -> None:
    tab.open(deployed_once / "build/tiny/report/index.html", "light")
    links = tab.run("[...document.links].map(link => link.href.split('#')[0])")
    assert len(links) > 10
    files = {Path(link.removeprefix("file://")) for link in links}
    assert [file for file in files if not file.exists()] == []


def test_a_narrow_page_does_not_scroll_sideways(
    deployed_once: Path, tab: Browser
) -> None:
    tab.open(deployed_once / "build/tiny/report/index.html", "light", width=390)
    assert tab.run("document.documentElement.scrollWidth") <= 390
    tab.screenshot(SCREENSHOTS / "report-narrow.png")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_comparison_is_drawn_without_a_complaint_or_a_request(
    deployed_once: Path, tab: Browser, tmp_path: Path, scheme: str
) -> None:
    (entry,) = read(deployed_once)
    path = tmp_path / "compare.html"
    path.write_text(page(["tiny", "tiny"], [entry, entry]), encoding="utf-8")
    shown(tab, path, scheme, "compare")
