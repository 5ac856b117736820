"""Which plan wins: the fastest of those that are as good as the best."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from k210.errors import ModelError
from stages.normalize.forms import fallbacks, forms
from stages.normalize.plans import Figures, Plan
from stages.normalize.proof import Proof

CLEAN_DB = 40.0
"""A signal-to-noise ratio that is as good as any better one."""

MARGIN_DB = 3.0
"""How much worse than that, or than the best plan, the chosen one may be."""

WRONG_DB = 20.0
"""A plan that does not reach this nncase may have miscompiled."""

CURED_DB = 10.0
"""It has if another form is that much better; else the model is noisy."""


@dataclass(frozen=True)
class Choice:
    """All plans with their figures, and the number of the one that won."""

    plans: Sequence[Plan]
    found: Sequence[Figures]
    number: int

    @property
    def plan(self) -> Plan:
        """The plan that won."""
        return self.plans[self.number]

    @property
    def figures(self) -> Figures:
        """Its figures."""
        return self.found[self.number]

    def without(self, reason: str) -> "Choice":
        """The choice if the plan that won is refused for that reason."""
        found = list(self.found)
        found[self.number] = replace(self.figures, refused=reason)
        return Choice(self.plans, found, choose(found))


def decide(model: Any, measure: Callable[[Plan], Figures]) -> Choice:
    """Measure the plans for a ``ModelT`` and choose.

    Raises:
        ModelError: a layer can be made neither exact nor legal.
    """
    plans = forms(model)
    found = [measure(plan) for plan in plans]
    if _best(found) < WRONG_DB:
        further = fallbacks(model)
        tried = [measure(plan) for plan in further]
        if _best(tried) >= _best(found) + CURED_DB:
            plans, found = plans + further, found + tried
    return Choice(plans, found, choose(found))


def proven(choice: Choice, prove: Callable[[Plan], Proof]) -> tuple[Choice, Proof]:
    """The plan that wins of those that compute what the model does, and its proof.

    Sums in another order round otherwise, which adds up in deep networks: one form may
    pass the proof's limit where another stays below it.

    Raises:
        ModelError: none does.
    """
    try:
        return choice, prove(choice.plan)
    except ModelError as error:
        rest = choice.without(str(error))
        if rest.figures.refused is not None:
            raise
        return proven(rest, prove)


def _best(found: Sequence[Figures]) -> float:
    return max((each.snr_db for each in found if each.snr_db is not None), default=0.0)


def choose(found: Sequence[Figures]) -> int:
    """Which plan wins; the first is the model as it is.

    The first where the chip could run none: the compile stage says why.
    """
    legal = [
        position
        for position, each in enumerate(found)
        if each.refused is None and each.snr_db is not None
    ]
    if not legal:
        return 0
    if legal[0] == 0 and _right(found[0], _best(found)):
        legal = [each for each in legal if _no_worse(found[each], found[0])]
    best = max(_decibels(found[position]) for position in legal)
    bar = min(best, CLEAN_DB) - MARGIN_DB
    candidates = [each for each in legal if _decibels(found[each]) >= bar]
    return min(candidates, key=lambda position: _rank(found[position]))


def _right(base: Figures, best: float) -> bool:
    """Whether the model as it is can be what other plans are measured by."""
    return _decibels(base) >= min(WRONG_DB, best - CURED_DB)


def _decibels(plan: Figures) -> float:
    assert plan.snr_db is not None
    return plan.snr_db


def _no_worse(plan: Figures, base: Figures) -> bool:
    """Whether a plan has no more regions, CPU pads and noise than the model as it is.

    Noise counts from MARGIN_DB on, here even where both are as good as any other.
    """
    assert plan.regions is not None
    assert base.regions is not None
    assert plan.cpu_pads is not None
    assert base.cpu_pads is not None
    return (
        plan.regions <= base.regions
        and plan.cpu_pads <= base.cpu_pads
        and _decibels(plan) >= _decibels(base) - MARGIN_DB
    )


def _rank(plan: Figures) -> tuple[float, int]:
    assert plan.ms is not None
    assert plan.total is not None
    return plan.ms, plan.total
