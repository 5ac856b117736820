"""How long a kmodel takes, modelled after timings that others measured on silicon.

KPU layers fit those of the vendor's face detector (kendryte/nncase issue 77, 400 MHz)
and the sizes of one layer (Sipeed forum topic 691, 300 MHz):

* KPU RAM is read in rows of 64 bytes. A map over 32 wide takes ⌈W / 64⌉ rows a line; in
  narrower maps two channels share a row, up to 16 wide four.
* A convolution takes one clock per row, input channel and output channel, **whatever
  the kernel**, at the size of its input, before pooling; then about 0.06 ms to start
  and 3.6 ns per byte of weights to load them.
* A depthwise one takes 2.3 clocks per row and channel, 0.0065 ms and the loading.

What the CPU does between them was measured for four kinds of work (kendryte/nncase
issues 95, 96 and 97); the rest is assumed from those, and `MEASURED` tells which. All
figures are modelled, for a CPU at 400 MHz.
"""

import math

from k210.kmodel import Kmodel, Op, TensorOp
from k210.kmodel.instructions import Conv2d

CLOCK_HZ = 400e6
"""The KPU's clock."""

ROW = 64
"""Bytes in a row of KPU RAM."""

LAYER_MS, DEPTHWISE_LAYER_MS = 0.06, 0.0065
"""What a layer takes before it computes anything."""

DEPTHWISE_CLOCKS = 2.3
"""Clocks per row and channel of a depthwise layer."""

WEIGHT_BYTE_MS = 3.6e-6
"""Of 8-bit weights, as the face detector's layers load them."""

MEASURED = {
    "kpu_upload": 1.4,  # by DMA
    "kpu_download": 21.5,
    "kpu_copy": 16.6,  # as the CPU copies into KPU RAM
    "dequantize": 7.6,
    "binary": 50.0,  # as a quantized addition
}
"""Nanoseconds per output value of what was timed, or is the same work."""

ASSUMED = {
    "quantize": 7.6,  # as dequantize
    "copy": 16.6,  # as kpu_copy, like all that moves values one by one
    "pad": 16.6,
    "slice": 16.6,
    "transpose": 16.6,
    "lut1d": 16.6,
    "resize_image": 66.4,  # four values become one
    "softmax": 300.0,
}
"""Nanoseconds per output value of what nobody has timed."""

TAP_NS = 7.6
"""Assumed per value that a reduction reads, and per multiply-accumulate."""


def rows(height: int, width: int) -> float:
    """Rows of KPU RAM that one channel of a map takes, in the mean."""
    if width <= ROW // 4:
        return height / 4
    if width <= ROW // 2:
        return height / 2
    return float(height * -(-width // ROW))


def conv_ms(
    height: int,
    width: int,
    inputs: int,
    outputs: int,
    weight_bytes: int,
    clock: float = CLOCK_HZ,
    weight_byte_ms: float = WEIGHT_BYTE_MS,
) -> float:
    """Modelled milliseconds of a convolution layer.

    Args:
        height: of the input map, before any pooling or striding.
        width: of the input map.
        inputs: channels in.
        outputs: channels out.
        weight_bytes: of all its weights.
        clock: of the KPU, in Hz.
        weight_byte_ms: what a byte of weights takes to load.
    """
    cycles = rows(height, width) * inputs * outputs
    return LAYER_MS + cycles / clock * 1e3 + weight_byte_ms * weight_bytes


def depthwise_ms(
    height: int,
    width: int,
    channels: int,
    weight_bytes: int,
    clock: float = CLOCK_HZ,
) -> float:
    """Modelled milliseconds of a depthwise layer; arguments as in ``conv_ms``."""
    clocks = DEPTHWISE_CLOCKS * rows(height, width) * channels
    return DEPTHWISE_LAYER_MS + clocks / clock * 1e3 + WEIGHT_BYTE_MS * weight_bytes


def layer_ms(layer: Conv2d) -> float:
    """Modelled milliseconds of one layer of a kmodel, for all its batches."""
    weights = layer.weights.size
    if layer.depthwise:
        once = depthwise_ms(*layer.in_size, layer.out_channels, weights)
    else:
        channels = layer.in_channels, layer.out_channels
        once = conv_ms(*layer.in_size, *channels, weights)
    return layer.batches * once


def kpu_ms(model: Kmodel) -> float:
    """Modelled milliseconds of all KPU layers of a kmodel, the CPU's part left out."""
    return sum(layer_ms(layer) for _, layer in model.convs())


def op_ms(op: Op) -> float:
    """Modelled milliseconds of any operation; a call takes what its function's do."""
    instruction = op.instruction
    if isinstance(instruction, Conv2d):
        return layer_ms(instruction)
    if op.kind in MEASURED:
        return MEASURED[op.kind] * math.prod(op.shape) / 1e6
    if op.kind in ASSUMED:
        return ASSUMED[op.kind] * math.prod(op.shape) / 1e6
    if isinstance(instruction, TensorOp):
        return TAP_NS * _taps(instruction) / 1e6
    return 0.0


def _taps(op: TensorOp) -> int:
    """Values that a convolution or a reduction reads."""
    if op.kind == "conv2d":
        return op.macs
    if op.kind == "reduce_window2d":
        side = int(op.scalars["filter_h"]), int(op.scalars["filter_w"])
        return math.prod(op.outputs[0].shape) * math.prod(side)
    return math.prod(op.inputs[0].shape) if op.kind == "reduce" else 0


def timings(model: Kmodel) -> dict[str, float]:
    """Modelled milliseconds of every operation, by its id, in execution order."""
    return {op.id: op_ms(op) for op in model.ops()}
