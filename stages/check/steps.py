"""How each step of the ladder gets from prepared samples to its outputs."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from k210.board import Board
from k210.manifest import Manifest
from k210.reference import Reference
from stages import dataset
from stages.check.remembered import Remembered
from stages.interpret import Interpreter
from stages.runtime import Floats

if TYPE_CHECKING:
    from stages.lifecycle import Job


class Prepared(NamedTuple):
    """Samples, uint8 N×C×H×W: as the board takes them, and not rotated."""

    board: NDArray[np.uint8]
    upright: NDArray[np.uint8]


Predict = Callable[[Prepared], list[list[Floats]]]
"""From prepared samples to the outputs of each, upright, batch of one."""


def predictors(
    job: "Job", board: Board, kmodel: bytes, manifest: Manifest, known: Remembered
) -> dict[str, Predict]:
    """Each step's way from prepared samples to outputs, in the ladder's order."""
    host: dict[str, Callable[[], Predict]] = {}
    if job.has("train/model.keras"):
        host["float"] = lambda: _float(job)
    host["tflite"] = lambda: _tflite(job, manifest)
    host["normalized"] = lambda: _normalized(job, manifest)
    host["reference"] = lambda: _reference(kmodel, manifest)
    found: dict[str, Predict] = {
        name: known.step(name, make) for name, make in host.items()
    }
    found["device"] = lambda prepared: [
        _restored(manifest, outputs)
        for outputs in board.infer_many(each.tobytes() for each in prepared.board)
    ]
    return found


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

    def predict(prepared: Prepared) -> list[list[Floats]]:
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
