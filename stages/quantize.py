"""Draw the calibration set and fix how the model is quantized.

The set comes from the training split only, class-balanced and seeded, and through
``k210.manifest``: the very bytes that the board will be given.
"""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from k210.errors import UserError
from stages import dataset, tflite
from stages.artifacts import read_json, write_json

if TYPE_CHECKING:
    from stages.lifecycle import Job, Metrics


def run(job: "Job") -> "Metrics":
    """Write ``plan.json`` and ``calibration.npz`` (``samples``: uint8 N×C×H×W).

    Raises:
        UserError: the training split has fewer samples than the set needs, or their
            pixels are all alike.
    """
    settings = job.settings
    wanted = settings.quantize
    split_json = read_json(job.input("train/split.json"))
    data = dataset.load_recorded(settings.data, job.user_file(""), split_json)
    if len(data.train) < wanted.samples:
        raise UserError(
            f"quantize.samples asks for {wanted.samples} samples and the training "
            f"split has {len(data.train)}; lower it or enlarge data.split.train"
        )
    order = dataset.balanced_order(data.train.labels, len(data.train), wanted.seed)
    chosen = data.train.take(order[: wanted.samples])
    normalized = read_json(job.input("normalize/layers.json"))
    spec = replace(dataset.input_of(settings.data), rotation=normalized["rotation"])
    limits = dataset.input_range(settings.data)
    samples = spec.prepare_batch(chosen.images)
    if samples.min() == samples.max():
        raise UserError(
            f"all pixels of the calibration set are {samples.min()}; "
            "nothing can be calibrated with it: check data.path"
        )
    np.savez_compressed(job.output("quantize/calibration.npz"), samples=samples)
    graph = tflite.read(job.input("normalize/model.tflite")).subgraphs[0]
    plan = {
        "method": wanted.method,
        "mse_weights": wanted.mse_weights,
        "samples": wanted.samples,
        "split": "train",
        "split_digest": data.train.digest(),
        "samples_digest": dataset.Split(samples, chosen.labels).digest(),
        "per_class": None
        if chosen.labels is None
        else np.bincount(chosen.labels).tolist(),
        "pixels": {"min": int(samples.min()), "max": int(samples.max())},
        "input": asdict(spec),
        "range": {"wanted": limits.wanted, "effective": limits.effective},
        "outputs": [
            {
                "name": tflite.name(graph.tensors[index]),
                "shape": list(tflite.shape(graph.tensors[index])),
                "labels": data.classes and list(data.classes),
                "rotation": output["rotation"],
            }
            for index, output in zip(
                tflite.indices(graph.outputs), normalized["outputs"], strict=True
            )
        ],
    }
    write_json(job.output("quantize/plan.json"), plan)
    return {
        "samples": wanted.samples,
        "pixel_mean": round(float(samples.mean()), 3),
        "zero_point": limits.zero_point,
        "range_shift_steps": round(limits.shift, 6),
    }
