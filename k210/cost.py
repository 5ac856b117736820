"""How long a kmodel takes, modelled after timings that others measured on silicon.

KPU layers fit those of the vendor's face detector (kendryte/nncase issue 77, 400 MHz)
and the sizes of one layer (Sipeed forum topic 691, 300 MHz):

* KPU RAM is read in rows of 64 bytes. A map over 32 wide takes ⌈W / 64⌉ rows a line; in
  narrower maps two channels share a row, up to 16 wide four.
* A convolution takes one clock per row, input channel and output channel, **whatever
  the kernel**, at the size of its input, before pooling; then about 0.06 ms to start
  and 3.6 ns per byte of weights to load them.
* A depthwise one takes 2.3 clocks per row and channel, 0.0065 ms and the loading.

What the CPU does between them takes as long as the program on it needs. Others measured
7.6 ns a value for dequantizing, 21.5 for copying a map out of KPU RAM and 16.6 into it,
50 for adding, in nncase's runtimes (kendryte/nncase issues 95, 96 and 97), 45 for
dequantizing in the vendor's SDK. `CPU` is fitted to our own firmware's instructions on
the virtual chip, which are what a plan will cost; `bench/device.py` prints both. All
figures are modelled, for a CPU at 400 MHz.
"""

import math
from dataclasses import dataclass

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

DMA_BYTE_NS = 1.4
"""A byte that DMA brings into KPU RAM (kendryte/nncase issue 95)."""


@dataclass(frozen=True)
class Work:
    """What an operation of the CPU takes, in nanoseconds.

    ``once``, for each ``line`` of the output along its last axis, for each ``value`` of
    it, and for each ``tap``, a value that a window or a reduction reads.
    """

    once: float
    line: float = 0.0
    value: float = 0.0
    tap: float = 0.0


CPU = {
    "binary": Work(800, line=90, value=84),
    "call": Work(23_000),
    "conv2d": Work(2400, value=374, tap=18.4),
    "copy": Work(2000, value=29),
    "dequantize": Work(10_200, value=18.8),
    "kpu_copy": Work(0, line=30, value=3),
    "kpu_download": Work(1400, line=137),
    "kpu_upload": Work(500, line=138),
    "lut1d": Work(1700, value=47),
    "pad": Work(4800, value=12),
    "quantize": Work(10_200, value=55),
    "reduce": Work(1000, value=340, tap=24),
    "reduce_window2d": Work(2400, value=374, tap=24),  # not fitted: as its likes
    "resize_image": Work(2400, value=374),  # not fitted: four values become one
    "slice": Work(2000, value=37),
    "softmax": Work(100, value=765),
    "transpose": Work(2000, value=29),  # not fitted: as copy
}
"""Fitted to MobileNets of all three versions, ResNet-8 and what stands between them."""


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
    """Modelled milliseconds of any operation; of a call, without its function's."""
    instruction = op.instruction
    if isinstance(instruction, Conv2d):
        return layer_ms(instruction)
    work = CPU[op.kind]
    values, lines = math.prod(op.shape), math.prod(op.shape[:-1])
    taps = _taps(instruction) if isinstance(instruction, TensorOp) else 0
    spent = (work.once, work.line * lines, work.value * values, work.tap * taps)
    return sum(spent) / 1e6


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


def model_ms(model: Kmodel) -> float:
    """Modelled milliseconds of a whole kmodel, the CPU's part included."""
    return sum(timings(model).values())
