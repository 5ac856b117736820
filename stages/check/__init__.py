"""Measure every step from the float model to the board, on the same input bytes.

The ladder: ``float`` (Keras), ``tflite`` (as exported), ``normalized`` (as
rewritten), ``reference`` (the kmodel on the host) and ``device`` (the kmodel as the
board has it in flash). Where two neighbours differ, the step between them is where
to look.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from k210 import slot
from k210.board import Board
from k210.errors import BoardError, UserError
from k210.kmodel import parse
from k210.manifest import Manifest
from k210.reference import Reference
from stages import dataset
from stages.artifacts import read_json, write_json
from stages.boards import opened
from stages.check.ladder import Floats, Step
from stages.check.mistakes import Mistakes
from stages.check.modelled import memory, modelled
from stages.check.remembered import Remembered, remembered
from stages.dataset import Split
from stages.interpret import Interpreter
from stages.verdict import failures, notes

if TYPE_CHECKING:
    from stages.lifecycle import Job, Metrics

CHUNK = 32
"""Samples that are taken through all steps before the next ones."""

JUDGED = {"min_accuracy", "max_drop", "min_agreement"}
"""The settings that are thresholds."""


class _Prepared(NamedTuple):
    """Samples, uint8 N×C×H×W: as the board takes them, and not rotated."""

    board: NDArray[np.uint8]
    upright: NDArray[np.uint8]


Predict = Callable[[_Prepared], list[list[Floats]]]
"""From prepared samples to the outputs of each, upright, batch of one."""


def run(job: "Job") -> "Metrics":
    """Write ``check.json`` and ``pictures.npz``, the worst mistakes' pictures.

    Raises:
        UserError: there are too few samples, or a threshold cannot be judged.
        BoardError: the board does not hold the compiled model.
    """
    settings = job.settings
    split_json = read_json(job.input("train/split.json"))
    data = dataset.load_recorded(settings.data, job.user_file(""), split_json)
    test = data.test.take(np.arange(_count(job, len(data.test))))
    kmodel = job.input("compile/model.kmodel").read_bytes()
    manifest = Manifest.from_json(job.input("compile/manifest.json").read_bytes())
    _require_judgeable(job, manifest, test)
    receipt = read_json(job.input("flash/receipt.json"))
    with opened(job, receipt.get("entry")) as board:
        if receipt.get("mode") == "ram":
            board.load(kmodel)
        else:
            _load(board, receipt["slot"], kmodel)
        climbed = _climb(job, board, kmodel, manifest, test, data.classes)
        identity, engine = board.identity(), board.engine
        timings = board.timings()
    steps, mistakes = climbed
    ladder = [step.row(step is steps[0]) for step in steps]
    thresholds = settings.check
    misses = failures(
        ladder,
        thresholds.min_accuracy,
        thresholds.max_drop,
        thresholds.min_agreement,
    )
    parsed = parse(kmodel)
    told = modelled(parsed)
    check = {
        "project": settings.project.name,
        "engine": engine,
        "board": identity,
        "samples": len(test),
        "verdict": "fail" if misses else "pass",
        "failures": misses,
        "notes": notes(ladder, thresholds.max_drop),
        "thresholds": thresholds.model_dump(mode="json", include=JUDGED),
        "ladder": ladder,
        "top_k": thresholds.top_k,
        "classes": data.classes and list(data.classes),
        "confusion": steps[-1].confusion.tolist() if data.classes else None,
        **mistakes.rows(),
        "modelled": told,
        "timings": {
            "source": "modelled" if identity["kind"] == "virtual" else "measured",
            "seconds": timings,
        },
        "memory": memory(parsed),
        "kmodel_sha256": manifest.kmodel_sha256,
    }
    write_json(job.output("check/check.json"), check)
    indices, images = mistakes.pictures(test.images)
    pictures = job.output("check/pictures.npz")
    np.savez_compressed(pictures, indices=indices, images=images)
    metrics = _metrics(steps, ladder, len(test))
    metrics["device_ms"] = 1e3 * sum(timings.values())
    return {**metrics, "modelled_kpu_ms": told["kpu_ms"]}


def _count(job: "Job", available: int) -> int:
    wanted = job.settings.check.samples
    if "samples" not in job.settings.check.model_fields_set:
        return min(wanted, available)
    if wanted > available:
        raise UserError(
            f"check.samples asks for {wanted} samples and the test split has "
            f"{available}; lower it or enlarge data.split.test"
        )
    return wanted


def _require_judgeable(job: "Job", manifest: Manifest, test: Split) -> None:
    """Refuse thresholds on what will not be measured."""
    thresholds = job.settings.check
    classifies = len(manifest.outputs) == 1 and len(manifest.outputs[0].shape) == 2
    accuracy = thresholds.min_accuracy is not None or thresholds.max_drop is not None
    if accuracy and (test.labels is None or not classifies):
        raise UserError(
            "check.min_accuracy and check.max_drop need an accuracy, which is not "
            "measured here: the data has no labels, or the model does not classify; "
            "use check.min_agreement, or take them out"
        )
    if thresholds.min_agreement is not None and not classifies:
        raise UserError(
            "check.min_agreement compares classes and the model does not classify; "
            "take it out"
        )


def _load(board: Board, address: int, kmodel: bytes) -> None:
    """Load the model from flash, if it is the compiled one."""
    if slot.kmodel_digest(board, address) != hashlib.sha256(kmodel).digest():
        raise BoardError(
            f"the model in the board's flash at {address:#x} is not the compiled one; "
            "run the flash stage"
        )
    board.load(address)


def _climb(
    job: "Job",
    board: Board,
    kmodel: bytes,
    manifest: Manifest,
    test: Split,
    classes: tuple[str, ...] | None,
) -> tuple[list[Step], Mistakes]:
    """Take all samples through all steps, a chunk at a time."""
    spec, mistakes = manifest.inputs[0], Mistakes()
    upright = replace(spec, rotation=0)
    known = remembered(job)
    predictors = _predictors(job, board, kmodel, manifest, known)
    count = len(classes) if classes else None
    steps = [Step(name, count, job.settings.check.top_k) for name in predictors]
    with job.console.progress("samples", len(test)) as advance:
        for start in range(0, len(test), CHUNK):
            images = test.images[start : start + CHUNK]
            prepared = _Prepared(
                spec.prepare_batch(images), upright.prepare_batch(images)
            )
            first: list[list[Floats]] | None = None
            for step, predict in zip(steps, predictors.values(), strict=True):
                outputs = predict(prepared)
                first = outputs if first is None else first
                for row in _samples(outputs, first, test.labels, start):
                    step.add(*row[1:])
                    if step is steps[-1]:
                        mistakes.add(*row)
            advance(start + len(images), "")
    known.save()
    return steps, mistakes


def _samples(
    outputs: list[list[Floats]],
    first: list[list[Floats]],
    labels: NDArray[np.int64] | None,
    start: int,
) -> Iterator[tuple[int, list[Floats], list[Floats], int | None]]:
    """Each sample of a chunk: its index, its outputs, the first step's, its label."""
    for index, (found, expected) in enumerate(zip(outputs, first, strict=True), start):
        yield index, found, expected, None if labels is None else int(labels[index])


