"""The layers of a Keras network that weights can be loaded into, in graph order."""

from dataclasses import dataclass
from typing import Any

from k210.errors import ModelError


@dataclass(frozen=True)
class Slot:
    """A layer with weights, and the batch norm behind it.

    Attributes:
        layer: a Conv2D, DepthwiseConv2D, Conv2DTranspose or Dense.
        norm: the BatchNormalization that alone reads the layer's output, or None.
        kind: conv, depthwise, dense or transposed.
        level: how many layers with weights lie on the longest way to it, itself
            included.
        activation: relu or relu6 where that follows, else None.
    """

    layer: Any
    norm: Any | None
    kind: str
    level: int
    activation: str | None

    @property
    def shape(self) -> tuple[int, ...]:
        """The kernel's shape, as Keras has it."""
        return tuple(self.layer.kernel.shape)

    def __str__(self) -> str:
        size = "×".join(map(str, self.shape))
        return f"layer {self.layer.name!r} ({self.kind}, {size})"


def slots_of(model: Any) -> list[Slot]:
    """The layers with weights of a functional model, in the order of its graph.

    Raises:
        ModelError: a layer is used twice, or is of a kind that cannot be loaded.
    """
    operations = _operations(model)
    readers: dict[int, list[Any]] = {}
    for operation in operations:
        for tensor in _tensors(operation, "input"):
            readers.setdefault(id(tensor), []).append(operation)
    levels: dict[int, int] = {}
    slots = []
    for operation in operations:
        taken = [id(tensor) for tensor in _tensors(operation, "input")]
        if any(each not in levels for each in taken):
            raise ModelError(
                f"layer {operation.name!r} reads a layer that is used in several "
                "places, and weights are loaded into layers that are used once"
            )
        level = max((levels.get(each, 0) for each in taken), default=0)
        kind = _kind(operation)
        if kind is not None:
            level += 1
            slots.append(_slot(operation, kind, level, readers))
        levels.update({id(t): level for t in _tensors(operation, "output")})
    return slots


def _operations(model: Any) -> list[Any]:
    import keras

    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs)
    operations = list(model.operations)
    for operation in operations:
        if isinstance(operation, keras.Model):
            raise ModelError(
                f"layer {operation.name!r} is a model within the model, into which "
                "weights are not loaded; build the network in one piece"
            )
    return operations


def _tensors(operation: Any, end: str) -> list[Any]:
    """An operation's inputs or outputs."""
    import keras

    found: list[Any] = keras.tree.flatten(getattr(operation, end))
    return found


def _kind(operation: Any) -> str | None:
    """What the weights of an operation are called here; None where it has none."""
    import keras

    layers = keras.layers
    for kind, classes in (
        ("depthwise", layers.DepthwiseConv2D),
        ("transposed", layers.Conv2DTranspose),
        ("conv", layers.Conv2D),
        ("dense", layers.Dense),
    ):
        if type(operation) is classes:
            return kind
    if isinstance(operation, layers.BatchNormalization):
        return None
    if getattr(operation, "weights", None):
        raise ModelError(
            f"layer {operation.name!r} is a {type(operation).__name__}, whose weights "
            "cannot be loaded from TFLite; use Conv2D, DepthwiseConv2D, "
            "Conv2DTranspose and Dense layers"
        )
    return None


def _slot(layer: Any, kind: str, level: int, readers: dict[int, list[Any]]) -> Slot:
    import keras

    if layer.activation is not keras.activations.linear:
        return Slot(layer, None, kind, level, _named(layer.activation))
    norm, behind = None, readers.get(id(layer.output), [])
    if len(behind) == 1 and isinstance(behind[0], keras.layers.BatchNormalization):
        norm = behind[0]
        behind = readers.get(id(norm.output), [])
    follows = _activation(behind[0]) if len(behind) == 1 else None
    return Slot(layer, norm, kind, level, follows)


def _activation(operation: Any) -> str | None:
    import keras

    if isinstance(operation, keras.layers.ReLU):
        if operation.negative_slope or operation.threshold:
            return None
        return {None: "relu", 6.0: "relu6"}.get(operation.max_value)
    return _named(getattr(operation, "activation", None))


def _named(function: Any) -> str | None:
    import keras

    known = {keras.activations.relu: "relu", keras.activations.relu6: "relu6"}
    return known.get(function)
