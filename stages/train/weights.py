"""Load the weights of a float TFLite file into the Keras network they belong to.

For fine-tuning what one only has as TFLite. Layers and tensors are matched level by
level (as many weighted layers between them and the input) and within a level by shape
and then by order, because converters may reorder parallel branches.

A file holds no batch norms, they are folded into the weights. Those of the network
are set so that nothing but the bias is left of them: with the mean and the variance
that the layer's outputs have on real pictures, gamma = sqrt(variance + epsilon) and
beta = bias + mean. So the function is that of the file from the first step of the
training on, where batch norms use the statistics of the batch.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from k210.errors import ModelError
from stages import tflite
from stages.imports.dequantize import fold
from stages.interpret import Interpreter
from stages.train.slots import Slot, slots_of
from stages.train.stored import Floats, Stored, stored_weights

TOLERANCE = 1e-5
"""Largest difference of outputs, relative to their scale where that is above 1."""

TRIALS = 4
"""Pictures of noise on which network and file are compared."""

BATCH = 32

Pair = tuple[Slot, Stored]


def load_weights(model: Any, path: Path, images: Floats | None = None) -> list[str]:
    """Set the weights of a network to those of a TFLite file.

    Args:
        model: a functional or sequential ``keras.Model``.
        path: a float32 or float16 TFLite file of the same network.
        images: float32 N×H×W×C, from which batch norms take their statistics; None:
            they get mean 0 and variance 1.

    Returns:
        a line for each layer: which tensor it got.

    Raises:
        ModelError: the file is damaged or quantized, a layer and a tensor do not
            match, or the two compute different functions.
    """
    stored_model = tflite.read(path)
    with tflite.rewriting(path):
        fold(stored_model)
        tflite.require_float(stored_model, path)
        stored = stored_weights(stored_model, path)
    pairs = list(_matched(slots_of(model), stored, path))
    for slot, tensor in pairs:
        _require_activation(slot, tensor, path)
        _set(slot, tensor, path)
    if images is not None and len(images):
        _settle(model, pairs, images)
    compared = _require_equal(model, stored_model, path)
    return [*(f"{slot} gets {tensor}" for slot, tensor in pairs), compared]


def _matched(slots: list[Slot], stored: list[Stored], path: Path) -> Iterator[Pair]:
    """Pairs of what belongs together, level by level.

    Raises:
        ModelError: something is left over, by name.
    """
    levels = [each.level for each in slots] + [each.level for each in stored]
    deepest = max(levels, default=0)
    for level in range(1, deepest + 1):
        left = [each for each in stored if each.level == level]
        alone = []
        for slot in (each for each in slots if each.level == level):
            if (found := next((t for t in left if _fits(slot, t)), None)) is None:
                alone.append(slot)
                continue
            left.remove(found)
            yield slot, found
        if alone or left:
            raise ModelError(_left_over(alone, left, path))


def _fits(slot: Slot, stored: Stored) -> bool:
    """Whether a tensor can be a layer's kernel; a 1×1 convolution is a dense layer."""
    if slot.kind == stored.kind:
        return slot.shape == stored.weights.shape
    shapes = {slot.kind: slot.shape, stored.kind: stored.weights.shape}
    return shapes.keys() == {"conv", "dense"} and shapes["conv"] == (
        1,
        1,
        *shapes["dense"],
    )


def _left_over(alone: list[Slot], left: list[Stored], path: Path) -> str:
    same = "build the network that the file holds: its architecture, alpha and classes"
    if not left:
        return f"{path}: {alone[0]} finds no tensor, the file holds no more; {same}"
    if not alone:
        return f"{path}: {left[0]} finds no layer, the network has no more; {same}"
    return f"{path}: {alone[0]} does not fit {left[0]}; {same}"


def _require_activation(slot: Slot, stored: Stored, path: Path) -> None:
    found, wanted = slot.activation, stored.activation
    if found and wanted and found != wanted:
        raise ModelError(
            f"{path}: {slot} is followed by {found} and {stored} by {wanted}; set "
            f"model.activation: {wanted}"
        )


