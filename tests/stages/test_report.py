import base64
import copy
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stages import report
from stages.artifacts import Workspace, write_json
from stages.console import Console
from stages.graph import find_stage
from stages.lifecycle import Job
from stages.project.schema import Project
from stages.report.confusion import confusion
from stages.report.history import same_kmodel
from stages.report.ladder import weakest_link
from stages.report.layers import placement
from stages.report.memory import kpu_ram
from stages.report.pictures import data_address
from stages.verdict import failures

SHA = "8bd2eee62a952c327f021398583011a76718862e6b2e975a5b954fe0d6c51109"
FUSED = (
    "net/re_lu_1/Relu6;net/bn_1/batchnorm/add_1;net/conv2d_1/convolution;net/bn/sub1"
)
STAGES = ("train", "export", "normalize", "quantize", "compile", "flash", "check")
BOARD = {"kind": "virtual", "flash_id": "ef4018", "flash_size": 0x1000000}
HISTORY = """epoch,accuracy,loss,val_accuracy,val_loss
0,0.4651,1.5438,0.7180,0.8192
1,0.8637,0.4633,0.9840,0.0537
2,0.9914,0.0277,0.9780,0.0545
"""

Artifacts = dict[str, Any]


def row(step: str, accuracy: float | None, **more: float | None) -> dict[str, Any]:
    measured = {"agreement": None, "snr_db": None, "psnr_db": None, "l1": None}
    interval = None if accuracy is None else [accuracy - 0.0121, accuracy + 0.0076]
    drop = None if accuracy is None or step == "float" else 0.9751 - accuracy
    return {
        "step": step,
        "accuracy": accuracy,
        "ci95": interval,
        "drop": drop,
        "drop_ci95": None if drop is None else [drop - 0.003, drop + 0.004],
        "top_k": None,
        "per_class": None,
        "cosine": None,
        **measured,
        **more,
    }


def ladder() -> list[dict[str, Any]]:
    near = {"agreement": 1.0, "snr_db": 134.05, "psnr_db": 144.19, "l1": 1.23e-8}
    far = {"agreement": 0.9987, "snr_db": 36.77, "psnr_db": 46.9, "l1": 0.00052}
    return [
        row("float", 0.9751),
        row("tflite", 0.9752, **near),
        row("normalized", 0.9753, **near),
        row("reference", 0.9644, **far),
        row("device", 0.9655, **far),
    ]


def confused(count: int) -> list[list[int]]:
    """Of 20 samples of each class, two are taken for the next class."""
    return [
        [18 if j == i else 2 if j == (i + 1) % count else 0 for j in range(count)]
        for i in range(count)
    ]


def check(classes: list[str] | None) -> dict[str, Any]:
    return {
        "project": "digits",
        "engine": "firmware",
        "board": BOARD,
        "samples": 20 * len(classes) if classes else 400,
        "verdict": "pass",
        "failures": [],
        "notes": [],
        "thresholds": {"min_accuracy": 0.955, "max_drop": None, "min_agreement": 0.98},
        "ladder": ladder(),
        "classes": classes,
        "confusion": confused(len(classes)) if classes else None,
        "top_k": 5,
        "worst": [],
        "disagreements": [],
        "modelled": {"kpu_ms": 0.75, "ops": MODELLED},
        "memory": {
            "kpu_ram": 1 << 20,
            "data": 78888,
            "inputs": 1536,
            "outputs": 40,
            "model": 50648,
            "total": 129536,
        },
        "kmodel_sha256": SHA,
    }


MODELLED = [
    {"id": "k0.0", "ms": None, "reads": None, "writes": [0, 4096]},
    {"id": "k0.1", "ms": 0.75, "reads": [0, 4096], "writes": [4096, 8192]},
    {"id": "k0.2", "ms": None, "reads": [4096, 8192], "writes": None},
]


def mistake(index: int, decision: int, first: int) -> dict[str, Any]:
    return {
        "index": index,
        "label": 0,
        "decision": decision,
        "score": 0.875,
        "first_decision": first,
        "first_score": 0.5,
    }


