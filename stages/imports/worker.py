"""The child process in which a file from elsewhere is read, converted and compared.

Parsers and converters of foreign files crash, hang, print and change the working
folder; none of that reaches the stage.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from k210.child import Answer
from k210.errors import ModelError
from stages.imports import keras_file, onnx_file, saved_model, tflite_file
from stages.imports.formats import format_of
from stages.imports.inputs import deployable
from stages.imports.request import Floats, Imported, Outcome, Request, Runtime
from stages.interpret import Interpreter

FORMATS: dict[str, Callable[[Request], Imported]] = {
    "tflite": tflite_file.convert,
    "keras": keras_file.convert,
    "saved_model": saved_model.convert,
    "onnx": onnx_file.convert,
}


def prepare() -> Answer:
    """The function that imports models."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    def answer(request: Any) -> Outcome:
        os.chdir(request.folder)
        imported = FORMATS[format_of(request.source)](request)
        deployable(request.target, request.shape, named=request.source)
        return _compare(request, imported)

    return answer


def _compare(request: Request, imported: Imported) -> Outcome:
    """Run the target and what it came from on the same samples, one at a time."""
    target = Interpreter(request.target).run
    difference = scale = 0.0
    others = dict.fromkeys(imported.others, 0.0)
    for sample in request.samples:
        batch = sample[np.newaxis]
        found = target(batch)
        expected = _finite(imported.original, batch, request)
        difference = max(difference, distance(found, expected, request))
        scale = max(scale, *(float(np.abs(output).max()) for output in expected))
        for metric, runtime in imported.others.items():
            apart = distance(found, runtime(batch), request)
            others[metric] = max(others[metric], apart)
    return Outcome(difference, scale, others)


def _finite(runtime: Runtime, batch: Floats, request: Request) -> list[Floats]:
    outputs = runtime(batch)
    if not all(np.isfinite(output).all() for output in outputs):
        raise ModelError(
            f"{request.source}: gives NaN or infinity for a picture of the data; its "
            "training has diverged, or data.range is not what it expects"
        )
    return outputs


def distance(found: list[Floats], expected: list[Floats], request: Request) -> float:
    """The largest absolute difference between two models' outputs.

    Raises:
        ModelError: they are not even of one shape.
    """
    shapes = [[output.shape for output in outputs] for outputs in (found, expected)]
    if shapes[0] != shapes[1]:
        raise ModelError(
            f"{request.source}: gives outputs of {shapes[1]} and {shapes[0]} once "
            "converted to TFLite; the conversion is wrong: convert it to TFLite by "
            "other means and import that"
        )
    pairs = zip(found, expected, strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)