def _predictors(
    job: "Job", board: Board, kmodel: bytes, manifest: Manifest, known: Remembered
) -> dict[str, Predict]:
    """Each step's way from prepared samples to outputs, in the ladder's order."""
    host: dict[str, Callable[[], Predict]] = {}
    if job.has("train/model.keras"):
        host["float"] = lambda: _float(job)
    host["tflite"] = lambda: _tflite(job, manifest)
    host["normalized"] = lambda: _normalized(job, manifest)
    host["reference"] = lambda: _reference(kmodel, manifest)
    predictors: dict[str, Predict] = {
        name: known.step(name, make) for name, make in host.items()
    }
    predictors["device"] = lambda prepared: [
        _restored(manifest, outputs)
        for outputs in board.infer_many(each.tobytes() for each in prepared.board)
    ]
    return predictors


def _float(job: "Job") -> Predict:
    return _keras(job, dataset.training_input_of(job.settings.data).to_float)


def _tflite(job: "Job", manifest: Manifest) -> Predict:
    spec = manifest.inputs[0]
    exported = Interpreter(job.input("export/model.tflite"))
    return lambda prepared: list(exported.run_many(spec.to_float(prepared.upright)))


def _normalized(job: "Job", manifest: Manifest) -> Predict:
    spec = manifest.inputs[0]
    normalized = Interpreter(job.input("normalize/model.tflite"))
    return lambda prepared: [
        _upright(manifest, outputs)
        for outputs in normalized.run_many(spec.to_float(prepared.board))
    ]


def _reference(kmodel: bytes, manifest: Manifest) -> Predict:
    reference = Reference(kmodel)
    return lambda prepared: [
        _restored(manifest, outputs)
        for outputs in reference.infer_many(each.tobytes() for each in prepared.board)
    ]


def _keras(job: "Job", to_float: Callable[[NDArray[np.uint8]], Floats]) -> Predict:
    import keras

    model = keras.models.load_model(job.input("train/model.keras"))

    def predict(prepared: _Prepared) -> list[list[Floats]]:
        outputs = model.predict_on_batch(to_float(prepared.upright))
        return [[output[np.newaxis]] for output in outputs]

    return predict


def _upright(manifest: Manifest, outputs: list[Floats]) -> list[Floats]:
    """The normalized model's outputs, N×H×W×C, as the exported one gives them."""
    return [
        replace(spec, shape=values.shape, layout="NHWC").restore(values)
        if spec.layout == "NCHW"
        else values
        for spec, values in zip(manifest.outputs, outputs, strict=True)
    ]


def _restored(manifest: Manifest, outputs: list[bytes]) -> list[Floats]:
    """The board's outputs as the float model lays them out: float32, NHWC."""
    restored = []
    for spec, raw in zip(manifest.outputs, outputs, strict=True):
        values = np.frombuffer(raw, "<f4").reshape(spec.shape)
        values = spec.restore(values)
        restored.append(np.moveaxis(values, 1, 3) if spec.layout == "NCHW" else values)
    return restored


def _metrics(
    steps: list[Step], ladder: list[dict[str, Any]], samples: int
) -> "Metrics":
    metrics: Metrics = {"samples": samples}
    for step, row in zip(steps, ladder, strict=True):
        for name in ("accuracy", "agreement", "snr_db"):
            metrics[f"{step.name}_{name}"] = row[name]
    metrics["device_drop"] = ladder[-1]["drop"]
    return metrics