def layer(name: str, where: str, pixels: tuple[int, int, int, int]) -> dict[str, Any]:
    sides = dict(zip(("top", "bottom", "left", "right"), pixels, strict=True))
    return {
        "name": name,
        "depthwise": False,
        "input": [32, 48, 1],
        "output": [16, 24, 16],
        "kernel": [3, 3],
        "stride": [2, 2],
        "dilation": [1, 1],
        "padding": "SAME",
        "pixels": sides,
        "given": sides,
        "changes": [],
        "macs": 1234567,
        "bytes": 2048,
        "where": where,
        "why": f"because of {where}",
    }


def op(op_id: str, kind: str, where: str, **more: Any) -> dict[str, Any]:
    fields = {"tensors": [], "why": "", "shape": [1, 16, 8, 8], "bytes": 1024}
    return {"id": op_id, "kind": kind, "where": where, "macs": 0, **fields, **more}


def operations() -> list[dict[str, Any]]:
    region = [
        op("k0.0", "kpu_upload", "dma"),
        op("k0.1", "kpu_conv2d", "kpu", tensors=[FUSED], macs=300),
        op("k0.2", "kpu_download", "dma"),
    ]
    return [
        op("s0", "pad", "cpu", why="padding that the KPU does not have"),
        op("s1", "call", "cpu", why="enters a region of KPU layers"),
        *region,
        op("s2", "pad", "cpu", why="padding that the KPU does not have"),
        op("s3", "conv2d", "cpu", why="a convolution that it does not have", macs=100),
    ]


def plan(classes: list[str] | None) -> dict[str, Any]:
    return {
        "method": "no_clip",
        "mse_weights": False,
        "samples": 64,
        "split": "train",
        "split_digest": "5" * 64,
        "samples_digest": "f" * 64,
        "per_class": [6, 7] if classes else None,
        "pixels": {"min": 3, "max": 251},
        "input": {
            "name": "input",
            "shape": [1, 1, 32, 48],
            "dtype": "u8",
            "layout": "NCHW",
            "range": [0.0, 1.0],
            "mean": [0.0],
            "std": [1.0],
            "color": "grey",
            "resize": "pad",
            "rotation": 0,
        },
        "outputs": [{"name": "Identity", "shape": [1, 10], "labels": classes}],
    }


def receipt() -> dict[str, Any]:
    kmodel = {"address": 0x101000, "length": 50648, "sha256": SHA}
    manifest = {"address": 0x10E000, "length": 942, "sha256": "6" * 64}
    return {
        "board": BOARD,
        "engine": "firmware",
        "slot": 0x100000,
        "size": 61440,
        "parts": {"kmodel": kmodel, "manifest": manifest},
    }


def summary(stage: str) -> dict[str, Any]:
    return {
        "samples": 12345,
        "seconds": 16.066,
        "started": "2026-11-21T09:25:01+00:00",
        "tools": {"numpy": "2.2.6"},
        "inputs": {},
        "outputs": {f"{stage}/made": "a" * 64},
    }


def normalized(layers: list[dict[str, Any]]) -> dict[str, Any]:
    plan = {
        "name": "as it is",
        "rotation": 0,
        "refused": None,
        "ms": 1.234,
        "regions": 3,
        "cpu_ops": 9,
        "cpu_pads": 2,
        "total": 102400,
        "kpu_ram": 2048,
        "snr_db": 31.25,
    }
    turned = {**plan, "name": "rotated", "rotation": 180, "regions": 1}
    refused = dict.fromkeys(plan) | {"name": "strides later", "refused": "it crashed"}
    return {
        "plan": "rotated",
        "rotation": 180,
        "layers": layers,
        "plans": [plan, turned, refused],
        "refusals": ["'resize' (RESIZE_BILINEAR) cannot be rotated"],
        "proof": {"inputs": 12, "maps": 31, "difference": 3.21e-7, "layer": "a"},
    }


