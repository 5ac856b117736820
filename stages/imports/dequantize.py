"""Take constants of a TFLite model that are not float32 back to float32.

A float16 model, and one with 8-bit weights only, holds DEQUANTIZE operators between
its constants and the layers. What these compute does not depend on the input, so they
are folded, exactly: a float16 is a float32 too, and an 8-bit weight is scale ×
(integer - zero point), rounded once.

A dynamic-range model has no such operator: its kernels quantize the feature maps as
they come and compute with integers. ``make_explicit`` says what it would be in float.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages import tflite
from stages.tflite import indices, type_name

EIGHT_BITS = {"INT8": np.int8, "UINT8": np.uint8}
STORED = {**EIGHT_BITS, "FLOAT16": np.float16}
"""Element types of constants that DEQUANTIZE takes to float32."""

DEQUANTIZE_VERSION = 5
"""The first version of the operator that has a scale per channel."""


def fold(model: Any) -> int:
    """Compute each DEQUANTIZE of a constant here and now; returns how many."""
    graph = model.subgraphs[0]
    folded = [op for op in graph.operators if _of_constant(model, op)]
    for operator in folded:
        source = graph.tensors[operator.inputs[0]]
        target = graph.tensors[operator.outputs[0]]
        buffer = tflite.schema().BufferT()
        buffer.data = np.frombuffer(_values(model, source).tobytes(), np.uint8)
        target.buffer = len(model.buffers)
        model.buffers.append(buffer)
    for operator in folded:  # what nothing reads any more is the same constant
        source = graph.tensors[operator.inputs[0]]
        source.buffer = graph.tensors[operator.outputs[0]].buffer
        source.type = tflite.schema().TensorType.FLOAT32
        source.quantization = None
    graph.operators = [op for op in graph.operators if op not in folded]
    return len(folded)


def _of_constant(model: Any, operator: Any) -> bool:
    if tflite.operator_name(model, operator) != "DEQUANTIZE":
        return False
    source = model.subgraphs[0].tensors[operator.inputs[0]]
    return type_name(source) in STORED and _is_constant(model, source)


def _is_constant(model: Any, tensor: Any) -> bool:
    return tflite.constant(model, tensor) is not None


def _values(model: Any, tensor: Any) -> NDArray[np.float32]:
    """The constant that DEQUANTIZE makes of a stored one."""
    dtype: Any = STORED[type_name(tensor)]
    raw = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(dtype)
    stored: NDArray[Any] = raw.reshape(tflite.shape(tensor))
    if dtype is np.float16:
        return stored.astype(np.float32)
    parameters = tensor.quantization
    along = [1] * stored.ndim
    if len(parameters.scale) > 1:
        along[parameters.quantizedDimension] = -1
    scale = np.asarray(parameters.scale, np.float32).reshape(along)
    whole = stored.astype(np.int32)
    if parameters.zeroPoint is not None and len(parameters.zeroPoint) == scale.size:
        whole -= np.asarray(parameters.zeroPoint, np.int32).reshape(along)
    return whole.astype(np.float32) * scale


def make_explicit(model: Any) -> int:
    """Put a DEQUANTIZE behind each 8-bit constant; returns how many.

    The model then computes in float what a dynamic-range one computes in integers.
    """
    graph = model.subgraphs[0]
    weights = [
        position
        for position, tensor in enumerate(graph.tensors)
        if type_name(tensor) in EIGHT_BITS and _has_scale(tensor)
        if _is_constant(model, tensor) and _read_directly(model, position)
    ]
    for position in weights:
        _insert(model, position)
    return len(weights)


def _has_scale(tensor: Any) -> bool:
    parameters = tensor.quantization
    return parameters is not None and parameters.scale is not None


def _read_directly(model: Any, position: int) -> bool:
    return any(
        position in indices(operator.inputs)
        and tflite.operator_name(model, operator) != "DEQUANTIZE"
        for operator in model.subgraphs[0].operators
    )


def _insert(model: Any, position: int) -> None:
    schema, graph = tflite.schema(), model.subgraphs[0]
    source = graph.tensors[position]
    added = schema.TensorT()
    added.name, added.shape, added.type = source.name, source.shape, 0
    added.buffer = 0  # by convention the empty one
    operator = schema.OperatorT()
    operator.opcodeIndex = _code(model)
    operator.inputs, operator.outputs = [position], [len(graph.tensors)]
    for reader in graph.operators:
        if tflite.operator_name(model, reader) != "DEQUANTIZE":
            reader.inputs = [
                len(graph.tensors) if index == position else index
                for index in reader.inputs
            ]
    graph.tensors.append(added)
    graph.operators.insert(0, operator)


def _code(model: Any) -> int:
    """The index of an operator code for DEQUANTIZE of scales per channel."""
    schema = tflite.schema()
    number = schema.BuiltinOperator.DEQUANTIZE
    for position, code in enumerate(model.operatorCodes):
        if (code.builtinCode, code.version) == (number, DEQUANTIZE_VERSION):
            return position
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = number
    code.version = DEQUANTIZE_VERSION
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
