"""Which plan wins: the fastest of those that are as good as the best."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stages.normalize.forms import fallbacks, forms
from stages.normalize.plans import Figures, Plan

CLEAN_DB = 40.0
"""A signal-to-noise ratio that is as good as any better one."""

MARGIN_DB = 3.0
"""How much worse than that, or than the best plan, the chosen one may be."""


WRONG_DB = 20.0
"""Where no plan reaches this, nncase has probably miscompiled all of them."""


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


def decide(model: Any, measure: Callable[[Plan], Figures]) -> Choice:
    """Measure the plans for a ``ModelT`` and choose.

    Raises:
        ModelError: a layer can be made neither exact nor legal.
    """
    plans = forms(model)
    found = [measure(plan) for plan in plans]
    if all(each.snr_db is None or each.snr_db < WRONG_DB for each in found):
        further = fallbacks(model)
        plans += further
        found += [measure(plan) for plan in further]
    return Choice(plans, found, choose(found))


def choose(found: Sequence[Figures]) -> int:
    """Which plan wins; the first is the model as it is.

    The first where none can be compiled: the compile stage says why.
    """
    base = found[0]
    best = max((each.snr_db for each in found if each.snr_db is not None), default=0)
    candidates = [
        position
        for position, each in enumerate(found)
        if each.snr_db is not None
        and each.snr_db >= min(best, CLEAN_DB) - MARGIN_DB
        and (_no_worse(each, base) or _wrong(base, best))
    ]
    return min(candidates, key=lambda position: _rank(found[position]), default=0)


def _wrong(base: Figures, best: float) -> bool:
    """Whether the model as it is comes out much worse than it might."""
    return base.snr_db is not None and base.snr_db < min(best, CLEAN_DB) - MARGIN_DB


def _no_worse(plan: Figures, base: Figures) -> bool:
    """Whether a plan has no more regions and CPU pads than the model as it is."""
    pairs = ((plan.regions, base.regions), (plan.cpu_pads, base.cpu_pads))
    return all(
        before is None or (after is not None and after <= before)
        for after, before in pairs
    )


def _rank(plan: Figures) -> tuple[float, int]:
    assert plan.ms is not None
    assert plan.total is not None
    return plan.ms, plan.total
