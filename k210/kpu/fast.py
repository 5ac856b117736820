"""The same arithmetic in C (`kernel.c`), on dense maps and on maps in KPU RAM.

Calls leave the GIL to others and share nothing, so threads run side by side.
"""

import ctypes
from functools import cache
from pathlib import Path

import numpy as np

from k210 import native
from k210.kmodel import LayerRegisters, kpu_map_bytes, kpu_row_layout
from k210.kmodel.buffers import KPU_ROW_BYTES
from k210.kpu.layer import Bytes, Layer

_ALIGNMENT = 64
_ADDRESS, _NUMBER = ctypes.c_void_p, ctypes.c_int64
_MAP = ("channels", "height", "width", "group", "group_step", "channel_step")
_LAYER = ("kernel", "depthwise", "pool", "pad_value", "arg_x", "shr_x", "arg_w")


class _Map(ctypes.Structure):
    """`struct kpu_map`."""

    _fields_ = [("data", _ADDRESS)] + [(n, _NUMBER) for n in (*_MAP, "line_step")]


class _Tables(ctypes.Structure):
    """`struct kpu_tables`."""

    _fields_ = [
        ("weights", _ADDRESS),
        ("batch_norm", _ADDRESS),
        ("activation", _ADDRESS),
    ]


class _Layer(ctypes.Structure):
    """`struct kpu_layer`."""

    _fields_ = [(name, _NUMBER) for name in (*_LAYER, "shr_w", "arg_add")]


def prepare() -> None:
    """Build and load the kernel now.

    Raises:
        NativeError: it cannot be built here.
    """
    _library()


@cache
def _library() -> ctypes.CDLL:
    library = native.load(Path(__file__).with_name("kernel.c"))
    layer, image = ctypes.POINTER(_Layer), ctypes.POINTER(_Map)
    tables = ctypes.POINTER(_Tables)
    library.kpu_scratch_bytes.argtypes = [layer, image]
    library.kpu_scratch_bytes.restype = _NUMBER
    library.kpu_run_layer.argtypes = [layer, image, image, tables, _ADDRESS]
    library.kpu_run_layer.restype = None
    library.kpu_copy_map.argtypes = [image, image]
    library.kpu_copy_map.restype = None
    return library


class Map:
    """Where a map of C×H×W bytes lies: dense in an array, or in rows of KPU RAM.

    It stays valid as long as the memory keeps its place, which it holds on to.
    """

    def __init__(self, memory: Bytes, layout: _Map) -> None:
        self.memory, self.layout = memory, layout

    @classmethod
    def dense(cls, image: Bytes) -> "Map":
        """A contiguous array, uint8 C×H×W."""
        if image.dtype != np.uint8 or not image.flags.c_contiguous:
            raise ValueError("a dense map must be contiguous uint8")
        channels, height, width = image.shape
        step = height * width
        steps = 1, step, step, width
        return cls(image, _Map(image.ctypes.data, channels, height, width, *steps))

    @classmethod
    def in_ram(cls, ram: Bytes, offset: int, shape: tuple[int, ...]) -> "Map":
        """C×H×W at a byte offset of KPU RAM; ValueError if it is not all inside."""
        channels, height, width = shape
        if min(offset, *shape) < 0 or offset + kpu_map_bytes(*shape) > ram.size:
            raise ValueError(f"a map of {shape} at {offset:#x} lies outside KPU RAM")
        if ram.dtype != np.uint8 or not ram.flags.c_contiguous or ram.ndim != 1:
            raise ValueError("KPU RAM must be contiguous uint8")
        group, rows = kpu_row_layout(width)
        line = rows * KPU_ROW_BYTES
        steps = group, line * height, KPU_ROW_BYTES // group, line
        return cls(ram, _Map(ram.ctypes.data + offset, channels, height, width, *steps))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.layout.channels, self.layout.height, self.layout.width

    def copy_to(self, target: "Map") -> None:
        """Copy the pixels into another map of the same shape, and nothing else."""
        if self.shape != target.shape:
            raise ValueError(f"a map of {self.shape} is not one of {target.shape}")
        _library().kpu_copy_map(self.layout, target.layout)


