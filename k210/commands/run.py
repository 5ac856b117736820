"""Run a kmodel on its input bytes or on a picture, and write down what it gives."""

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from k210.commands.engines import ENGINES
from k210.commands.files import (
    read_array,
    read_bytes,
    read_kmodel,
    read_picture,
    write_array,
    write_arrays,
    write_text,
)
from k210.errors import UserError
from k210.kmodel import DType, Kmodel
from k210.manifest import Manifest

HELP = "run a kmodel"

Outputs = list[NDArray[np.generic]]

_NUMPY = {DType.F32: "<f4", DType.U8: "u1", DType.I8: "i1"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", type=Path, help="a .kmodel file of nncase 1.9")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--input",
        type=Path,
        help=".npy of uint8 as the kmodel takes it: C×H×W, or N×C×H×W for N samples",
    )
    source.add_argument(
        "--image", type=Path, help="a picture, prepared as the manifest says"
    )
    parser.add_argument(
        "--manifest",
        type=Path,
        help="for --image; default: manifest.json beside the model",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="the outputs, N×…: .npy, or .npz (output0, …) where there are several",
    )
    parser.add_argument(
        "--trace", type=Path, help=".npz of what each op gives for the first sample"
    )
    parser.add_argument(
        "--timings",
        type=Path,
        help=".json of the seconds that each op takes on the chip, by op id",
    )
    parser.add_argument(
        "--engine",
        choices=list(ENGINES),
        default=next(iter(ENGINES)),
        help="what runs it; default: %(default)s",
    )


def main(options: argparse.Namespace) -> None:
    """Run, write the files that are asked for, print a summary.

    Raises:
        UserError: a file cannot be read or written, or does not suit the model.
    """
    model = read_kmodel(options.model)
    _require_writable_as(options.output, model)
    samples = _samples(options, model)
    with ENGINES[options.engine](model) as engine:
        outputs = _stacked(model, list(engine.infer_many(samples)))
        if options.trace:
            write_arrays(options.trace, engine.trace(samples[0]))
        timings = engine.timings()
    if options.timings:
        write_text(options.timings, json.dumps(dict(timings), indent=1) + "\n")
    if options.output and options.output.suffix == ".npz":
        named = {f"output{number}": each for number, each in enumerate(outputs)}
        write_arrays(options.output, named)
    elif options.output:
        write_array(options.output, outputs[0])
    _summarize(outputs, sum(timings.values()))


def _require_writable_as(path: Path | None, model: Kmodel) -> None:
    count = len(model.entry.outputs)
    if path is not None and path.suffix not in (".npy", ".npz"):
        raise UserError(f"{path}: outputs are written as .npy or .npz; name it so")
    if path is not None and path.suffix == ".npy" and count > 1:
        raise UserError(f"{path}: the model has {count} outputs; name a .npz file")


def _samples(options: argparse.Namespace, model: Kmodel) -> list[bytes]:
    """The input bytes of each sample."""
    size = sum(tensor.range.size for tensor in model.entry.inputs)
    if options.image:
        path = options.manifest or options.model.with_name("manifest.json")
        manifest = Manifest.from_json(read_bytes(path))
        prepared = manifest.prepare(read_picture(options.image))
        if len(prepared) != size:
            raise UserError(f"{path}: is not the manifest of {options.model}; name it")
        return [prepared]
    array = read_array(options.input)
    if not array.size or array.size % size:
        raise UserError(
            f"{options.input}: holds {array.size} bytes and the model takes {size} "
            "per sample; give it whole samples"
        )
    return [sample.tobytes() for sample in array.reshape(-1, size)]


def _stacked(model: Kmodel, answers: list[list[bytes]]) -> Outputs:
    """Each output as one array, N×… for N samples."""
    outputs: Outputs = []
    for number, tensor in enumerate(model.entry.outputs):
        if tensor.range.dtype not in _NUMPY:
            raise UserError(f"output {number} holds {tensor.range.dtype.name}")
        dtype = _NUMPY[tensor.range.dtype]
        shape = tensor.shape[1:] if tensor.shape[0] == 1 else tensor.shape
        raw = b"".join(answer[number] for answer in answers)
        outputs.append(np.frombuffer(raw, dtype).reshape(len(answers), *shape))
    return outputs


def _summarize(outputs: Outputs, seconds: float) -> None:
    for number, output in enumerate(outputs):
        shape = "×".join(map(str, output.shape))
        line = f"output{number}: {output.dtype.name} {shape}"
        if output.ndim == 2:
            classes = ", ".join(str(row.argmax()) for row in output[:10])
            line += f", largest at {classes}{', …' if len(output) > 10 else ''}"
        print(line)
    print(f"on the chip {seconds * 1e3:.2f} ms per inference, modelled")
