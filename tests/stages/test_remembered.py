"""The memory of the ladder's steps on the host, against computing them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stages.check.remembered import Outputs, Remembered

Pictures = NDArray[np.uint8]


def pictures(seed: int, count: int = 3) -> tuple[Pictures, ...]:
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(0, 256, (count, 1, 4, 4), np.uint8) for _ in range(2))


class Sums:
    """A step with two outputs of different shapes; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def make(self) -> "Sums":
        return self

    def __call__(self, samples: tuple[Pictures, ...]) -> Outputs:
        self.asked += 1
        board, upright = (each.astype(np.float32) for each in samples)
        return [
            [one.sum(axis=0), np.atleast_1d(two.sum())]
            for one, two in zip(board, upright, strict=True)
        ]


def same(one: Outputs, other: Outputs) -> bool:
    pairs = zip(one, other, strict=True)
    return all(
        np.array_equal(a, b) for x, y in pairs for a, b in zip(x, y, strict=True)
    )


def test_what_was_computed_is_not_computed_again(tmp_path: Path) -> None:
    plain, path = Sums(), tmp_path / "folder/known.npz"
    known = Remembered(path)
    step = known.step("float", plain.make)
    expected = [step(pictures(seed)) for seed in range(3)]
    known.save()
    again = Remembered(path).step("float", plain.make)
    assert same(again(pictures(2)), expected[2])  # in any order
    assert same(again(pictures(0)), expected[0])
    assert plain.asked == 3


@given(st.lists(st.integers(0, 3), max_size=6), st.lists(st.integers(0, 3), max_size=6))
def test_it_gives_what_the_plain_step_gives(first: list[int], then: list[int]) -> None:
    known = Remembered(Path("/nowhere/at/all.npz"))
    step = known.step("float", Sums)
    for seed in [*first, *then]:
        assert same(step(pictures(seed)), Sums()(pictures(seed)))


def test_a_part_of_the_samples_is_known_too(tmp_path: Path) -> None:
    path, plain = tmp_path / "known.npz", Sums()
    known = Remembered(path)
    expected = known.step("float", plain.make)(pictures(0, count=5))
    known.save()
    part = tuple(each[1:4] for each in pictures(0, count=5))
    found = Remembered(path).step("float", plain.make)(part)
    assert same(found, expected[1:4])
    assert plain.asked == 1


def test_other_samples_and_other_steps_are_computed(tmp_path: Path) -> None:
    path = tmp_path / "known.npz"
    known = Remembered(path)
    known.step("float", Sums)(pictures(0))
    known.save()
    plain, later = Sums(), Remembered(path)
    later.step("float", plain.make)(pictures(1))
    later.step("tflite", plain.make)(pictures(0))
    later.step("float", plain.make)(pictures(0))
    assert plain.asked == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 damaged", b"\x00" * 100])
def test_a_damaged_memory_is_none(tmp_path: Path, content: bytes) -> None:
    path, plain = tmp_path / "known.npz", Sums()
    path.write_bytes(content)
    Remembered(path).step("float", plain.make)(pictures(0))
    assert plain.asked == 1


def test_a_folder_that_cannot_be_written_is_no_mistake() -> None:
    known = Remembered(Path("/proc/none/known.npz"))
    known.step("float", Sums)(pictures(0))
    known.save()
