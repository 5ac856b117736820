"""How the tensor operations of the stackvm module are written.

Facts: nncase 1.9's `op_reader.h` and `runtime/stackvm/ops/tensor.*.cpp`. Only what
nncase emits for target k210 is listed; `UNSUPPORTED` names the rest.

An encoding is two lists of `name:type`. Immediates follow the opcode: u16 i32 f32
flag, dtype, an enumeration, or the number of a register that holds a shape
(`shape`), other integers (`ints`) or paddings (`pads`). Operands were pushed on the
stack: addr, int, f32, scalar (an element of `dtype`), window (a padding).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from k210.kmodel.tensor_ops import BinaryOp, PadMode, ReduceOp, ResizeMode

ENUMS: Mapping[str, type[IntEnum]] = {
    "binary_op": BinaryOp,
    "reduce_op": ReduceOp,
    "pad_mode": PadMode,
    "resize_mode": ResizeMode,
}


@dataclass(frozen=True, slots=True)
class Encoding:
    """The immediates of an operation, and its operands in the order pushed."""

    kind: str
    immediates: tuple[tuple[str, str], ...]
    pushed: tuple[tuple[str, str], ...]


def _encoding(kind: str, immediates: str, pushed: str) -> Encoding:
    return Encoding(kind, _fields(immediates), _fields(pushed))


def _fields(text: str) -> tuple[tuple[str, str], ...]:
    pairs = (field.partition(":") for field in text.split())
    return tuple((name, kind) for name, _, kind in pairs)


_ONE = "dtype:dtype shape:shape in_strides:ints out_strides:ints "
_CAST = "in_dtype:dtype out_dtype:dtype shape:shape in_strides:ints out_strides:ints"
_CLAMP = "low:f32 high:f32"
_IN_OUT = "in:addr out:addr "
_WINDOWS = " pad_h:window pad_w:window"

CALL = 0x03
ENCODINGS: Mapping[int, Encoding] = {
    0x01: _encoding(
        "binary",
        "dtype:dtype a_shape:shape a_strides:ints b_shape:shape b_strides:ints "
        "out_shape:shape out_strides:ints op:binary_op " + _CLAMP,
        "a:addr b:addr out:addr",
    ),
    0x06: _encoding(
        "conv2d",
        "dtype:dtype shape:shape in_strides:ints kernel:shape kernel_strides:ints "
        "bias_strides:ints out_strides:ints groups:u16 stride_h:u16 stride_w:u16 "
        "dilation_h:u16 dilation_w:u16 " + _CLAMP,
        "in:addr weights:addr bias:addr out:addr" + _WINDOWS,
    ),
    0x09: _encoding("copy", _ONE, _IN_OUT),
    0x0B: _encoding("dequantize", _CAST, _IN_OUT + "scale:f32 bias:f32"),
    0x10: _encoding(
        "lut1d",
        _ONE + "table_len:u16",
        "in:addr table:addr out:addr min:scalar max:scalar",
    ),
    0x13: _encoding("pad", _ONE + "pads:pads mode:pad_mode", _IN_OUT + "value:scalar"),
    0x14: _encoding("quantize", _CAST, _IN_OUT + "scale:f32 bias:f32"),
    0x17: _encoding(
        "reduce",
        _ONE + "op:reduce_op axis:ints keep_dims:flag",
        _IN_OUT + "init:scalar",
    ),
    0x1A: _encoding(
        "reduce_window2d",
        "dtype:dtype op:reduce_op shape:shape in_strides:ints out_strides:ints "
        "filter_h:u16 filter_w:u16 stride_h:u16 stride_w:u16 "
        "dilation_h:u16 dilation_w:u16 " + _CLAMP,
        "in:addr init:f32 out:addr" + _WINDOWS,
    ),
    0x1B: _encoding(
        "resize_image",
        _ONE + "align_corners:flag half_pixel:flag mode:resize_mode",
        "out_h:int out_w:int in:addr out:addr",
    ),
    0x1E: _encoding("slice", _ONE + "begins:ints ends:ints steps:ints", _IN_OUT),
    0x1F: _encoding("softmax", _ONE + "axis:i32 beta:f32", _IN_OUT),
    0x24: _encoding("transpose", _ONE + "perm:ints", _IN_OUT),
}

UNSUPPORTED: Mapping[int, str] = {
    0x00: "batch_to_space",
    0x02: "broadcast",
    0x04: "compare",
    0x05: "clamp",
    0x07: "conv2d_transpose",
    0x08: "convert",
    0x0A: "cumsum",
    0x0C: "gather",
    0x0D: "gather_nd",
    0x0E: "hardmax",
    0x0F: "logistic",
    0x11: "matmul",
    0x12: "onehot",
    0x15: "random_normal",
    0x16: "random_uniform",
    0x18: "reduce_arg",
    0x19: "reduce_prod",
    0x1C: "roi_align",
    0x1D: "sigmoid",
    0x20: "space_to_batch",
    0x21: "take",
    0x22: "ternary",
    0x23: "topk",
    0x25: "trilu",
    0x26: "unary",
    0x27: "gru",
    0x28: "tflite_detection_postprocess",
    0x29: "layer_normalization",
    0x2A: "compress",
    0x2B: "gather_elements",
}
