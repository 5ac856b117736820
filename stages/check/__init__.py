"""Measure every step from the float model to the board, on the same input bytes.

The ladder: ``float`` (Keras), ``tflite`` (as exported), ``normalized`` (as
rewritten), ``reference`` (the kmodel on the host) and ``device`` (the kmodel as the
board has it in flash). Where two neighbours differ, the step between them is where
to look.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from k210.board import Board
from k210.errors import UserError
from k210.kmodel import parse
from k210.manifest import Manifest
from stages import dataset
from stages.artifacts import read_json, write_json
from stages.boards import opened
from stages.check.devices import require_flashed, require_self_test
from stages.check.ladder import Step
from stages.check.mistakes import Mistakes
from stages.check.modelled import memory, modelled
from stages.check.remembered import remembered
from stages.check.steps import Prepared, predictors
from stages.check.tracing import traced
from stages.dataset import Split
from stages.runtime import Floats
from stages.verdict import failures, notes, unusable

if TYPE_CHECKING:
    from stages.lifecycle import Job, Metrics

CHUNK = 32
"""Samples that are taken through all steps before the next ones."""

ROUNDING = 1e-4
"""Of the largest value: by how much float arithmetic may make answers differ."""

JUDGED = {"min_accuracy", "max_drop", "min_agreement"}
"""The settings that are thresholds."""


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
    with opened(job, receipt["entry"]) as board:
        if receipt["mode"] == "ram":
            board.load(kmodel)
        else:
            _load(board, receipt["slot"], kmodel)
        climbed = _climb(job, board, kmodel, manifest, test, data.classes)
        identity, engine = board.identity(), board.engine
        timings = board.timings()
        trace = traced(job, board, manifest, test, climbed.ladder, climbed.different)
    steps, ladder, mistakes = climbed.steps, climbed.ladder, climbed.mistakes
    thresholds = settings.check
    misses = unusable(ladder) + failures(
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
        "trace": trace,
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
    """Load the model from flash, if it is the compiled one and the board is sound."""
    require_flashed(board, address, kmodel)
    board.load(address)
    require_self_test(board, address)


@dataclass(frozen=True)
class _Climbed:
    """The steps, their rows, the device's mistakes.

    ``different`` is the first sample that the device answers otherwise than the
    reference does, if there is one.
    """

    steps: list[Step]
    ladder: list[dict[str, Any]]
    mistakes: Mistakes
    different: int | None


def _climb(
    job: "Job",
    board: Board,
    kmodel: bytes,
    manifest: Manifest,
    test: Split,
    classes: tuple[str, ...] | None,
) -> _Climbed:
    """Take all samples through all steps, a chunk at a time."""
    spec, mistakes = manifest.inputs[0], Mistakes()
    upright = replace(spec, rotation=0)
    known = remembered(job)
    ways = predictors(job, board, kmodel, manifest, known)
    count = len(classes) if classes else None
    steps = [Step(name, count, job.settings.check.top_k) for name in ways]
    different: int | None = None
    with job.console.progress("samples", len(test)) as advance:
        for start in range(0, len(test), CHUNK):
            images = test.images[start : start + CHUNK]
            prepared = Prepared(
                spec.prepare_batch(images), upright.prepare_batch(images)
            )
            answers = [predict(prepared) for predict in ways.values()]
            for step, outputs in zip(steps, answers, strict=True):
                for row in _samples(outputs, answers[0], test.labels, start):
                    step.add(*row[1:])
                    if step is steps[-1]:
                        mistakes.add(*row)
            if different is None:
                different = _different(answers[-2], answers[-1], start)
            advance(start + len(images), "")
    known.save()
    return _Climbed(
        steps, [step.row(step is steps[0]) for step in steps], mistakes, different
    )


def _different(
    reference: list[list[Floats]], device: list[list[Floats]], start: int
) -> int | None:
    """The first sample that two steps answer differently, but for float rounding."""
    for index, (expected, found) in enumerate(
        zip(reference, device, strict=True), start
    ):
        for one, other in zip(expected, found, strict=True):
            gap = float(np.abs(one - other).max())
            if not gap <= ROUNDING * float(np.abs(one).max()):
                return index
    return None


def _samples(
    outputs: list[list[Floats]],
    first: list[list[Floats]],
    labels: NDArray[np.int64] | None,
    start: int,
) -> Iterator[tuple[int, list[Floats], list[Floats], int | None]]:
    """Each sample of a chunk: its index, its outputs, the first step's, its label."""
    for index, (found, expected) in enumerate(zip(outputs, first, strict=True), start):
        yield index, found, expected, None if labels is None else int(labels[index])


def _metrics(
    steps: list[Step], ladder: list[dict[str, Any]], samples: int
) -> "Metrics":
    metrics: Metrics = {"samples": samples}
    for step, row in zip(steps, ladder, strict=True):
        for name in ("accuracy", "agreement", "snr_db"):
            metrics[f"{step.name}_{name}"] = row[name]
    metrics["device_drop"] = ladder[-1]["drop"]
    return metrics
