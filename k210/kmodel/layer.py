"""The twelve layer registers of the KPU and the tables a layer refers to.

Facts: the K210 SDK's `kpu_layer_argument_t` and nncase 1.9's `kpu_conv2d` emitter.
What one register says twice (row switches, weight loads, DMA counts) is recomputed
and compared, because nncase's simulator ignores those fields and the chip does not.
"""

import struct
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields, replace
from enum import IntEnum
from functools import cache

from k210.kmodel.buffers import kpu_row_layout

LAYER_BYTES = 96
ACTIVATION_BYTES = 144
BATCH_NORM_BYTES = 8
WEIGHT_BUFFER_BYTES = 30 * 1024  # what the KPU holds of a layer's weights at a time
MAX_ACTIVATION_SHIFT = 43

_LAYER = struct.Struct("<12Q")
_BATCH_NORM = struct.Struct("<Q")
_ACTIVATION = struct.Struct("<16Q16B")


class Pool(IntEnum):
    """What the KPU does with a layer's output map before writing it."""

    BYPASS = 0
    MAX_2_S2 = 1
    MEAN_2_S2 = 2
    MAX_4_S4 = 3
    MEAN_4_S4 = 4
    LEFT_TOP_2_S2 = 5
    RIGHT_TOP_2_S2 = 6
    LEFT_TOP_4_S4 = 7
    MEAN_2_S1 = 8
    MAX_2_S1 = 9

    @property
    def stride(self) -> int:
        """By how much it divides height and width, rounding down."""
        return (1, 2, 2, 4, 4, 2, 2, 4, 1, 1)[self]


def _bits(register: int, low: int, width: int, signed: bool = False) -> int:
    """Declare a register field by its register, lowest bit and width."""
    declared: int = field(metadata={"bits": (register, low, width, signed)})
    return declared


