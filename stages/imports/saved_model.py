"""Import a SavedModel: a folder with ``saved_model.pb``, as TensorFlow exports it.

A SavedModel offers functions by name, its signatures. The one called
``serving_default`` is taken unless ``model.signature`` names another.
"""

from pathlib import Path
from typing import Any

import numpy as np

from k210.errors import ModelError, UserError
from stages.conversion import to_tflite
from stages.imports.inputs import require_one_input, require_size
from stages.imports.request import Floats, Imported, Request
from stages.reasons import reason

DEFAULT = "serving_default"
FILES = ("saved_model.pb", "saved_model.pbtxt")


def is_saved_model(path: Path) -> bool:
    """Whether a folder is meant to be a SavedModel."""
    return path.is_dir() and any((path / name).is_file() for name in FILES)


def convert(request: Request) -> Imported:
    """Write the target.

    Raises:
        ModelError: the folder is damaged, or its function takes other pictures.
        UserError: it has no such signature.
    """
    loaded = _load(request.source)  # its variables live as long as it does
    function = _signature(loaded, request)
    name = _input_name(function, request)

    def call(x: Any) -> list[Any]:
        import tensorflow as tf

        outputs: list[Any] = tf.nest.flatten(function(**{name: x}))
        return outputs

    def original(sample: Floats) -> list[Floats]:
        import tensorflow as tf

        assert loaded is not None
        return [np.asarray(output) for output in call(tf.constant(sample))]

    request.target.write_bytes(to_tflite(call, request.shape, request.source))
    return Imported(original)


def _load(path: Path) -> Any:
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        return tf.saved_model.load(str(path))
    except (
        tf.errors.OpError,
        DecodeError,
        AttributeError,
        LookupError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise ModelError(
            f"{path}: TensorFlow cannot load it as a SavedModel: {reason(error)}; "
            "export it again"
        ) from None


def _signature(loaded: Any, request: Request) -> Any:
    """The function to import."""
    offered = dict(getattr(loaded, "signatures", {}))
    named = request.signature
    if named is None:
        named = next(iter(offered)) if len(offered) == 1 else DEFAULT
    if named in offered:
        return offered[named]
    names = ", ".join(sorted(offered)) or "none"
    if request.signature is None:
        raise UserError(
            f"{request.source}: has no signature {DEFAULT!r}; name one in "
            f"model.signature, there are: {names}"
        )
    raise UserError(
        f"{request.source}: model.signature names {named!r}, and the signatures are: "
        f"{names}"
    )


def _input_name(function: Any, request: Request) -> str:
    path, inputs = request.source, function.structured_input_signature[1]
    require_one_input(len(inputs), path)
    ((name, spec),) = inputs.items()
    if spec.dtype.name != "float32":
        raise ModelError(
            f"{path}: its input is {spec.dtype.name}; export a signature that takes "
            "float32"
        )
    if spec.shape.rank is not None:
        require_size(spec.shape.as_list(), path, request.shape)
    return str(name)
