"""Import a model that Keras has saved: ``.keras``, or a whole model in ``.h5``.

Keras 3 reads what Keras 2 has written as far as it still has the layers. Nothing in
a file is executed: ``safe_mode`` stays on, and Lambda layers and classes of one's own
are refused by name before Keras sees them.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from k210.errors import ModelError
from stages.conversion import to_tflite
from stages.imports.inputs import require_one_input, require_size
from stages.imports.request import Floats, Imported, Request
from stages.reasons import reason

INSTEAD = (
    "save it where it was made as a SavedModel (model.export) or as TFLite, and "
    "import that"
)
UNLOADABLE = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What Keras raises for archives, configurations and weights that are not one."""

OWN = ("keras", "builtins", "tensorflow", "tf_keras")
"""Packages whose classes are not the user's."""


def convert(request: Request) -> Imported:
    """Write the target.

    Raises:
        ModelError: the file is damaged, holds weights only or code of the user's, or
            takes other pictures.
    """
    source = request.source
    configuration = _configuration(source)
    _refuse_code(configuration, source)
    model = _load(source)
    inputs = model.inputs
    require_one_input(len(inputs), source)
    require_size(tuple(inputs[0].shape), source, request.shape)
    request.target.write_bytes(to_tflite(_flat(model), request.shape, source))
    return Imported(lambda sample: _predict(model, sample))


def _flat(model: Any) -> Any:
    import keras

    return lambda x: keras.tree.flatten(model(x, training=False))


def _predict(model: Any, sample: Floats) -> list[Floats]:
    import keras

    outputs: list[Floats] = keras.tree.flatten(model.predict(sample, verbose=0))
    return outputs


def _configuration(path: Path) -> Any:
    """The layers' description, as Keras saved it."""
    reader = _of_archive if path.suffix == ".keras" else _of_hdf5
    try:
        return json.loads(reader(path))
    except ValueError as error:
        raise ModelError(
            f"{path}: its description of the layers is damaged ({error}); save the "
            "model again"
        ) from None


def _of_archive(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            if broken := archive.testzip():
                raise zipfile.BadZipFile(f"{broken} is damaged")
            if "config.json" not in archive.namelist():
                raise ModelError(
                    f"{path}: an archive without config.json is no Keras model; save "
                    "it with model.save"
                )
            return archive.read("config.json")
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError) as error:
        raise ModelError(
            f"{path}: not a .keras archive, or a damaged one ({reason(error)}); "
            "save or copy it again"
        ) from None


def _of_hdf5(path: Path) -> bytes | str:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            description = file.attrs.get("model_config")
            keys = [*file.keys(), *file.attrs.keys()]
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ModelError(
            f"{path}: not an HDF5 file, or a damaged one ({reason(error)}); save "
            "or copy it again"
        ) from None
    if isinstance(description, bytes | str):
        return description
    weights = any("layer" in key or "weights" in key for key in keys)
    held = "weights only" if weights else "no Keras model"
    raise ModelError(
        f"{path}: holds {held}, not the layers they belong to; save the whole model "
        "with model.save"
    )


def _refuse_code(configuration: Any, path: Path) -> None:
    """Refuse layers that are code of the user's, or of an older Keras' making."""
    for node in _objects(configuration):
        kind, config = str(node["class_name"]), node.get("config")
        name = config.get("name", kind) if isinstance(config, dict) else kind
        if kind == "Lambda":
            raise ModelError(
                f"{path}: layer {name!r} is a Lambda, Python code that is not run from "
                f"a file; {INSTEAD}"
            )
        if kind in ("TFOpLambda", "SlicingOpLambda"):
            raise ModelError(
                f"{path}: layer {name!r} is a TensorFlow operation used as a layer, "
                f"which Keras 3 cannot read; {INSTEAD}"
            )
        if _is_custom(node):
            raise ModelError(
                f"{path}: layer {name!r} is of the class {kind!r}, which is not "
                f"Keras' own; {INSTEAD}"
            )


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    """All that a configuration describes, from the outside in."""
    if isinstance(node, dict):
        if "class_name" in node:
            yield node
        # how it was trained does not matter
        node = [value for key, value in node.items() if key != "compile_config"]
    if isinstance(node, list):
        for value in node:
            yield from _objects(value)


def _is_custom(node: dict[str, Any]) -> bool:
    registered = str(node.get("registered_name") or "")
    if "module" not in node:
        return ">" in registered
    module = str(node["module"] or "")
    return ">" in registered or module.split(".")[0] not in OWN


def _load(path: Path) -> Any:
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except UNLOADABLE as error:
        raise ModelError(
            f"{path}: Keras {keras.__version__} cannot load it: {reason(error)}; "
            f"{INSTEAD}"
        ) from None
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise ModelError(
            f"{path}: the model has no input of its own; call it once, or give it a "
            "keras.Input, and save it again"
        )
    return model