def artifacts(classes: list[str] | None = None) -> Artifacts:
    """What the stages before the report leave of a small labelled project."""
    classes = ["cat", "dog"] if classes is None else classes or None
    memory = {"data": 78888, "kpu_ram": 1 << 20, "model": 50648, "total": 129536}
    manifest = {"kmodel_sha256": SHA, "memory": memory, "tools": {"nncase": "1.9.0"}}
    layers = [layer(FUSED, "kpu+cpu", (0, 1, 0, 2)), layer("b", "kpu", (1, 1, 1, 1))]
    return {
        "normalize/layers.json": normalized(layers),
        "quantize/plan.json": plan(classes),
        "compile/manifest.json": manifest,
        "compile/placement.json": {"regions": 1, "repairs": [], "ops": operations()},
        "flash/receipt.json": receipt(),
        "check/check.json": check(classes),
        "check/pictures.npz": {
            "indices": np.array([3, 7]),
            "images": np.arange(48, dtype=np.uint8).reshape(2, 4, 6, 1),
        },
        "quantize/calibration.npz": {
            "samples": np.arange(51, 204, dtype=np.uint8).reshape(9, 1, 17, 1)
        },
        **{f"{stage}/summary.json": summary(stage) for stage in STAGES},
        "train/history.csv": HISTORY,
    }


def job(root: Path, content: Artifacts, settings: dict[str, Any]) -> Job:
    project = Project.model_validate({"project": {"name": "digits"}, **settings})
    ws = Workspace(root, "digits")
    stage = find_stage("report", project.model_dump(mode="json"))
    for name, value in content.items():
        if name not in stage.inputs:
            continue
        ws.path(name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(value, str):
            ws.path(name).write_text(value, encoding="utf-8")
        elif name.endswith(".npz"):
            np.savez(ws.path(name), **value)
        else:
            write_json(ws.path(name), value)
    ws.start_draft("report")
    return Job(ws, stage, project, "0" * 64, Console(io.StringIO(), "report"))


Draw = Callable[..., str]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    def drawn(content: Artifacts, **settings: Any) -> str:
        work = job(tmp_path, content, settings)
        metrics = report.run(work)
        page = work.output("report/index.html").read_bytes()
        assert metrics == {"page_kib": round(len(page) / 1024, 1)}
        return page.decode()

    return drawn


class Reader(HTMLParser):
    """The elements of a page, its visible words, and whether all is closed."""

    VOID = ("meta", "br", "img")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.pieces: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[Any]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.pieces.append(data)

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.pieces))


def text(page: str) -> str:
    return Reader(page).text


# one file that needs nothing else


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


# verdict and headline


def test_the_headline_is_the_devices_accuracy_and_where_it_was_measured(
    draw: Draw,
) -> None:
    words = text(draw(artifacts()))
    head = words[: words.index("The ladder")]
    assert "✓ pass The device meets every threshold" in head
    assert "device accuracy96.55%95% interval 95.3%–97.3%" in head
    assert "agreement99.87%of decisions are those of float" in head
    assert "−0.96 points" in head
    assert "−1.36 to −0.66, float to device" in head
    assert "40 test samples" in head
    assert "firmware" in head
    assert "virtual, flash ID ef4018, flash size 16 MiB" in head
    assert "at least 95.50%: ✓ met with 96.55%" in head


def test_the_title_is_the_reports_or_else_the_projects_name(draw: Draw) -> None:
    assert "<title>digits: pass</title>" in draw(artifacts())
    page = draw(artifacts(), report={"title": "Números & Co"})
    assert "<title>Números &amp; Co: pass</title>" in page
    assert "K210 pipeline · digits" in text(page)


def test_a_failed_verdict_says_each_failure_in_a_sentence(draw: Draw) -> None:
    content = artifacts()
    measured = content["check/check.json"]
    measured["thresholds"] = {
        "min_accuracy": 0.97,
        "max_drop": 0.005,
        "min_agreement": 0.98,
    }
    measured["failures"] = failures(measured["ladder"], 0.97, 0.005, 0.98)
    measured["verdict"] = "fail"
    words = text(draw(content))
    assert "✗ fail" in words
    assert "device accuracy 96.55% is below check.min_accuracy 97.00%" in words
    assert "accuracy drops by 0.96% from float to device" in words
    assert "at least 97.00%: ✗ missed with 96.55%" in words
    assert "at most 0.50%: ✗ missed with −0.96 points" in words
    assert "at least 98.00%: ✓ met with 99.87%" in words


