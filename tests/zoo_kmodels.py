"""Compiles the networks of ``graphs.py`` and runs them in nncase's simulator.

    python tests/zoo_kmodels.py FOLDER [NAME...]

Writes for each network ``NAME.tflite``, ``NAME.kmodel`` (canonical) and ``NAME.npz``:

    inputs    uint8 N×bytes, each sample as the kmodel takes it
    output0…  uint8 N×bytes, what nncase's simulator gives, as it is in memory
    tflite0…  float32 N×…, what TFLite gives, in the layout of the kmodel (NCHW)

and ``index.json``: NAME → {"outputs": [shape, …], "simulator": true | why not}. Where
the simulator crashes on a kmodel there is no ``output``; where nncase does not compile
a network there is nothing of it but the reason, under "refused".
A name may be the beginning of several.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLES, CALIBRATION = 3, 4
LIMIT_S = 300.0


def pictures(shape: tuple[int, int, int], count: int, seed: int) -> NDArray[np.uint8]:
    """Noise of which each sample has less than the one before; uint8 N×C×H×W."""
    height, width, channels = shape
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (count, channels, height, width))
    strength = 1 / np.arange(1, count + 1)
    return (noise * strength[:, np.newaxis, np.newaxis, np.newaxis]).astype(np.uint8)


def make(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Write the files; returns what ``index.json`` holds."""
    from graphs import graphs

    from k210.child import Child
    from stages.compile.nncase_child import prepare

    folder.mkdir(parents=True, exist_ok=True)
    index = {}
    with Child(prepare, (), folder / "nncase.log", "nncase") as child:
        for graph in graphs():
            if not names or graph.name.startswith(tuple(names)):
                index[graph.name] = _make_one(folder, graph, child)
                print(graph.name, index[graph.name], flush=True)
    (folder / "index.json").write_text(json.dumps(index, indent=1))
    return index


def _make_one(folder: Path, graph: Any, child: Any) -> dict[str, Any]:
    from k210 import kmodel
    from k210.errors import ModelError
    from stages.compile.nncase_child import Request
    from stages.conversion import to_tflite

    path = folder / f"{graph.name}.tflite"
    path.write_bytes(to_tflite(graph.function(), graph.shape, path))
    samples = pictures(graph.shape, CALIBRATION, 0)
    request = Request(path.read_bytes(), samples, "no_clip", False, (0.0, 1.0))
    try:
        data = kmodel.canonical(child.ask(request, LIMIT_S).kmodel)
    except ModelError as error:
        return {"refused": str(error)}
    path.with_suffix(".kmodel").write_bytes(data)
    inputs = pictures(graph.shape, SAMPLES, 1)
    answers: dict[str, Any] = {"inputs": inputs.reshape(SAMPLES, -1)}
    answers |= _tflite(path, inputs)
    simulator: bool | str = True
    try:
        answers |= _simulated(data, inputs, folder / "nncase.log")
    except ModelError as error:
        simulator = str(error)
    np.savez(path.with_suffix(".npz"), **answers)
    shapes = [list(tensor.shape) for tensor in kmodel.parse(data).entry.outputs]
    return {"outputs": shapes, "simulator": simulator}


def _tflite(path: Path, inputs: NDArray[np.uint8]) -> dict[str, Any]:
    from stages.interpret import Interpreter

    floats = np.moveaxis(inputs, 1, 3).astype(np.float32) / np.float32(255)
    columns = zip(*Interpreter(path).run_many(floats), strict=True)
    found = {}
    for number, column in enumerate(columns):
        values = np.concatenate(column)
        values = np.moveaxis(values, 3, 1) if values.ndim == 4 else values
        found[f"tflite{number}"] = np.ascontiguousarray(values)
    return found


def _simulated(data: bytes, inputs: NDArray[np.uint8], log: Path) -> dict[str, Any]:
    from k210.simulator import Simulator

    simulator = Simulator(data, log)
    try:
        answers = simulator.infer([sample.tobytes() for sample in inputs])
    finally:
        simulator.close()
    return {
        f"output{number}": np.stack([np.frombuffer(raw, np.uint8) for raw in column])
        for number, column in enumerate(zip(*answers, strict=True))
    }


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    make(Path(sys.argv[1]), sys.argv[2:])
