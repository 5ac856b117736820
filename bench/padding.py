"""What the normalize stage gains: nncase alone against the plan that wins.

    python bench/padding.py [--nets v1,v2,v3,tiny] [--alphas 0.25,0.5] [--sizes 96x96]

Keras Applications' MobileNets with random weights, and MLPerf Tiny's networks in
``$K210_DATA/mlperf-tiny`` if there. Regions, CPU operations and memory are read off the
kmodels, time is modelled by ``k210.cost``, and the signal-to-noise ratio is that of the
outputs as nncase's simulator gives them, calibrated on the same pictures. Behind the
plan stand the largest difference of any feature map from the exported model's, of its
scale, and that of the outputs, of what they vary by from input to input.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from k210 import kmodel
from k210.child import Child
from k210.errors import ModelError
from k210.limits import SRAM
from k210.reference import Reference
from stages import tflite
from stages.nncase_child import Request, Result, prepare
from stages.normalize.choice import decide
from stages.normalize.fidelity import decibels
from stages.normalize.graph import read
from stages.normalize.plans import Compiler, Figures, figures
from stages.normalize.proof import Proof, adversarial, prove
from stages.runtime import reference

DATA_VARIABLE = "K210_DATA"
ALPHAS = "0.25,0.5,0.75,1.0"
SIZES = "96x96,128x128,160x160,192x192,224x224,240x320"
CLASSES, MANY_CLASSES = 10, 1000
PICTURES = 4
TIMEOUT_S = 900.0
RANGES = {"pretrainedResnet": (0.0, 255.0)}
"""Of pixels, for networks that do not take 0 to 1."""

HEAD = f"{'network':<30}{'':<8}{'regions':>8}{'CPU ops':>8}{'pads':>6}{'ms':>9}"

Size = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """One network before and after; ``proof`` compares the two forms."""

    network: str
    before: Figures
    after: Figures | None
    plan: str
    proof: Proof | None
    refused: str | None = None


def compare(model: bytes, name: str, folder: Path) -> Row:
    """Compile a network as it is exported and as the normalize stage would."""
    low, high = RANGES.get(name, (0.0, 1.0))
    compiler = _compiler(model, (low, high), folder)
    before = alone(model, compiler)
    try:
        choice = decide(tflite.unpack(model), compiler.measure)
        inputs = adversarial(choice.plan.graph.inputs[0].shape, low, high)
        proof = prove(model, choice.plan.lowered, inputs)
    except ModelError as error:
        return Row(name, before, None, "", None, str(error))
    return Row(name, before, choice.figures, choice.plan.name, proof)


def alone(model: bytes, compiler: Compiler) -> Figures:
    """What nncase makes of a network by itself, with all of its defects."""
    samples = compiler.upright
    request = Request(model, samples, "no_clip", False, compiler.range)
    try:
        with Child(prepare, (), compiler.log, "nncase compiling the network") as child:
            result: Result = child.ask(request, compiler.timeout)
        parsed = kmodel.parse(kmodel.canonical(result.kmodel))
    except ModelError as error:
        return Figures(refused=str(error))
    outputs = list(Reference(parsed).infer_many(each.tobytes() for each in samples))
    noise = round(decibels(compiler.expected, outputs), 2)
    return replace(figures(parsed), snr_db=noise)


def _compiler(model: bytes, limits: tuple[float, float], folder: Path) -> Compiler:
    """Pictures for a network, and what TFLite makes of them."""
    graph = read(tflite.unpack(model))
    _, height, width, channels = graph.inputs[0].shape
    floats = pictures((height, width, channels))
    upright = np.ascontiguousarray(np.moveaxis(np.rint(floats * 255), 3, 1), np.uint8)
    tried = np.moveaxis(upright, 1, 3).astype(np.float32) / np.float32(255)
    tried = tried * np.float32(limits[1] - limits[0]) + np.float32(limits[0])
    outputs = [each.origin for each in graph.outputs if each.origin is not None]
    return Compiler(
        upright=upright,
        turned=np.ascontiguousarray(np.flip(upright, (2, 3))),
        expected=reference(model, outputs, tried),
        range=limits,
        timeout=TIMEOUT_S,
        log=folder / "nncase.log",
    )


def pictures(shape: tuple[int, int, int]) -> Any:
    """Pictures of blurred blobs, 0 to 1, float N×H×W×C.

    They differ from one another on a large scale as photographs do, which noise does
    not: a network normalized by statistics of noise amplifies the least difference.
    """
    height, width, channels = shape
    rng = np.random.default_rng(0)
    found = np.zeros((PICTURES, *shape), np.float32)
    for size in (1, 2, 4, 8, 16):
        corners = rng.random((PICTURES, size + 1, size + 1, channels), np.float32)
        found += _stretched(_stretched(corners, 1, height), 2, width)
    low, high = found.min((1, 2, 3), keepdims=True), found.max((1, 2, 3), keepdims=True)
    return (found - low) / (high - low)


def _stretched(values: Any, axis: int, size: int) -> Any:
    """Values along an axis, interpolated to another size."""
    places = np.linspace(0, values.shape[axis] - 1, size)
    before = np.minimum(places.astype(int), values.shape[axis] - 2)
    shape = [1] * values.ndim
    shape[axis] = size
    share = (places - before).reshape(shape).astype(np.float32)
    one, other = (np.take(values, before + step, axis) for step in (0, 1))
    return one * (1 - share) + other * share


def keras_network(kind: str, alpha: float, size: Size, classes: int) -> bytes:
    """One of Keras Applications' networks as TFLite, without trained weights."""
    import keras

    from stages.conversion import to_tflite

    keras.utils.set_random_seed(0)
    keras.backend.clear_session()
    applications = keras.applications
    make = {
        "v1": applications.MobileNet,
        "v2": applications.MobileNetV2,
        "v3": applications.MobileNetV3Small,
    }[kind]
    more = {"include_preprocessing": False} if kind == "v3" else {}
    shape = (*size, 3)
    model = make(input_shape=shape, alpha=alpha, weights=None, classes=classes, **more)
    _enliven(model, shape)
    return to_tflite(lambda x: model(x, training=False), shape, Path(model.name))


