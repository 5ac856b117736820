"""Random graphs: normalized they compute the same, and compiled they get no worse."""

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from judged import Judge, parsed, proof
from random_nets import Random

from k210.errors import ModelError
from stages.normalize.forms import forms
from stages.normalize.graph import read
from stages.normalize.plans import Figures, Plan

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter")

RIGHT_DB = 20.0
"""nncase alone is taken to be right from here on."""

Pair = tuple[int, Figures, Plan, Figures]
"""A seed; the graph as nncase alone compiles it; the plan that wins, and what it is."""


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    judge = Judge(tmp_path_factory.mktemp("nncase"))
    yield judge
    judge.close()


def legal(model: bytes) -> bool:
    """Whether it is not refused; if it is, then by the name of one of its layers."""
    said = refusal(model)
    names = [node.name for node in read(parsed(model)).nodes]
    assert said is None or any(repr(name) in said for name in names)
    return said is None


def refusal(model: bytes) -> str | None:
    try:
        forms(parsed(model))
    except ModelError as error:
        return str(error)
    return None


def compared(judge: Judge, seeds: Sequence[int]) -> list[Pair]:
    """Those that nncase alone compiles, and compiles right."""
    found = []
    for seed in seeds:
        model = Random(seed).model()
        try:
            before = judge.alone(model)
        except ModelError:
            continue
        right = before.snr_db is not None and before.snr_db >= RIGHT_DB
        if right and legal(model):
            plan, after, _ = judge.best(model)
            found.append((seed, before, plan, after))
    return found


def require_no_worse(pairs: Sequence[Pair]) -> None:
    changes = []
    for seed, before, plan, after in pairs:
        for one, other in (
            (before.regions, after.regions),
            (before.cpu_pads, after.cpu_pads),
        ):
            assert one is not None
            assert other is not None
            assert other <= one
        assert before.snr_db is not None
        assert after.snr_db is not None
        changes.append((after.snr_db - before.snr_db, seed, plan.name))
    assert min(changes)[0] >= -3, min(changes)
    assert statistics.median(change for change, _, _ in changes) >= 0


def every_plan_is_exact(seeds: Sequence[int]) -> None:
    models = [model for seed in seeds if legal(model := Random(seed).model())]
    assert len(models) > 0.9 * len(seeds)
    for model in models:
        for plan in forms(parsed(model)):
            assert proof(model, plan).difference <= 1e-5


def test_every_plan_of_a_random_graph_is_exact() -> None:
    every_plan_is_exact(range(25))


def test_random_graphs_get_no_worse(judge: Judge) -> None:
    pairs = compared(judge, range(100, 116))
    assert len(pairs) >= 4
    require_no_worse(pairs)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_500_random_graphs(judge: Judge, tmp_path: Path) -> None:
    seeds = range(1000, 1500)
    every_plan_is_exact(seeds)
    pairs = compared(judge, seeds)
    assert len(pairs) >= 150
    require_no_worse(pairs)
