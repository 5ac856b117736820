"""The arithmetic of a KPU layer, written to be read; the oracle of the fast kernel.

Facts: nncase 1.9's simulator, whose results this equals. Whether silicon rounds
negative products and edges the same way is not known.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210.kmodel import ActivationTable, BatchNorm, Pool
from k210.kmodel.layer import BATCH_NORM_BYTES
from k210.kpu.layer import Bytes, Layer

Integers = NDArray[np.int64]


def run(layer: Layer, image: Bytes) -> Bytes:
    """The output map, uint8 C×H×W, of an input map, uint8 C×H×W.

    Raises:
        ValueError: the layer does not take a map of this shape.
    """
    layer.out_shape(image.shape)
    sums = batch_normed(layer, accumulated(layer, image))
    return pooled(Pool(layer.pool), activated(layer, sums))


def accumulated(layer: Layer, image: Bytes) -> Integers:
    """Σ x·w and what the zero points of x and w add to it, before batch norm."""
    x = taps(layer, image)
    shape = (layer.outputs, layer.inputs, layer.kernel**2)
    w = layer.weights.reshape(shape).astype(np.int64)
    if layer.depthwise:
        products = np.einsum("ctyx,ct->cyx", x, w[:, 0])
        sum_x = x.sum(axis=1)
    else:
        products = np.einsum("ityx,oit->oyx", x, w)
        sum_x = x.sum(axis=(0, 1))
    sum_w = w.sum(axis=(1, 2))[:, np.newaxis, np.newaxis]
    from_x = layer.arg_x * sum_x >> layer.shr_x
    from_w = layer.arg_w * sum_w >> layer.shr_w
    sums: Integers = products + from_x + from_w + layer.arg_add * layer.inputs
    return sums


def taps(layer: Layer, image: Bytes) -> Integers:
    """What each tap of the kernel sees at each pixel: int64 C×taps×H×W."""
    _, height, width = image.shape
    pad = layer.kernel // 2
    padding = ((0, 0), (pad, pad), (pad, pad))
    padded = np.pad(image, padding, constant_values=layer.pad_value)
    seen = [
        padded[:, dy : dy + height, dx : dx + width]
        for dy in range(layer.kernel)
        for dx in range(layer.kernel)
    ]
    return np.stack(seen, axis=1).astype(np.int64)


def batch_normed(layer: Layer, sums: Integers) -> Integers:
    """Each channel scaled, shifted and offset: (sum · mul >> shift) + add."""
    entries = layer.batch_norm.reshape(-1, BATCH_NORM_BYTES)
    norms = [BatchNorm.unpack(entry.tobytes()) for entry in entries]
    mul, shift, add = (
        np.array([getattr(norm, name) for norm in norms])[:, np.newaxis, np.newaxis]
        for name in ("mul", "shift", "add")
    )
    normed: Integers = (sums * mul >> shift) + add
    return normed


Rounding = Callable[[Integers, int], Integers]
"""Divides a product by 2 to the power of a shift."""


def activated(
    layer: Layer, y: Integers, rounding: Rounding | None = None, strict: bool = True
) -> Bytes:
    """The last segment that starts below y applies; the first, if none does.

    Args:
        layer: whose table it is.
        y: after batch norm.
        rounding: another one than the simulator's.
        strict: whether a y at the start of a segment is not yet in it.
    """
    rounding = rounding or rounded
    table = ActivationTable.unpack(layer.activation.tobytes())
    out = np.zeros(y.shape, np.int64)
    for number, segment in enumerate(table.segments):
        line = rounding((y - segment.x_start) * segment.mul, segment.shift)
        starts = segment.x_start + (0 if strict else -1)
        applies = y > starts if number else True
        out = np.where(applies, line + segment.bias, out)
    return out.clip(0, 255).astype(np.uint8)


def rounded(product: Integers, shift: int) -> Integers:
    """product / 2^shift to the nearest, ties to even.

    A negative one that should be rounded up is rounded down by one, like nncase does.
    """
    if not shift:
        return product
    whole = product >> shift
    rest = product - (whole << shift)
    half = 1 << (shift - 1)
    up = (rest > half) | ((rest == half) & (whole % 2 == 1))
    nearest: Integers = whole + np.where(product < 0, -1, 1) * up
    return nearest


def pooled(pool: Pool, full: Bytes) -> Bytes:
    """A pooling of a map, its size divided by the stride and rounded down."""
    channels, height, width = full.shape
    stride = pool.stride
    tall, wide = height // stride, width // stride
    if pool in (Pool.MEAN_2_S1, Pool.MAX_2_S1):
        # beyond the edge a mean repeats it, and a maximum does not mind if it does
        edged = np.pad(full, ((0, 0), (0, 1), (0, 1)), mode="edge")
        corners = edged[:, :-1, :-1], edged[:, :-1, 1:], edged[:, 1:, :-1]
        windows = np.stack([*corners, edged[:, 1:, 1:]], axis=-1)
    else:
        cut = full[:, : tall * stride, : wide * stride]
        blocks = cut.reshape(channels, tall, stride, wide, stride)
        windows = blocks.swapaxes(2, 3).reshape(channels, tall, wide, stride**2)
    taken: NDArray[np.integer[Any]]
    if pool in (Pool.MAX_2_S2, Pool.MAX_4_S4, Pool.MAX_2_S1):
        taken = windows.max(axis=-1)
    elif pool in (Pool.MEAN_2_S2, Pool.MEAN_4_S4, Pool.MEAN_2_S1):
        taken = windows.sum(axis=-1, dtype=np.int64) // windows.shape[-1]
    else:
        taken = windows[..., 1 if pool == Pool.RIGHT_TOP_2_S2 else 0]
    return taken.astype(np.uint8)