def test_a_project_without_thresholds_is_not_said_to_meet_them(draw: Draw) -> None:
    content = artifacts()
    none = {"min_accuracy": None, "max_drop": None, "min_agreement": None}
    content["check/check.json"]["thresholds"] = none
    words = text(draw(content))
    assert "The project sets no threshold" in words
    assert "meets every" not in words


# the ladder


def test_the_ladder_shows_every_figure_of_every_step(draw: Draw) -> None:
    words = text(draw(artifacts()))
    for line in (
        "floatthe trained Keras model97.51%96.3%–98.3%–––––",
        "tfliteas exported to TFLite97.52%96.3%–98.3%100.00%134.1 dB144.2 dB1.2×10⁻⁸",
        "normalizedas rewritten for the KPU97.53%96.3%–98.3%100.00%134.1 dB144.2 dB",
        "referencethe kmodel on the host96.44%95.2%–97.2%99.87%36.8 dB46.9 dB0.00052",
        "devicethe kmodel in the board's flash96.55%95.3%–97.3%99.87%36.8 dB46.9 dB",
    ):
        assert line in words


def test_both_pictures_have_a_mark_for_each_step(draw: Draw) -> None:
    elements = Reader(draw(artifacts())).elements
    assert [tag for tag, _ in elements].count("circle") == 5
    levels = [each for _, each in elements if each.get("class") == "level"]
    assert len(levels) == 4


def test_the_neighbours_that_differ_most_are_named(draw: Draw) -> None:
    words = text(draw(artifacts()))
    assert (
        "change most from normalized to reference, where the signal-to-noise ratio "
        "falls from 134.1 dB to 36.8 dB" in words
    )


def test_steps_without_any_difference_are_no_weak_link(draw: Draw) -> None:
    same = {"agreement": 1.0, "l1": 0.0}
    rungs = [
        row("tflite", 0.9),
        row("reference", 0.9, **same),
        row("device", 0.9, **same),
    ]
    assert weakest_link(rungs) is None
    content = artifacts()
    content["check/check.json"]["ladder"] = rungs
    words = text(draw(content))
    assert "No step changes the outputs." in words
    assert "no difference" in words


def test_more_noise_than_signal_is_drawn_below_zero(draw: Draw) -> None:
    content = artifacts()
    content["check/check.json"]["ladder"][-1]["snr_db"] = -3.21
    page = draw(content)
    assert "−3.2 dB" in text(page)
    widths = [float(e["width"] or 0) for t, e in Reader(page).elements if t == "rect"]
    assert min(widths) >= 0


# without labels, without training


def unlabelled() -> Artifacts:
    content = artifacts([])
    measured = content["check/check.json"]
    for rung in measured["ladder"]:
        for key in ("accuracy", "ci95", "drop", "drop_ci95"):
            rung[key] = None
    measured["thresholds"]["min_accuracy"] = None
    return content


def test_without_labels_agreement_leads_and_accuracy_is_not_measured(
    draw: Draw,
) -> None:
    page = draw(unlabelled())
    words = text(page)
    figures = ["agreement99.87%", "signal to noise36.8 dB", "accuracynot measured"]
    assert sorted(figures, key=words.index) == figures
    assert "floatthe trained Keras modelnot measured" in words
    assert 'id="confusion"' not in page
    assert 'href="#confusion"' not in page
    assert "circle" not in Reader(page).tags


def test_without_decisions_the_noise_leads(draw: Draw) -> None:
    content = unlabelled()
    content["check/check.json"]["thresholds"]["min_agreement"] = None
    for rung in content["check/check.json"]["ladder"]:
        rung["agreement"] = None
    words = text(draw(content))
    figures = [
        "signal to noise36.8 dB",
        "agreementnot measured",
        "accuracynot measured",
    ]
    assert sorted(figures, key=words.index) == figures


def test_a_project_that_brings_its_model_has_no_training_curves(draw: Draw) -> None:
    content = artifacts()
    del content["check/check.json"]["ladder"][0]
    page = draw(content, model={"file": "mine.tflite"})
    assert 'id="training"' not in page
    assert 'href="#training"' not in page
    assert "each is compared with tflite" in text(page)


# confusions


