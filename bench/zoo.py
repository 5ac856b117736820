"""What every architecture costs the KPU, as modelled by `k210.cost`.

    python bench/zoo.py [--alpha 0.25] [--networks cnn,kpunet] [--sizes 64x64x3]

Each network is built, converted and compiled by nncase with the same code as in the
pipeline; the KPU's time is that of the layers nncase made of it. With ``--train DATA``
(a folder with train/CLASS/*.jpg and test/CLASS/*.jpg) kpunet and its peer, MobileNetV1
0.25, are also trained on it, at 64×64×3, to compare what they reach in what time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from k210 import cost, kmodel
from k210.child import Child
from k210.errors import ModelError
from stages.fit import require_fit
from stages.nncase_child import Request, Result, prepare
from stages.project.schema import Model

Shape = tuple[int, int, int]

ROOT = Path(__file__).parents[1]
SIZES = "32x32x1,64x64x3,96x96x3"
KEYWORDS: Shape = (10, 49, 1)
"""The spectrogram that DS-CNN is made for."""

CALIBRATION = 4
TIMEOUT_S = 300
DUEL = {"kpunet": 0.5, "mobilenet_v1": 0.25}
"""Networks to train, and their alpha; the first is to beat the second."""

PROJECT = """\
data:
  kind: folder
  path: {data}
  size: [64, 64]
  channels: 3
  resize: crop
  split: {{by: folder, validation: 0}}
model: {{architecture: {name}, alpha: {alpha}}}
train: {{epochs: 60}}
"""
HEAD = (
    "network",
    "input",
    "params",
    "MMAC",
    "KPU ms",
    "layers",
    "regions",
    "CPU ops",
    "KiB",
)


@dataclass(frozen=True)
class Row:
    """One network at one size; what it became, or why nncase or the chip refuses it."""

    network: str
    shape: Shape
    parameters: int
    macs: int
    kpu_ms: float | None = None
    layers: int | None = None
    regions: int | None = None
    cpu_ops: int | None = None
    total_kib: float | None = None
    refused: str | None = None


def macs(model: Any) -> int:
    """Multiply-accumulates of a Keras model's convolutions and dense layers."""
    import keras

    convolutions = keras.layers.Conv2D, keras.layers.DepthwiseConv2D
    total = 0
    for layer in model.layers:
        if isinstance(layer, convolutions):
            total += layer.kernel.shape.num_elements() * np.prod(
                layer.output.shape[1:3], dtype=int
            )
        elif isinstance(layer, keras.layers.Dense):
            total += layer.kernel.shape.num_elements()
    return int(total)


def measure(model: Any, name: str, shape: Shape, log: Path) -> Row:
    """Convert and compile a Keras model, and add up what the KPU would take."""
    from stages.conversion import to_tflite

    row = Row(name, shape, model.count_params(), macs(model))
    tflite = to_tflite(lambda x: model(x, training=False), shape, Path(model.name))
    try:
        parsed = kmodel.parse(kmodel.canonical(_compiled(tflite, shape, log)))
        require_fit(parsed)
    except ModelError as error:
        return Row(name, shape, row.parameters, row.macs, refused=str(error))
    kinds = [op for op in parsed.ops() if op.where == "cpu"]
    calls = sum(op.kind == "call" for op in kinds)
    return Row(
        name,
        shape,
        row.parameters,
        row.macs,
        kpu_ms=cost.kpu_ms(parsed),
        layers=len(list(parsed.convs())),
        regions=calls,
        cpu_ops=len(kinds) - calls,
        total_kib=parsed.memory().total / 1024,
    )


def _compiled(tflite: bytes, shape: Shape, log: Path) -> bytes:
    height, width, channels = shape
    rng = np.random.default_rng(0)
    size = (CALIBRATION, channels, height, width)
    samples = rng.integers(0, 256, size, dtype=np.uint8)
    request = Request(tflite, samples, "no_clip", False, (0.0, 1.0))
    with Child(prepare, (), log, "nncase compiling the network") as child:
        result: Result = child.ask(request, TIMEOUT_S)
    return result.kmodel