def _set(slot: Slot, stored: Stored, path: Path) -> None:
    """Give a layer its kernel, and the bias to it or to the batch norm behind it."""
    layer, norm = slot.layer, slot.norm
    layer.kernel.assign(stored.weights.reshape(slot.shape))
    outputs = int(np.prod(layer.output.shape[-1:]))
    bias = np.zeros(outputs, np.float32) if stored.bias is None else stored.bias
    if norm is not None:
        if layer.use_bias:
            layer.bias.assign(np.zeros_like(bias))
        _set_norm(norm, bias, np.zeros_like(bias), np.ones_like(bias))
    elif layer.use_bias:
        layer.bias.assign(bias)
    elif bias.any():
        raise ModelError(
            f"{path}: {stored} has a bias and {slot} has none, nor a batch norm; build "
            "the layer with a bias"
        )


def _set_norm(norm: Any, bias: Floats, mean: Floats, variance: Floats) -> None:
    """Have a batch norm with these statistics add the bias and nothing else."""
    if norm.gamma is None:  # nothing but the variance can undo the division
        variance = np.ones_like(variance) - np.float32(norm.epsilon)
    else:
        norm.gamma.assign(np.sqrt(variance + np.float32(norm.epsilon)))
    if norm.beta is None:
        mean = -bias
    else:
        norm.beta.assign(bias + mean)
    norm.moving_mean.assign(mean)
    norm.moving_variance.assign(variance)


def _settle(model: Any, pairs: list[Pair], images: Floats) -> None:
    """Give the batch norms the statistics of their inputs on real pictures."""
    normed = [(slot.norm, stored) for slot, stored in pairs if slot.norm is not None]
    if not normed:
        return
    moments = _moments(model, [norm.input for norm, _ in normed], images)
    for (norm, stored), (mean, variance) in zip(normed, moments, strict=True):
        bias = np.zeros_like(mean) if stored.bias is None else stored.bias
        _set_norm(norm, bias, mean, variance)


def _moments(
    model: Any, maps: list[Any], images: Floats
) -> list[tuple[Floats, Floats]]:
    """Mean and variance of each channel of each map over all pictures."""
    import keras

    inside = keras.Model(model.inputs[0], {str(i): x for i, x in enumerate(maps)})
    totals: list[Any] = [np.zeros((2, x.shape[-1])) for x in maps]
    counts = [0] * len(maps)
    for start in range(0, len(images), BATCH):
        found = inside(images[start : start + BATCH], training=False)
        for i, total in enumerate(totals):
            values = np.asarray(found[str(i)], np.float64).reshape(-1, total.shape[1])
            total += values.sum(axis=0), np.square(values).sum(axis=0)
            counts[i] += len(values)
    moments = []
    for total, count in zip(totals, counts, strict=True):
        mean, square = total / count
        variance = np.maximum(square - mean**2, 0)
        moments.append((mean.astype(np.float32), variance.astype(np.float32)))
    return moments


def _require_equal(model: Any, stored: Any, path: Path) -> str:
    """Compare network and file on noise; returns what was found."""
    graph = stored.subgraphs[0]
    theirs = tflite.static_shape(graph.tensors[graph.inputs[0]])
    ours = tuple(model.inputs[0].shape)[1:]
    if theirs[1:] != ours:
        return f"not compared: {path.name} takes {theirs[1:]}, the network {ours}"
    noise = np.random.default_rng(0).random((TRIALS, *ours), np.float32)
    interpreter = Interpreter(path, ours)
    found = np.asarray(model(noise, training=False))
    expected = np.concatenate([o[0] for o in interpreter.run_many(noise)])
    if found.shape != expected.shape:
        raise ModelError(
            f"{path}: gives {expected.shape[1:]} and the network {found.shape[1:]}; "
            "build the network that the file holds"
        )
    difference = float(np.abs(found - expected).max())
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:
        raise ModelError(
            f"{path}: its weights fit the network, which yet computes something else: "
            f"outputs differ by {difference:.1e}, more than {allowed:.1e}; padding, "
            "strides, activations or the last layer are others"
        )
    return f"network and {path.name} differ by {difference:.1e}"
