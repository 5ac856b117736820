"""Trained models from elsewhere, brought into float TFLite with a batch of one.

Each format is a module with one function, ``convert(request) -> Imported``: it writes
the TFLite file and gives back the original in a runtime of its own (Keras,
TensorFlow, the TFLite interpreter, onnxruntime), with which ``worker`` compares what
was written. All of it happens in a child process.
"""

from pathlib import Path

from k210.child import Child
from k210.errors import ModelError, UserError
from stages.imports.request import Outcome, Request
from stages.imports.saved_model import is_saved_model
from stages.imports.worker import prepare

__all__ = ["Outcome", "Request", "format_of", "import_model"]

SUFFIXES = {
    ".tflite": "tflite",
    ".keras": "keras",
    ".h5": "keras",
    ".hdf5": "keras",
    ".onnx": "onnx",
}
"""Formats by the end of the file's name."""

ELSEWHERE = {
    ".pt": "PyTorch; export it with torch.onnx.export",
    ".pth": "PyTorch; export it with torch.onnx.export",
    ".pb": "part of a SavedModel; name the folder that saved_model.pb lies in",
    ".kmodel": "what this pipeline makes; name the model it was made from",
}
"""What to do with files that are not read, by the end of their name."""


def format_of(path: Path) -> str:
    """The format of a file or folder: tflite, keras, onnx or saved_model.

    Raises:
        ModelError: it is none that can be imported.
    """
    if is_saved_model(path):
        return "saved_model"
    if path.is_dir():
        raise ModelError(
            f"{path}: a folder without saved_model.pb is no SavedModel; name a model "
            "file, or the folder that saved_model.pb lies in"
        )
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    known = f"{', '.join(SUFFIXES)} and SavedModel folders can be imported"
    if suffix in ELSEWHERE:
        raise ModelError(f"{path}: is {ELSEWHERE[suffix]}; {known}")
    raise ModelError(f"{path}: not a known format of models; {known}")


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
    with Child(prepare, (form,), log, f"importing {request.source}") as child:
        outcome: Outcome = child.ask(request, timeout)
    return outcome