def test_the_matrix_shows_counts_recall_and_precision(draw: Draw) -> None:
    content = artifacts(["cat", "dog", "eel"])
    content["check/check.json"]["confusion"] = [[8, 2, 0], [0, 4, 0], [0, 0, 0]]
    words = text(draw(content))
    assert " cat82080.0 dog040100.0 eel000– precision, %100.066.7–" in words
    assert "cat taken for dog 2 of 10" in words


@pytest.mark.parametrize("count", [2, 20])
def test_up_to_twenty_classes_are_drawn(draw: Draw, count: int) -> None:
    page = draw(artifacts([f"class number {n}" for n in range(count)]))
    assert page.count('class="hit-5"') == count
    assert page.count('class="miss-2"') == count


def test_of_thirty_classes_only_the_worst_are_listed(draw: Draw) -> None:
    content = artifacts([f"class-{n}" for n in range(30)])
    content["check/check.json"]["confusion"][29] = [20, *[0] * 29]
    page = draw(content)
    assert "Confusion matrix" not in page
    words = text(page)
    assert "The classes with the lowest recall, of 30 " in words
    assert "precision class-29200.0%0.0%" in words
    assert "class-29 taken for class-0 20 of 20" in words
    assert "and 18 other pairs" in words


def test_decisions_for_no_class_are_counted_apart() -> None:
    measured = check(["a", "b"])
    measured["samples"] = 50
    found = confusion(measured)
    assert found is not None
    assert (found.errors, found.uncounted) == (4, 10)


def test_a_model_that_never_decides_has_no_confusions() -> None:
    measured = check(["a", "b"])
    measured["confusion"] = [[0, 0], [0, 0]]
    assert confusion(measured) is None


def test_the_worst_mistakes_are_shown_with_what_they_are_taken_for(draw: Draw) -> None:
    content = artifacts()
    content["check/check.json"]["worst"] = [mistake(3, 1, 1)]
    content["check/check.json"]["disagreements"] = [mistake(7, 1, 0)]
    page = draw(content)
    words = text(page)
    assert "dog 88% is cat #3" in words
    assert "dog 88% is cat float: cat 50% #7" in words
    first, second = re.findall(r"data:image/png;base64,([\w+/=]+)", page)
    with Image.open(io.BytesIO(base64.b64decode(second))) as picture:
        assert np.array(picture).tolist() == np.arange(24, 48).reshape(4, 6).tolist()


def test_large_pictures_are_made_small() -> None:
    address = data_address(np.zeros((512, 256, 3), np.uint8))
    data = base64.b64decode(address.partition(",")[2])
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.size == (64, 128)


def test_without_labels_what_is_decided_otherwise_is_shown(draw: Draw) -> None:
    content = unlabelled()
    content["check/check.json"]["disagreements"] = [
        {**mistake(7, 1, 0), "label": None, "score": 7.25}
    ]
    words = text(draw(content))
    assert "Where the device decides otherwise" in words
    assert "output 1 7.25 float: output 0 50% #7" in words


def test_steps_have_their_accuracy_on_each_class(draw: Draw) -> None:
    content = artifacts()
    for rung in content["check/check.json"]["ladder"]:
        rung.update(per_class=[0.5, None], top_k=0.75)
    words = text(draw(content))
    assert "catfloat" not in words
    assert "cat50.0%50.0%50.0%50.0%50.0% dog–––––" in words
    assert "96.3%–98.3%75.00%–" in words


# names


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


# training


def test_the_curves_end_where_the_training_ended(draw: Draw) -> None:
    page = draw(artifacts())
    words = text(page)
    assert "3 epochs; on validation the best was epoch 2 with 98.40%." in words
    assert "train 99.14% validation 97.80%" in words
    assert "Loss, logarithmic train 0.028 validation 0.054" in words


def test_an_empty_history_draws_no_chart(draw: Draw) -> None:
    content = artifacts()
    content["train/history.csv"] = "epoch,accuracy,loss\n"
    words = text(draw(content))
    assert "0 epochs." in words
    assert "logarithmic" not in words


# the model on the chip


