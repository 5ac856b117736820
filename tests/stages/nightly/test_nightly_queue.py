"""Which job comes next: nobody waits for ever, and nothing waits without need."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stages.nightly.queue import choose
from stages.nightly.rows import JobRow

BOARDS = ("a", "b", "c")


def job(number: int, project: str = "p", boards: tuple[str, ...] = ("a",)) -> JobRow:
    return JobRow(number, 1, "measure", project, "", boards, "waiting", None)


def test_a_board_without_a_job_gets_none() -> None:
    assert choose([job(1)], ["b"], {}, {}) is None


def test_the_board_with_the_most_to_do_comes_first() -> None:
    waiting = [job(1, boards=("a",)), job(2, boards=("b",)), job(3, boards=("b",))]
    assert choose(waiting, ["a", "b"], {}, {}) == (waiting[1], "b")


def test_the_project_that_was_served_least_comes_first() -> None:
    waiting = [job(1, "often"), job(2, "seldom")]
    assert choose(waiting, ["a"], {"often": 3, "seldom": 1}, {}) == (waiting[1], "a")


def test_a_job_that_failed_on_a_board_goes_to_another() -> None:
    waiting = [job(1, boards=("a", "b"))]
    assert choose(waiting, ["a", "b"], {}, {1: {"a"}}) == (waiting[0], "b")
    assert choose(waiting, ["a"], {}, {1: {"a"}}) is None


def test_a_job_that_failed_on_all_its_boards_is_tried_on_any() -> None:
    waiting = [job(1, boards=("a", "b"))]
    assert choose(waiting, ["a"], {}, {1: {"a", "b"}}) == (waiting[0], "a")


boards = st.lists(st.sampled_from(BOARDS), min_size=1, max_size=3, unique=True)
jobs = st.lists(st.tuples(st.sampled_from("pqr"), boards), max_size=20)


@given(jobs)
def test_every_job_is_served_once_and_projects_alike(
    planned: list[tuple[str, list[str]]],
) -> None:
    waiting = [job(i, p, tuple(bs)) for i, (p, bs) in enumerate(planned)]
    served: Counter[str] = Counter()
    order = []
    while chosen := choose(waiting, BOARDS, served, {}):
        each, board = chosen
        assert board in each.candidates
        rivals = [r for r in waiting if board in r.candidates]
        assert served[each.project] == min(served[r.project] for r in rivals)
        served[each.project] += 1
        waiting.remove(each)
        order.append(each.id)
    assert sorted(order) == list(range(len(planned)))
