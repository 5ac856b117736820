"""Operations of the CPU on windows of a map: convolution, pooling, resizing."""

import numpy as np

from k210.kmodel import Padding, ReduceOp, ResizeMode, TensorOp
from k210.reference.arrays import Array, Step, clamped, require, require_type


class _Window:
    """Where each tap of a window looks, on one axis of its input."""

    def __init__(self, op: TensorOp, axis: str, taps: int, size: int, out: int) -> None:
        padding: Padding = op.paddings["hw".index(axis)]
        step, gap = (
            int(op.scalars[f"stride_{axis}"]),
            int(op.scalars[f"dilation_{axis}"]),
        )
        starts = np.arange(out) * step - padding.before
        # those that look at nothing are left out
        seen = [tap for tap in range(taps) if _inside(starts + tap * gap, size).any()]
        self.taps = seen
        self.index = {tap: (starts + tap * gap).clip(0, size - 1) for tap in seen}
        self.inside = {tap: _inside(starts + tap * gap, size) for tap in seen}


def _inside(index: Array, size: int) -> Array:
    return (index >= 0) & (index < size)


class _Windows:
    """The windows of a map: for each tap, what all of them see there."""

    def __init__(
        self, op: TensorOp, source: Array, out: Array, height: int, width: int
    ) -> None:
        self.source = source
        self.rows = _Window(op, "h", height, source.shape[2], out.shape[2])
        self.columns = _Window(op, "w", width, source.shape[3], out.shape[3])
        self.taps = [(y, x) for y in self.rows.taps for x in self.columns.taps]

    def seen(self, y: int, x: int) -> Array:
        """The pixel of each window at a tap, N×C×H×W; any one outside the map."""
        lines = self.source[:, :, self.rows.index[y]]
        return lines[..., self.columns.index[x]]

    def inside(self, y: int, x: int) -> Array:
        """Which windows have a pixel there, H×W."""
        return np.logical_and.outer(self.rows.inside[y], self.columns.inside[x])


def conv2d(op: TensorOp, inputs: list[Array], out: Array) -> Step:
    """A float convolution, N C H W by O I H W, then clamped.

    Products are added to the bias one by one, input channel by input channel, in
    float32; so the result is nncase's to the last bit.
    """
    source, weights, bias = inputs
    require_type(np.float32, source, weights, bias, out)
    outputs, seen, height, width = weights.shape
    groups = source.shape[1] // seen
    windows = _Windows(op, source, out, height, width)
    low, high = np.float32(op.scalars["low"]), np.float32(op.scalars["high"])
    batch, _, tall, wide = out.shape

    def run() -> None:
        sums = np.empty((batch, groups, outputs // groups, tall, wide), np.float32)
        sums[...] = bias.reshape(groups, -1, 1, 1)
        pixels = [
            (windows.seen(y, x) * windows.inside(y, x)).reshape(
                batch, groups, seen, 1, tall, wide
            )
            for y, x in windows.taps
        ]
        for channel in range(seen):
            for (y, x), plane in zip(windows.taps, pixels, strict=True):
                kernel = weights[:, channel, y, x].reshape(groups, -1, 1, 1)
                sums += kernel * plane[:, :, channel]
        np.copyto(out, clamped(sums.reshape(out.shape), low, high))

    return run


def reduce_window2d(op: TensorOp, inputs: list[Array], out: Array) -> Step:
    """A pooling: mean, sum, minimum or maximum of what of a window is in the map."""
    (source,) = inputs
    require_type(np.float32, source, out)
    kind = ReduceOp(int(op.scalars["op"]))
    sides = int(op.scalars["filter_h"]), int(op.scalars["filter_w"])
    windows = _Windows(op, source, out, *sides)
    init = np.float32(op.scalars["init"])
    low, high = np.float32(op.scalars["low"]), np.float32(op.scalars["high"])
    count = np.zeros(out.shape[2:], np.float32)
    for tap in windows.taps:
        count += windows.inside(*tap)

    def run() -> None:
        found = np.full(out.shape, init)
        for tap in windows.taps:
            seen, inside = windows.seen(*tap), windows.inside(*tap)
            if kind == ReduceOp.MIN:  # like std::min, which keeps a zero's sign
                np.copyto(found, seen, where=inside & (seen < found))
            elif kind == ReduceOp.MAX:
                np.copyto(found, seen, where=inside & (found < seen))
            else:
                np.add(found, seen, out=found, where=inside)
        if kind == ReduceOp.MEAN:
            found /= count
        np.copyto(out, clamped(found, low, high))

    return run


def resize_image(op: TensorOp, inputs: list[Array], out: Array) -> Step:
    """A map N C H W in another size, in float32 like nncase, whatever its elements."""
    (source,) = inputs
    require(source.dtype in (np.float32, np.uint8), f"it works on {source.dtype}")
    sizes = zip(source.shape[2:], out.shape[2:], strict=True)
    if op.scalars["mode"] == ResizeMode.NEAREST:
        rows, columns = (_nearest(op, *each) for each in sizes)
        return lambda: np.copyto(out, source[:, :, rows][..., columns])
    (top, bottom, y), (left, right, x) = (_between(op, *each) for each in sizes)
    one = np.float32(1)
    y = y.reshape(-1, 1)
    offset = np.float32(0.5 if source.dtype == np.uint8 else 0)
    shares = (one - y) * (one - x), y * (one - x), (one - y) * x, y * x
    corners = (top, left), (bottom, left), (top, right), (bottom, right)

    def run() -> None:
        found: Array = np.zeros(out.shape, np.float32)
        for (rows, columns), share in zip(corners, shares, strict=True):
            found = found + source[:, :, rows][..., columns] * share
        np.copyto(out, found + offset, casting="unsafe")

    return run


def _scale(op: TensorOp, size: int, out: int) -> np.float32:
    if op.scalars["align_corners"] and out > 1:
        return np.float32(size - 1) / np.float32(out - 1)
    return np.float32(size) / np.float32(out)


def _nearest(op: TensorOp, size: int, out: int) -> Array:
    """The input row (or column) that each output row shows."""
    middle = np.float32(0.5 if op.scalars["half_pixel"] else 0)
    places = (np.arange(out).astype(np.float32) + middle) * _scale(op, size, out)
    if op.scalars["align_corners"]:
        places += np.float32(0.5)  # half away from zero, and they are not negative
    shown: Array = np.floor(places).astype(np.intp).clip(0, size - 1)
    return shown


def _between(op: TensorOp, size: int, out: int) -> tuple[Array, Array, Array]:
    """The two input rows each output row lies between, and how far from the first."""
    scale, half = _scale(op, size, out), np.float32(0.5)
    numbers = np.arange(out).astype(np.float32)
    middles = (numbers + half) * scale - half
    places: Array = middles if op.scalars["half_pixel"] else numbers * scale
    first: Array = np.floor(places).astype(np.intp).clip(0, size - 1)
    last: Array = np.ceil(places).astype(np.intp).clip(None, size - 1)
    return first, last, places - first.astype(np.float32)