def zoo(networks: list[str], sizes: list[Shape], settings: dict[str, Any]) -> list[Row]:
    """Every network at every size; DS-CNN at that of spectrograms too."""
    import keras

    from stages.train.architectures import build

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in networks:
            extra = [KEYWORDS] if name == "ds_cnn" else []
            for shape in [*sizes, *extra]:
                keras.utils.set_random_seed(0)
                keras.backend.clear_session()
                described = Model.model_validate({"architecture": name, **settings})
                model = build(described, shape, 10)
                rows.append(measure(model, name, shape, Path(folder) / "nncase.log"))
                print(_line(rows[-1]), flush=True)
    return rows


def _line(row: Row) -> str:
    size = "×".join(map(str, row.shape))
    start = f"{row.network:<19}{size:<9}{row.parameters:>9}{row.macs / 1e6:>8.2f}"
    if row.kpu_ms is None:
        return f"{start}  refused: {row.refused}"
    counts = f"{row.layers:>8}{row.regions:>9}{row.cpu_ops:>9}"
    return f"{start}{row.kpu_ms:>8.2f}{counts}{row.total_kib:>7.0f}"


def duel(data: Path) -> dict[str, dict[str, float]]:
    """Train the two on a folder of pictures; test accuracy and modelled KPU time."""
    found = {}
    for name, alpha in DUEL.items():
        with tempfile.TemporaryDirectory() as folder:
            accuracy = _trained(Path(folder), data.resolve(), name, alpha)
        settings = {"alpha": alpha, "padding": "same"}
        (row,) = zoo([name], [(64, 64, 3)], settings)
        assert row.kpu_ms is not None, row.refused
        found[name] = {"test_accuracy": accuracy, "kpu_ms": row.kpu_ms}
        print(f"{name} {alpha}: {accuracy:.2%} on test, {row.kpu_ms:.2f} ms modelled")
    return found


def _trained(root: Path, data: Path, name: str, alpha: float) -> float:
    """Run the train stage of a project of its own."""
    text = PROJECT.format(data=data, name=name, alpha=alpha)
    (root / "pipeline.yaml").write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages", "train"]
    subprocess.run(command, cwd=root, env=environment, check=True)
    summary = json.loads((root / "build/pipeline/train/summary.json").read_bytes())
    return float(summary["test_accuracy"])


def _size(text: str) -> Shape:
    height, width, channels = (int(part) for part in text.split("x"))
    return height, width, channels


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    annotation = Model.model_fields["architecture"].annotation
    literal = next(part for part in get_args(annotation) if get_args(part))
    names = ",".join(get_args(literal))
    parser.add_argument("--networks", default=names, help="names with commas between")
    parser.add_argument("--sizes", default=SIZES, help="such as 64x64x3,96x96x3")
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--padding", choices=("same", "kpu"), default="kpu")
    parser.add_argument("--train", type=Path, help="folder of pictures to train on")
    return parser.parse_args()


def _beats(found: dict[str, dict[str, float]]) -> bool:
    """Whether the first network is at least as good and as fast as the second."""
    first, second = found.values()
    better = first["test_accuracy"] >= second["test_accuracy"]
    return better and first["kpu_ms"] <= second["kpu_ms"]


def main() -> int:
    """Print the table; status 1 if kpunet was trained and does not beat its peer."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options = _arguments()
    sizes = [_size(text) for text in options.sizes.split(",")]
    settings = {"alpha": options.alpha, "padding": options.padding}
    name, size, params, mmac, *rest = HEAD
    line = f"{name:<19}{size:<9}{params:>9}{mmac:>8}"
    widths = (8, 8, 9, 9, 7)
    print(line + "".join(f"{word:>{w}}" for word, w in zip(rest, widths, strict=True)))
    rows = zoo(options.networks.split(","), sizes, settings)
    result = {**settings, "rows": [asdict(row) for row in rows]}
    lost = False
    if options.train:
        result["trained"] = duel(options.train)
        lost = not _beats(result["trained"])
    print(f"RESULT {json.dumps(result)}")
    return int(lost)


if __name__ == "__main__":
    sys.exit(main())
