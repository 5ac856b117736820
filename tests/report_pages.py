"""What the stages before the report leave of a small project, and how a page reads."""

import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from stages import report
from stages.artifacts import Workspace, write_json
from stages.console import Console
from stages.graph import find_stage
from stages.lifecycle import Job
from stages.project.schema import Project

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
        "timings": {"source": "modelled", "seconds": {"k0.1": 75e-5, "s3": 25e-5}},
        "trace": None,
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
        "mode": "flash",
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
"""From artifacts and settings to the page."""


def unlabelled() -> Artifacts:
    content = artifacts([])
    measured = content["check/check.json"]
    for rung in measured["ladder"]:
        for key in ("accuracy", "ci95", "drop", "drop_ci95"):
            rung[key] = None
    measured["thresholds"]["min_accuracy"] = None
    return content


def drawer(root: Path) -> Draw:
    """Draws pages of artifacts in a folder."""

    def drawn(content: Artifacts, **settings: Any) -> str:
        work = job(root, content, settings)
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
