import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Checkout, assert_refused
from entries import ENTRY

from k210.errors import UserError
from stages.compare import runs, table
from stages.compare.page import accuracies, page
from stages.history import Entry, append

OTHER = replace(
    ENTRY,
    id="11111111",
    settings={"data.size": "[32, 32]", "quantize.method": "l2", "train.freeze": None},
    figures={
        "check.device_accuracy": 0.95,
        "check.device_snr_db": -3.25,
        "compile.cpu_ops": 4,
        "export.operators": 14,
    },
)
BOTH = [ENTRY, OTHER]


def test_only_parameters_that_differ_are_listed() -> None:
    assert runs.differing(BOTH) == [runs.Row("quantize.method", ("no_clip", "l2"))]
    assert runs.differing([ENTRY, ENTRY]) == []


def test_figures_are_written_in_their_units() -> None:
    found = {row.name: row.cells for row in runs.figures(BOTH)}
    assert found == {
        "device accuracy": ("97.50%", "95.00%"),
        "SNR, dB": ("–", "−3.25"),
        "CPU operations": ("–", "4"),
    }
    assert runs.other_figures(BOTH) == [runs.Row("export.operators", ("–", "14"))]


def test_the_table_has_a_column_for_each_run() -> None:
    lines = table.side_by_side(["digits", "digits~1"], BOTH).splitlines()
    assert lines[0].split() == ["digits", "digits~1"]
    assert "  quantize.method  no_clip              l2" in lines
    columns = {line.index("95.00%") for line in lines if "95.00%" in line}
    assert columns == {lines[0].index("digits~1")}


def test_runs_without_a_difference_say_so() -> None:
    assert "  none" in table.side_by_side(["a", "b"], [ENTRY, ENTRY]).splitlines()


def test_a_run_is_found_by_its_id_and_by_its_age(tmp_path: Path) -> None:
    append(tmp_path, ENTRY)
    append(tmp_path, replace(OTHER, project="else"))
    append(tmp_path, replace(OTHER, id="22222222"))
    assert runs.find(tmp_path, ENTRY.id) == ENTRY
    assert runs.find(tmp_path, "digits~1") == ENTRY
    assert runs.find(tmp_path, "digits~0").id == "22222222"
    with pytest.raises(UserError, match="the history has 2 runs of 'digits'"):
        runs.find(tmp_path, "digits~2")
    with pytest.raises(UserError, match="neither a project nor a run"):
        runs.find(tmp_path, "unknown")


def test_csv_has_every_figure_and_setting_of_every_run() -> None:
    rows = list(csv.DictReader(table.to_csv(BOTH).splitlines()))
    assert [row["id"] for row in rows] == [ENTRY.id, OTHER.id]
    assert [row["check.device_accuracy"] for row in rows] == ["0.975", "0.95"]
    assert [row["export.operators"] for row in rows] == ["", "14"]
    assert [row["yaml.data.size"] for row in rows] == ["[32, 32]"] * 2


def test_the_history_is_a_line_for_each_run() -> None:
    heading, *lines = table.listed(BOTH).splitlines()
    assert heading.split()[:3] == ["run", "project", "started"]
    assert lines[0].split() == [
        *("00000000", "digits", "2026-11-21", "09:25:01", "pass", "97.50%", "–", "–")
    ]


def test_the_page_shows_the_runs_and_refers_to_nothing_outside() -> None:
    drawn = page(["<b>", "digits~1"], BOTH)
    assert "<b>" not in drawn.replace("<b>A</b>", "").replace("<b>B</b>", "")
    assert "&lt;b&gt;" in drawn
    assert "quantize.method" in drawn
    assert drawn.count("<circle") == 2
    assert not re.search(r"https?:|src=|href=|url\(|@import|<script", drawn)


def test_accuracies_are_drawn_with_their_intervals() -> None:
    picture = accuracies([ENTRY, OTHER, replace(ENTRY, figures={})])
    assert picture is not None
    assert [mark.step for mark in picture.marks] == ["A", "B", "C"]
    assert picture.marks[2].x is None
    first = picture.marks[0]
    assert first.x is not None
    assert first.low < first.x < first.high


def without_accuracy() -> list[Entry]:
    return [replace(ENTRY, figures={}), replace(OTHER, figures={})]


def test_runs_without_accuracy_have_no_such_picture() -> None:
    assert accuracies(without_accuracy()) is None
    assert "<circle" not in page(["a", "b"], without_accuracy())


# the command


@pytest.mark.long
def test_a_project_is_compared_with_its_run_before(imported: Checkout) -> None:
    imported.replace("samples: 16}", "samples: 18}")
    for stage in ("quantize", "compile", "flash", "check"):
        assert imported.stage(stage).returncode == 0
    done = imported.doit("compare", "imported", "imported~1", "--html", "both.html")
    assert done.returncode == 0, done.stderr
    assert re.search(r"quantize\.samples +18 +16\n", done.stdout)
    assert "<h2>Figures</h2>" in (imported.root / "both.html").read_text()
    done = imported.doit("compare", "--history", "--csv", "-")
    assert len(list(csv.DictReader(done.stdout.splitlines()))) == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "takes 2 to 26 runs"),
        (("tiny",), "takes 2 to 26 runs"),
        (("tiny", "nothing"), "check.json: missing; run the stage that writes it"),
        (("x~1", "x~2"), "x~1: the history has 0 runs of 'x'"),
        (("--history", "--html", "x.html"), "--html shows runs side by side"),
        (("--history", "--csv", "no/such.csv"), "no/such.csv: cannot be written"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    checkout: Checkout, arguments: tuple[str, ...], complaint: str
) -> None:
    assert_refused(checkout.doit("compare", *arguments), complaint)
