"""Which of several plans wins."""

from collections.abc import Callable, Container

import pytest
from judged import parsed
from nets import Net

from k210.errors import ModelError
from stages.normalize.choice import choose, decide, proven
from stages.normalize.plans import Figures, Plan
from stages.normalize.proof import Proof


def figures(
    ms: float = 10.0,
    snr_db: float | None = 30.0,
    regions: int = 4,
    cpu_pads: int = 4,
    total: int = 1000,
    refused: str | None = None,
) -> Figures:
    return Figures(
        refused=refused,
        ms=ms,
        regions=regions,
        cpu_ops=0,
        cpu_pads=cpu_pads,
        total=total,
        kpu_ram=0,
        snr_db=snr_db,
    )


AS_IT_IS = figures()


def test_the_fastest_wins() -> None:
    assert choose([AS_IT_IS, figures(ms=5), figures(ms=7)]) == 1


def test_of_equally_fast_ones_the_smallest_wins() -> None:
    assert choose([AS_IT_IS, figures(total=900), figures(total=800)]) == 2


def test_a_plan_that_loses_more_than_3_db_does_not_win() -> None:
    assert choose([AS_IT_IS, figures(ms=5, snr_db=26.9)]) == 0
    assert choose([AS_IT_IS, figures(ms=5, snr_db=27.1)]) == 1


def test_that_holds_where_both_are_clean() -> None:
    clean = figures(snr_db=65.9)
    assert choose([clean, figures(ms=5, snr_db=59.6)]) == 0
    assert choose([clean, figures(ms=5, snr_db=63)]) == 1


def test_beyond_40_db_better_is_not_wanted() -> None:
    assert choose([AS_IT_IS, figures(ms=5, snr_db=38), figures(ms=7, snr_db=60)]) == 1


def test_regions_and_cpu_pads_never_increase() -> None:
    more_regions, more_pads = figures(ms=5, regions=5), figures(ms=5, cpu_pads=5)
    assert choose([AS_IT_IS, more_regions, more_pads]) == 0


def test_not_even_where_that_would_be_less_noisy() -> None:
    assert choose([figures(snr_db=25), figures(ms=5, snr_db=36, regions=5)]) == 0


def test_a_model_that_nncase_gets_wrong_is_no_measure() -> None:
    wrong = figures(snr_db=3, regions=1, cpu_pads=0)
    assert choose([wrong, figures(ms=20)]) == 1


def test_a_model_that_does_not_fit_is_no_measure() -> None:
    large = figures(refused="needs 10 MiB", snr_db=60, regions=1)
    assert choose([large, figures(ms=20)]) == 1


def test_a_plan_that_the_chip_cannot_run_does_not_win() -> None:
    broken = figures(ms=1, refused="the activation table jumps")
    assert choose([AS_IT_IS, broken]) == 0


def test_where_no_plan_runs_the_compile_stage_says_why() -> None:
    assert choose([Figures(refused="no room"), Figures(refused="no room")]) == 0


def decided(as_it_is: float, apart: float) -> str:
    """The plan that wins, of one that a model has and one that is a last resort."""
    net = Net((16, 16, 3))
    model = parsed(net.bytes(net.convolve(net.input, 8, 3, 1, "VALID")))

    def measure(plan: Plan) -> Figures:
        if "apart" in plan.name:
            return figures(ms=5, snr_db=apart)
        return figures(snr_db=as_it_is)

    return decide(model, measure).plan.name


def test_where_every_plan_is_wrong_a_last_resort_is_tried() -> None:
    assert decided(as_it_is=3, apart=30) == "picks apart"
    assert decided(as_it_is=25, apart=40) == "as it is"


def test_a_model_that_is_noisy_in_every_form_stays_as_it_is() -> None:
    assert decided(as_it_is=15, apart=19) == "as it is"


NET = Net((16, 16, 3))
MODEL = NET.bytes(NET.convolve(NET.input, 8, 3, 2))


def prove_all_but(refused: Container[str]) -> Callable[[Plan], Proof]:
    def prove(plan: Plan) -> Proof:
        if plan.name in refused:
            raise ModelError(f"{plan.name} differs")
        return Proof(1, 1, 0.0, "", 0.0, 0.0)

    return prove


def fastest_first(plan: Plan) -> Figures:
    return figures(ms=5 if plan.rotation else 10)


def test_a_plan_that_fails_the_proof_makes_room_for_the_next() -> None:
    choice = decide(parsed(MODEL), fastest_first)
    first = choice.plan.name
    assert choice.plan.rotation == 180
    rest, _ = proven(choice, prove_all_but({first}))
    assert rest.plan.name != first
    assert rest.found[choice.number].refused == f"{first} differs"


def test_where_every_plan_fails_the_proof_the_model_is_refused() -> None:
    choice = decide(parsed(MODEL), fastest_first)
    names = {plan.name for plan in choice.plans}
    with pytest.raises(ModelError, match="differs"):
        proven(choice, prove_all_but(names))
