"""How long a kmodel takes, modelled after timings that others measured on silicon.

The model fits the layers of the vendor's face detector (kendryte/nncase issue 77,
400 MHz) and the sizes of one layer (Sipeed forum topic 691, 300 MHz):

* KPU RAM is read in rows of 64 bytes. A map over 32 wide takes ⌈W / 64⌉ rows a line; in
  narrower maps two channels share a row, up to 16 wide four.
* A convolution takes one clock per row, input channel and output channel, **whatever
  the kernel**, at the size of its input, before pooling; then about 0.06 ms to start
  and 3.6 ns per byte of weights to load them.
* A depthwise one takes 2.2 clocks per row and channel, 0.010 ms and the loading.

Between the layers the CPU works value by value, at 400 MHz (kendryte/nncase issues 95
to 97): 1.4 ns a byte into KPU RAM by DMA, 21.5 ns a byte out of it by the CPU, 7.6 ns a
value to dequantize, 50 ns for arithmetic between two maps. What nobody timed is taken
to cost what dequantizing does, and a float multiply-accumulate four clocks. That is
enough to tell plans for a model apart. All figures are modelled.
"""

from math import prod

from k210.kmodel import Kmodel, Op
from k210.kmodel.instructions import Conv2d

CLOCK_HZ = 400e6
"""The KPU's clock."""

ROW = 64
"""Bytes in a row of KPU RAM."""

LAYER_MS, DEPTHWISE_LAYER_MS = 0.06, 0.010
"""What a layer takes before it computes anything."""

DEPTHWISE_CLOCKS = 2.2
"""Clocks per row and channel of a depthwise layer."""

WEIGHT_BYTE_MS = 3.6e-6

VALUE_MS = 7.6e-6
"""What the CPU takes for one value in most operations."""

KIND_MS = {"kpu_upload": 1.4e-6, "kpu_download": 21.5e-6, "binary": 50e-6, "call": 0.0}
"""What it takes for a value where that is known to differ."""

MAC_MS = 10e-6
"""What it takes for a multiply-accumulate in float."""


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
) -> float:
    """Modelled milliseconds of a convolution layer.

    Args:
        height: of the input map, before any pooling or striding.
        width: of the input map.
        inputs: channels in.
        outputs: channels out.
        weight_bytes: of all its weights.
        clock: of the KPU, in Hz.
    """
    cycles = rows(height, width) * inputs * outputs
    return LAYER_MS + cycles / clock * 1e3 + WEIGHT_BYTE_MS * weight_bytes


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


def other_ms(op: Op) -> float:
    """Modelled milliseconds of an operation that is no KPU layer."""
    value = KIND_MS.get(op.kind, VALUE_MS)
    values = max((prod(each.shape) for each in (*op.inputs, *op.outputs)), default=0)
    return value * values + MAC_MS * op.macs


def model_ms(model: Kmodel) -> float:
    """Modelled milliseconds of a whole kmodel, the CPU's part included."""
    others = (op for op in model.ops() if op.kind != "kpu_conv2d")
    return kpu_ms(model) + sum(map(other_ms, others))
