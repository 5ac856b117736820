"""Import an ONNX model through onnx2tf, from N×C×H×W to N×H×W×C.

onnx2tf 1.28.8 (the newest for Python 3.10) expects named nodes and fixed sizes, and
compares layouts on sample pictures that it would download: a file of that name in the
working folder prevents it. It ends its process where it gives up. Quantized and half
precision models are refused; so are weights in files of their own, which the cache
would not see change.
"""

import importlib.util
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from k210.errors import ModelError
from stages.conversion import to_tflite
from stages.imports.inputs import require_one_input, require_size
from stages.imports.request import Floats, Imported, Request
from stages.reasons import reason

PICTURES = "calibration_image_sample_data_20x128x128x3_float32.npy"
"""What onnx2tf looks for in the working folder."""

QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "QLinear", "Integer")
"""Parts of the names of operators that only quantized models have."""

TO_NHWC = (0, 2, 3, 1)

UNCONVERTIBLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    RuntimeError,
    SystemExit,
    TypeError,
    ValueError,
)
"""What onnx2tf and the tools before it raise for graphs they are not made for."""


def convert(request: Request) -> Imported:
    """Write the target.

    Raises:
        ModelError: the file is damaged, quantized, takes other pictures, or holds what
            onnx2tf cannot convert.
    """
    path = request.source
    model = _read(path)
    name, planar = _input(model, request)
    session = _session(path)
    network = _network(model, name, planar, request)
    layouts = [tuple(output.shape) for output in network.outputs]
    data = to_tflite(lambda x: _flat(network, x), request.shape, path)
    request.target.write_bytes(data)

    def original(sample: Floats) -> list[Floats]:
        values = np.moveaxis(sample, 3, 1) if planar else sample
        outputs = session.run(None, {name: np.ascontiguousarray(values)})
        return [
            _laid_out(output, layout)
            for output, layout in zip(outputs, layouts, strict=True)
        ]

    return Imported(original)


def _flat(network: Any, x: Any) -> list[Any]:
    import tensorflow as tf

    outputs: list[Any] = tf.nest.flatten(network(x, training=False))
    return outputs


def _laid_out(output: Floats, layout: Sequence[int | None]) -> Floats:
    """An output in the order of axes that onnx2tf has chosen for it."""
    if output.ndim == 4 and _matches(output.transpose(TO_NHWC).shape, layout):
        return output.transpose(TO_NHWC)
    for axes in permutations(range(1, output.ndim)):
        if _matches(output.transpose((0, *axes)).shape, layout):
            return output.transpose((0, *axes))
    return output


def _matches(shape: tuple[int, ...], layout: Sequence[int | None]) -> bool:
    return len(shape) == len(layout) and all(
        want in (None, size) for size, want in zip(shape, layout, strict=True)
    )


def _read(path: Path) -> Any:
    """The ``ModelProto`` of a float32 model in one file."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    except (DecodeError, ValueError) as error:
        raise ModelError(
            f"{path}: not an ONNX file, or a damaged one ({reason(error)}); "
            "export or copy it again"
        ) from None
    if not model.graph.node:
        raise ModelError(
            f"{path}: holds no ONNX graph; the file is empty, cut short or of another "
            "format: export it again"
        )
    _refuse_unfit(model, path)
    return model


def _refuse_unfit(model: Any, path: Path) -> None:
    import onnx

    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ModelError(
                f"{path}: keeps the weights {tensor.name!r} in another file; save it "
                "as one file (onnx.save with save_as_external_data=False)"
            )
        if tensor.data_type == onnx.TensorProto.FLOAT16:
            raise ModelError(
                f"{path}: the weights {tensor.name!r} are float16; export it as float32"
            )
    for node in model.graph.node:
        if any(part in node.op_type for part in QUANTIZED):
            raise ModelError(
                f"{path}: is a quantized model (operator {node.op_type}); export it as "
                "float32, the quantize stage does the rest"
            )


def _input(model: Any, request: Request) -> tuple[str, bool]:
    """The input's name, and whether its channels come before rows and columns."""
    import onnx

    path = request.source
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in constants]
    require_one_input(len(inputs), path)
    kind = inputs[0].type.tensor_type
    if kind.elem_type != onnx.TensorProto.FLOAT:
        name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
        raise ModelError(f"{path}: its input is {name}; export it as float32")
    sizes = [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        for dim in kind.shape.dim
    ]
    planar = len(sizes) != 4 or _is_planar(sizes, request.shape)
    seen = [sizes[axis] for axis in TO_NHWC] if planar and len(sizes) == 4 else sizes
    require_size(seen, path, request.shape)
    return inputs[0].name, planar


