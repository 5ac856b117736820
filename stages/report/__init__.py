"""Draw one page of everything a project's stages have found out.

The page is a single HTML file that needs nothing else: no script, no font, no
network. All its figures come from the artifacts; the same artifacts give the same
bytes.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from k210 import limits
from stages.artifacts import read_json
from stages.repairs import in_words
from stages.report import headline, ladder
from stages.report.confusion import confusion
from stages.report.figures import FILTERS
from stages.report.history import same_kmodel, stage_run, versions
from stages.report.layers import layers, placement
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


def run(job: "Job") -> "Metrics":
    """Write ``index.html``."""
    page = render(_content(job))
    job.output("report/index.html").write_bytes(page)
    return {"page_kib": round(len(page) / 1024, 1)}


def render(content: dict[str, Any]) -> bytes:
    """The page with this content, UTF-8; whatever is a name is escaped."""
    return _templates().get_template("page.html.j2").render(content).encode()


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(FILTERS, snr=ladder.snr)
    return templates


def _content(job: "Job") -> dict[str, Any]:
    """What the templates draw, by the names that they use."""
    check = read_json(job.input("check/check.json"))
    manifest = read_json(job.input("compile/manifest.json"))
    placed = read_json(job.input("compile/placement.json"))
    normalized = read_json(job.input("normalize/layers.json"))
    receipt = read_json(job.input("flash/receipt.json"))
    runs = [
        stage_run(name, read_json(job.input(f"{name}/summary.json")))
        for name in RECORDED
    ]
    trained = job.has("train/history.csv")
    settings = job.settings
    return {
        "title": settings.report.title or settings.project.name,
        "project": settings.project,
        "check": check,
        "first": check["ladder"][0],
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
        "placement": placement(placed),
        "repaired": in_words(placed["repairs"]),
        "limits": limits,
        "manifest": manifest,
        "methods": METHODS,
        "plan": read_json(job.input("quantize/plan.json")),
        "receipt": receipt,
        "runs": runs,
        "versions": versions(runs, manifest),
        "same_kmodel": same_kmodel(manifest, receipt, check),
    }