@dataclass(frozen=True, slots=True)
class LayerRegisters:
    """The layer argument, field by field, as the file has it.

    Counts and sizes are stored minus one; addresses in KPU RAM are in 64-byte rows;
    `*_base_addr`, `*_start_addr` and `active_addr` are filled in by the firmware.
    """

    int_en: int = _bits(0, 0, 1)
    ram_flag: int = _bits(0, 1, 1)
    full_add: int = _bits(0, 2, 1)
    depth_wise_layer: int = _bits(0, 3, 1)
    image_src_addr: int = _bits(1, 0, 15)
    image_dst_addr: int = _bits(1, 32, 15)
    i_ch_num: int = _bits(2, 0, 10)
    o_ch_num: int = _bits(2, 32, 10)
    o_ch_num_coef: int = _bits(2, 48, 10)
    i_row_wid: int = _bits(3, 0, 10)
    i_col_high: int = _bits(3, 10, 9)
    o_row_wid: int = _bits(3, 32, 10)
    o_col_high: int = _bits(3, 42, 9)
    kernel_type: int = _bits(4, 0, 3)
    pad_type: int = _bits(4, 3, 1)
    pool_type: int = _bits(4, 4, 4)
    first_stride: int = _bits(4, 8, 1)
    bypass_conv: int = _bits(4, 9, 1)
    load_para: int = _bits(4, 10, 1)
    dma_burst_size: int = _bits(4, 16, 8)
    pad_value: int = _bits(4, 24, 8)
    bwsx_base_addr: int = _bits(4, 32, 32)
    load_coor: int = _bits(5, 0, 1)
    load_time: int = _bits(5, 1, 6)
    para_size: int = _bits(5, 15, 17)
    para_start_addr: int = _bits(5, 32, 32)
    coef_column_offset: int = _bits(6, 0, 4)
    coef_row_offset: int = _bits(6, 4, 12)
    channel_switch_addr: int = _bits(7, 0, 15)
    row_switch_addr: int = _bits(7, 16, 4)
    coef_size: int = _bits(7, 20, 8)
    coef_group: int = _bits(7, 28, 3)
    load_act: int = _bits(7, 31, 1)
    active_addr: int = _bits(7, 32, 32)
    wb_channel_switch_addr: int = _bits(8, 0, 15)
    wb_row_switch_addr: int = _bits(8, 16, 4)
    wb_group: int = _bits(8, 20, 3)
    shr_w: int = _bits(9, 0, 4)
    shr_x: int = _bits(9, 4, 4)
    arg_w: int = _bits(9, 8, 24, signed=True)
    arg_x: int = _bits(9, 32, 24, signed=True)
    arg_add: int = _bits(10, 0, 40, signed=True)
    send_data_out: int = _bits(11, 0, 1)
    channel_byte_num: int = _bits(11, 16, 16)
    dma_total_byte: int = _bits(11, 32, 32)

    @classmethod
    def unpack(cls, raw: bytes) -> "LayerRegisters":
        """Decode the 96 bytes of a layer argument."""
        words = _LAYER.unpack(raw)
        return cls(
            **{
                each.name: _extract(words[register], low, width, signed)
                for each, (register, low, width, signed) in _layout()
            }
        )

    def words(self) -> tuple[int, ...]:
        """The twelve 64-bit words, reserved bits zero."""
        words = [0] * 12
        for each, (register, low, width, _) in _layout():
            words[register] |= (getattr(self, each.name) & (1 << width) - 1) << low
        return tuple(words)

    def pack(self) -> bytes:
        """Encode as the 96 bytes of a layer argument, reserved bits zero."""
        return _LAYER.pack(*self.words())

    def problem(self) -> str | None:
        """Say which field contradicts the layer it belongs to, if one does."""
        if self.kernel_type > 1:
            return f"kernel_type is {self.kernel_type}, neither 0 (1x1) nor 1 (3x3)"
        if self.pool_type > max(Pool):
            return f"pool_type is {self.pool_type}, unknown"
        for name, expected in self._expected().items():
            actual = getattr(self, name)
            if actual != expected:
                return f"{name} is {actual}, where the layer's shape gives {expected}"
        return None

    def completed(self) -> "LayerRegisters":
        """The same with every field that follows from the others as it must be."""
        return replace(self, **self._expected())

    @property
    def kernel(self) -> int:
        """Side of the kernel, 1 or 3."""
        return 3 if self.kernel_type else 1

    @property
    def channels_per_load(self) -> int:
        """Output channels whose weights fit into the KPU's weight buffer."""
        if self.depth_wise_layer:
            return self.o_ch_num + 1
        each = self.kernel**2 * (self.i_ch_num + 1)
        return min(self.o_ch_num + 1, WEIGHT_BUFFER_BYTES // each)

    @property
    def weight_loads(self) -> int:
        """How often the KPU loads weights, uncut by the 6 bits of load_time."""
        return -(-(self.o_ch_num + 1) // self.channels_per_load)

    @property
    def load_bytes(self) -> int:
        """Bytes of one weight load."""
        inputs = 1 if self.depth_wise_layer else self.i_ch_num + 1
        return self.channels_per_load * self.kernel**2 * inputs

    def _expected(self) -> dict[str, int]:
        """Every field that follows from the others, or that nncase never sets."""
        stride = Pool(self.pool_type).stride
        channels = self.o_ch_num + 1
        height, width = self.o_col_high + 1, self.o_row_wid + 1
        group, rows = kpu_row_layout(self.i_row_wid + 1)
        out_group, out_rows = kpu_row_layout(width)
        return dict.fromkeys(_NEVER_SET, 0) | {
            "i_ch_num": self.o_ch_num if self.depth_wise_layer else self.i_ch_num,
            "o_ch_num_coef": self.channels_per_load - 1,
            "o_row_wid": (self.i_row_wid + 1) // stride - 1,
            "o_col_high": (self.i_col_high + 1) // stride - 1,
            "load_para": 1,
            "load_coor": 1,
            "load_time": (self.weight_loads - 1) % 64,
            "para_size": self.load_bytes,
            "channel_switch_addr": rows * (self.i_col_high + 1),
            "row_switch_addr": rows,
            "coef_group": group,
            "load_act": 1,
            "wb_channel_switch_addr": out_rows * height,
            "wb_row_switch_addr": out_rows,
            "wb_group": out_group,
            "dma_burst_size": 15,
            "channel_byte_num": (width * height - 1) % 2**16,
            "dma_total_byte": width * height * channels - 1,
        }


_NEVER_SET = (
    "int_en",
    "ram_flag",
    "full_add",
    "pad_type",
    "first_stride",
    "bypass_conv",
    "bwsx_base_addr",
    "para_start_addr",
    "coef_column_offset",
    "coef_row_offset",
    "coef_size",
    "active_addr",
    "send_data_out",
)


@cache
def _layout() -> tuple[tuple["Field[int]", tuple[int, int, int, bool]], ...]:
    return tuple((each, each.metadata["bits"]) for each in fields(LayerRegisters))


def _extract(word: int, low: int, width: int, signed: bool) -> int:
    value = word >> low & (1 << width) - 1
    return value - (1 << width) if signed and value >> width - 1 else value


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """One output channel's affine step: y = (acc * mul >> shift) + add."""

    mul: int
    add: int
    shift: int

    @classmethod
    def unpack(cls, raw: bytes) -> "BatchNorm":
        """Decode 8 bytes, ignoring the four uninitialised top bits."""
        (word,) = _BATCH_NORM.unpack(raw)
        return cls(
            _extract(word, 0, 24, True),
            _extract(word, 24, 32, True),
            _extract(word, 56, 4, False),
        )

    def pack(self) -> bytes:
        """Encode as 8 bytes, top bits zero."""
        return _BATCH_NORM.pack(
            self.mul & 2**24 - 1 | (self.add & 2**32 - 1) << 24 | self.shift << 56
        )


@dataclass(frozen=True, slots=True)
class Segment:
    """One line of an activation: bias + ((y - x_start) * mul >> shift)."""

    x_start: int
    mul: int
    shift: int
    bias: int


@dataclass(frozen=True, slots=True)
class ActivationTable:
    """Sixteen segments; the last one whose x_start is below y applies."""

    segments: tuple[Segment, ...]

    @classmethod
    def unpack(cls, raw: bytes) -> "ActivationTable":
        """Decode 144 bytes, ignoring the four uninitialised top bits of each word."""
        values = _ACTIVATION.unpack(raw)
        return cls(tuple(_segments(values[:16], values[16:])))

    def pack(self) -> bytes:
        """Encode as 144 bytes, top bits zero."""
        words = [
            each.shift | (each.mul & 2**16 - 1) << 8 | (each.x_start & 2**36 - 1) << 24
            for each in self.segments
        ]
        return _ACTIVATION.pack(*words, *(each.bias for each in self.segments))


def _segments(words: tuple[int, ...], biases: tuple[int, ...]) -> Iterator[Segment]:
    for word, bias in zip(words, biases, strict=True):
        x_start = _extract(word, 24, 36, True)
        yield Segment(x_start, _extract(word, 8, 16, True), word & 0xFF, bias)
