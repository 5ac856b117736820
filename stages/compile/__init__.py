"""Compile for the KPU with nncase, believing nothing that goes in or comes out.

nncase 1.9 segfaults on garbage, reads past the end of short calibration data,
ignores misspelt options, compiles without any KPU layer and accepts models that do
not fit; some of its activation tables are wrong. So everything is validated before,
nncase runs in a child with a time limit, and the kmodel is repaired, parsed, measured
and run before it is believed.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from k210 import kmodel
from k210.errors import ModelError
from k210.flash.known_answers import known_answers
from k210.kmodel import Kmodel
from k210.manifest import Input, Manifest, Output
from k210.reference import Reference
from stages import tflite
from stages.artifacts import read_json, write_json
from stages.artifacts.keys import tool_version
from stages.compile.placement import layer_names, placement
from stages.compiling import Compiled, compiled
from stages.fit import require_fit, require_sound
from stages.nncase_child import METHODS, Request
from stages.repairs import in_words

if TYPE_CHECKING:
    from stages.lifecycle import Job, Metrics

TRIALS = 4
"""Calibration samples that the new kmodel is run on."""


def run(job: "Job") -> "Metrics":
    """Write ``model.kmodel``, ``known.bin``, ``manifest.json``, ``placement.json``.

    Raises:
        ModelError: the inputs are wrong, nncase crashed, hung or refused, or what
            it made does not fit the chip.
    """
    plan = read_json(job.input("quantize/plan.json"))
    spec = Input(**plan["input"])
    request = _request(job, plan, spec)
    made = _compile(job, request)
    data, parsed = made.kmodel, kmodel.parse(made.kmodel)
    tensors = _tensor_names(job)
    names = layer_names(parsed, made.op_names, tensors)
    require_fit(parsed, names)
    require_sound(parsed, names)
    answers = _answers(parsed, request.samples[:TRIALS])
    job.output("compile/model.kmodel").write_bytes(data)
    job.output("compile/known.bin").write_bytes(known_answers(answers).pack())
    manifest = _manifest(parsed, data, plan, spec)
    job.output("compile/manifest.json").write_bytes(manifest.to_json())
    placed = placement(parsed, made.op_names, tensors, made.repairs)
    write_json(job.output("compile/placement.json"), placed)
    return {
        "kmodel_bytes": len(data),
        "total_kib": parsed.memory().total / 1024,
        "kpu_ram_kib": parsed.memory().kpu_ram / 1024,
        "regions": placed["regions"],
        "kpu_layers": placed["kpu_layers"],
        "cpu_ops": sum(placed["cpu_ops"].values()),
        "repaired": in_words(placed["repairs"]) or None,
    }


def _request(job: "Job", plan: dict[str, Any], spec: Input) -> Request:
    """All that nncase is given, validated."""
    path = job.input("quantize/model.tflite")
    model = tflite.read(path)
    tflite.require_float(model, path)
    graph = model.subgraphs[0]
    found = tflite.shape(graph.tensors[graph.inputs[0]])
    _, channels, height, width = spec.shape
    if found != (1, height, width, channels):
        raise ModelError(
            f"{path}: takes {list(found)} and the calibration samples are "
            f"{list(spec.shape)} (NCHW); run the quantize stage again"
        )
    if plan["method"] not in METHODS:
        raise ModelError(
            f"quantize/plan.json: method {plan['method']!r} is not one that works; "
            f"choose from {', '.join(METHODS)}"
        )
    return Request(
        model=path.read_bytes(),
        samples=_calibration(
            job.input("quantize/calibration.npz"), plan["samples"], spec
        ),
        method=plan["method"],
        mse_weights=plan["mse_weights"],
        range=spec.range,
    )


def _tensor_names(job: "Job") -> list[str]:
    graph = tflite.read(job.input("quantize/model.tflite")).subgraphs[0]
    return [tflite.name(tensor) for tensor in graph.tensors]


def _calibration(path: Path, count: int, spec: Input) -> NDArray[np.uint8]:
    """The samples, uint8 N×C×H×W; nncase itself would read past the end of too few."""
    with np.load(path, allow_pickle=False) as archive:
        samples: NDArray[np.uint8] = archive["samples"]
    wanted = (count, *spec.shape[1:])
    if samples.shape != wanted or samples.dtype != np.uint8:
        raise ModelError(
            f"{path}: holds {samples.dtype} {samples.shape} and the plan says uint8 "
            f"{wanted}; run the quantize stage again"
        )
    return samples


def _compile(job: "Job", request: Request) -> Compiled:
    with job.console.progress("nncase at work", 1) as advance:
        what = "nncase compiling quantize/model.tflite"
        made = compiled(request, job.log, what, job.settings.compile.timeout)
        advance(1, "")
    return made


def _answers(
    parsed: Kmodel, samples: NDArray[np.uint8]
) -> list[tuple[bytes, list[bytes]]]:
    """What the kmodel makes of some samples, once it is known to be finite."""
    inputs = [sample.tobytes() for sample in samples]
    outputs = list(Reference(parsed).infer_many(inputs))
    for values in outputs:
        for tensor, raw in zip(parsed.entry.outputs, values, strict=True):
            if (
                tensor.range.dtype == kmodel.DType.F32
                and not np.isfinite(np.frombuffer(raw, "<f4")).all()
            ):
                raise ModelError(
                    "the compiled model gives NaN or infinity for calibration samples; "
                    "another quantize.method may help"
                )
    return list(zip(inputs, outputs, strict=True))


def _manifest(
    parsed: Kmodel, data: bytes, plan: dict[str, Any], spec: Input
) -> Manifest:
    outputs = [
        Output(
            name=planned["name"],
            shape=tensor.shape,
            dtype="f32",  # nncase 1.9 gives no other
            layout="NCHW" if len(tensor.shape) == 4 else "none",
            rotation=planned["rotation"],
            labels=tuple(planned["labels"] or ()),
        )
        for tensor, planned in zip(parsed.entry.outputs, plan["outputs"], strict=True)
    ]
    memory = parsed.memory()
    return Manifest(
        kmodel_sha256=hashlib.sha256(data).hexdigest(),
        inputs=(spec,),
        outputs=tuple(outputs),
        memory={
            "kpu_ram": memory.kpu_ram,
            "data": memory.data,
            "model": memory.model,
            "total": memory.total,
        },
        tools={"nncase": tool_version("nncase")},
    )
