"""Bring the model into float TFLite: batch 1, static shapes, checked on real samples.

Models trained here are converted and compared with Keras; a user's TFLite file is
validated, because nncase takes the process down on a quantized one and silently
accepts NaN weights.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from k210.errors import ModelError
from stages import dataset, tflite
from stages.artifacts import read_json
from stages.interpret import Floats, Interpreter
from stages.project.schema import Project

if TYPE_CHECKING:
    from stages.lifecycle import Job, Metrics


def run(job: "Job") -> "Metrics":
    """Write ``export/model.tflite``.

    Raises:
        ModelError: the model is not float32, does not fit the data, computes NaN, or
            differs from Keras by more than ``export.tolerance``.
    """
    settings = job.settings
    target = job.output("export/model.tflite")
    trained = job.has("train/model.keras")
    if trained:
        keras_model = _load_keras(job.input("train/model.keras"))
        target.write_bytes(_convert(keras_model, settings))
        model = _checked(target, settings)
    else:
        model = _import(job, target)
    samples = _samples(job)
    outputs = [values[0] for values in Interpreter(target).run_many(samples)]
    metrics: Metrics = {
        "operators": len(model.subgraphs[0].operators),
        "bytes": target.stat().st_size,
        "samples": len(samples),
    }
    if trained:
        expected = keras_model.predict(samples, verbose=0)
        metrics["max_difference"] = _compare(
            np.concatenate(outputs), expected, settings.export.tolerance
        )
    return metrics


def _load_keras(path: Path) -> Any:
    import keras

    return keras.models.load_model(path)


def _convert(model: Any, settings: Project) -> bytes:
    """Freeze the model at batch 1 and convert it.

    nncase refuses variables, so they become constants before the converter sees them.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    height, width = settings.data.size
    spec = tf.TensorSpec(
        [1, height, width, settings.data.channels], tf.float32, name="input"
    )
    function = tf.function(lambda x: model(x, training=False))
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(spec))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    data: bytes = converter.convert()
    return data


def _import(job: "Job", target: Path) -> Any:
    """Take a user's file over, as it is but for an open batch size, which becomes 1."""
    path = job.settings.model.file
    assert path is not None
    source = job.user_file(path)
    model = _checked(source, job.settings)
    if tflite.fix_batch(model):
        tflite.write(model, target)
    else:
        shutil.copyfile(source, target)
    return model


def _checked(path: Path, settings: Project) -> Any:
    """The model in a file that can be deployed.

    Raises:
        ModelError: it is not float32 throughout, or takes other pictures than the
            data section makes.
    """
    model = tflite.read(path)
    tflite.require_float(model, path)
    _require_shape(model, path, settings)
    return model


def _require_shape(model: Any, path: Path, settings: Project) -> None:
    graph = model.subgraphs[0]
    inputs = len(tflite.indices(graph.inputs))
    if inputs != 1:
        raise ModelError(
            f"{path}: has {inputs} inputs; models with exactly one are supported"
        )
    found = tflite.static_shape(graph.tensors[graph.inputs[0]])
    height, width = settings.data.size
    wanted = (1, height, width, settings.data.channels)
    if found == wanted:
        return
    if len(found) == 4 and found[0] == 1 and min(found) > 0:
        raise ModelError(
            f"{path}: takes {found[1]}×{found[2]}×{found[3]} pictures and the "
            f"data section makes {height}×{width}×{settings.data.channels}; "
            f"set data.size: [{found[1]}, {found[2]}] and data.channels: {found[3]}"
        )
    raise ModelError(
        f"{path}: its input is {list(found)}; it must be static, "
        "[1, height, width, channels]; export it with batch 1"
    )


def _samples(job: "Job") -> Floats:
    """The first samples of the test split, as the float model sees them."""
    data = job.settings.data
    split_json = read_json(job.input("train/split.json"))
    split = dataset.load_recorded(data, job.user_file(""), split_json).test
    spec = dataset.input_of(data)
    count = job.settings.export.samples
    return spec.to_float(spec.prepare_batch(split.images[:count]))


def _compare(found: Floats, expected: Floats, tolerance: float) -> float:
    """The largest difference between TFLite's outputs and Keras'."""
    difference = float(np.max(np.abs(found - expected)))
    if not difference <= tolerance:
        raise ModelError(
            f"the converted model differs from Keras by {difference:.2e}, more than "
            f"export.tolerance {tolerance:.2e} allows; the conversion is wrong, or "
            "the tolerance is too tight for this model's range of outputs"
        )
    return difference
