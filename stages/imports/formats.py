"""Which format a model is in, by the name of its file."""

from pathlib import Path

from k210.errors import ModelError
from stages.imports.saved_model import is_saved_model

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
