"""Split the data and train the float model.

Projects that bring a TFLite file only have their data split. Training resumes from
its last finished epoch when it was killed: its backup and the weights of the best
epoch lie in the job's scratch folder, which belongs to one key only.
"""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from k210.errors import UserError
from stages import dataset
from stages.artifacts import write_json
from stages.dataset import Dataset, Labels, Split
from stages.project.schema import Data, Project
from stages.project.training import Augment
from stages.train.architectures import build
from stages.train.backup import Backup, Row
from stages.train.builder import build_with
from stages.train.initial import freeze, initial_weights
from stages.train.weights import load_weights

if TYPE_CHECKING:
    from stages.lifecycle import Job, Metrics

Floats = NDArray[np.float32]

SETTLING = 256
"""Training pictures from which batch norms of loaded weights take their statistics."""


def run(job: "Job") -> "Metrics":
    """Write the split and, where the project trains, model and history.

    Raises:
        UserError: the data is not what the settings say, or has no labels.
    """
    settings = job.settings
    data = dataset.load(settings.data, job.user_file(""))
    record = data.record()
    write_json(job.output("train/split.json"), record)
    metrics: Metrics = {f"{k}_samples": len(v) for k, v in data.splits().items()}
    if not job.has("train/model.keras"):
        return metrics
    if data.classes is None:
        raise UserError(
            "training needs labels and the data has none; "
            "add an array `labels` or give a trained model as model.file"
        )
    return {**metrics, **_train(job, data, len(data.classes))}


def _train(job: "Job", data: Dataset, classes: int) -> "Metrics":
    import keras

    settings = job.settings
    keras.utils.set_random_seed(settings.train.seed)
    model = _build(job, classes)
    initial_weights(model, settings.model, job)
    images = _floats(settings.data, data.train)
    if settings.model.weights_from is not None:
        path = job.user_file(settings.model.weights_from, "model.weights_from")
        for line in load_weights(model, path, images[:SETTLING]):
            print(line)  # into the stage's log
    frozen = freeze(model, settings.train.freeze)
    backup = Backup(job.scratch)
    best = _fit(job, model, images, data, backup) if settings.train.epochs else None
    _write_history(backup.history, job.output("train/history.csv"))
    bare = _without_optimizer(model)
    bare.save(job.output("train/model.keras"))
    metrics: Metrics = {
        "parameters": int(bare.count_params()),
        "epochs": len(backup.history),
    }
    if best:
        metrics["best_epoch"] = best
    if frozen:
        metrics["frozen_layers"] = frozen
    return {**metrics, **_measure(bare, data, settings)}


def _build(job: "Job", classes: int) -> Any:
    settings = job.settings
    shape = (*settings.data.size, settings.data.channels)
    builder = settings.model.builder
    if builder is not None:
        return build_with(builder, job.user_file(""), shape, classes)
    return build(settings.model, shape, classes)


def _fit(
    job: "Job", model: Any, images: Floats, data: Dataset, backup: Backup
) -> int | None:
    """Train; with early stopping, returns the epoch whose weights the model has."""
    import keras

    from stages.train.callbacks import Best
    from stages.train.optimizer import make_optimizer

    settings = job.settings
    train = settings.train
    steps = -(-len(data.train) // train.batch_size)
    model.compile(
        make_optimizer(train, steps),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    stopping = train.early_stopping
    if stopping.patience is not None and not len(data.validation):
        raise UserError(
            "train.early_stopping needs validation pictures and the split has none; "
            "enlarge data.split.validation, or set patience: null"
        )
    best = None if stopping.patience is None else Best(stopping, job.scratch)
    with job.console.progress("epoch", train.epochs) as advance:
        model.fit(
            _batches(images, data.train.labels, settings),
            initial_epoch=backup.resume(model),
            epochs=train.epochs,
            validation_data=_validation(settings.data, data.validation),
            class_weight=_weights_of_classes(settings, data.train),
            verbose=0,
            callbacks=[
                *([best] if best else []),
                keras.callbacks.LambdaCallback(
                    on_epoch_end=lambda epoch, logs: backup.save(model, logs)
                ),
                keras.callbacks.LambdaCallback(
                    on_epoch_end=lambda epoch, logs: advance(epoch + 1, _words(logs))
                ),
            ],
        )
    if best is None:
        return None
    best.restore(model)
    return best.epoch


def _weights_of_classes(settings: Project, split: Split) -> dict[int, float] | None:
    """How much a picture of each class counts, 1 in the mean over the pictures."""
    if settings.train.class_weights is None:
        return None
    assert split.labels is not None
    labels, counts = np.unique(split.labels, return_counts=True)
    each = len(split) / (len(labels) * counts)
    return {int(k): float(v) for k, v in zip(labels, each, strict=True)}


def _floats(settings: Data, split: Split) -> Floats:
    """What the float model sees of these samples: float32, N×H×W×C."""
    spec = dataset.training_input_of(settings)
    return spec.to_float(spec.prepare_batch(split.images))


def _validation(settings: Data, split: Split) -> tuple[Floats, Labels] | None:
    if split.labels is None or not len(split):
        return None
    return _floats(settings, split), split.labels


def _batches(images: Floats, labels: Any, settings: Project) -> Any:
    """A tf.data pipeline of augmented batches, shuffled anew each epoch."""
    import tensorflow as tf

    train = settings.train
    augment = _augmentation(train.augment, train.seed)
    dark = dataset.darkest(settings.data)  # what the pictures are padded with
    return (
        tf.data.Dataset.from_tensor_slices((images, labels))
        .shuffle(len(images), seed=train.seed, reshuffle_each_iteration=True)
        .batch(train.batch_size)
        .map(
            lambda x, y: (augment(x - dark, training=True) + dark, y),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .prefetch(tf.data.AUTOTUNE)
    )


def _augmentation(settings: Augment, seed: int) -> Any:
    import keras

    fill = {"fill_mode": "constant", "fill_value": 0.0, "seed": seed}
    layers = keras.layers
    shift, zoom, turn = settings.shift, settings.zoom, settings.rotation / 360
    return keras.Sequential(
        [
            layers.RandomRotation(turn, **fill),
            layers.RandomTranslation(shift, shift, **fill),
            layers.RandomZoom(zoom, **fill),
        ]
    )


def _words(logs: dict[str, float]) -> str:
    shown = {"loss": "loss", "accuracy": "accuracy", "validation": "val_accuracy"}
    return " ".join(f"{k} {logs[v]:.3f}" for k, v in shown.items() if v in logs)


def _write_history(history: list[Row], target: Path) -> None:
    names = list(history[0]) if history else ["accuracy", "loss"]
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=["epoch", *names])
        writer.writeheader()
        writer.writerows({"epoch": epoch, **row} for epoch, row in enumerate(history))


def _without_optimizer(model: Any) -> Any:
    """The bare network: what is deployed does not carry how it was trained."""
    import keras

    bare = keras.Model.from_config(model.get_config())
    bare.set_weights(model.get_weights())
    return bare


def _measure(model: Any, data: Dataset, settings: Project) -> "Metrics":
    metrics: Metrics = {}
    for name, split in data.splits().items():
        if len(split):
            outputs = model.predict(_floats(settings.data, split), verbose=0)
            metrics[f"{name}_accuracy"] = float(
                np.mean(outputs.argmax(axis=1) == split.labels)
            )
    return metrics
