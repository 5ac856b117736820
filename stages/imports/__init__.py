"""Trained models from elsewhere, brought into float TFLite with a batch of one.

Each format is a module with one function, ``convert(request) -> Imported``: it writes
the TFLite file and gives back the original in a runtime of its own (Keras,
TensorFlow, the TFLite interpreter, onnxruntime), with which ``worker`` compares what
was written. All of it happens in a child process.
"""

from pathlib import Path

from k210.child import Child
from k210.errors import UserError
from stages.imports.formats import format_of
from stages.imports.request import Outcome, Request
from stages.imports.worker import prepare

__all__ = ["Outcome", "Request", "format_of", "import_model"]


def import_model(request: Request, log: Path, timeout: float) -> Outcome:
    """Convert a model to TFLite and compare the two.

    Args:
        request: the model, and where to write it.
        log: the file that gets what the converters print.
        timeout: seconds after which they are given up.

    Raises:
        UserError: the request does not suit the format.
        ModelError: the model cannot be imported, with the reason.
    """
    form = format_of(request.source)
    if request.signature is not None and form != "saved_model":
        raise UserError(
            f"{request.source}: only a SavedModel has signatures; take "
            "model.signature out"
        )
    if request.dequantize and form != "tflite":
        raise UserError(
            f"{request.source}: only TFLite models are dequantized; take "
            "model.dequantize out"
        )
    with Child(prepare, (), log, f"importing {request.source}") as child:
        outcome: Outcome = child.ask(request, timeout)
    return outcome
