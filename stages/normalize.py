"""List every convolution's padding in pixels and what the KPU will make of it.

TensorFlow pads SAME as ceil(size/stride) demands; the KPU pads one pixel on every
side of a 3×3 kernel, has no stride, and picks every second pixel of an even map.
Whatever differs is paid for on the CPU: dequantize, pad or crop, quantize again.
The rules below are what nncase 1.9 was observed to do with each case.
"""

import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from k210.errors import ModelError
from stages import tflite
from stages.artifacts import write_json

if TYPE_CHECKING:
    from stages.lifecycle import Job, Metrics

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
MAX_CHANNELS = 1024
MAX_HEIGHT, MAX_WIDTH = 256, 512
SMALLEST_MAP = 4

Where = Literal["kpu", "kpu+copy", "kpu+cpu", "cpu"]
"""All on the KPU; with a crop by DMA; with pads or crops on the CPU; all on the CPU."""


@dataclass(frozen=True)
class Pixels:
    """Padding in pixels on each side of a feature map."""

    top: int
    bottom: int
    left: int
    right: int

    def sides(self) -> tuple[int, int, int, int]:
        """Top, bottom, left, right."""
        return self.top, self.bottom, self.left, self.right


@dataclass(frozen=True)
class Convolution:
    """One convolution as TensorFlow means it.

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


def run(job: "Job") -> "Metrics":
    """Write ``layers.json`` and pass the model through.

    Raises:
        ModelError: nncase would compile it to something else without a word.
    """
    source = job.input("export/model.tflite")
    model = tflite.read(source)
    layers = []
    for convolution in convolutions(model):
        where, why = verdict(convolution)
        layers.append({**asdict(convolution), "where": where, "why": why})
    write_json(job.output("normalize/layers.json"), {"layers": layers})
    shutil.copyfile(source, job.output("normalize/model.tflite"))
    count = {kind: sum(layer["where"] == kind for layer in layers) for kind in _KINDS}
    return {
        "convolutions": len(layers),
        "kpu_convolutions": count["kpu"] + count["kpu+copy"],
        "cpu_paddings": count["kpu+cpu"],
        "cpu_convolutions": count["cpu"],
    }


_KINDS = ("kpu", "kpu+copy", "kpu+cpu", "cpu")


def same_pixels(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """TensorFlow's SAME padding along one axis: pixels before and after."""
    reach = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def convolutions(model: Any) -> list[Convolution]:
    """A model's convolutions in the order of the graph.

    Raises:
        ModelError: one is grouped, which nncase miscompiles silently.
    """
    pads = _pads_in_front(model)
    return [
        _convolution(model, operator, pads.get(int(operator.inputs[0])))
        for operator in model.subgraphs[0].operators
        if tflite.operator_name(model, operator) in CONVOLUTIONS
    ]


def _pads_in_front(model: Any) -> dict[int, tuple[Pixels, int]]:
    """Maps made by a PAD of H and W only: output tensor → pixels, input tensor."""
    graph = model.subgraphs[0]
    pads = {}
    for operator in graph.operators:
        if tflite.operator_name(model, operator) != "PAD":
            continue
        amounts = tflite.constant(model, graph.tensors[operator.inputs[1]])
        if amounts is None or amounts.shape != (4, 2) or amounts[[0, 3]].any():
            continue
        (top, bottom), (left, right) = amounts[1:3].tolist()
        output = int(operator.outputs[0])
        pads[output] = Pixels(top, bottom, left, right), int(operator.inputs[0])
    return pads


def _pointwise_next(model: Any, tensor: int) -> bool:
    """Whether one 1×1 convolution of stride 1, and nothing else, reads a map."""
    graph = model.subgraphs[0]
    readers = [op for op in graph.operators if tensor in tflite.indices(op.inputs)]
    if len(readers) != 1 or tensor in tflite.indices(graph.outputs):
        return False
    (reader,) = readers
    if tflite.operator_name(model, reader) != "CONV_2D":
        return False
    options = reader.builtinOptions
    kernel = tflite.shape(graph.tensors[reader.inputs[1]])[1:3]
    return (*kernel, options.strideH, options.strideW) == (1, 1, 1, 1)


def _convolution(
    model: Any, operator: Any, pad: tuple[Pixels, int] | None
) -> Convolution:
    depthwise = tflite.operator_name(model, operator) == "DEPTHWISE_CONV_2D"
    options = operator.builtinOptions
    tensors = model.subgraphs[0].tensors
    padded = tflite.shape(tensors[operator.inputs[0]])[1:]
    weights = tflite.shape(tensors[operator.inputs[1]])
    output = tensors[operator.outputs[0]]
    stride = (options.strideH, options.strideW)
    dilation = (options.dilationHFactor, options.dilationWFactor)
    same = options.padding == tflite.schema().Padding.SAME
    sides = [
        same_pixels(*axis) if same else (0, 0)
        for axis in zip(padded[:2], weights[1:3], stride, dilation, strict=True)
    ]
    pixels, source = Pixels(*sides[0], *sides[1]), padded
    if pad is not None:
        front, index = pad
        source = tflite.shape(tensors[index])[1:]
        pixels = Pixels(*np.add(pixels.sides(), front.sides()).tolist())
    if not depthwise and weights[3] != padded[2]:
        raise ModelError(
            f"{tflite.name(output)!r} is a grouped convolution "
            f"({padded[2] // weights[3]} groups), which nncase compiles to something "
            "else without a word; use a plain or a depthwise convolution"
        )
    return Convolution(
        name=tflite.name(output),
        depthwise=depthwise,
        input=_triple(source),
        output=_triple(tflite.shape(output)[1:]),
        kernel=(weights[1], weights[2]),
        stride=stride,
        dilation=dilation,
        padding="SAME" if same else "VALID",
        pixels=pixels,
        pointwise_next=_pointwise_next(model, int(operator.outputs[0])),
    )


def _triple(shape: tuple[int, ...]) -> tuple[int, int, int]:
    height, width, channels = shape
    return height, width, channels


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
