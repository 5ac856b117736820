"""Single stages run without their command, on inputs written by hand."""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from conftest import IMPORTED, Checkout
from numpy.typing import NDArray

from k210.manifest import Input
from stages import project
from stages.artifacts import Workspace, write_json
from stages.console import Console
from stages.graph import find_stage
from stages.lifecycle import Job

SAMPLES = 4


def job_of(checkout: Checkout, stage: str) -> Job:
    """What the stage is given when it runs; its inputs are to be written by hand."""
    file = project.select(checkout.root, None)
    settings = project.load(file, checkout.root)
    ws = Workspace(checkout.root, settings.project.name)
    ws.start_draft(stage)
    ws.log(stage).parent.mkdir(parents=True, exist_ok=True)
    declared = find_stage(stage, settings.model_dump(mode="json"))
    return Job(ws, declared, settings, "0" * 64, Console(sys.stdout, stage))


def compile_job(
    checkout: Checkout,
    model: Path,
    size: tuple[int, int] = (32, 32),
    channels: int = 1,
    plan: Mapping[str, object] | None = None,
    samples: NDArray[np.generic] | None = None,
    pipeline: str = IMPORTED,
) -> Job:
    """A compile stage with this model, a plan for it, and calibration samples.

    ``plan`` replaces keys of the plan, ``samples`` the random calibration set.
    """
    checkout.write("pipeline.yaml", pipeline)
    job = job_of(checkout, "compile")
    spec = Input(
        name="input",
        shape=(1, channels, *size),
        range=(0.0, 1.0),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        color="grey" if channels == 1 else "rgb",
    )
    usual = {
        "method": "no_clip",
        "mse_weights": False,
        "samples": SAMPLES,
        "input": vars(spec),
        "outputs": [
            {"name": "scores", "shape": [1, 10], "labels": None, "rotation": 0}
        ],
    }
    if samples is None:
        shape = (SAMPLES, channels, *size)
        samples = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    target, planned = job.input("quantize/model.tflite"), "quantize/plan.json"
    for path in (target, job.input(planned)):
        path.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(model.read_bytes())
    write_json(job.input(planned), {**usual, **(plan or {})})
    np.savez(job.input("quantize/calibration.npz"), samples=samples)
    return job
