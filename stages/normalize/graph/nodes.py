"""Tensors, and the operators that compute them.

What TFLite cannot say of a convolution, its padding on each side in pixels, is kept
beside it until the graph is written (``stages.normalize.lower``).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210.errors import ModelError
from stages import tflite
from stages.normalize.geometry import Pixels

Array = NDArray[Any]

DTYPES: dict[str, Any] = {
    "FLOAT32": np.float32,
    "FLOAT16": np.float16,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}
"""Element types that a graph may hold."""

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_NUMBERS = {np.dtype(dtype): name for name, dtype in DTYPES.items()}


@dataclass(eq=False)
class Tensor:
    """A feature map or a constant; ``value`` is None where it is computed.

    ``origin`` is its index in the model that was read, as long as it holds the same
    numbers; ``turned`` says that they are rotated by 180 degrees in H and W.
    """

    name: str
    shape: tuple[int, ...]
    type: str = "FLOAT32"
    value: Array | None = None
    origin: int | None = None
    turned: bool = False

    @property
    def spatial(self) -> bool:
        """Whether it is a feature map, N×H×W×C, of more than one pixel."""
        return len(self.shape) == 4 and self.shape[1] * self.shape[2] > 1


@dataclass(frozen=True)
class Note:
    """What a pass did to a layer, and why."""

    by: str
    what: str


@dataclass(eq=False)
class Node:
    """One operator.

    ``padding`` is what TensorFlow called a convolution's padding, ``told`` the same in
    pixels, ``pixels`` its present one; a negative number skips rows or columns.
    """

    kind: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    operator: Any
    code: Any
    pixels: Pixels | None = None
    told: Pixels | None = None
    padding: str = ""
    notes: list[Note] = field(default_factory=list)

    @property
    def options(self) -> Any:
        """The schema's options of this kind of operator."""
        return self.operator.builtinOptions

    @property
    def source(self) -> Tensor:
        """Its first input."""
        tensor = self.inputs[0]
        assert tensor is not None
        return tensor

    @property
    def output(self) -> Tensor:
        """Its first output."""
        return self.outputs[0]

    @property
    def name(self) -> str:
        """What errors and tables call it: the name of its first output."""
        return self.output.name

    @property
    def convolves(self) -> bool:
        """Whether it is a convolution, depthwise or not."""
        return self.kind in CONVOLUTIONS

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself."""
        return self.kind == "DEPTHWISE_CONV_2D"

    @property
    def stride(self) -> tuple[int, int]:
        """Of a convolution or pooling: y, x."""
        return int(self.options.strideH), int(self.options.strideW)

    @property
    def dilation(self) -> tuple[int, int]:
        """Of a convolution: y, x."""
        return int(self.options.dilationHFactor), int(self.options.dilationWFactor)

    @property
    def kernel(self) -> tuple[int, int]:
        """Of a convolution or pooling: height, width."""
        if self.convolves:
            _, height, width, _ = self.weights.shape
            return height, width
        return int(self.options.filterHeight), int(self.options.filterWidth)

    @property
    def weights(self) -> Array:
        """A convolution's constant weights: O×H×W×I, or 1×H×W×C·M."""
        return constant(self, 1)

    def note(self, by: str, what: str) -> None:
        """Record what was done to it."""
        self.notes.append(Note(by, what))


def constant(node: Node, position: int) -> Array:
    """The values of an input that must be constant.

    Raises:
        ModelError: they are computed.
    """
    tensor = node.inputs[position] if position < len(node.inputs) else None
    if tensor is None or tensor.value is None:
        raise ModelError(
            f"{node.name!r} ({node.kind}) computes what must be constant for the KPU "
            f"(its input {position}); freeze the model's weights before exporting it"
        )
    return tensor.value


def constant_tensor(name: str, value: Array) -> Tensor:
    """A constant."""
    return Tensor(name, value.shape, _NUMBERS[value.dtype], value)


def new_node(
    kind: str, inputs: list[Tensor | None], outputs: list[Tensor], **options: Any
) -> Node:
    """An operator, version 1, with options of the schema's names."""
    schema = tflite.schema()
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    number = getattr(schema.BuiltinOperator, kind)
    code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
    code.version = 1
    name = OPTIONS[kind]
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
    if name != "NONE":
        operator.builtinOptions = getattr(schema, f"{name}T")()
    for key, value in options.items():
        assert hasattr(operator.builtinOptions, key), key
        setattr(operator.builtinOptions, key, value)
    return Node(kind, inputs, outputs, operator, code)


def new_convolution(
    kind: str,
    source: Tensor,
    weights: Array,
    bias: Array,
    output: Tensor,
    pixels: Pixels,
    **options: Any,
) -> Node:
    """A convolution of stride 1; ``options`` are further ones of the schema's names."""
    constants = [
        constant_tensor(f"{output.name}/weights", weights),
        constant_tensor(f"{output.name}/bias", bias),
    ]
    node = new_node(
        kind,
        [source, *constants],
        [output],
        padding=tflite.schema().Padding.VALID,
        strideH=1,
        strideW=1,
        dilationHFactor=1,
        dilationWFactor=1,
        **options,
    )
    node.pixels = node.told = pixels
    node.padding = "VALID"
    return node


OPTIONS = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "HARD_SWISH": "HardSwishOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "LOGISTIC": "NONE",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "PAD": "PadOptions",
    "RELU": "NONE",
    "RELU6": "NONE",
    "RELU_N1_TO_1": "NONE",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "SPLIT": "SplitOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "TANH": "NONE",
    "TRANSPOSE": "TransposeOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
}
"""What the schema calls the options of the operators that can be made."""
