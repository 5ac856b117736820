import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages import report
from stages.quantize.candidates import STATES, Candidate, Row
from stages.quantize.scoring import Tally
from stages.quantize.search import Found
from stages.report import candidates
from stages.report.candidates import search
from stages.report.figures import FILTERS

GOOD = Tally(80, 80, 76, 77, 80, 79, 1000.0, 1.0)
UNSEEN = Tally()
WORSE = Tally(40, 40, 20, 38, 40, 21, 1000.0, 700.0)


def plan(*rows: Row) -> dict[str, Any]:
    """A plan as the stage writes it."""
    found = Found(list(rows), rows[0], "all candidates have been tried")
    return {"search": {"split": "validation", "images": 80, **found.record()}}


def row(method: str, state: str, tally: Tally = UNSEEN, why: str = "") -> Row:
    return Row(Candidate(method, False, method == "cdf", False, 64), state, why, tally)


ROWS = (
    row("no_clip", "tried", WORSE),
    row("cdf", "chosen", GOOD),
    row("l2", "crashed", why="nncase crashed (SIGSEGV)"),
    row("kld_m2", "late"),
)


def page(content: dict[str, Any]) -> str:
    folder = Path(report.__file__).parent
    templates = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined
    )
    templates.filters.update(FILTERS)
    template = templates.get_template("candidates.html.j2")
    return template.render(search=search(content))


def test_the_table_of_candidates_begins_with_the_chosen_one() -> None:
    found = re.findall(r'<th scope="row">(\w+)</th>', page(plan(*ROWS)))
    assert found == ["cdf", "no_clip", "l2", "kld_m2"]


def test_a_row_says_how_well_it_did_and_what_became_of_it() -> None:
    drawn = page(plan(*ROWS))
    cells = "<td>64</td><td>80</td><td>95.0%</td><td>98.8%</td><td>30.0 dB</td>"
    assert cells in drawn
    assert "crashed: nncase crashed (SIGSEGV)" in drawn
    assert "channels equalized" in drawn
    assert "80 pictures of the validation split, of which the float model" in drawn


def test_candidates_that_were_run_are_dots_and_the_chosen_one_is_marked() -> None:
    drawn = page(plan(*ROWS))
    assert drawn.count("<circle") == 2
    (chosen,) = re.findall(r'<g class="final">.*?<title>(.*?)</title>', drawn)
    assert chosen.startswith("cdf, channels equalized, 64 samples: accuracy 95.00%")


def test_one_candidate_needs_no_picture() -> None:
    assert "<svg" not in page(plan(row("no_clip", "chosen", GOOD)))


def test_models_without_classes_are_compared_by_signal_over_noise() -> None:
    maps = Tally(80, signal=100.0, noise=1.0)
    drawn = page(plan(row("no_clip", "chosen", maps), row("cdf", "tried", maps)))
    assert "20.0 dB" in drawn
    assert "right" not in drawn


def test_a_project_without_a_search_has_no_table() -> None:
    assert search({"method": "l2"}) is None
    assert search({"method": "l2", "search": None}) is None


def test_the_page_knows_every_state() -> None:
    assert candidates.STATES.keys() == STATES.keys()
