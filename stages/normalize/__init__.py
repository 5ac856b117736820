"""Shape the model for the KPU without changing what it computes, and prove it.

Passes (``stages.normalize.passes``) bring the graph into legal forms, nncase compiles
each (``stages.normalize.plans``), the fastest wins, and on every run it is compared
with the original, map by map (``stages.normalize.proof``). Where it is the rotated
form, ``layers.json`` says so, and quantize and compile pass it on to the manifest.
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from k210.manifest import Input
from stages import dataset, tflite
from stages.artifacts import read_json, write_json
from stages.normalize.choice import decide, proven
from stages.normalize.forms import forms
from stages.normalize.listing import layers, terminal
from stages.normalize.placing import KINDS
from stages.normalize.plans import Compiler, Figures, Plan, table
from stages.normalize.proof import Proof, adversarial, prove
from stages.normalize.sizes import advice
from stages.runtime import reference

if TYPE_CHECKING:
    from stages.lifecycle import Job, Metrics

PICTURES = 8
"""Training pictures that plans are calibrated and tried with, and proofs made on."""

PLAN_TIMEOUT_S = 600.0


def run(job: "Job") -> "Metrics":
    """Write ``model.tflite`` and ``layers.json``.

    Raises:
        ModelError: a layer can be made neither exact nor legal, or the proof fails.
    """
    source = job.input("export/model.tflite")
    model = tflite.read(source)
    with tflite.rewriting(source):
        (first, *_) = forms(model)
    spec = dataset.input_of(job.settings.data)
    compiler = _compiler(job, spec, source, first)
    pictures = [each[np.newaxis] for each in spec.to_float(compiler.upright)]
    inputs = [*pictures, *adversarial(first.graph.inputs[0].shape, *spec.range)]
    choice, proof = proven(
        decide(model, compiler.measure),
        lambda plan: prove(source.read_bytes(), plan.lowered, inputs),
    )
    plan = choice.plan
    document = _document(plan, table(choice.plans, choice.found), proof)
    document["advice"] = advice(source.read_bytes(), model, plan, compiler)
    job.output("normalize/model.tflite").write_bytes(plan.serialized)
    write_json(job.output("normalize/layers.json"), document)
    for line in terminal(document):
        job.console.say(line)
    return dict(_metrics(document, choice.figures, proof))


def _compiler(job: "Job", spec: Input, source: Path, plan: Plan) -> Compiler:
    """What compiles plans, with the first pictures of the training split."""
    data = job.settings.data
    split = read_json(job.input("train/split.json"))
    train = dataset.load_recorded(data, job.user_file(""), split).train
    images = train.images[:PICTURES]
    upright = spec.prepare_batch(images)
    ends = plan.graph.outputs
    outputs = [each.origin for each in ends if each.origin is not None]
    return Compiler(
        upright=upright,
        turned=replace(spec, rotation=180).prepare_batch(images),
        expected=reference(source.read_bytes(), outputs, spec.to_float(upright)),
        range=spec.range,
        timeout=PLAN_TIMEOUT_S,
        log=job.log,
    )


def _document(plan: Plan, plans: list[dict[str, Any]], proof: Proof) -> dict[str, Any]:
    """What ``layers.json`` holds."""
    return {
        "plan": plan.name,
        "rotation": plan.rotation,
        "outputs": [
            {"name": tensor.name, "rotation": 180 if tensor.turned else 0}
            for tensor in plan.graph.outputs
        ],
        "layers": layers(plan),
        "changes": [asdict(each) for each in plan.applied],
        "refusals": plan.refusals,
        "plans": plans,
        "proof": asdict(proof),
    }


def _metrics(
    document: dict[str, Any], figures: Figures, proof: Proof
) -> Iterator[tuple[str, float | int | str | None]]:
    where = [layer["where"] for layer in document["layers"]]
    count = {kind: where.count(kind) for kind in KINDS}
    yield "plan", document["plan"]
    yield "rotation", document["rotation"]
    yield "convolutions", len(where)
    yield "kpu_convolutions", count["kpu"] + count["kpu+copy"]
    yield "cpu_paddings", count["kpu+cpu"]
    yield "cpu_convolutions", count["cpu"]
    yield "regions", figures.regions
    yield "modelled_ms", figures.ms
    yield "difference", proof.difference
    yield "maps_compared", proof.maps
