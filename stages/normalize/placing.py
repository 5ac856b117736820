"""Where nncase runs a convolution, foretold, and why there.

The KPU pads one pixel on every side of a 3×3 kernel, has no stride, and picks every
second pixel of an even map. Whatever differs is paid for on the CPU: dequantize, pad or
crop, quantize again. The rules below are what nncase 1.9 was observed to do.
"""

from dataclasses import dataclass
from typing import Any, Literal

from k210.errors import ModelError
from stages.normalize.geometry import Pixels
from stages.normalize.graph import Graph, Node, read
from stages.normalize.passes.explicit import explicit

MAX_CHANNELS = 1024
MAX_HEIGHT, MAX_WIDTH = 256, 512
SMALLEST_MAP = 4

Where = Literal["kpu", "kpu+copy", "kpu+cpu", "cpu"]
"""All on the KPU; with a crop by DMA; with pads or crops on the CPU; all on the CPU."""

KINDS = ("kpu", "kpu+copy", "kpu+cpu", "cpu")


@dataclass(frozen=True)
class Convolution:
    """One convolution as nncase is given it.

    ``input`` and ``output`` are height, width, channels of the maps; ``kernel``,
    ``stride`` and ``dilation`` are (y, x); ``pixels`` includes a PAD in front of it.
    ``pointwise_next`` says that its map is read by one 1×1 convolution alone.
    """

    name: str
    depthwise: bool
    input: tuple[int, int, int]
    output: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: str
    pixels: Pixels
    pointwise_next: bool

    @property
    def macs(self) -> int:
        """Multiply-accumulates, as TensorFlow would count them."""
        height, width, channels = self.output
        inputs = 1 if self.depthwise else self.input[2]
        return height * width * channels * inputs * self.kernel[0] * self.kernel[1]

    @property
    def weight_bytes(self) -> int:
        """Bytes of its weights on the KPU."""
        inputs = 1 if self.depthwise else self.input[2]
        return self.output[2] * inputs * self.kernel[0] * self.kernel[1]


def convolutions(model: Any) -> list[Convolution]:
    """The convolutions of a ``ModelT``, in the order of the graph."""
    graph = read(model)
    explicit(graph)
    return [described(graph, node) for node in graph.nodes if node.convolves]


def described(graph: Graph, node: Node) -> Convolution:
    """A convolution of a graph whose padding is in pixels, before it is lowered.

    Raises:
        ModelError: it is grouped, which nncase miscompiles silently.
    """
    assert node.pixels is not None
    _, height, width, channels = node.source.shape
    if not node.depthwise and node.weights.shape[3] != channels:
        raise ModelError(
            f"{node.name!r} is a grouped convolution "
            f"({channels // node.weights.shape[3]} groups), which nncase compiles to "
            "something else without a word; use a plain or a depthwise convolution"
        )
    _, *output = node.output.shape
    return Convolution(
        name=node.name,
        depthwise=node.depthwise,
        input=(height, width, channels),
        output=(output[0], output[1], output[2]),
        kernel=node.kernel,
        stride=node.stride,
        dilation=node.dilation,
        padding=node.padding,
        pixels=node.pixels,
        pointwise_next=_pointwise_next(graph, node),
    )


def _pointwise_next(graph: Graph, node: Node) -> bool:
    """Whether one 1×1 convolution of stride 1, and nothing else, reads a map."""
    reader = graph.only_reader(node.output)
    if reader is None or reader.kind != "CONV_2D":
        return False
    return (*reader.kernel, *reader.stride) == (1, 1, 1, 1)


def verdict(layer: Convolution) -> tuple[Where, str]:
    """Where nncase will run a convolution, and why there."""
    if reason := _cpu_reason(layer):
        return "cpu", reason
    if layer.dilation != (1, 1):
        return "kpu+cpu", "dilated: split into phases by CPU transposes"
    if layer.stride not in ((1, 1), (2, 2)):
        return "kpu+cpu", "computed at full size, rows and columns picked by the CPU"
    if min(layer.input[:2]) < SMALLEST_MAP or min(layer.output[:2]) < SMALLEST_MAP:
        return "kpu+cpu", "a map under 4×4 is padded to 4×4 by the CPU"
    return _stride_one(layer) if layer.stride == (1, 1) else _stride_two(layer)


def _cpu_reason(layer: Convolution) -> str:
    height, width = _computed_on(layer)
    if layer.kernel not in ((1, 1), (3, 3)):
        return (
            f"the KPU has no {layer.kernel[0]}×{layer.kernel[1]} kernel: float on CPU"
        )
    if max(layer.input[2], layer.output[2]) > MAX_CHANNELS:
        return f"more than {MAX_CHANNELS} channels: float on the CPU"
    if height > MAX_HEIGHT or width > MAX_WIDTH:
        return f"a map over {MAX_HEIGHT}×{MAX_WIDTH}: float on the CPU"
    if layer.dilation != (1, 1) and min(height, width) < SMALLEST_MAP:
        return "phases under 4×4: float on the CPU"
    return ""


def _computed_on(layer: Convolution) -> tuple[int, int]:
    """Height and width of the map that the KPU would be given.

    The CPU has padded it with what is too much for the KPU; of a dilated convolution
    it is one phase of the map, with all padding.
    """
    (height, width, _), (step_y, step_x) = layer.input, layer.dilation
    dilated = layer.dilation != (1, 1)
    natural = 0 if dilated else layer.kernel[0] // 2
    top, bottom, left, right = (max(0, side - natural) for side in layer.pixels.sides())
    return -(-(height + top + bottom) // step_y), -(-(width + left + right) // step_x)


def _stride_one(layer: Convolution) -> tuple[Where, str]:
    sides, natural = layer.pixels.sides(), layer.kernel[0] // 2
    if sides == (natural,) * 4:
        return "kpu", "the KPU's own padding"
    if max(sides) <= natural:
        return "kpu+copy", "computed with the KPU's padding, cropped by DMA"
    return "kpu+cpu", "more padding than the KPU has: the CPU pads"


def _stride_two(layer: Convolution) -> tuple[Where, str]:
    natural = layer.kernel[0] // 2
    even = layer.input[0] % 2 == 0 and layer.input[1] % 2 == 0
    top, bottom, left, right = layer.pixels.sides()
    starts_as_kpu = (top, left) == (natural, natural)
    if even and starts_as_kpu and max(bottom, right) <= natural:
        if layer.depthwise and not layer.pointwise_next:
            return "kpu+cpu", "only a 1×1 convolution behind it could pick its pixels"
        return "kpu", "every second pixel of an even map"
    if starts_as_kpu:
        return "kpu+cpu", "every second pixel of an odd map: the CPU adds one"
    return "kpu+cpu", "starts at another pixel than the KPU's: the CPU shifts the map"
