"""The trace of a check: which pictures, which files, what the terminal is told."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from k210.board import Board
from k210.kmodel import parse
from k210.manifest import Manifest
from stages import dataset
from stages.artifacts import read_json
from stages.check.misread import DOUBTFUL, LABELLED
from stages.check.trace import (
    PICTURES,
    KerasMaps,
    Labelled,
    Models,
    Pictures,
    Trace,
)
from stages.dataset import Split

if TYPE_CHECKING:
    from stages.lifecycle import Job


def traced(
    job: "Job",
    board: Board,
    manifest: Manifest,
    test: Split,
    ladder: list[dict[str, Any]],
    different: int | None,
) -> dict[str, Any] | None:
    """What ``check.json`` holds under ``trace``; None where ``check.trace`` is never.

    Args:
        job: the check's.
        board: with the model loaded.
        manifest: the model's.
        test: the samples of the ladder.
        ladder: its rows.
        different: the sample that device and reference answer differently.
    """
    setting = job.settings.check.trace
    if setting == "never":
        return None
    indices = chosen(len(test), different)
    images, spec = test.images[indices], manifest.inputs[0]
    pictures = Pictures(
        spec.prepare_batch(images),
        replace(spec, rotation=0).prepare_batch(images),
        _keras_maps(job),
        _labelled(manifest, test, ladder[0]),
    )
    trace = Trace(_models(job), spec, dataset.input_of(job.settings.data), ladder)
    at = None if different is None else len(indices) - 1
    found = trace.run(board, pictures, at, setting == "always")
    return {**found, "samples": indices}


def chosen(count: int, different: int | None) -> list[int]:
    """A few samples all over the split; the last is one that the device gets wrong."""
    found = np.linspace(0, count - 1, min(count, PICTURES)).astype(int).tolist()
    return [*found[:-1], found[-1] if different is None else different]


def _labelled(
    manifest: Manifest, test: Split, first: dict[str, Any]
) -> Labelled | None:
    """Samples of a brought classifier that does not do well, None for any other."""
    accuracy = first["accuracy"]
    if test.labels is None or accuracy is None or accuracy >= DOUBTFUL:
        return None
    if first["step"] != "tflite":
        return None
    spec = replace(manifest.inputs[0], rotation=0)
    prepared = spec.prepare_batch(test.images[:LABELLED])
    samples = [spec.to_float(each[np.newaxis]) for each in prepared]
    return Labelled(samples, test.labels[:LABELLED].tolist())


def _keras_maps(job: "Job") -> KerasMaps | None:
    if not job.has("train/model.keras"):
        return None
    to_float = dataset.training_input_of(job.settings.data).to_float
    return KerasMaps(job.input("train/model.keras"), to_float)


def _models(job: "Job") -> Models:
    placement = read_json(job.input("compile/placement.json"))
    return Models(
        exported=job.input("export/model.tflite"),
        normalized=job.input("normalize/model.tflite"),
        compiled=job.input("quantize/model.tflite"),
        kmodel=parse(job.input("compile/model.kmodel").read_bytes()),
        named={op["id"]: op["tensors"][0] for op in placement["ops"] if op["tensors"]},
    )
