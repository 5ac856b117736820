"""The host reference against nncase's simulator: MobileNetV1 0.25 at 64×64, per minute.

Both run the same kmodel on the same pictures in turns and must give the same; the
reference uses all processors, as the check stage lets it.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from k210.child import Child
from k210.reference import Reference
from k210.simulator import Simulator
from stages.compile.nncase_child import Request, Result, prepare
from stages.conversion import to_tflite
from stages.project.schema import Model

SHAPE = (64, 64, 3)
PICTURES, ROUNDS, CALIBRATION = 40, 5, 4
WANTED = 1000
"""Pictures a minute."""

TIMEOUT_S = 120.0


def compiled(log: Path, shape: tuple[int, int, int] = SHAPE) -> bytes:
    """The kmodel, with random weights."""
    import keras

    from stages.train.architectures import build

    keras.utils.set_random_seed(0)
    settings = {"architecture": "mobilenet_v1", "alpha": 0.25, "padding": "same"}
    model = build(Model.model_validate(settings), shape, 10)
    tflite = to_tflite(lambda x: model(x, training=False), shape, Path(model.name))
    height, width, channels = shape
    size = (CALIBRATION, channels, height, width)
    samples = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    request = Request(tflite, samples, "no_clip", False, (0.0, 1.0))
    with Child(prepare, (), log, "nncase compiling the network") as child:
        result: Result = child.ask(request, TIMEOUT_S)
    return result.kmodel


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> int:
    """Measure, print both rates; status 1 where the reference is too slow or wrong."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    rng = np.random.default_rng(1)
    pictures = [rng.bytes(int(np.prod(SHAPE))) for _ in range(PICTURES)]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        model = compiled(log)
        simulator = Simulator(model, log)
        reference = Reference(model)
        same = list(reference.infer_many(pictures)) == simulator.infer(pictures)
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(seconds(lambda: list(reference.infer_many(pictures))))
            theirs.append(seconds(lambda: simulator.infer(pictures)))
        simulator.close()
    mine, peer = (60 * PICTURES / statistics.median(each) for each in (ours, theirs))
    print(f"k210.reference:     {mine:>8.0f} pictures a minute, {WANTED} wanted")
    print(f"nncase's simulator: {peer:>8.0f} pictures a minute")
    print(f"ratio {mine / peer:.1f}, outputs {'equal' if same else 'DIFFER'}")
    result = {"reference": mine, "simulator": peer, "wanted": WANTED, "equal": same}
    print(f"RESULT {json.dumps(result)}")
    return int(mine < WANTED or not same)


if __name__ == "__main__":
    sys.exit(main())
