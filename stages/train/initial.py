"""The weights that a training starts from, and which of them it leaves alone.

Keras offers ImageNet weights for MobileNetV1 and V2. They are downloaded with the
standard library, because Keras reports a missing network as a bare ``Exception``, and
kept in Keras' own cache, ``$KERAS_HOME/models`` or ``~/.keras/models``.
"""

import os
import shutil
import urllib.request
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from k210.errors import UserError
from stages.project.inner import Freeze
from stages.project.schema import Model

if TYPE_CHECKING:
    from stages.lifecycle import Job

SERVER = "https://storage.googleapis.com/tensorflow/keras-applications/"
SIZE = 224
"""Side of the pictures that the weights were trained on."""

TIMEOUT_S = 30
V1_NAMES = {0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"}
"""How the files of MobileNetV1 spell alpha."""


def initial_weights(model: Any, settings: Model, job: "Job") -> None:
    """Set the first weights of a new model, where the settings name some.

    Raises:
        UserError: they cannot be had, or are those of another network.
    """
    if settings.weights == "imagenet":
        _set_imagenet(model, settings, job)


def freeze(model: Any, settings: Freeze) -> int:
    """Keep layers from being trained; returns how many that have weights.

    Raises:
        UserError: there is no layer of that name, or nothing would be trained.
    """
    weighted = [layer for layer in model.layers if layer.weights]
    chosen = weighted[: settings.first]
    if settings.up_to is not None:
        names = [layer.name for layer in model.layers]
        if settings.up_to not in names:
            raise UserError(_unknown_layer(settings.up_to, names, weighted))
        before = model.layers[: names.index(settings.up_to) + 1]
        chosen = [layer for layer in before if layer.weights]
    for layer in chosen:
        layer.trainable = False
    if not model.trainable_weights:
        raise UserError(
            f"train.freeze: all {len(weighted)} layers with weights would be frozen "
            "and nothing trained; freeze fewer"
        )
    return len(chosen)


def _unknown_layer(name: str, names: list[str], weighted: list[Any]) -> str:
    near = get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else "those with weights are "
    if not near:
        hint += ", ".join(layer.name for layer in weighted)
    return f"train.freeze.up_to: the model has no layer {name!r}; {hint}"


def _set_imagenet(model: Any, settings: Model, job: "Job") -> None:
    path = _downloaded(_file_name(settings), job)
    copied = copy_weights(_reference(settings, path), model)
    job.console.say(f"train: {copied} layers start with their ImageNet weights")


def _file_name(settings: Model) -> str:
    """The file on Keras' server, below the architecture's folder."""
    if settings.architecture == "mobilenet_v1":
        return f"mobilenet/mobilenet_{V1_NAMES[settings.alpha]}_{SIZE}_tf_no_top.h5"
    kind = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels"
    return f"mobilenet_v2/{kind}_{settings.alpha}_{SIZE}_no_top.h5"


def _downloaded(name: str, job: "Job") -> Path:
    """The file in Keras' cache, downloaded unless it is there."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    path = home / "models" / Path(name).name
    if path.exists():
        return path
    job.console.say(f"train: downloading {SERVER}{name}")
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(SERVER + name, timeout=TIMEOUT_S) as answer,
            partial.open("wb") as file,
        ):
            shutil.copyfileobj(answer, file)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        reason = getattr(error, "reason", None) or error.strerror or error
        raise UserError(
            f"model.weights: the ImageNet weights cannot be downloaded ({reason}); "
            f"connect to the internet, put {SERVER}{name} into {path.parent}, or set "
            "model.weights: null"
        ) from None
    return path


def _reference(settings: Model, path: Path) -> Any:
    """Keras' own network with the weights of a file."""
    import keras

    offered = {
        "mobilenet_v1": keras.applications.MobileNet,
        "mobilenet_v2": keras.applications.MobileNetV2,
    }
    shape = (SIZE, SIZE, 3)
    model = offered[settings.architecture or ""](
        shape, alpha=settings.alpha, include_top=False, weights=None
    )
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: no weights of {settings.architecture} "
            f"({str(error).splitlines()[0]}); remove the file, it is downloaded again"
        ) from None
    return model


def copy_weights(source: Any, target: Any) -> int:
    """Copy weights layer by layer, as far as ``target`` goes; returns how many.

    Both have the same layers in the same order; a small picture's network ends
    earlier. One colour instead of three takes the sum of the first kernel's.
    """
    theirs = iter([layer for layer in source.layers if layer.weights])
    copied = 0
    for layer in target.layers:
        if not layer.weights or layer.name == "scores":
            continue
        weights = [
            _fitted(w, v)
            for w, v in zip(next(theirs).get_weights(), layer.weights, strict=True)
        ]
        layer.set_weights(weights)
        copied += 1
    return copied


def _fitted(weights: NDArray[np.float32], variable: Any) -> NDArray[np.float32]:
    if weights.ndim == 4 and weights.shape[2] == 3 and variable.shape[2] == 1:
        grey: NDArray[np.float32] = weights.sum(axis=2, keepdims=True)
        return grey
    return weights