def test_convolutions_that_cost_the_cpu_are_marked(draw: Draw) -> None:
    page = draw(artifacts())
    words = text(page)
    assert "The CPU has work with 1 of 2 convolutions" in words
    assert (
        "1conv2d_132×48×1 → 16×24×163×32×2 SAME0102KPU + CPUbecause of kpu+cpu" in words
    )
    assert f'title="{FUSED}"' in page
    assert page.count('<tr class="costly">') == 1


def test_what_passes_did_to_a_convolution_is_told(draw: Draw) -> None:
    content = artifacts()
    first = content["normalize/layers.json"]["layers"][0]
    first["given"] = {"top": 1, "bottom": 1, "left": 1, "right": 1}
    first["changes"] = [{"by": "rotation", "what": "rotated with its kernel"}]
    words = text(draw(content))
    assert (
        "because of kpu+cpugiven as 1 1 1 1rotation: rotated with its kernel1.232 KiB"
        in words
    )


def test_plans_and_the_proof_are_shown(draw: Draw) -> None:
    words = text(draw(artifacts()))
    assert "as it is1.23 ms392100 KiB31.2 dB" in words
    assert "rotated taken1.23 ms192100 KiB31.2 dB" in words
    assert "strides laterit crashed" in words
    assert "(RESIZE_BILINEAR) cannot be rotated." in words
    assert "12 inputs, 31 feature maps: they differ by at most 3.2e-07" in words


def test_a_model_without_convolutions_has_no_padding_table(draw: Draw) -> None:
    content = artifacts()
    content["normalize/layers.json"] = normalized([])
    assert "The model has no convolution." in text(draw(content))


def test_memory_is_shown_beside_what_the_chip_has(draw: Draw) -> None:
    words = text(draw(artifacts()))
    assert "SRAM 126.5 KiB of 6 MiB, 2.1%" in words
    assert (
        "model 49.5 KiB working memory 75.5 KiB input 1.5 KiB output 40 bytes" in words
    )
    assert "KPU RAM peak 1 MiB of 2 MiB, 50.0%" in words


def test_maps_in_kpu_ram_are_drawn_from_their_writer_to_their_last_reader() -> None:
    found = kpu_ram(check(None))
    assert found is not None
    one, other = found.maps
    assert (one.x + one.width, one.y + one.height) == (645.3, 232.0)
    assert (other.x, other.width) == (354.7, 581.3)
    assert other.y + other.height == one.y
    assert "written by k0.1: 4 KiB from 0x1000" in other.words


def test_a_map_that_is_written_over_ends_there() -> None:
    content = check(None)
    content["modelled"]["ops"] = [
        {"id": "k0.0", "ms": None, "reads": None, "writes": [0, 64]},
        {"id": "k0.1", "ms": 1.0, "reads": [0, 64], "writes": [0, 64]},
        {"id": "k1.0", "ms": None, "reads": [0, 64], "writes": None},
    ]
    found = kpu_ram(content)
    assert found is not None
    assert [each.width for each in found.maps] == [581.3, 290.7]
    assert len(found.ends) == 1


def test_the_flash_is_shown_from_end_to_end(draw: Draw) -> None:
    words = text(draw(artifacts()))
    assert "firmware 256 KiB at 0x000000 free 768 KiB at 0x040000" in words
    assert "model slot 60 KiB at 0x100000 free 14.9 MiB at 0x10f000" in words
    assert "header 4 KiB at 0x100000 kmodel 52 KiB at 0x101000" in words


def test_modelled_times_are_called_so(draw: Draw) -> None:
    words = text(draw(artifacts()))
    assert "The KPU's layers take 0.75 ms of each inference, modelled" in words
    assert "Milliseconds of each operation, modelled" in words
    assert "k0.1 conv2d_10.75100.0%300" in words


def test_times_of_the_device_take_their_place(draw: Draw) -> None:
    content = artifacts()
    content["check/check.json"]["timings"] = {
        "source": "measured",
        "seconds": {"k0.1": 0.001, "s3": 0.003},
    }
    page = draw(content)
    assert "One inference takes 4 ms, measured." in text(page)
    assert "s3 conv2d: 3 ms" in page


