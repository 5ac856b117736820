"""Split the data and train the float model.

Projects that bring a TFLite file only have their data split. Training resumes from
its last finished epoch when it was killed: its backup lies in the job's scratch
folder, which belongs to one key only.
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
from stages.project.schema import Augment, Data, Project, Train
from stages.train.backup import Backup, Row
from stages.train.mobilenet_v1 import mobilenet_v1
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
    metrics.update(data.notes)
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
    model = _build(settings, classes)
    train = _floats(settings.data, data.train)
    if settings.model.weights_from is not None:
        path = job.user_file(settings.model.weights_from, "model.weights_from")
        for line in load_weights(model, path, train[:SETTLING]):
            print(line)  # into the stage's log
    history = job.output("train/history.csv")
    if settings.train.epochs:
        _fit(job, model, train, data, history)
    else:
        history.write_text("epoch,accuracy,loss\n")
    _without_optimizer(model).save(job.output("train/model.keras"))
    return _measure(model, data, settings)


def _fit(job: "Job", model: Any, train: Floats, data: Dataset, target: Path) -> None:
    """Train the model and write the history of its epochs."""
    import keras

    settings = job.settings
    steps = -(-len(data.train) // settings.train.batch_size)
    _compile(model, settings.train, steps)
    backup = Backup(job.scratch)
    with job.console.progress("epoch", settings.train.epochs) as advance:
        model.fit(
            _batches(train, data.train.labels, settings),
            epochs=settings.train.epochs,
            initial_epoch=backup.resume(model),
            validation_data=_validation(settings.data, data.validation),
            verbose=0,
            callbacks=[
                keras.callbacks.LambdaCallback(
                    on_epoch_end=lambda epoch, logs: backup.save(model, logs)
                ),
                keras.callbacks.LambdaCallback(
                    on_epoch_end=lambda epoch, logs: advance(epoch + 1, _words(logs))
                ),
            ],
        )
    _write_history(backup.history, target)


def _build(settings: Project, classes: int) -> Any:
    height, width = settings.data.size
    shape = (height, width, settings.data.channels)
    model = settings.model
    return mobilenet_v1(
        shape,
        classes,
        alpha=model.alpha,
        dropout=model.dropout,
        activation=model.activation or "relu6",
        smallest_map=model.smallest_map,
    )


def _compile(model: Any, settings: Train, steps: int) -> None:
    import keras

    schedule = keras.optimizers.schedules.CosineDecay(
        settings.learning_rate, settings.epochs * steps
    )
    model.compile(
        keras.optimizers.Adam(schedule),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )


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
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=["epoch", *history[0]])
        writer.writeheader()
        writer.writerows({"epoch": epoch, **row} for epoch, row in enumerate(history))


def _without_optimizer(model: Any) -> Any:
    """The bare network: what is deployed does not carry how it was trained."""
    import keras

    bare = keras.Model.from_config(model.get_config())
    bare.set_weights(model.get_weights())
    return bare


def _measure(model: Any, data: Dataset, settings: Project) -> "Metrics":
    metrics: Metrics = {
        "parameters": int(model.count_params()),
        "epochs": settings.train.epochs,
    }
    for name, split in data.splits().items():
        if len(split):
            outputs = model.predict(_floats(settings.data, split), verbose=0)
            metrics[f"{name}_accuracy"] = float(
                np.mean(outputs.argmax(axis=1) == split.labels)
            )
    return metrics
