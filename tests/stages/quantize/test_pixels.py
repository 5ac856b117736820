from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fitted import SPEC, classifier
from nets import Net

from k210.errors import UserError
from stages import dataset
from stages.dataset import Split
from stages.interpret import Interpreter
from stages.normalize.runtime import serialize
from stages.project.schema import Data
from stages.quantize.pixels import counts, require_covered, require_trained_range


@pytest.fixture(scope="module")
def digits() -> Split:
    return dataset.load(Data(), Path()).train.take(np.arange(150))


@pytest.fixture(scope="module")
def trained(digits: Split, tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """A classifier of pixels from 0 to 1."""
    assert digits.labels is not None
    graph = classifier(SPEC.prepare_batch(digits.images), digits.labels)
    path = tmp_path_factory.mktemp("trained") / "model.tflite"
    path.write_bytes(serialize(graph))
    return Interpreter(path)


def test_the_range_that_the_model_was_trained_on_is_accepted(
    trained: Interpreter, digits: Split
) -> None:
    require_trained_range(trained, digits, SPEC)


@pytest.mark.parametrize("limits", [(-1.0, 1.0), (-10.0, 0.0)])
def test_another_range_is_refused_and_the_right_one_named(
    trained: Interpreter, digits: Split, limits: tuple[float, float]
) -> None:
    with pytest.raises(UserError, match=r"set data\.range: \[0, 1\], data\.mean: 0"):
        require_trained_range(trained, digits, replace(SPEC, range=limits))


def test_pictures_without_labels_tell_nothing(
    trained: Interpreter, digits: Split
) -> None:
    unlabelled = Split(digits.images, None)
    require_trained_range(trained, unlabelled, replace(SPEC, range=(-1.0, 1.0)))


def test_a_model_without_classes_tells_nothing(digits: Split, tmp_path: Path) -> None:
    net = Net((32, 32, 1))
    path = tmp_path / "maps.tflite"
    path.write_bytes(net.bytes(net.convolve(net.input, 4)))
    require_trained_range(Interpreter(path), digits, replace(SPEC, range=(-1.0, 1.0)))


def test_bytes_are_counted_by_channel(digits: Split) -> None:
    found = counts(digits, SPEC)
    assert found.shape == (1, 256)
    prepared = SPEC.prepare_batch(digits.images)
    assert found[0].tolist() == np.bincount(prepared.ravel(), minlength=256).tolist()


def test_a_set_of_narrower_range_than_the_training_pictures_is_refused() -> None:
    trained = np.ones((1, 256), np.int64)
    samples = np.arange(40, 200, dtype=np.uint8).reshape(1, 1, 10, 16)
    with pytest.raises(UserError, match="reach from 40 to 199 .* from 2 to 253"):
        require_covered(samples, trained)
    require_covered(np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16), trained)
