"""What one KPU layer computes with, as plain numbers and bytes."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from k210.kmodel import LayerRegisters, Pool
from k210.kmodel.layer import ACTIVATION_BYTES, BATCH_NORM_BYTES

Bytes = NDArray[np.uint8]

MAX_SHIFT = 63
"""Of an activation; above it the arithmetic is not defined."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The parameters of a layer; ValueError for tables that do not fit each other.

    `kernel` is 1 or 3; `pool` the kind, 0 to 9; `pad_value` what a 3x3 kernel sees
    around the map. `weights` are uint8, flat: outputs × inputs × kernel × kernel, for a
    depthwise layer channels × kernel × kernel. `batch_norm` has 8 bytes per output
    channel, `activation` 144 bytes, both as in the kmodel; their uninitialised bits are
    ignored.
    """

    kernel: int
    depthwise: bool
    pool: int
    pad_value: int
    arg_x: int
    shr_x: int
    arg_w: int
    shr_w: int
    arg_add: int
    weights: Bytes
    batch_norm: Bytes
    activation: Bytes

    def __post_init__(self) -> None:
        if self.kernel not in (1, 3) or self.pool not in range(len(Pool)):
            raise ValueError(f"no layer has kernel {self.kernel} and pool {self.pool}")
        if self.batch_norm.size % BATCH_NORM_BYTES or not self.batch_norm.size:
            raise ValueError(f"a batch norm of {self.batch_norm.size} bytes")
        if self.activation.size != ACTIVATION_BYTES:
            raise ValueError(f"an activation table of {self.activation.size} bytes")
        if self.activation[:128:8].max() > MAX_SHIFT:
            raise ValueError(f"an activation shifts by {self.activation[:128:8].max()}")
        if self.weights.size != self.inputs * self.outputs * self.kernel**2:
            raise ValueError(
                f"{self.weights.size} weights for {self.outputs} output channels"
            )

    @classmethod
    def of(
        cls,
        registers: LayerRegisters,
        weights: bytes | Bytes,
        batch_norm: bytes | Bytes,
        activation: bytes | Bytes,
    ) -> "Layer":
        """The layer that registers describe, with the bytes that they point to."""
        return cls(
            kernel=registers.kernel,
            depthwise=bool(registers.depth_wise_layer),
            pool=registers.pool_type,
            pad_value=registers.pad_value,
            arg_x=registers.arg_x,
            shr_x=registers.shr_x,
            arg_w=registers.arg_w,
            shr_w=registers.shr_w,
            arg_add=registers.arg_add,
            weights=np.frombuffer(weights, np.uint8),
            batch_norm=np.frombuffer(batch_norm, np.uint8),
            activation=np.frombuffer(activation, np.uint8),
        )

    @property
    def outputs(self) -> int:
        """Output channels."""
        return self.batch_norm.size // BATCH_NORM_BYTES

    @property
    def inputs(self) -> int:
        """Input channels that an output channel sees."""
        return max(1, self.weights.size // (self.outputs * self.kernel**2))

    def out_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """The output's (C, H, W) for an input of this shape; ValueError if unfit."""
        stride = Pool(self.pool).stride
        channels, height, width = shape
        wanted = self.outputs if self.depthwise else self.inputs
        if channels != wanted or min(height, width) < stride or self.inputs > 1024:
            raise ValueError(f"the layer does not take a map of shape {shape}")
        return self.outputs, height // stride, width // stride

    def registers(
        self, shape: tuple[int, ...], source: int, target: int
    ) -> LayerRegisters:
        """What registers say of this layer, on a map of shape (C, H, W).

        Args:
            shape: of the input.
            source: its first row of 64 bytes in KPU RAM.
            target: the output's.

        Returns the registers; what does not say what to compute is 0.

        Raises:
            ValueError: the layer does not take such a map.
        """
        channels, height, width = (side - 1 for side in shape)
        outputs, tall, wide = (side - 1 for side in self.out_shape(shape))
        return replace(
            LayerRegisters.unpack(bytes(96)),
            depth_wise_layer=int(self.depthwise),
            image_src_addr=source,
            image_dst_addr=target,
            i_ch_num=channels,
            i_col_high=height,
            i_row_wid=width,
            o_ch_num=outputs,
            o_col_high=tall,
            o_row_wid=wide,
            kernel_type=self.kernel // 2,
            pool_type=self.pool,
            pad_value=self.pad_value,
            arg_x=self.arg_x,
            shr_x=self.shr_x,
            arg_w=self.arg_w,
            shr_w=self.shr_w,
            arg_add=self.arg_add,
        )