def _enliven(model: Any, shape: tuple[int, int, int]) -> None:
    """Let the signal pass as through a trained network, not fade from layer to layer.

    Batch normalization has the statistics of a few pictures, scales and offsets that
    are random, and offsets that leave most values above zero: with half of them cut off
    a random network amplifies the least difference.
    """
    import keras

    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            count = layer.gamma.shape[0]
            layer.gamma.assign(rng.uniform(0.8, 1.2, count))
            layer.beta.assign(rng.normal(1.5, 0.3, count))
            layer.momentum = 0.0
    model(pictures(shape), training=True)


def mobilenets_v1(
    alphas: list[float], sizes: list[Size]
) -> Iterator[tuple[str, bytes]]:
    """MobileNetV1 of every alpha at every size, the largest with 1000 classes too."""
    for alpha in alphas:
        for size in sizes:
            name = f"MobileNetV1 {alpha} {_times(size)}"
            yield name, keras_network("v1", alpha, size, CLASSES)
            if (alpha, size) == (1.0, (224, 224)):
                name += f"/{MANY_CLASSES}"
                yield name, keras_network("v1", alpha, size, MANY_CLASSES)


def tiny() -> Iterator[tuple[str, bytes]]:
    """MLPerf Tiny's networks; nothing where there are none."""
    from stages.imports import dequantize

    folder = Path(os.environ.get(DATA_VARIABLE, "")) / "mlperf-tiny"
    for path in sorted(folder.glob("*.tflite")):
        model = tflite.read(path)
        dequantize.make_explicit(model)
        dequantize.fold(model)
        with tempfile.TemporaryDirectory() as name:
            target = Path(name) / path.name
            tflite.write(model, target)
            yield path.stem.split("_")[0], target.read_bytes()


def networks(options: argparse.Namespace) -> Iterator[tuple[str, bytes]]:
    """All that were asked for."""
    wanted = options.nets.split(",")
    alphas = [float(alpha) for alpha in options.alphas.split(",")]
    if "v1" in wanted:
        yield from mobilenets_v1(alphas, list(map(_size, options.sizes.split(","))))
    if "v2" in wanted:
        for alpha, side in ((0.35, 96), (0.35, 224), (1.0, 96), (1.0, 224)):
            model = keras_network("v2", alpha, (side, side), CLASSES)
            yield f"MobileNetV2 {alpha} {side}×{side}", model
    if "v3" in wanted:
        for side in (64, 96):
            model = keras_network("v3", 0.75, (side, side), CLASSES)
            yield f"MobileNetV3Small 0.75 {side}", model
    if "tiny" in wanted:
        yield from tiny()


def _size(text: str) -> Size:
    height, width = (int(part) for part in text.split("x"))
    return height, width


def _times(size: Size) -> str:
    return "×".join(map(str, size))


def lines(row: Row) -> Iterator[str]:
    """A row as text: before, and after."""
    yield _line(row.network, "alone", row.before)
    if row.after is None or row.proof is None:
        yield f"{'':<30}refused: {row.refused}"
    elif row.after.ms is None:
        yield _line("", "pipeline", row.after)
    else:
        found = f"{row.proof.difference:.0e}, {row.proof.dynamic:.0e}"
        yield f"{_line('', 'pipeline', row.after)}  {row.plan}: {found}"


def _line(name: str, what: str, found: Figures) -> str:
    if found.ms is None or found.total is None:
        return f"{name:<30}{what:<9} {found.refused}"
    snr = "" if found.snr_db is None else f"{found.snr_db:.1f} dB"
    return (
        f"{name:<30}{what:<9}{found.regions:>7}{found.cpu_ops:>8}{found.cpu_pads:>6}"
        f"{found.ms:>9.2f}{found.total / 1e6:>8.2f} MB{snr:>10}"
        + ("  does not fit" if found.total > SRAM else "")
    )


def main() -> int:
    """Print the table."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", default="v1,v2,v3,tiny")
    parser.add_argument("--alphas", default=ALPHAS)
    parser.add_argument("--sizes", default=SIZES)
    options = parser.parse_args()
    print(f"{HEAD}{'TOTAL':>11}{'SNR':>10}", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, model in networks(options):
            rows.append(compare(model, name, Path(folder)))
            print("\n".join(lines(rows[-1])), flush=True)
    print(f"RESULT {json.dumps([asdict(row) for row in rows])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
