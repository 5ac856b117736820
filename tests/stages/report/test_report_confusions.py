"""Which classes are taken for which, with their pictures."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from report_pages import Draw, artifacts, check, mistake, text, unlabelled

from stages.report.confusion import confusion
from stages.report.pictures import data_address


def test_the_matrix_shows_counts_recall_and_precision(draw: Draw) -> None:
    content = artifacts(["cat", "dog", "eel"])
    content["check/check.json"]["confusion"] = [[8, 2, 0], [0, 4, 0], [0, 0, 0]]
    words = text(draw(content))
    assert " cat82080.0 dog040100.0 eel000– precision, %100.066.7–" in words
    assert "cat taken for dog 2 of 10" in words


@pytest.mark.parametrize("count", [2, 20])
def test_up_to_twenty_classes_are_drawn(draw: Draw, count: int) -> None:
    page = draw(artifacts([f"class number {n}" for n in range(count)]))
    assert page.count('class="hit-5"') == count
    assert page.count('class="miss-2"') == count


def test_of_thirty_classes_only_the_worst_are_listed(draw: Draw) -> None:
    content = artifacts([f"class-{n}" for n in range(30)])
    content["check/check.json"]["confusion"][29] = [20, *[0] * 29]
    page = draw(content)
    assert "Confusion matrix" not in page
    words = text(page)
    assert "The classes with the lowest recall, of 30 " in words
    assert "precision class-29200.0%0.0%" in words
    assert "class-29 taken for class-0 20 of 20" in words
    assert "and 18 other pairs" in words


def test_decisions_for_no_class_are_counted_apart() -> None:
    measured = check(["a", "b"])
    measured["samples"] = 50
    found = confusion(measured)
    assert found is not None
    assert (found.errors, found.uncounted) == (4, 10)


def test_a_model_that_never_decides_has_no_confusions() -> None:
    measured = check(["a", "b"])
    measured["confusion"] = [[0, 0], [0, 0]]
    assert confusion(measured) is None


def test_the_worst_mistakes_are_shown_with_what_they_are_taken_for(draw: Draw) -> None:
    content = artifacts()
    content["check/check.json"]["worst"] = [mistake(3, 1, 1)]
    content["check/check.json"]["disagreements"] = [mistake(7, 1, 0)]
    page = draw(content)
    words = text(page)
    assert "dog 88% is cat #3" in words
    assert "dog 88% is cat float: cat 50% #7" in words
    first, second = re.findall(r"data:image/png;base64,([\w+/=]+)", page)
    with Image.open(io.BytesIO(base64.b64decode(second))) as picture:
        assert np.array(picture).tolist() == np.arange(24, 48).reshape(4, 6).tolist()


def test_large_pictures_are_made_small() -> None:
    address = data_address(np.zeros((512, 256, 3), np.uint8))
    data = base64.b64decode(address.partition(",")[2])
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.size == (64, 128)


def test_without_labels_what_is_decided_otherwise_is_shown(draw: Draw) -> None:
    content = unlabelled()
    content["check/check.json"]["disagreements"] = [
        {**mistake(7, 1, 0), "label": None, "score": 7.25}
    ]
    words = text(draw(content))
    assert "Where the device decides otherwise" in words
    assert "output 1 7.25 float: output 0 50% #7" in words


def test_steps_have_their_accuracy_on_each_class(draw: Draw) -> None:
    content = artifacts()
    for rung in content["check/check.json"]["ladder"]:
        rung.update(per_class=[0.5, None], top_k=0.75)
    words = text(draw(content))
    assert "catfloat" not in words
    assert "cat50.0%50.0%50.0%50.0%50.0% dog–––––" in words
    assert "96.3%–98.3%75.00%–" in words
