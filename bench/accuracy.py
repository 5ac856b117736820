"""What the pipeline gains in accuracy: nncase by itself against normalize to compile.

    K210_DATA=FOLDER python bench/accuracy.py [--networks v1,v2,v3,resnet8] [--device]

Four networks on photographs of hand signs (``$K210_DATA/sign-digits``, 64×64, folders
train/CLASS and test/CLASS), trained where ``build/accuracy`` has no trained one yet.
The float model, what nncase makes of it with its defaults (no padding pass, no repaired
tables, no search) and what the pipeline makes of it answer on all test pictures; both
kmodels run on the host, bit for bit as in nncase's simulator, and with ``--device``
ours also on the virtual board. A drop is given with its 95 % interval on the same
pictures.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210.child import Child
from k210.kmodel import canonical
from k210.manifest import Input
from k210.reference import Reference
from stages import dataset, project
from stages.dataset import Dataset
from stages.interpret import Interpreter
from stages.intervals import paired_drop
from stages.nncase_child import Request, Result, prepare

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "accuracy"
NETWORKS = {
    "v1": ("mobilenet_v1", 0.25),
    "v2": ("mobilenet_v2", 0.35),
    "v3": ("mobilenet_v3_small", 0.75),
    "resnet8": ("resnet8", 1.0),
}
SAMPLES = 64
"""Pictures that nncase alone is calibrated with, as many as the pipeline's default."""

TIMEOUT_S = 3600.0
POINT = 0.01
"""How much accuracy ours may lose, unless the interval says that it may be chance."""

PROJECT = """\
data:
  kind: folder
  path: ${{K210_DATA}}/sign-digits
  split: {{by: folder}}
  size: [64, 64]
  color: rgb
  resize: crop
model: {{architecture: {architecture}, alpha: {alpha}}}
train: {{epochs: 60}}
"""
AFTER_TRAINING = ("export", "normalize", "quantize", "compile")
ON_BOARD = ("flash", "check")
HEAD = (
    f"{'network':<10}{'float':>8}{'nncase':>8}{'ours':>8}  "
    f"{'drop, 95 % interval':<28}{'device':>8}{'search':>9}{'compile':>9}  way"
)

Answers = NDArray[np.int64]


@dataclass(frozen=True)
class Row:
    """One network: fractions of the test pictures, seconds, and how it was quantized.

    ``drop`` is what ours loses against float, ``drop_ci95`` its interval.
    """

    network: str
    pictures: int
    float_accuracy: float
    nncase_accuracy: float
    accuracy: float
    drop: float
    drop_ci95: tuple[float, float]
    device_accuracy: float | None
    way: str
    search_s: float
    compile_s: float
    nncase_compile_s: float

    @property
    def good(self) -> bool:
        """Whether ours loses at most a point, or no more than chance explains."""
        return self.drop <= POINT or self.drop_ci95[0] <= 0


def run(name: str, device: bool) -> Row:
    """Bring a network up to date and measure it."""
    folder = FOLDER / "build" / name
    if not (folder / "train/model.keras").exists():
        _stage("train", name)
    for stage in (*AFTER_TRAINING, *(ON_BOARD if device else ())):
        _stage(stage, name)
    return measured(name, folder, device)


def _stage(stage: str, name: str) -> None:
    print(f"{name}: {stage}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "stages", stage, "--project", name]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    subprocess.run(command, cwd=FOLDER, env=environment, stdout=sys.stderr, check=True)


def measured(name: str, folder: Path, device: bool) -> Row:
    """Compare a network's answers before and after."""
    settings = project.load(project.select(FOLDER, name), FOLDER)
    split = json.loads((folder / "train/split.json").read_bytes())
    data = dataset.load_recorded(settings.data, FOLDER, split)
    plan = json.loads((folder / "quantize/plan.json").read_bytes())
    ours_in = Input(**plan["input"])
    upright = dataset.input_of(settings.data)
    test = upright.prepare_batch(data.test.images)
    floats = Interpreter(folder / "export/model.tflite")
    exact = _classes(each[0] for each in floats.run_many(upright.to_float(test)))
    began = time.monotonic()
    alone = by_nncase(folder, upright, data)
    alone_s = time.monotonic() - began
    ours = (folder / "compile/model.kmodel").read_bytes()
    labels = data.test.labels
    assert labels is not None
    right = exact == labels
    before = _run(alone, test) == labels
    after = _run(ours, ours_in.prepare_batch(data.test.images)) == labels
    lost, gained = int((right & ~after).sum()), int((after & ~right).sum())
    both, neither = int((right & after).sum()), int((~right & ~after).sum())
    return Row(
        name,
        len(labels),
        float(right.mean()),
        float(before.mean()),
        float(after.mean()),
        (lost - gained) / len(labels),
        paired_drop(both, lost, gained, neither),
        _metric(folder, "check", "device_accuracy") if device else None,
        _metric(folder, "quantize", "way"),
        _metric(folder, "quantize", "seconds"),
        _metric(folder, "compile", "seconds"),
        round(alone_s, 1),
    )


def by_nncase(folder: Path, spec: Input, data: Dataset) -> bytes:
    """What nncase makes of the exported model with its defaults."""
    order = dataset.balanced_order(data.train.labels, len(data.train), 0)
    request = Request(
        model=(folder / "export/model.tflite").read_bytes(),
        samples=spec.prepare_batch(data.train.images[order[:SAMPLES]]),
        method="no_clip",
        mse_weights=False,
        range=spec.range,
    )
    with Child(prepare, (), FOLDER / "nncase.log", "nncase alone") as child:
        result: Result = child.ask(request, TIMEOUT_S)
    return canonical(result.kmodel)


def _run(model: bytes, samples: NDArray[np.uint8]) -> Answers:
    runs = Reference(model).infer_many(each.tobytes() for each in samples)
    return _classes(np.frombuffer(outputs[0], "<f4") for outputs in runs)


def _classes(scores: Iterable[NDArray[np.float32]]) -> Answers:
    return np.array([int(each.argmax()) for each in scores])


def _metric(folder: Path, stage: str, name: str) -> Any:
    return json.loads((folder / stage / "summary.json").read_bytes())[name]


def line(row: Row) -> str:
    """A row as text."""
    low, high = row.drop_ci95
    drop = f"{100 * row.drop:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"
    device = "–" if row.device_accuracy is None else f"{row.device_accuracy:.2%}"
    return (
        f"{row.network:<10}{row.float_accuracy:>8.2%}{row.nncase_accuracy:>8.2%}"
        f"{row.accuracy:>8.2%}  {drop:<28}{device:>8}{row.search_s:>7.1f} s"
        f"{row.compile_s:>7.1f} s  {row.way}{'' if row.good else '  TOO MUCH'}"
    )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--device", action="store_true")
    options = parser.parse_args()
    if not (Path(os.environ.get("K210_DATA", "")) / "sign-digits").is_dir():
        print("set K210_DATA to the folder that holds sign-digits", file=sys.stderr)
        return 2
    (FOLDER / "projects").mkdir(parents=True, exist_ok=True)
    rows = []
    print(HEAD, flush=True)
    for name in options.networks.split(","):
        architecture, alpha = NETWORKS[name]
        text = PROJECT.format(architecture=architecture, alpha=alpha)
        (FOLDER / "projects" / f"{name}.yaml").write_text(text, encoding="utf-8")
        rows.append(run(name, options.device))
        print(line(rows[-1]), flush=True)
    print(f"RESULT {json.dumps([asdict(row) for row in rows])}")
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
