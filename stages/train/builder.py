"""A network that a Python function of the user's makes.

``model.builder: my_nets:small`` calls ``small((height, width, channels), classes)`` of
``my_nets.py``, which lies where ``pipeline.yaml`` is.
"""

import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from k210.errors import UserError
from stages.artifacts.modules import module_files

KEY = "model.builder"


def build_with(
    builder: str, root: Path, shape: tuple[int, int, int], classes: int
) -> Any:
    """The ``keras.Model`` that a user's function returns.

    Args:
        builder: "module:function".
        root: the folder that the module is imported from.
        shape: height, width and channels of the input.
        classes: number of outputs.

    Raises:
        UserError: there is no such module or function, it fails, or what it returns
            is no classifier of such pictures.
    """
    function = _function(builder, root)
    model = _called(lambda: function(shape, classes), builder, root)
    return _checked(model, builder, shape, classes)


def _function(builder: str, root: Path) -> Callable[..., Any]:
    module, _, name = builder.partition(":")
    module_files(root, module, KEY)  # says where the module is expected
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    found = _called(lambda: importlib.import_module(module), builder, root)
    function = getattr(found, name, None)
    if not callable(function):
        offered = [n for n, v in vars(found).items() if callable(v) and n[0] != "_"]
        raise UserError(
            f"{KEY}: {module} has no function {name!r}; it has "
            f"{', '.join(sorted(offered)) or 'none at all'}"
        )
    callable_: Callable[..., Any] = function
    return callable_


def _called(work: Callable[[], Any], builder: str, root: Path) -> Any:
    """Run the user's code; whatever it raises is the user's to mend."""
    try:
        return work()
    except Exception as error:
        # the whole of it goes to the stage's log
        traceback.print_exc()
        raise UserError(
            f"{KEY}: {builder} fails{_place(error, root)}: "
            f"{type(error).__name__}: {_first_line(error)}"
        ) from error


def _place(error: BaseException, root: Path) -> str:
    """Where in the user's own files it went wrong, if it did so there."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" at {Path(error.filename).name}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    here = str(Path(__file__).parents[2])
    for frame in reversed(frames):
        inside = frame.filename.startswith(str(root))
        if inside and not frame.filename.startswith(f"{here}/stages/"):
            return f" at {Path(frame.filename).name}:{frame.lineno}"
    return ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]


def _checked(
    model: Any, builder: str, shape: tuple[int, int, int], classes: int
) -> Any:
    import keras

    if not isinstance(model, keras.Model):
        raise UserError(
            f"{KEY}: {builder} returns {type(model).__name__}, not a keras.Model"
        )
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise UserError(
            f"{KEY}: {builder} returns a model without a graph; make it from "
            "keras.Input and keras.Model(inputs, outputs)"
        )
    _require_shapes(model, builder, shape, classes)
    _require_loadable(model, builder)
    _require_scores(model, builder, shape)
    return model


def _require_shapes(
    model: Any, builder: str, shape: tuple[int, int, int], classes: int
) -> None:
    for ends, wanted, what in (
        (model.inputs, shape, "takes"),
        (model.outputs, (classes,), "gives"),
    ):
        found = [tuple(tensor.shape[1:]) for tensor in ends]
        if found != [wanted]:
            shown = " and ".join(str(each) for each in found)
            raise UserError(
                f"{KEY}: the model of {builder} {what} {shown}, and the data "
                f"section makes it {wanted}; use what the function is called with"
            )


def _require_loadable(model: Any, builder: str) -> None:
    """Make sure that the stages to come can load it: they do not know user's code."""
    import keras

    for layer in model._flatten_layers(include_self=False):
        own = not type(layer).__module__.startswith("keras.")
        if own or isinstance(layer, keras.layers.Lambda):
            raise UserError(
                f"{KEY}: the layer {layer.name!r} of {builder} is a "
                f"{type(layer).__name__}, which later stages cannot load; "
                "use Keras' own layers"
            )


def _require_scores(model: Any, builder: str, shape: tuple[int, int, int]) -> None:
    pictures = np.random.default_rng(0).random((2, *shape), np.float32)
    scores = model.predict(pictures, verbose=0)
    if not np.allclose(scores.sum(axis=1), 1, atol=1e-3) or scores.min() < 0:
        raise UserError(
            f"{KEY}: the outputs of {builder} are no probabilities; end the model "
            "with a softmax"
        )
