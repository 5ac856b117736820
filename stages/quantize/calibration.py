"""The pictures that quantization is calibrated with, and those it is judged on.

The former come from the training split only: class-balanced, seeded, and without
outliers. Networks with gates have pictures on which some layer reaches a multiple of
what it usually does; nncase's ranges would have to span them, at the cost of all other
pictures (a MobileNetV3-Small gains 8 to 10 dB without them).
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from k210.manifest import Input
from stages import dataset, tflite
from stages.dataset import Dataset, Split
from stages.quantize.scoring import Held
from stages.runtime import Runtime

Pictures = NDArray[np.uint8]
Indices = NDArray[np.intp]

OUTLYING = 3.0
"""A layer's maximum is this many times the median over pictures: an outlier."""

MOST = 0.25
"""Of the pictures that may be outliers; where more would be, only the worst are."""

HELD = 500
"""Pictures that candidates are judged on, where there are as many."""

LEAST_HELD = 16


@dataclass(frozen=True)
class Outlier:
    """A picture that was left out.

    ``index`` is its place in the training split, ``layer`` the name of the feature map
    whose maximum is ``times`` its median over pictures.
    """

    index: int
    layer: str
    times: float


class Screen:
    """Tells outliers by the maximum of each feature map of the float model.

    Args:
        model: the TFLite file's bytes.
        spec: how bytes become its input.
        usual: pictures that say what is usual, uint8 N×C×H×W.
    """

    def __init__(self, model: bytes, spec: Input, usual: Pictures) -> None:
        self._runtime, self._spec = Runtime(model, "the normalized model"), spec
        graph = tflite.unpack(model).subgraphs[0]
        maps = [int(node.outputs[0]) for node in graph.operators]
        self._maps = {index: tflite.name(graph.tensors[index]) for index in maps}
        maxima = np.array([self._maxima(each) for each in usual])
        median = np.median(maxima, axis=0)
        self._median = np.where(median > 0, median, np.inf)
        ratios = (maxima / self._median).max(axis=1)
        self._limit = max(OUTLYING, float(np.quantile(ratios, 1 - MOST)))

    def worst(self, picture: Pictures) -> tuple[str, float] | None:
        """The layer that makes a picture an outlier, and how many times the median."""
        ratios = self._maxima(picture) / self._median
        worst = int(ratios.argmax())
        if ratios[worst] <= self._limit:
            return None
        return list(self._maps.values())[worst], float(ratios[worst])

    def _maxima(self, picture: Pictures) -> NDArray[np.float64]:
        self._runtime.run(self._spec.to_float(picture[np.newaxis]))
        values = (self._runtime.value(index) for index in self._maps)
        return np.array([np.abs(each).max() for each in values], np.float64)


class Calibration:
    """A calibration set that grows as more of it is asked for.

    Args:
        train: the training split.
        order: which of its pictures may be taken; every prefix is class-balanced.
        spec: how pictures become the model's bytes.
        usual: how many pictures say what is usual.
        model: the TFLite file's bytes, to tell outliers by; None: they are kept.
    """

    def __init__(
        self,
        train: Split,
        order: Indices,
        spec: Input,
        usual: int,
        model: bytes | None,
    ) -> None:
        self._train, self._spec = train, spec
        self._screen = None
        if model is not None:
            self._screen = Screen(model, spec, self._prepared(order[:usual]))
        self.outliers: list[Outlier] = []
        self._next = _replaceable(order, train.labels)
        self._taken: list[int] = []
        self._samples: list[Pictures] = []
        self._lock = Lock()

    def take(self, count: int) -> Pictures:
        """The first ``count`` pictures, or all there are: uint8 N×C×H×W."""
        with self._lock:
            while len(self._taken) < count and self._add():
                pass
            return np.array(self._samples[:count])

    def labels(self, count: int) -> NDArray[np.int64] | None:
        """The labels of those that ``take`` gives; None where there are none."""
        labels = self._train.labels
        return None if labels is None else labels[self._taken[:count]]

    def _add(self) -> bool:
        """Take one more picture; False where there is none."""
        for queue in self._next:
            while queue:
                index = queue.popleft()
                (picture,) = self._prepared(np.array([index]))
                found = self._screen and self._screen.worst(picture)
                if not found:
                    self._taken.append(index)
                    self._samples.append(picture)
                    return True
                self.outliers.append(Outlier(index, found[0], round(found[1], 2)))
        return False

    def _prepared(self, indices: Indices) -> Pictures:
        return self._spec.prepare_batch(self._train.images[indices])


def _replaceable(
    order: Indices, labels: NDArray[np.int64] | None
) -> Iterator[deque[int]]:
    """For each place in the order: the pictures of its class, for the balance."""
    classes = np.zeros(len(order), np.int64) if labels is None else labels[order]
    queues: dict[int, deque[int]] = {}
    for index, label in zip(order.tolist(), classes.tolist(), strict=True):
        queues.setdefault(label, deque()).append(index)
    return iter([queues[label] for label in classes.tolist()])


def divided(
    data: Dataset, spec: Input, samples: int, seed: int
) -> tuple[Indices, Held]:
    """Which training pictures may calibrate, and the pictures to judge candidates on.

    Those are of the validation split; where there is none, training pictures beyond
    the calibration set; where there are too few, some of that too.
    """
    train = data.train
    order = dataset.balanced_order(train.labels, len(train), seed)
    if len(data.validation):
        return order, _held("validation", data.validation, np.arange(HELD), spec)
    spare = min(HELD, len(order) - samples)
    if spare < LEAST_HELD:
        return order, _held("train", train, order[:HELD], spec)
    return order[:-spare], _held("train", train, order[-spare:], spec)


def _held(name: str, split: Split, indices: Indices, spec: Input) -> Held:
    chosen = split.take(indices[: len(split)])
    return Held(name, spec.prepare_batch(chosen.images), chosen.labels)
