"""nncase itself; imported and run in a child process only."""

import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from k210.errors import ModelError

OpNames = dict[str, list[str]]
"""Per function ("main", "k210_0", …): nncase's name of each instruction."""

_LINE = re.compile(r"\[\w+\] ?(.*)")


class NoRoom(ModelError):
    """nncase could not place the feature maps in KPU RAM; it does not say which."""


METHODS = ("no_clip", "l2", "cdf", "kld_m2")
"""Calibration methods that work; kld_m0 and kld_m1 ruin accuracy."""


@dataclass(frozen=True)
class Request:
    """What to compile.

    Attributes:
        model: the TFLite file's bytes.
        samples: uint8 N×C×H×W.
        method: one of METHODS.
        mse_weights: whether weights' scales minimise the squared error.
        range: what the bytes 0 and 255 of the input stand for.
    """

    model: bytes
    samples: NDArray[np.uint8]
    method: str
    mse_weights: bool
    range: tuple[float, float]


@dataclass(frozen=True)
class Result:
    """The kmodel's bytes and the names that nncase gave its operations."""

    kmodel: bytes
    op_names: OpNames


def prepare() -> Callable[[Request], Result]:
    """In the child: what answers compile requests."""
    return compile_model


def compile_model(request: Request) -> Result:
    """Compile; nncase drops files wherever it stands, so it stands in a temporary."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return _compile(request, Path(folder))
        except (RuntimeError, IndexError, ValueError) as error:
            if OUT_OF_MEMORY in str(error):
                raise NoRoom("nncase found no room in KPU RAM") from None
            raise ModelError(f"nncase refuses the model: {_clear(error)}") from None
        finally:
            os.chdir("/")


def _compile(request: Request, folder: Path) -> Result:
    import nncase

    _, channels, height, width = request.samples.shape
    options = nncase.CompileOptions()
    options.target = "k210"
    options.preprocess = True
    options.input_type = "uint8"
    options.input_layout = options.output_layout = "NCHW"
    options.input_shape = [1, channels, height, width]
    options.input_range = list(request.range)
    options.mean, options.std = [0.0] * channels, [1.0] * channels
    options.use_mse_quant_w = request.mse_weights
    options.dump_asm, options.dump_dir = True, str(folder)
    compiler = nncase.Compiler(options)
    compiler.import_tflite(request.model, nncase.ImportOptions())
    calibration = nncase.PTQTensorOptions()
    calibration.calibrate_method = request.method
    calibration.samples_count = len(request.samples)
    calibration.set_tensor_data(request.samples.tobytes())
    compiler.use_ptq(calibration)
    compiler.compile()
    data: bytes = compiler.gencode_tobytes()
    return Result(data, read_op_names(folder))


def read_op_names(folder: Path) -> OpNames:
    """The names in the ``runtime_ops.txt`` files below nncase's dump folder."""
    names = {}
    for path in folder.rglob("runtime_ops.txt"):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        matches = [_LINE.match(line) for line in lines]
        names[path.parent.name] = [match.group(1) for match in matches if match]
    return names


OUT_OF_MEMORY = "Allocator has ran out of memory"
"""nncase's words for maps that do not fit KPU RAM, whichever they are."""

HINTS = {
    "Unsupported tflite opcode": "replace that operator",
    "FusedUnary": "an activation follows a pooling; put the activation before it",
    "Emitter for": "replace that operator",
}


def _clear(error: Exception) -> str:
    """nncase's words on one line, and what they mean where that is known."""
    words = " ".join(str(error).split())
    for symptom, hint in HINTS.items():
        if symptom in words:
            return f"{words}: {hint}"
    return words
