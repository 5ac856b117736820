"""TFLite files as object graphs, through the schema's object API.

The API comes with TensorFlow but needs only flatbuffers, so it is loaded by its
path: importing TensorFlow itself takes seconds.
"""

import copy
import importlib.util
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from k210.errors import ModelError
from stages.reasons import reason

IDENTIFIER = b"TFL3"
UNREADABLE = (
    struct.error,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
)
"""What reading raises when offsets, indices or enumerators point nowhere."""

QUANTIZED = ("INT8", "UINT8", "INT16", "INT4")
"""Element types that only quantized models have."""

_DTYPES = {"FLOAT32": np.float32, "INT32": np.int32, "INT64": np.int64}
_MEANINGLESS = {"name", "metadata", "description", "signatureDefs", "buffers"}


@cache
def schema() -> ModuleType:
    """The generated module of the TFLite schema's object API."""
    package = importlib.util.find_spec("tensorflow")
    if package is None or package.origin is None:
        raise ModelError("tensorflow is not installed here; run `make setup`")
    path = Path(package.origin).parent / "lite" / "python" / "schema_py_generated.py"
    spec = importlib.util.spec_from_file_location("tflite_schema", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tflite_schema"] = module
    spec.loader.exec_module(module)
    return module


def read(path: Path) -> Any:
    """The file's ``ModelT``.

    Raises:
        ModelError: it is missing, empty, not a TFLite file, cut short, or has not
            exactly one subgraph.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    if not data:
        raise ModelError(f"{path}: the file is empty; export the model again")
    if data[4:8] != IDENTIFIER:
        raise ModelError(
            f"{path}: not a TFLite file (no {IDENTIFIER.decode()} at byte 4); "
            "convert the model to TFLite first"
        )
    try:
        model = unpack(data)
        _check(path, model)
    except UNREADABLE as error:
        raise ModelError(
            f"{path}: a damaged or truncated TFLite file of {len(data)} bytes "
            f"({error}); copy or export it again"
        ) from None
    return model


def unpack(data: bytes) -> Any:
    """The ``ModelT`` of a TFLite file's bytes, which are known to be sound."""
    return schema().ModelT.InitFromPackedBuf(data, 0)


@contextmanager
def rewriting(path: Path) -> Iterator[None]:
    """Say that a file is damaged where its parts turn out not to fit together.

    Raises:
        ModelError: one of them was read or rewritten within.
    """
    try:
        yield
    except UNREADABLE as error:
        raise ModelError(
            f"{path}: a damaged TFLite file, whose parts do not fit together "
            f"({reason(error)}); copy or export it again"
        ) from None


def _check(path: Path, model: Any) -> None:
    """Follow every index and read every constant once."""
    if model.subgraphs is None or len(model.subgraphs) != 1:
        count = 0 if model.subgraphs is None else len(model.subgraphs)
        raise ModelError(
            f"{path}: has {count} subgraphs, exactly one is supported; "
            "export a model without control flow"
        )
    graph = model.subgraphs[0]
    if not graph.operators:
        raise ModelError(f"{path}: computes nothing; export the whole model")
    for tensor in graph.tensors:
        static_shape(tensor)
        type_name(tensor)
        constant(model, tensor)
    for operator in graph.operators:
        operator_name(model, operator)
        for index in (*indices(operator.inputs), *indices(operator.outputs)):
            graph.tensors[index]


def indices(vector: Any) -> list[int]:
    """The tensor indices in a vector, without the -1 of absent operands."""
    return [] if vector is None else [int(i) for i in vector if i >= 0]


def shape(tensor: Any) -> tuple[int, ...]:
    """A tensor's shape, with -1 where its signature leaves a size open."""
    signature = tensor.shapeSignature
    dims = tensor.shape if signature is None else signature
    return () if dims is None else tuple(int(n) for n in dims)


def static_shape(tensor: Any) -> tuple[int, ...]:
    """A tensor's shape, with an open batch size (the first) taken as the 1 it holds."""
    sizes = shape(tensor)
    if sizes and sizes[0] == -1 and tensor.shape[0] == 1:
        return (1, *sizes[1:])
    return sizes


def fix_batch(model: Any) -> bool:
    """Make open batch sizes 1 for good; returns whether there were any."""
    changed = False
    for tensor in model.subgraphs[0].tensors:
        if -1 in shape(tensor) and -1 not in static_shape(tensor):
            tensor.shapeSignature = None
            changed = True
    return changed


def write(model: Any, path: Path) -> None:
    """Write a ``ModelT`` as a TFLite file."""
    path.write_bytes(packed(model))


def packed(model: Any) -> bytes:
    """A ``ModelT`` as the bytes of a TFLite file."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def name(tensor: Any) -> str:
    """A tensor's name."""
    return bytes(tensor.name or b"").decode("utf-8", "replace")


def type_name(tensor: Any) -> str:
    """A tensor's element type as the schema spells it, such as ``FLOAT32``."""
    return _names(schema().TensorType)[tensor.type]


def operator_name(model: Any, operator: Any) -> str:
    """An operator's kind as the schema spells it, such as ``CONV_2D``."""
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return _names(schema().BuiltinOperator)[number]


@cache
def _names(enum: type) -> dict[int, str]:
    return {v: k for k, v in vars(enum).items() if isinstance(v, int)}


def constant(model: Any, tensor: Any) -> np.ndarray[Any, Any] | None:
    """A constant tensor's values, or None for one computed at run time."""
    data = model.buffers[tensor.buffer].data
    if data is None or len(data) == 0:
        return None
    raw = np.asarray(data, dtype=np.uint8)
    dtype = _DTYPES.get(type_name(tensor))
    return raw if dtype is None else raw.view(dtype).reshape(shape(tensor))


def set_constant(
    model: Any, operator: Any, position: int, values: np.ndarray[Any, Any]
) -> None:
    """Give an operator a float constant of its own; others may share the one it had.

    Args:
        model: the ``ModelT``.
        operator: one of its operators.
        position: which of its inputs; a bias may be absent so far.
        values: of any float type.
    """
    graph = model.subgraphs[0]
    inputs = [int(index) for index in operator.inputs]
    present = len(inputs) > position and inputs[position] >= 0
    tensor = copy.copy(graph.tensors[inputs[position if present else 1]])
    if not present:
        tensor.name = bytes(tensor.name or b"") + b"/bias"
    tensor.shape, tensor.shapeSignature = np.array(values.shape, np.int32), None
    buffer = schema().BufferT()
    buffer.data = np.frombuffer(values.astype("<f4").tobytes(), np.uint8)
    tensor.buffer = len(model.buffers)
    model.buffers.append(buffer)
    if present and _uses(graph, inputs[position]) == 1:
        graph.tensors[inputs[position]] = tensor
        return
    inputs[position : position + 1] = [len(graph.tensors)]
    graph.tensors.append(tensor)
    operator.inputs = np.array(inputs, np.int32)


def _uses(graph: Any, index: int) -> int:
    return sum(indices(op.inputs).count(index) for op in graph.operators)


def meaning(model: Any) -> Iterator[bytes]:
    """What a model computes, piece by piece, without names and padding."""
    yield from _walk(model, model)


def _walk(node: Any, model: Any) -> Iterator[bytes]:
    if isinstance(node, np.ndarray):
        yield f"{node.dtype}{node.shape}".encode()
        yield node.tobytes()
    elif isinstance(node, list):
        yield f"[{len(node)}]".encode()
        for item in node:
            yield from _walk(item, model)
    elif hasattr(node, "__dict__"):
        yield type(node).__name__.encode()
        for field, value in sorted(vars(node).items()):
            if field == "buffer":
                yield from _walk(model.buffers[value].data, model)
            elif field not in _MEANINGLESS:
                yield field.encode()
                yield from _walk(value, model)
    else:
        yield repr(node).encode()


def require_float(model: Any, path: Path) -> None:
    """Make sure that a model is float32 throughout, with finite constants.

    Raises:
        ModelError: it is quantized, half-precision, or has NaN or infinite weights.
    """
    graph = model.subgraphs[0]
    ends = {*indices(graph.inputs), *indices(graph.outputs)}
    for position, tensor in enumerate(graph.tensors):
        kind = type_name(tensor)
        if kind in QUANTIZED:
            whole = _computes_integers(model)
            other_way = "" if whole else ", or set model.dequantize: true"
            raise ModelError(
                f"{path}: is a {'full-integer' if whole else 'dynamic-range'} "
                f"quantized model ({kind} tensor {name(tensor)!r}); export it as "
                f"float32, the quantize stage does the rest{other_way}"
            )
        if kind == "FLOAT16" or (position in ends and kind != "FLOAT32"):
            raise ModelError(
                f"{path}: tensor {name(tensor)!r} is {kind}; export it as float32"
            )
        values = constant(model, tensor)
        if values is not None and kind == "FLOAT32" and not np.isfinite(values).all():
            raise ModelError(
                f"{path}: the weights {name(tensor)!r} contain NaN or infinity; "
                "the training has diverged: train again with a smaller learning rate"
            )


def _computes_integers(model: Any) -> bool:
    """Whether values computed at run time are quantized, not only the weights."""
    return any(
        type_name(tensor) in QUANTIZED and constant(model, tensor) is None
        for tensor in model.subgraphs[0].tensors
    )
