"""Whether the pixels are what the model was trained on.

A model in a file does not say which numbers stand for black and white. Where another of
the usual ranges makes it answer much better, ``data.range`` is wrong; nncase would
calibrate it all the same.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from k210.errors import UserError
from k210.manifest import Input
from stages.dataset import Split
from stages.interpret import Interpreter
from stages.intervals import wilson

USUAL = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-0.5, 0.5), (-128.0, 127.0))
"""Ranges that models are trained on."""

TRIED = 128
"""Training pictures that tell."""

CERTAIN = 0.9
"""The part of them that a model gets right only with the range it was trained on."""

CHUNK = 256
COUNTED = 4096
"""Training pictures whose pixels are counted."""

TAIL = 0.01
"""The part of the pixels at either end that may be brighter or darker than others."""

COVERED = 0.9
"""The part of the training pictures' range that a calibration set must reach."""


def counts(train: Split, spec: Input) -> NDArray[np.int64]:
    """How often each byte stands in the first training pictures: C×256."""
    found = np.zeros((spec.shape[1], 256), np.int64)
    for start in range(0, min(COUNTED, len(train)), CHUNK):
        batch = spec.prepare_batch(train.images[start : start + CHUNK])
        for channel, planes in zip(found, batch.swapaxes(0, 1), strict=True):
            channel += np.bincount(planes.ravel(), minlength=256)
    return found


def require_covered(samples: NDArray[np.uint8], trained: NDArray[np.int64]) -> None:
    """Make sure that a calibration set reaches as far as the training pictures.

    Args:
        samples: the set, uint8 N×C×H×W.
        trained: how often each byte stands in the training pictures, C×256.

    Raises:
        UserError: its pixels are all alike, or of a narrower range.
    """
    low, high = int(samples.min()), int(samples.max())
    if low == high:
        raise UserError(
            f"all pixels of the calibration set are {low}; "
            "nothing can be calibrated with it: check data.path"
        )
    share = np.cumsum(trained.sum(axis=0)) / trained.sum()
    least = int(np.searchsorted(share, TAIL))
    most = int(np.searchsorted(share, 1 - TAIL))
    if min(high, most) - max(low, least) < COVERED * (most - least):
        raise UserError(
            f"the calibration set's pixels reach from {low} to {high} and those of the "
            f"training pictures from {least} to {most}; raise quantize.samples, or "
            "choose others by quantize.seed"
        )


def require_trained_range(interpreter: Interpreter, train: Split, spec: Input) -> None:
    """Make sure that no other range than the input's makes a classifier right.

    Models without classes and data without labels are let pass.

    Raises:
        UserError: another one does; which.
    """
    some = train.take(np.arange(min(TRIED, len(train))))
    if some.labels is None:
        return
    samples = spec.prepare_batch(some.images)
    right = _right(interpreter, samples, some.labels, spec)
    count = len(some)
    if right is None or right >= CERTAIN * count:
        return
    _, reached = wilson(right, count)
    for low, high in USUAL:
        other = replace(spec, range=(low, high))
        found = _right(interpreter, samples, some.labels, other)
        if found is not None and wilson(found, count)[0] > reached:
            raise UserError(
                f"the model gets {right} of {count} training pictures right with "
                f"pixels from {spec.range[0]:g} to {spec.range[1]:g}, and {found} with "
                f"pixels from {low:g} to {high:g}, which it was trained on: set "
                f"data.range: [{low:g}, {high:g}], data.mean: 0 and data.std: 1"
            )


def _right(
    interpreter: Interpreter,
    samples: NDArray[np.uint8],
    labels: NDArray[np.int64],
    spec: Input,
) -> int | None:
    """How many pictures a classifier gets right; None if the model is none."""
    right = 0
    runs = interpreter.run_many(spec.to_float(samples))
    for outputs, label in zip(runs, labels, strict=True):
        if len(outputs) != 1 or outputs[0].ndim != 2:
            return None
        right += int(outputs[0].argmax()) == label
    return right
