import numpy as np

from stages.check.mistakes import KEPT, Mistakes
from stages.runtime import Floats


def scores(decision: int, score: float) -> list[Floats]:
    row = np.full((1, 3), (1 - score) / 2, np.float32)
    row[0, decision] = score
    return [row]


def test_wrong_decisions_are_listed_the_most_confident_first() -> None:
    found = Mistakes()
    found.add(0, scores(1, 0.75), scores(1, 0.5), 2)
    found.add(1, scores(2, 0.875), scores(2, 0.5), 2)
    found.add(2, scores(0, 1.0), scores(2, 0.625), 2)
    rows = found.rows()
    assert rows["worst"] == [
        {
            "index": 2,
            "label": 2,
            "decision": 0,
            "score": 1.0,
            "first_decision": 2,
            "first_score": 0.625,
        },
        {
            "index": 0,
            "label": 2,
            "decision": 1,
            "score": 0.75,
            "first_decision": 1,
            "first_score": 0.5,
        },
    ]
    assert rows["disagreements"] == rows["worst"][:1]


def test_without_labels_only_disagreements_are_listed() -> None:
    found = Mistakes()
    found.add(0, scores(1, 0.75), scores(0, 0.5), None)
    found.add(1, scores(1, 0.5), scores(0, 0.75), None)
    rows = found.rows()
    assert rows["worst"] == []
    assert [each["index"] for each in rows["disagreements"]] == [1, 0]
    assert rows["disagreements"][0]["label"] is None


def test_maps_are_no_mistakes() -> None:
    found = Mistakes()
    maps: list[Floats] = [np.zeros((1, 2, 2, 3), np.float32)]
    found.add(0, maps, maps, 1)
    assert found.rows() == {"worst": [], "disagreements": []}


def test_as_many_pictures_are_kept_as_are_listed() -> None:
    found = Mistakes()
    images = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1)
    for index in range(100):
        found.add(index, scores(1, 0.5 + index / 256), scores(1, 0.5), 0)
    indices, pictures = found.pictures(images)
    assert len(found.rows()["worst"]) == KEPT
    assert indices.tolist() == pictures.ravel().tolist() == [*range(100 - KEPT, 100)]
