"""The page as a file: complete in itself, whatever things are called."""

import copy
import re

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_pages import STAGES, Draw, Reader, artifacts, job, mistake, text

from stages import report


def test_the_page_refers_to_nothing_outside_of_it(draw: Draw) -> None:
    content = artifacts()
    content["check/check.json"]["worst"] = [mistake(3, 1, 1), mistake(7, 1, 0)]
    page = draw(content)
    reader = Reader(page)
    assert not {"script", "link", "iframe", "object", "embed"} & set(reader.tags)
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    known = [f"#{each}" for each in ids] + [f"../logs/{name}.log" for name in STAGES]
    for _, attributes in reader.elements:
        assert not {"srcset", "data", "action"} & attributes.keys()
        assert (attributes.get("src") or "data:").startswith("data:")
        assert attributes.get("href", "#ladder") in known
    pictures = r"data:image/png;base64,[\w+/=]+"
    assert len(re.findall(pictures, page)) == 2
    assert not re.search(r"https?:|//|url\(|@import", re.sub(pictures, "", page))
    assert len(ids) == len(set(ids))


def test_every_element_is_closed_where_it_belongs(draw: Draw) -> None:
    assert Reader(draw(artifacts())).open == []


def test_equal_artifacts_give_equal_bytes(draw: Draw) -> None:
    assert draw(artifacts()) == draw(copy.deepcopy(artifacts()))


NASTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; {{ 7 * 7 }} {% raw %} &amp;",
    " ",
    "שלום ۱۲۳ 猫 👩‍👩‍👧 e\u0301\u0300\u0302",
    "Donaudampfschifffahrtsgesellschaft" * 20,
]


def test_names_are_shown_and_never_obeyed(draw: Draw) -> None:
    content = artifacts(NASTY)
    for each in content["normalize/layers.json"]["layers"]:
        each["name"] = NASTY[1]
    content["compile/placement.json"]["ops"][3]["tensors"] = [NASTY[0]]
    content["quantize/plan.json"]["input"]["name"] = NASTY[2]
    about = {"name": "digits", "description": NASTY[0]}
    page = draw(content, project=about, report={"title": NASTY[1]})
    reader = Reader(page)
    assert not {"script", "img"} & set(reader.tags)
    assert not [
        name for _, each in reader.elements for name in each if name[:2] == "on"
    ]
    for name in NASTY:
        assert re.sub(r"\s+", " ", name) in reader.text
    assert "(no name)" in reader.text


@hypothesis.settings(deadline=None, max_examples=20)
@given(name=st.text(min_size=5, max_size=60))
def test_no_name_changes_the_structure_of_the_page(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    def tags(name: str) -> list[str]:
        content = artifacts([name, "other"])
        content["normalize/layers.json"]["layers"][0]["name"] = name
        work = job(
            tmp_path_factory.mktemp("report"), content, {"report": {"title": name}}
        )
        report.run(work)
        page = work.output("report/index.html").read_text(encoding="utf-8")
        return Reader(page).tags

    assert tags(name) == tags("plain")


def test_the_settings_are_shown_as_yaml(draw: Draw) -> None:
    words = text(draw(artifacts(), check={"samples": 77}))
    shown = words[words.index("What the project sets") :]
    assert "project: {name: digits} check: {samples: 77}" in shown
    assert "epochs: 28" in shown[shown.index("All settings") :]


def test_each_stage_shows_when_it_ran_with_what_and_what_it_made(draw: Draw) -> None:
    page = draw(artifacts())
    words = text(page)
    runs = words[words.index("What ran when") :]
    assert "All stages together took 1 min 52 s." in runs
    for stage in STAGES:
        assert f"{stage} 16.1 s 2026-11-21 09:25:01 UTC · log samples12,345" in runs
        assert f"wrote {stage}/made{'a' * 64}" in runs
    assert "nncase 1.9.0 numpy 2.2.6" in runs


def test_a_summary_without_times_and_tools_is_shown_without_them(draw: Draw) -> None:
    content = artifacts()
    for stage in STAGES:
        del content[f"{stage}/summary.json"]["started"]
        del content[f"{stage}/summary.json"]["tools"]
    words = text(draw(content))
    assert "UTC" not in words
    assert "train 16.1 s log samples12,345" in words