def test_the_noise_along_the_network_names_where_it_falls_off(draw: Draw) -> None:
    content = artifacts()
    assert "Noise along the network" not in text(draw(content))
    content["check/check.json"]["trace"] = [
        {"id": "s0", "tensor": "a", "snr_db": None},
        {"id": "k0.1", "tensor": "net/b/Conv2D", "snr_db": 38.0},
        {"id": "s3", "tensor": "c", "snr_db": 9.5},
    ]
    page = draw(content)
    assert "falls off is s3 c: from 38.0 dB to 9.5 dB." in text(page)
    assert "k0.1 b: 38.0 dB" in page


def test_repairs_are_listed_with_all_their_fields(draw: Draw) -> None:
    content = artifacts()
    content["compile/placement.json"]["repairs"] = [
        {"kind": "slope", "ops": ["k0.1", "k0.2"], "segment": 3},
        {"kind": "minimum", "ops": ["k0.1"], "what": "entry 0"},
    ]
    words = text(draw(content))
    assert "kindopssegmentwhat slopek0.1, k0.23 minimumk0.1entry 0" in words
    assert "the compile stage repaired 1 wrapped slope" in words


def test_placement_counts_cpu_operations_and_their_reasons(draw: Draw) -> None:
    page = draw(artifacts())
    words = text(page)
    assert "1 layer runs on the KPU, 75.0% of all multiply-accumulates" in words
    assert "3 operations run on the CPU" in words
    assert "pad22 KiBpadding that the KPU does not have" in words
    assert "All 6 operations" in words
    strip = page[page.index('<ol class="strip"') : page.index("One block per")]
    assert [*re.findall(r'<li class="([\w ]+)"', strip)] == [
        "cpu",
        "dma region",
        "kpu region",
        "dma region",
        "cpu",
        "cpu",
    ]


def test_repairs_of_the_kmodel_are_told_in_one_line(draw: Draw) -> None:
    content = artifacts()
    assert "repaired" not in text(draw(content))
    records = [{"kind": "slope", "ops": ["k0.1"]}, {"kind": "minimum", "ops": ["k0.2"]}]
    content["compile/placement.json"]["repairs"] = records
    told = "1 wrapped slope and 1 value below the minimum in 2 activation tables"
    assert f"the compile stage repaired {told}." in text(draw(content))


def test_a_model_all_on_the_kpu_has_no_cpu_table() -> None:
    placed = placement({"regions": 1, "ops": operations()[1:5]})
    assert placed.kinds == ()
    assert placed.counts == {"dma": 2, "kpu": 1}


def test_quantization_and_flash_show_what_was_recorded(draw: Draw) -> None:
    words = text(draw(artifacts()))
    assert (
        "64 samples of the train split, 6 to 7 per class; pixels from 3 to 251" in words
    )
    assert "no_clip, each feature map's whole range" in words
    assert "kmodel0x10100050,6488bd2eee62a95…" in words
    assert "slot0x100000, 60 KiB" in words


def test_the_calibration_is_drawn_over_the_range_of_the_training(draw: Draw) -> None:
    content = artifacts()
    page = draw(content)
    words = text(page)
    assert "trained on 0 to 1; the calibration set reaches from 0.2 to 0.796" in words
    assert "60% of that" in words
    assert 'class="trained"' not in page
    content["quantize/plan.json"]["training_bytes"] = [[1] * 256]
    assert 'polygon class="trained"' in draw(content)


def test_a_calibration_in_the_wrong_range_is_pointed_out(draw: Draw) -> None:
    content = artifacts()
    content["quantize/calibration.npz"]["samples"] //= 2
    assert "Less than half: is data.range" in text(draw(content))


def test_the_settings_are_shown_as_yaml(draw: Draw) -> None:
    words = text(draw(artifacts(), check={"samples": 77}))
    shown = words[words.index("What the project sets") :]
    assert "project: {name: digits} check: {samples: 77}" in shown
    assert "epochs: 28" in shown[shown.index("All settings") :]


def test_another_kmodel_than_the_compiled_one_is_pointed_out(draw: Draw) -> None:
    content = artifacts()
    content["check/check.json"]["kmodel_sha256"] = "9" * 64
    assert not same_kmodel(
        content["compile/manifest.json"],
        content["flash/receipt.json"],
        content["check/check.json"],
    )
    assert "is not the one that was compiled" in text(draw(content))


# what ran when


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
