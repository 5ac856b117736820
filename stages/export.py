"""Bring the model into float TFLite: batch 1, static shapes, checked on real samples.

Models trained here are converted and compared with Keras. A user's model is imported
(``stages.imports``) and compared with itself in a runtime of its own, on pictures of
the data and on noise.
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from k210.errors import ModelError
from stages import dataset, fold, tflite
from stages.artifacts import read_json
from stages.conversion import to_tflite
from stages.imports import Request, import_model
from stages.imports.inputs import deployable
from stages.interpret import Floats, Interpreter
from stages.project.schema import Project

if TYPE_CHECKING:
    from stages.lifecycle import Job, Metrics

NOISE = 8
"""Pictures of random bytes on which an imported model is compared too."""


def run(job: "Job") -> "Metrics":
    """Write ``export/model.tflite``.

    Raises:
        ModelError: the model is not float32, does not fit the data, computes NaN, or
            differs from what it was by more than ``export.tolerance``.
    """
    samples = _samples(job)
    if job.has("train/model.keras"):
        metrics = _trained(job, samples)
    else:
        metrics = _imported(job, samples)
    target = job.output("export/model.tflite")
    if dataset.per_channel(job.settings.data):
        metrics["border_difference"] = _fold(job, target)
    model = deployable(target, _shape(job.settings), target)
    return {
        "operators": len(model.subgraphs[0].operators),
        "bytes": target.stat().st_size,
        "samples": len(samples),
        **metrics,
    }


def _shape(settings: Project) -> tuple[int, int, int]:
    """Height, width and channels of the pictures."""
    return (*settings.data.size, settings.data.channels)


def _trained(job: "Job", samples: Floats) -> "Metrics":
    """Convert the model that was trained here and compare."""
    target = job.output("export/model.tflite")
    source, shape = job.input("train/model.keras"), _shape(job.settings)
    model = _load_keras(source)
    call = partial(model, training=False)
    target.write_bytes(to_tflite(call, shape, source))
    deployable(target, shape, target)
    outputs = [values[0] for values in Interpreter(target).run_many(samples)]
    expected = model.predict(samples, verbose=0)
    difference = float(np.max(np.abs(np.concatenate(outputs) - expected)))
    _require_close(difference, job.settings, "Keras")
    return {"max_difference": difference}


def _fold(job: "Job", target: Path) -> float:
    """Have the model take plain floats, its mean and std by channel in its weights.

    Returns by how much that changes the outputs on the samples.
    """
    data, prepared = job.settings.data, _prepared(job)
    trained, plain = dataset.training_input_of(data), dataset.input_of(data)
    unfolded = list(Interpreter(target).run_many(trained.to_float(prepared)))
    model = tflite.read(target)
    fold.fold(model, trained.mean, trained.std)
    tflite.write(model, target)
    folded = list(Interpreter(target).run_many(plain.to_float(prepared)))
    return fold.border_difference(folded, unfolded)


def _load_keras(path: Path) -> Any:
    import keras

    return keras.models.load_model(path)


def _imported(job: "Job", samples: Floats) -> "Metrics":
    """Import the user's model, which compares it."""
    settings = job.settings
    assert settings.model.file is not None
    source = job.user_file(settings.model.file, "model.file")
    target = job.output("export/model.tflite")
    with (
        TemporaryDirectory(dir=target.parent) as folder,
        job.console.progress(f"importing {source.name}", 1) as advance,
    ):
        request = Request(
            source=source.absolute(),
            target=target.absolute(),
            folder=Path(folder).absolute(),
            shape=_shape(settings),
            samples=np.concatenate([samples, _noise(settings)]),
            signature=settings.model.signature,
            dequantize=settings.model.dequantize,
        )
        outcome = import_model(request, job.log.absolute(), settings.export.timeout)
        advance(1, "")
    _require_close(outcome.difference, settings, source.name)
    return {
        "noise_samples": NOISE,
        "max_difference": outcome.difference,
        "output_scale": outcome.scale,
        **outcome.others,
    }


def _samples(job: "Job") -> Floats:
    """The first samples of the test split, as the float model sees them."""
    spec = dataset.training_input_of(job.settings.data)
    return spec.to_float(_prepared(job))


def _prepared(job: "Job") -> NDArray[np.uint8]:
    """The same samples as bytes, uint8 N×C×H×W."""
    data = job.settings.data
    split_json = read_json(job.input("train/split.json"))
    split = dataset.load_recorded(data, job.user_file(""), split_json).test
    spec = dataset.input_of(data)
    count = job.settings.export.samples
    return spec.prepare_batch(split.images[:count])


def _noise(settings: Project) -> Floats:
    """Pictures of random bytes, as the float model sees them."""
    spec = dataset.input_of(settings.data)
    rng = np.random.default_rng(settings.data.seed)
    pixels = rng.integers(0, 256, (NOISE, *spec.shape[1:]), dtype=np.uint8)
    return spec.to_float(pixels)


def _require_close(difference: float, settings: Project, original: str) -> None:
    """Refuse a conversion that computes something else."""
    tolerance = settings.export.tolerance
    if not difference <= tolerance:
        raise ModelError(
            f"the converted model differs from {original} by {difference:.2e}, more "
            f"than export.tolerance {tolerance:.2e} allows; the conversion is wrong, "
            "or the tolerance is too tight for this model's range of outputs"
        )
