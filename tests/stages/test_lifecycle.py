import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import IMPORTED, Checkout, assert_refused
from jobs import job_of

from stages.artifacts import Workspace, digest, read_run
from stages.graph import NAMES, STAGES, find_stage, stages_of
from stages.project.schema import Project

BUILD = "build/imported"


def summary(checkout: Checkout, stage: str) -> Any:
    path = checkout.root / BUILD / stage / "summary.json"
    return json.loads(path.read_text(encoding="utf-8"))


# before a stage


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        ("export", "train/split.json is missing; run the train stage first"),
        ("flash", "compile/model.kmodel is missing; run the compile stage first"),
    ],
)
def test_a_stage_without_its_inputs_is_refused(
    checkout: Checkout, stage: str, missing: str
) -> None:
    checkout.write("pipeline.yaml", IMPORTED)
    checkout.write("model.tflite", "not looked at")
    assert_refused(checkout.stage(stage), missing)


def test_an_input_changed_by_hand_is_refused(imported: Checkout) -> None:
    path = imported.root / BUILD / "quantize/plan.json"
    path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert_refused(imported.stage("compile"), "plan.json is not what the stage wrote")


def test_an_earlier_result_that_follows_another_one_is_refused(
    imported: Checkout,
) -> None:
    imported.replace("quantize: {", "quantize: {seed: 1, ")
    assert imported.stage("quantize").returncode == 0
    assert_refused(
        imported.stage("flash"),
        "compile/ was made from another quantize/plan.json",
        "run the compile stage to link the chain",
    )


def test_an_unknown_project_is_refused(imported: Checkout) -> None:
    assert_refused(imported.stage("flash", "--project", "other"), "'other'")


# after a stage


def test_the_summary_links_what_was_read_to_what_was_written(
    imported: Checkout,
) -> None:
    compiled = summary(imported, "compile")
    assert compiled["inputs"].keys() == set(find("compile").inputs)
    assert compiled["outputs"].keys() == set(find("compile").outputs)
    for name, value in {**compiled["inputs"], **compiled["outputs"]}.items():
        assert value == digest(imported.root / BUILD / name)


def find(name: str) -> Any:
    return find_stage(name, Project().model_dump(mode="json"))


@pytest.mark.parametrize("stage", NAMES[: NAMES.index("report")])
def test_a_summary_is_flat_but_for_its_tools_and_digests(
    imported_once: Path, stage: str
) -> None:
    content = summary(Checkout(imported_once), stage)
    for name in ("tools", "inputs", "outputs"):
        content.pop(name)
    assert all(not isinstance(value, dict | list) for value in content.values())
    assert content["seconds"] >= 0
    assert content["started"].endswith("+00:00")


def test_a_record_describes_all_that_a_stage_wrote(imported_once: Path) -> None:
    ws = Workspace(imported_once, "imported")
    for stage in NAMES[: NAMES.index("report")]:
        run = read_run(ws, stage)
        assert run is not None
        assert run.broken(ws) == []
        inside = {name for name in run.files if name.startswith(f"{stage}/")}
        names = {path.name for path in ws.path(stage).iterdir()} - {"run.json"}
        assert {name.partition("/")[2] for name in inside} == names


def test_a_stage_that_is_refused_keeps_the_last_good_result(
    imported: Checkout,
) -> None:
    before = (imported.root / BUILD / "flash/receipt.json").read_bytes()
    imported.replace("check:", "board: {port: /dev/ttyNONE}\ncheck:")
    assert_refused(imported.stage("flash"), "/dev/ttyNONE cannot be opened")
    assert (imported.root / BUILD / "flash/receipt.json").read_bytes() == before
    names = {path.name for path in (imported.root / BUILD).iterdir()}
    assert not [name for name in names if name.endswith((".new", ".old"))]


def test_an_abandoned_publish_is_undone_first(imported: Checkout) -> None:
    shutil.move(imported.root / BUILD / "train", imported.root / BUILD / ".train.old")
    assert imported.stage("normalize").returncode == 0
    assert (imported.root / BUILD / "train/split.json").exists()


def test_only_if_stale_does_nothing_where_all_is_well(imported: Checkout) -> None:
    before = summary(imported, "flash")
    assert imported.stage("flash", "--if-stale").returncode == 0
    assert summary(imported, "flash") == before
    imported.replace("check:", "flash: {slot: 0x200000}\ncheck:")
    assert imported.stage("flash", "--if-stale").returncode == 0
    assert summary(imported, "flash") != before


# what a stage may touch


def test_a_stage_reads_and_writes_only_what_it_declares(imported: Checkout) -> None:
    job = job_of(imported, "compile")
    assert job.input("quantize/plan.json").exists()
    for access in (job.input, job.output):
        with pytest.raises(AssertionError, match="does not declare train/split.json"):
            access("train/split.json")


def test_outputs_go_to_the_draft(imported: Checkout) -> None:
    job = job_of(imported, "compile")
    folder = imported.root / BUILD / ".compile.new"
    assert job.output("compile/model.kmodel") == folder / "model.kmodel"


# the graph


def test_every_input_is_written_by_an_earlier_stage() -> None:
    written: set[str] = set()
    for stage in STAGES:
        assert written >= set(stage.inputs), stage.name
        written |= {*stage.outputs, stage.summary}


def test_a_project_with_a_model_has_no_trained_files() -> None:
    settings = Project.model_validate({"model": {"file": "a.tflite"}})
    for stage in stages_of(settings.model_dump(mode="json")):
        names = (*stage.inputs, *stage.outputs)
        assert not {"train/model.keras", "train/history.csv"} & set(names)


def test_what_a_real_board_did_is_never_given_back_from_the_cache() -> None:
    for port, cached in (("virtual", True), ("/dev/ttyUSB0", False)):
        settings = Project.model_validate({"board": {"port": port}})
        stages = stages_of(settings.model_dump(mode="json"))
        found = {stage.name: stage.cached for stage in stages}
        assert found["flash"] is found["check"] is cached
        assert found["train"] is found["compile"] is True


def test_a_headline_leaves_out_what_was_not_measured() -> None:
    check = find("check")
    assert check.describe({"samples": 20, "device_agreement": 0.5}) == (
        "agreement 50.0%, 20 samples"
    )
    assert check.describe({"device_accuracy": None}) == ""
