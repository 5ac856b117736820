"""Import a TFLite file: float32, float16, or with 8-bit weights taken back to float.

Full-integer and dynamic-range models are refused: nncase ends its process on the
first and computes nonsense from the second. ``model.dequantize`` takes the weights of
a dynamic-range model for float ones. TFLite itself quantizes the feature maps of such
a model while it runs, so the two agree as well as its kernels agree among themselves
and not better; the import is compared with the same weights behind TFLite's own
DEQUANTIZE, and the distance from the original is reported beside it.
"""

import shutil
from pathlib import Path
from typing import Any

from k210.errors import ModelError, UserError
from stages import tflite
from stages.imports.dequantize import fold, make_explicit
from stages.imports.inputs import require_one_input, require_size
from stages.imports.request import Imported, Request
from stages.interpret import Interpreter
from stages.reasons import reason


def convert(request: Request) -> Imported:
    """Write the target.

    Raises:
        ModelError: the file is damaged, quantized, or takes other pictures.
        UserError: ``dequantize`` is asked of a model without 8-bit weights.
    """
    with tflite.rewriting(request.source):
        return _convert(request)


def _convert(request: Request) -> Imported:
    source, target = request.source, request.target
    model = tflite.read(source)
    exact, others = source, {}
    if request.dequantize:
        exact = _explicit(model, request)
        others["dynamic_range_difference"] = _runtime(source, request)
    changed = bool(fold(model)) or request.dequantize
    tflite.require_float(model, source)
    changed |= tflite.fix_batch(model)
    changed |= _fix_size(model, request)
    if changed:
        tflite.write(model, target)
    else:
        shutil.copyfile(source, target)
    return Imported(_runtime(exact, request), others)


def _explicit(model: Any, request: Request) -> Path:
    """The model with its weights behind DEQUANTIZE operators, as a file."""
    if not make_explicit(model):
        raise UserError(
            f"{request.source}: has no 8-bit weights; take model.dequantize out"
        )
    path = request.folder / "explicit.tflite"
    tflite.write(model, path)
    return path


def _runtime(path: Path, request: Request) -> Any:
    return Interpreter(path, request.shape).run


def _fix_size(model: Any, request: Request) -> bool:
    """Fix an open height or width for good, with the sizes that TFLite finds then."""
    graph = model.subgraphs[0]
    require_one_input(len(tflite.indices(graph.inputs)), request.source)
    found = tflite.static_shape(graph.tensors[graph.inputs[0]])
    require_size(found, request.source, request.shape)
    if -1 not in found:
        return False
    path = request.folder / "open.tflite"
    tflite.write(model, path)
    sizes = _sizes(path, request)
    for position, tensor in enumerate(graph.tensors):
        tensor.shape, tensor.shapeSignature = sizes[position], None
    return True


def _sizes(path: Path, request: Request) -> dict[int, list[int]]:
    """Each tensor's shape for pictures of the data section's size."""
    import tensorflow as tf

    resolver = tf.lite.experimental.OpResolverType
    interpreter = tf.lite.Interpreter(
        str(path),  # a delegate would hide the shapes inside it
        experimental_op_resolver_type=resolver.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    try:
        interpreter.resize_tensor_input(
            interpreter.get_input_details()[0]["index"], [1, *request.shape]
        )
        interpreter.allocate_tensors()
        interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"{request.source}: its open sizes cannot be set to "
            f"{'×'.join(map(str, request.shape))}: {reason(error)}; export it "
            "with a fixed size"
        ) from None
    return {
        detail["index"]: detail["shape"].tolist()
        for detail in interpreter.get_tensor_details()
    }
