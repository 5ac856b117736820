"""nncase as it comes, in a child process: what users get without the pipeline.

Its output is canonical, nothing more: what comes of it is compared with what comes of
the pipeline, in nncase's own simulator.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210 import kmodel
from k210.child import Child
from k210.simulator import Simulator

Samples = NDArray[np.uint8]
Floats = NDArray[np.float32]

TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Bare:
    """What nncase is asked.

    ``calibration`` is what it is given as samples, whatever that is; None leaves the
    quantization out. ``count`` is how many samples it is told that there are.
    ``options`` are attributes of ``CompileOptions``; ``onnx`` says that the model is
    no TFLite file.
    """

    model: bytes
    calibration: bytes | None
    count: int = 0
    method: str = "no_clip"
    options: Mapping[str, Any] = field(default_factory=dict)
    onnx: bool = False


def ask(model: Path, samples: Samples, **options: Any) -> Bare:
    """The usual way of asking: uint8 N×C×H×W, which stand for 0 … 1."""
    _, channels, height, width = samples.shape
    usual = {
        "preprocess": True,
        "input_type": "uint8",
        "input_layout": "NCHW",
        "output_layout": "NCHW",
        "input_shape": [1, channels, height, width],
        "mean": [0.0] * channels,
        "std": [1.0] * channels,
    }
    return Bare(
        model.read_bytes(),
        samples.tobytes(),
        len(samples),
        options=usual | options,
    )


def compiled(bare: Bare, log: Path) -> bytes:
    """The kmodel that nncase makes; its uninitialised bits are cleared."""
    with Child(prepare, (), log, "nncase") as child:
        data: bytes = child.ask(bare, TIMEOUT_S)
    return kmodel.canonical(data)


def prepare() -> Callable[[Bare], bytes]:
    """In the child: what compiles."""
    return _compile


def _compile(bare: Bare) -> bytes:
    import nncase

    options = nncase.CompileOptions()
    options.target = "k210"
    for name, value in bare.options.items():
        setattr(options, name, value)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # nncase leaves a file where it stands
        compiler = nncase.Compiler(options)
        read = compiler.import_onnx if bare.onnx else compiler.import_tflite
        read(bare.model, nncase.ImportOptions())
        if bare.calibration is not None:
            calibration = nncase.PTQTensorOptions()
            calibration.calibrate_method = bare.method
            calibration.samples_count = bare.count
            calibration.set_tensor_data(bare.calibration)
            compiler.use_ptq(calibration)
        compiler.compile()
        os.chdir("/")
    data: bytes = compiler.gencode_tobytes()
    return data


def simulated(model: bytes, samples: Samples, log: Path) -> Floats:
    """A kmodel's first output for each sample, flat, by nncase's simulator."""
    simulator = Simulator(model, log)
    try:
        outputs = simulator.infer([sample.tobytes() for sample in samples])
    finally:
        simulator.close()
    return np.stack([np.frombuffer(first, "<f4") for first, *_ in outputs])


def expected(model: Path, samples: Samples) -> Floats:
    """What TFLite computes for the samples as 0 … 1, in the kmodel's order of axes."""
    from stages.interpret import Interpreter

    pictures = np.moveaxis(samples, 1, 3).astype(np.float32) / np.float32(255)
    outputs = np.concatenate(
        [first for first, *_ in Interpreter(model).run_many(pictures)]
    )
    planes = np.moveaxis(outputs, 3, 1) if outputs.ndim == 4 else outputs
    return planes.reshape(len(samples), -1)


def snr_db(reference: Floats, found: Floats) -> float:
    """Signal-to-noise ratio over all samples, in dB."""
    noise = float(np.square(reference - found, dtype=np.float64).sum())
    return 10 * float(np.log10(np.square(reference, dtype=np.float64).sum() / noise))


def random_samples(count: int, *shape: int, seed: int = 0) -> Samples:
    """Noise, uint8 N×C×H×W."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)
