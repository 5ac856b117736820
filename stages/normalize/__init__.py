"""Shape the model for the KPU without changing what it computes, and prove it.

Passes (``stages.normalize.passes``) bring the graph into legal forms, nncase compiles
each (``stages.normalize.plans``), the fastest wins, and on every run it is compared
with the original, map by map (``stages.normalize.proof``). Where it is the rotated
form, ``layers.json`` says so, and quantize and compile pass it on to the manifest.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from k210.manifest import Input
from stages import dataset, tflite
from stages.artifacts import read_json, write_json
from stages.normalize.forms import forms
from stages.normalize.listing import layers, terminal
from stages.normalize.placing import KINDS
from stages.normalize.plans import Compiler, choose, table
from stages.normalize.proof import adversarial, prove

if TYPE_CHECKING:
    from stages.lifecycle import Job, Metrics

PICTURES = 4
"""Training pictures that plans are compiled with and the proof is made on."""

PLAN_TIMEOUT_S = 600.0


def run(job: "Job") -> "Metrics":
    """Write ``model.tflite`` and ``layers.json``.

    Raises:
        ModelError: a layer can be made neither exact nor legal, or the proof fails.
    """
    source = job.input("export/model.tflite")
    with tflite.rewriting(source):
        plans = forms(tflite.read(source))
    spec = dataset.input_of(job.settings.data)
    compiler = _compiler(job, spec)
    found = []
    with job.console.progress("comparing plans", len(plans)) as advance:
        for count, plan in enumerate(plans, 1):
            found.append(compiler.measure(plan))
            advance(count, plan.name)
    number = choose(found)
    plan, figures = plans[number], found[number]
    pictures = [each[np.newaxis] for each in spec.to_float(compiler.upright)]
    inputs = adversarial(plan.graph.inputs[0].shape, *spec.range)
    proof = prove(source.read_bytes(), plan.lowered, [*pictures, *inputs])
    listed = layers(plan)
    write_json(
        job.output("normalize/layers.json"),
        {
            "plan": plan.name,
            "rotation": plan.rotation,
            "outputs": [
                {"name": tensor.name, "rotation": 180 if tensor.turned else 0}
                for tensor in plan.graph.outputs
            ],
            "layers": listed,
            "changes": [asdict(each) for each in plan.applied],
            "plans": table(plans, found),
            "proof": asdict(proof),
        },
    )
    job.output("normalize/model.tflite").write_bytes(plan.serialized)
    for line in terminal(listed, table(plans, found), plan.name):
        job.console.say(line)
    count_of = {kind: sum(each["where"] == kind for each in listed) for kind in KINDS}
    return {
        "plan": plan.name,
        "rotation": plan.rotation,
        "convolutions": len(listed),
        "kpu_convolutions": count_of["kpu"] + count_of["kpu+copy"],
        "cpu_paddings": count_of["kpu+cpu"],
        "cpu_convolutions": count_of["cpu"],
        "regions": figures.regions,
        "modelled_ms": figures.ms,
        "difference": proof.difference,
        "maps_compared": proof.maps,
    }


def _compiler(job: "Job", spec: Input) -> Compiler:
    upright = _pictures(job, spec)
    return Compiler(
        upright=upright,
        turned=np.ascontiguousarray(np.flip(upright, (2, 3))),
        range=spec.range,
        timeout=PLAN_TIMEOUT_S,
        log=job.log,
    )


def _pictures(job: "Job", spec: Input) -> NDArray[np.uint8]:
    """The first pictures of the training split, uint8 N×C×H×W."""
    data = job.settings.data
    split = read_json(job.input("train/split.json"))
    train = dataset.load_recorded(data, job.user_file(""), split).train
    return spec.prepare_batch(train.images[:PICTURES])
