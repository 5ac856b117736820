"""What an instruction of the k210 module is: a data movement, or one KPU layer.

Facts: nncase 1.9's `kpu_*_options` structures and its KPU emitters.
"""

import math
from dataclasses import dataclass

from k210.kmodel.buffers import Buffer
from k210.kmodel.layer import LayerRegisters, Pool


@dataclass(frozen=True, slots=True)
class Transfer:
    """kpu_upload, kpu_download or kpu_copy: the same u8 NCHW map in another place.

    Upload and download turn dense NCHW into the layout of KPU RAM and back; a copy
    is strided on both sides and stays in ordinary memory.
    """

    offset: int
    kind: str
    input: Buffer
    output: Buffer

    where = "dma"
    macs = 0

    @property
    def inputs(self) -> tuple[Buffer, ...]:
        """The buffers it reads."""
        return (self.input,)

    @property
    def outputs(self) -> tuple[Buffer, ...]:
        """The buffers it writes."""
        return (self.output,)


@dataclass(frozen=True, slots=True)
class Conv2d:
    """A KPU layer: convolution at full size, batch norm, activation table, pooling.

    `input` and `output` are N maps in KPU RAM, N = `batches`, for which the layer
    runs N times. `weights` are u8 OIHW (depthwise: C1HW), `batch_norm` has one u64
    per output channel, `activation` is the 144-byte table.
    """

    offset: int
    registers: LayerRegisters
    batches: int
    input: Buffer
    weights: Buffer
    batch_norm: Buffer
    activation: Buffer
    output: Buffer

    kind = "kpu_conv2d"
    where = "kpu"

    @property
    def inputs(self) -> tuple[Buffer, ...]:
        """Input map, weights, batch norm and activation table."""
        return (self.input, self.weights, self.batch_norm, self.activation)

    @property
    def outputs(self) -> tuple[Buffer, ...]:
        """The output map."""
        return (self.output,)

    @property
    def in_channels(self) -> int:
        """Channels read."""
        return self.input.shape[1]

    @property
    def out_channels(self) -> int:
        """Channels written."""
        return self.output.shape[1]

    @property
    def in_size(self) -> tuple[int, int]:
        """Height and width read, and convolved at."""
        return self.input.shape[2], self.input.shape[3]

    @property
    def out_size(self) -> tuple[int, int]:
        """Height and width written, after pooling."""
        return self.output.shape[2], self.output.shape[3]

    @property
    def kernel(self) -> int:
        """Side of the kernel, 1 or 3; a 3x3 kernel pads one pixel on every side."""
        return self.registers.kernel

    @property
    def depthwise(self) -> bool:
        """Whether each output channel sees only its own input channel."""
        return bool(self.registers.depth_wise_layer)

    @property
    def pool(self) -> Pool:
        """The pooling after the activation."""
        return Pool(self.registers.pool_type)

    @property
    def weight_loads(self) -> int:
        """How often weights are loaded; above 64 the load_time field has wrapped."""
        return self.registers.weight_loads

    @property
    def macs(self) -> int:
        """Multiply-accumulates, the part that pooling discards included."""
        return self.batches * math.prod(self.weights.shape) * math.prod(self.in_size)


Instruction = Transfer | Conv2d
