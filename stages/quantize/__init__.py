"""Draw the calibration set and choose how the model is quantized.

``quantize.method: auto`` searches (``stages.quantize.search``); any other method is
taken as it is. The calibration set comes from the training split only and through
``k210.manifest``: the very bytes that the board will be given. The test split is
loaded with the rest of the data and used by nothing here.
"""

import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from k210.errors import UserError
from k210.manifest import Input
from stages import dataset, tflite
from stages.artifacts import read_json, write_json
from stages.dataset import Dataset
from stages.interpret import Interpreter
from stages.memory import require_room
from stages.quantize.calibration import Calibration, Indices, divided
from stages.quantize.candidates import Candidate, in_words
from stages.quantize.forms import Forms
from stages.quantize.pixels import counts, require_covered, require_trained_range
from stages.quantize.scoring import Scorer
from stages.quantize.search import Search, Space
from stages.quantize.trials import Trials

if TYPE_CHECKING:
    from stages.lifecycle import Job, Metrics
    from stages.project.schema import Quantize

AUTO = "auto"


class _Decision(NamedTuple):
    """How to quantize which model with which pictures; ``search`` as in the plan."""

    way: Candidate
    model: bytes
    calibration: Calibration
    search: dict[str, Any] | None


class _Source(NamedTuple):
    """What the stage works on: the data, the input, the model and its float runtime."""

    data: Dataset
    spec: Input
    model: bytes
    interpreter: Interpreter


def run(job: "Job") -> "Metrics":
    """Write ``model.tflite``, ``plan.json`` and ``calibration.npz``.

    ``calibration.npz`` holds ``samples``, uint8 N×C×H×W.

    Raises:
        UserError: the training split has fewer samples than the set needs, their
            pixels are all alike, or the model was trained on another range of them.
    """
    source = _source(job)
    train = source.data.train
    require_trained_range(source.interpreter, train, source.spec)
    decide = _searched if job.settings.quantize.method == AUTO else _as_told
    chosen, model, calibration, search = decide(job, source)
    samples = calibration.take(chosen.samples)
    pixels = counts(train, source.spec)
    require_covered(samples, pixels)
    np.savez_compressed(job.output("quantize/calibration.npz"), samples=samples)
    job.output("quantize/model.tflite").write_bytes(model)
    labels = calibration.labels(len(samples))
    limits = dataset.input_range(job.settings.data)
    plan = {
        **asdict(chosen),
        "samples": len(samples),
        "split": "train",
        "split_digest": train.digest(),
        "samples_digest": dataset.Split(samples, labels).digest(),
        "per_class": None if labels is None else np.bincount(labels).tolist(),
        "pixels": {"min": int(samples.min()), "max": int(samples.max())},
        "training_bytes": pixels.tolist(),
        "outliers": [asdict(each) for each in calibration.outliers],
        "input": asdict(source.spec),
        "range": {"wanted": limits.wanted, "effective": limits.effective},
        "outputs": _outputs(job, source.data),
        "search": search,
    }
    write_json(job.output("quantize/plan.json"), plan)
    return {
        "way": in_words(chosen),
        "samples": len(samples),
        "outliers": len(calibration.outliers),
        "searched": f"{len(search['candidates'])} tried" if search else None,
        "pixel_mean": round(float(samples.mean()), 3),
        "zero_point": limits.zero_point,
        "range_shift_steps": round(limits.shift, 6),
    }


def _source(job: "Job") -> _Source:
    settings = job.settings
    split_json = read_json(job.input("train/split.json"))
    data = dataset.load_recorded(settings.data, job.user_file(""), split_json)
    samples = settings.quantize.samples
    if len(data.train) < samples:
        raise UserError(
            f"quantize.samples asks for {samples} samples and the training "
            f"split has {len(data.train)}; lower it or enlarge data.split.train"
        )
    rotation = read_json(job.input("normalize/layers.json"))["rotation"]
    path = job.input("normalize/model.tflite")
    return _Source(
        data,
        replace(dataset.input_of(settings.data), rotation=rotation),
        path.read_bytes(),
        Interpreter(path),
    )


def _as_told(job: "Job", source: _Source) -> _Decision:
    """The way to quantize that the settings name."""
    settings, train = job.settings.quantize, source.data.train
    order = dataset.balanced_order(train.labels, len(train), settings.seed)
    calibration = _calibration(settings, source, order)
    return _Decision(_base(settings), source.model, calibration, None)


def _searched(job: "Job", source: _Source) -> _Decision:
    """The best way to quantize that is found, and what was tried."""
    settings, base = job.settings.quantize, _base(job.settings.quantize)
    budget = 60 * settings.budget
    deadline = time.monotonic() + budget
    require_room(tflite.unpack(source.model))
    order, held = divided(source.data, source.spec, base.samples, settings.seed)
    calibration = _calibration(settings, source, order)
    given, both = settings.model_fields_set, (False, True)
    mse_weights = (base.mse_weights,) if "mse_weights" in given else both
    forms = Forms(source.model, source.spec, calibration.take(base.samples))
    space = Space(base, mse_weights, forms.equalizable, len(order))
    floats = source.spec.to_float(held.samples)
    scorer = Scorer(held, source.interpreter.run_many(floats))
    trials = Trials(
        forms.model,
        calibration.take,
        source.spec.range,
        scorer,
        budget,
        deadline,
        job.log,
    )
    with trials:
        found = Search(space, trials, job.console).run()
    for line in found.lines():
        job.console.say(line)
    way = found.chosen.candidate
    record = {"split": held.split, "images": len(scorer), **found.record()}
    return _Decision(way, forms.model(way), calibration, record)


def _base(settings: "Quantize") -> Candidate:
    """What is tried first, or alone."""
    return Candidate(
        "no_clip" if settings.method == AUTO else settings.method,
        settings.mse_weights,
        False,
        False,
        settings.samples,
    )


def _calibration(settings: "Quantize", source: _Source, order: Indices) -> Calibration:
    model = source.model if settings.outliers == "drop" else None
    return Calibration(source.data.train, order, source.spec, settings.samples, model)


def _outputs(job: "Job", data: Dataset) -> list[dict[str, Any]]:
    """The model's outputs, as the manifest is to describe them."""
    graph = tflite.read(job.input("normalize/model.tflite")).subgraphs[0]
    normalized = read_json(job.input("normalize/layers.json"))["outputs"]
    indices = tflite.indices(graph.outputs)
    return [
        {
            "name": tflite.name(graph.tensors[index]),
            "shape": list(tflite.shape(graph.tensors[index])),
            "labels": data.classes and list(data.classes),
            "rotation": output["rotation"],
        }
        for index, output in zip(indices, normalized, strict=True)
    ]