class Kernel:
    """A layer made ready, to be called with where its input and output map are."""

    def __init__(self, layer: Layer) -> None:
        tables = layer.weights, layer.batch_norm, layer.activation
        self._arrays = [np.ascontiguousarray(table) for table in tables]
        self._tables = _Tables(*(array.ctypes.data for array in self._arrays))
        names = (name for name, *_ in _Layer._fields_)
        self._layer = _Layer(*(int(getattr(layer, name)) for name in names))
        self._library = _library()
        self._out_shape = layer.out_shape

    def __call__(self, source: Map, target: Map) -> None:
        """Compute; ValueError unless the maps have the shapes the layer works on."""
        if self._out_shape(source.shape) != target.shape:
            raise ValueError(f"{source.shape} does not become {target.shape}")
        size = self._library.kpu_scratch_bytes(self._layer, source.layout)
        scratch = np.empty(size + _ALIGNMENT, np.uint8)
        start = scratch.ctypes.data + -scratch.ctypes.data % _ALIGNMENT
        self._library.kpu_run_layer(
            self._layer, source.layout, target.layout, self._tables, start
        )


def run(layer: Layer, image: Bytes) -> Bytes:
    """The output map, uint8 C×H×W, of an input map, uint8 C×H×W.

    Raises:
        ValueError: the layer does not take a map of this shape.
        NativeError: the kernel cannot be built here.
    """
    image = np.ascontiguousarray(image, np.uint8)
    out = np.empty(layer.out_shape(image.shape), np.uint8)
    Kernel(layer)(Map.dense(image), Map.dense(out))
    return out


class RamLayer:
    """A layer whose maps are in KPU RAM, in its layout of 64-byte rows.

    Args:
        registers: what the KPU is sent. Of the fields that do not say what to compute
            but how memory is organised (switches, groups, loads, DMA), none is looked
            at; nor are the addresses of the tables.
        weights: the bytes at `para_start_addr`: outputs × inputs × kernel².
        batch_norm: the bytes at `bwsx_base_addr`, 8 per output channel.
        activation: the 144 bytes at `active_addr`.

    Raises:
        ValueError: the tables' sizes are not what the registers ask for, or the sizes
            of the two maps contradict the pooling.
        NativeError: the kernel cannot be built here.
    """

    def __init__(
        self,
        registers: LayerRegisters,
        weights: bytes | Bytes,
        batch_norm: bytes | Bytes,
        activation: bytes | Bytes,
    ) -> None:
        layer = Layer.of(registers, weights, batch_norm, activation)
        self._in_shape = (
            registers.i_ch_num + 1,
            registers.i_col_high + 1,
            registers.i_row_wid + 1,
        )
        self._out_shape = (
            registers.o_ch_num + 1,
            registers.o_col_high + 1,
            registers.o_row_wid + 1,
        )
        if layer.out_shape(self._in_shape) != self._out_shape:
            raise ValueError(f"{self._in_shape} does not become {self._out_shape}")
        self._source = registers.image_src_addr * KPU_ROW_BYTES
        self._target = registers.image_dst_addr * KPU_ROW_BYTES
        self._kernel = Kernel(layer)

    def run(self, ram: Bytes, batch: int = 0) -> None:
        """Read the input map from KPU RAM and write the output map into it.

        Args:
            ram: the KPU's RAM, writable contiguous uint8. Bytes of rows that no pixel
                falls on keep what they hold.
            batch: how many maps further both maps lie than the registers say.

        Raises:
            ValueError: a map would lie outside the RAM.
        """
        source = self._source + batch * kpu_map_bytes(*self._in_shape)
        target = self._target + batch * kpu_map_bytes(*self._out_shape)
        self._kernel(
            Map.in_ram(ram, source, self._in_shape),
            Map.in_ram(ram, target, self._out_shape),
        )


def upload(image: Bytes, ram: Bytes, offset: int) -> None:
    """Put a dense map, uint8 C×H×W, into KPU RAM at a byte offset.

    Raises:
        ValueError: it would lie outside the RAM.
    """
    source = Map.dense(np.ascontiguousarray(image, np.uint8))
    source.copy_to(Map.in_ram(ram, offset, image.shape))


def download(ram: Bytes, offset: int, shape: tuple[int, ...]) -> Bytes:
    """The map at a byte offset of KPU RAM as dense uint8 C×H×W.

    Raises:
        ValueError: it would lie outside the RAM.
    """
    image = np.empty(shape, np.uint8)
    Map.in_ram(ram, offset, shape).copy_to(Map.dense(image))
    return image
