import numpy as np
import pytest
from fitted import SPEC
from nets import Net
from numpy.typing import NDArray

from stages.dataset import Dataset, Split, balanced_order
from stages.quantize.calibration import HELD, LEAST_HELD, Calibration, divided

COUNT, CLASSES = 60, 3
BRIGHT = (4, 17, 33)


def split(count: int = COUNT, labelled: bool = True, seed: int = 0) -> Split:
    """Dim pictures, but for a few bright ones."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 40, (count, 32, 32, 1), np.uint8)
    for index in BRIGHT:
        if index < count:
            images[index] += 200
    labels = np.arange(count) % CLASSES if labelled else None
    return Split(images, labels)


@pytest.fixture(scope="module")
def model() -> bytes:
    net = Net((32, 32, 1), seed=1)
    return net.bytes(net.mean(net.convolve(net.convolve(net.input, 8), 8)))


def calibration(train: Split, model: bytes | None, usual: int = 30) -> Calibration:
    order = balanced_order(train.labels, len(train), 0)
    return Calibration(train, order, SPEC, usual, model)


def drawn(calibration: Calibration, count: int) -> set[bytes]:
    return {sample.tobytes() for sample in calibration.take(count)}


def test_outliers_are_left_out_and_listed(model: bytes) -> None:
    train = split()
    kept = calibration(train, model)
    samples = kept.take(COUNT)
    assert len(samples) == COUNT - len(BRIGHT)
    assert samples.max() < 40
    assert {each.index for each in kept.outliers} == set(BRIGHT)
    for each in kept.outliers:
        assert each.layer.startswith(("conv", "mean"))
        assert each.times > 3


def test_an_outlier_makes_room_for_a_picture_of_its_class(model: bytes) -> None:
    kept = calibration(split(), model)
    kept.take(45)
    labels = kept.labels(45)
    assert labels is not None
    assert np.bincount(labels).tolist() == [15, 15, 15]


def test_outliers_may_be_kept() -> None:
    kept = calibration(split(), None)
    assert kept.take(COUNT).max() > 200
    assert kept.outliers == []


def test_without_outliers_the_set_is_the_beginning_of_the_order(model: bytes) -> None:
    train = split(3 * HELD)
    train.images[list(BRIGHT)] -= 200
    order = balanced_order(train.labels, len(train), 0)
    samples = calibration(train, model).take(40)
    assert np.array_equal(samples, SPEC.prepare_batch(train.images[order[:40]]))


def test_a_larger_set_begins_with_the_smaller_one(model: bytes) -> None:
    kept = calibration(split(), model)
    small = kept.take(16)
    assert np.array_equal(kept.take(48)[:16], small)


def test_where_all_pictures_vary_at_most_a_quarter_is_left_out(model: bytes) -> None:
    train = split(40)
    factors = np.geomspace(1, 60, 40).reshape(-1, 1, 1, 1)
    wild = Split((train.images // 10 * factors).clip(0, 255).astype(np.uint8), None)
    kept = calibration(wild, model, usual=40)
    assert 0 < 40 - len(kept.take(40)) <= 10


def data(train: int, validation: int) -> Dataset:
    return Dataset(
        split(train, seed=1),
        split(validation, seed=2),
        split(100, seed=3),
        ("a", "b", "c"),
    )


def prepared(of: Split, indices: NDArray[np.intp] | None = None) -> set[bytes]:
    images = of.images if indices is None else of.images[indices]
    return {sample.tobytes() for sample in SPEC.prepare_batch(images)}


def test_candidates_are_judged_on_the_validation_split() -> None:
    found = data(50, 20)
    order, held = divided(found, SPEC, 32, 0)
    assert held.split == "validation"
    assert {each.tobytes() for each in held.samples} == prepared(found.validation)
    assert sorted(order) == list(range(50))


@pytest.mark.parametrize("train", [48, 64, 200])
def test_without_one_they_are_judged_on_training_pictures(train: int) -> None:
    found = data(train, 0)
    order, held = divided(found, SPEC, 32, 0)
    assert held.split == "train"
    judged = {each.tobytes() for each in held.samples}
    assert len(judged) == min(HELD, train - 32)
    assert judged == prepared(found.train) - prepared(found.train, order)
    assert len(order) >= 32


def test_with_too_few_some_calibrate_as_well_and_none_is_of_the_test_split() -> None:
    found = data(32 + LEAST_HELD - 1, 0)
    order, held = divided(found, SPEC, 32, 0)
    judged = {each.tobytes() for each in held.samples}
    assert judged == prepared(found.train)
    assert not judged & prepared(found.test)
    assert len(order) == len(found.train)
