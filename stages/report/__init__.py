"""Draw one page of everything a project's stages have found out.

The page is a single HTML file that needs nothing else: no script, no font, no
network. All its figures come from the artifacts; the same artifacts give the same
bytes.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment

from k210 import limits
from stages.artifacts import read_json
from stages.project.schema import Project
from stages.repairs import in_words
from stages.report import headline, ladder, memory, timeline
from stages.report.calibration import histogram
from stages.report.candidates import search
from stages.report.confusion import confusion
from stages.report.history import same_kmodel, stage_run, versions
from stages.report.layers import layers, placement
from stages.report.pictures import gallery
from stages.report.repairs import repairs
from stages.report.templates import environment
from stages.report.trace import trace
from stages.report.training import training

if TYPE_CHECKING:
    from stages.lifecycle import Job, Metrics

RECORDED = ("train", "export", "normalize", "quantize", "compile", "flash", "check")

METHODS = {
    "no_clip": "each feature map's whole range",
    "l2": "ranges clipped for the least squared error",
    "cdf": "ranges clipped to keep the distribution",
    "kld_m2": "ranges clipped for the least divergence",
}
"""How nncase chooses the range of each feature map."""


RESIZING = {
    "pad": "padded with zeros",
    "stretch": "stretched",
    "crop": "cropped and scaled",
    "letterbox": "scaled and padded",
}
"""What becomes of pictures that do not have the input's size."""


def run(job: "Job") -> "Metrics":
    """Write ``index.html``."""
    page = render(_content(job))
    job.output("report/index.html").write_bytes(page)
    return {"page_kib": round(len(page) / 1024, 1)}


def render(content: dict[str, Any]) -> bytes:
    """The page with this content, UTF-8; whatever is a name is escaped."""
    return _templates().get_template("page.html.j2").render(content).encode()


def _yaml(settings: Project, brief: bool) -> str:
    """The settings as YAML; brief: without those that have their defaults."""
    found = settings.model_dump(mode="json", exclude_defaults=brief, exclude_none=brief)
    found = {name: section for name, section in found.items() if section}
    return yaml.safe_dump(
        found, sort_keys=False, allow_unicode=True, default_flow_style=None, width=88
    )


@cache
def _templates() -> Environment:
    return environment(snr=ladder.snr)


def _content(job: "Job") -> dict[str, Any]:
    """What the templates draw, by the names that they use."""
    check = read_json(job.input("check/check.json"))
    manifest = read_json(job.input("compile/manifest.json"))
    normalized = read_json(job.input("normalize/layers.json"))
    receipt = read_json(job.input("flash/receipt.json"))
    runs = [
        stage_run(name, read_json(job.input(f"{name}/summary.json")))
        for name in RECORDED
    ]
    trained = job.has("train/history.csv")
    settings = job.settings
    plan = read_json(job.input("quantize/plan.json"))
    placement_json = read_json(job.input("compile/placement.json"))
    placed = placement(placement_json)
    return {
        "title": settings.report.title or settings.project.name,
        "project": settings.project,
        "check": check,
        "first": check["ladder"][0],
        "device": check["ladder"][-1],
        "top_k": any(row["top_k"] is not None for row in check["ladder"]),
        "tiles": headline.tiles(check),
        "thresholds": headline.thresholds(check),
        "meanings": ladder.MEANING,
        "link": ladder.weakest_link(check["ladder"]),
        "accuracies": ladder.accuracies(check),
        "noises": ladder.noises(check),
        "confusion": confusion(check),
        "training": training(job.input("train/history.csv")) if trained else None,
        "normalized": normalized,
        "layers": layers(normalized),
        "placement": placed,
        "repaired": in_words(placement_json["repairs"]),
        "repairs": repairs(placement_json),
        "times": timeline.times(check, placed.operations),
        "trace": trace(check),
        "kpu_ram": memory.kpu_ram(check),
        "sram": memory.sram(check),
        "flash": memory.flash(receipt),
        "slot": memory.slot(receipt),
        "gallery": gallery(check, job.input("check/pictures.npz")),
        "histogram": histogram(plan, job.input("quantize/calibration.npz")),
        "yaml_set": _yaml(settings, brief=True),
        "yaml_all": _yaml(settings, brief=False),
        "limits": limits,
        "manifest": manifest,
        "methods": METHODS,
        "resizing": RESIZING,
        "plan": plan,
        "search": search(plan),
        "receipt": receipt,
        "runs": runs,
        "versions": versions(runs, manifest),
        "same_kmodel": same_kmodel(manifest, receipt, check),
    }