def _is_planar(sizes: Sequence[int | None], shape: tuple[int, int, int]) -> bool:
    """Whether an input is N×C×H×W; ONNX models seldom are anything else."""
    channels = shape[2]
    return (
        sizes[1] in (None, channels)
        and sizes[3] != channels
        or (sizes[1] in (1, 3) and sizes[3] not in (1, 3))
    )


def _session(path: Path) -> Any:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    try:
        return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
    ) as error:
        raise ModelError(
            f"{path}: onnxruntime {onnxruntime.__version__} cannot run it: "
            f"{reason(error)}; export it again, for an older opset if it is new"
        ) from None


def _fixed(model: Any, planar: bool, request: Request) -> Any:
    """The model with all sizes fixed, its nodes named, what is constant computed."""
    import onnx
    import onnx_graphsurgeon

    height, width, channels = request.shape
    sizes = (1, channels, height, width) if planar else (1, height, width, channels)
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    graph = fixed.graph
    constants = {tensor.name for tensor in graph.initializer}
    kept = [each for each in graph.input if each.name not in constants]
    del graph.input[:]
    graph.input.extend(kept)
    for dim, size in zip(kept[0].type.tensor_type.shape.dim, sizes, strict=True):
        dim.dim_value = size
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    for position, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{position}"
    fixed = onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    surgeon = onnx_graphsurgeon.import_onnx(fixed)
    surgeon.fold_constants().cleanup().toposort()
    folded = onnx_graphsurgeon.export_onnx(surgeon, do_type_check=False)
    folded.ir_version = model.ir_version
    return onnx.shape_inference.infer_shapes(folded, data_prop=True)


def _network(model: Any, name: str, planar: bool, request: Request) -> Any:
    """The network as a model of Keras 2, which is what onnx2tf makes."""
    import onnx
    import onnx2tf

    path, version = request.source, onnx2tf.__version__
    if unknown := sorted({n.op_type for n in model.graph.node if not _is_known(n)}):
        raise ModelError(
            f"{path}: onnx2tf {version} does not convert the operators "
            f"{', '.join(unknown)}; export the model without them, or as TFLite"
        )
    pictures = np.random.default_rng(0).random((20, 128, 128, 3), np.float32)
    np.save(request.folder / PICTURES, pictures)
    kept = None if planar else [name, name.replace(":", "__")]  # as onnx2tf renames it
    try:
        return onnx2tf.convert(
            onnx_graph=_fixed(model, planar, request),
            keep_shape_absolutely_input_names=kept,
            not_use_onnxsim=True,
            not_use_opname_auto_generate=True,
            disable_model_save=True,
            non_verbose=True,
        )
    except (*UNCONVERTIBLE, onnx.shape_inference.InferenceError) as error:
        node = getattr(error, "onnx_op_name", None)
        where = f" at its node {node!r}" if node else ""
        raise ModelError(
            f"{path}: onnx2tf {version} cannot convert it{where}: {reason(error)}; "
            "convert it to TFLite by other means and import that"
        ) from None


def _is_known(node: Any) -> bool:
    return importlib.util.find_spec(f"onnx2tf.ops.{node.op_type}") is not None
