"""Fold a mean and std for each channel into the first convolution of a TFLite model.

    conv((x - mean) / std) = conv'(x),  w'[…, c] = w[…, c] / std_c,
                                        b' = b - Σ w[…, c] · mean_c / std_c

The model trained on normalized floats then takes plain ones, which cost the chip
nothing. It is exact but where the convolution pads: zero was each channel's mean before
and is the same number for all of them afterwards. Where the means differ, so do the
outputs at the border, and what follows from them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210.errors import ModelError
from stages import tflite

Floats = NDArray[np.float32]

LIMIT = 1e-3
"""The largest difference that is let pass, as a part of the outputs' scale."""

_WEIGHTS, _BIAS = 1, 2
"""Which of a convolution's inputs they are; 0 is the feature map."""


def fold(model: Any, mean: Sequence[float], std: Sequence[float]) -> None:
    """Change a ``ModelT`` so that it takes x where it took (x - mean) / std.

    Args:
        model: a float model with one input, N×H×W×C.
        mean, std: C numbers each; every std above zero.

    Raises:
        ModelError: something else than one convolution consumes the input.
    """
    operator, depthwise = _first_convolution(model)
    graph = model.subgraphs[0]
    weights = tflite.constant(model, graph.tensors[operator.inputs[_WEIGHTS]])
    if weights is None:
        raise ModelError(_advice("computes the weights of its first convolution"))
    shape = weights.shape
    scale, offset = 1 / np.asarray(std, np.float64), np.asarray(mean, np.float64)
    # OHWI, or 1HWC·M with the multiplier M varying fastest
    by_channel = weights.astype(np.float64)
    by_channel = by_channel.reshape((*shape[:3], len(scale), -1))
    scaled = by_channel * scale[:, np.newaxis]
    lost = scaled * offset[:, np.newaxis]
    change = lost.sum((0, 1, 2)).ravel() if depthwise else lost.sum((1, 2, 3, 4))
    bias = _bias(model, operator, len(change))
    tflite.set_constant(model, operator, _WEIGHTS, scaled.reshape(shape))
    tflite.set_constant(model, operator, _BIAS, bias - change)


def border_difference(
    folded: Sequence[Sequence[Floats]], unfolded: Sequence[Sequence[Floats]]
) -> float:
    """The largest difference of two models' outputs, as a part of their scale.

    Each argument holds the outputs, one after another, of each of the same samples.

    Raises:
        ModelError: it is above LIMIT.
    """
    share = max(
        _share(np.stack(after), np.stack(before))
        for after, before in zip(
            zip(*folded, strict=True), zip(*unfolded, strict=True), strict=True
        )
    )
    if not share <= LIMIT:
        raise ModelError(
            f"data.mean and data.std by channel change the outputs by {share:.2g} of "
            f"their scale, more than {LIMIT:g}: the first convolution pads with zeros, "
            "which were each channel's own mean while training and are the same for "
            "all on the chip; use one mean for all channels (std may differ), or a "
            "first convolution without padding"
        )
    return share


def _share(found: Floats, expected: Floats) -> float:
    difference, scale = np.abs(found - expected).max(), np.abs(expected).max()
    return float(difference / scale if scale else difference)


def _first_convolution(model: Any) -> tuple[Any, bool]:
    """The operator that alone consumes the input, and whether it is depthwise."""
    graph = model.subgraphs[0]
    source = int(graph.inputs[0])
    users = [op for op in graph.operators if source in tflite.indices(op.inputs)]
    kinds = [tflite.operator_name(model, op) for op in users]
    if kinds == ["PAD"]:  # as explicit as the convolution's own
        source = int(users[0].outputs[0])
        users = [op for op in graph.operators if source in tflite.indices(op.inputs)]
        kinds = [tflite.operator_name(model, op) for op in users]
    if kinds not in (["CONV_2D"], ["DEPTHWISE_CONV_2D"]):
        names = (tflite.name(graph.tensors[op.outputs[0]]) for op in users)
        found = [f"{kind} {name!r}" for kind, name in zip(kinds, names, strict=True)]
        raise ModelError(_advice(f"gives its input to {' and '.join(found) or 'none'}"))
    return users[0], kinds == ["DEPTHWISE_CONV_2D"]


def _advice(why: str) -> str:
    return (
        f"data.mean and data.std by channel go into the model's first convolution, but "
        f"the model {why}; use one number for all channels"
    )


def _bias(model: Any, operator: Any, count: int) -> NDArray[np.float64]:
    if len(operator.inputs) > _BIAS and operator.inputs[_BIAS] >= 0:
        tensor = model.subgraphs[0].tensors[operator.inputs[_BIAS]]
        values = tflite.constant(model, tensor)
        if values is None:
            raise ModelError(_advice("computes the bias of its first convolution"))
        return values.astype(np.float64)
    return np.zeros(count)
