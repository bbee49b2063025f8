"""The optimiser on toy problems whose optimum is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from simhcc.claims.optimise import Floats, search
from simhcc.errors import InputError
from simhcc.expressions import attribute, parameter, uniform
from simhcc.graph import (
    Attribute,
    Branch,
    Chance,
    Channel,
    Decision,
    Edge,
    End,
    Hazard,
    Pathway,
    RateReward,
    Row,
    State,
    Strategy,
    Transition,
)
from simhcc.simulation import Evaluation, simulate

CUTOFFS = (0.1, 0.3, 0.5, 0.7, 0.9)


def toy() -> Pathway:
    """Severity x is even on 0 to 1; treatment kills with a fixed chance at once and lowers the hazard, which rises with x.

    To treat those above x* is best where what they gain outweighs the fixed chance of dying.
    """
    return Pathway(
        name="toy",
        start="sort",
        nodes=(
            Chance(name="sort", branches=(Branch(name="all", weight=1.0, updates={"x": uniform("x")}, to="choose"),)),
            Decision(
                name="choose",
                actions={"treat": Edge(to="treated"), "wait": Edge(to="alive", updates={"rate": attribute("x")})},
            ),
            Chance(
                name="treated",
                branches=(
                    Branch(name="dies", weight=parameter("p.death"), to="dead"),
                    Branch(name="lives", weight=1.0 - parameter("p.death"), updates={"rate": 0.0}, to="alive"),
                ),
            ),
            State(
                name="alive",
                transitions=(
                    Transition(
                        name="dies",
                        hazard=Hazard("exponential", {"rate": 1.0}),
                        log_multiplier=_log_rate(),
                        to="dead",
                    ),
                ),
            ),
            End(name="dead"),
        ),
        attributes=(Attribute(name="x", initial=0.0), Attribute(name="rate", initial=0.0)),
    )


def _log_rate():  # type: ignore[no-untyped-def]
    from simhcc.expressions import log, maximum

    # Nobody who was treated dies afterwards; x is a rate per ten months for the others.
    return log(maximum(attribute("rate"), 1e-12) / 10.0)


def strategy(cutoff: float) -> Strategy:
    rows = (Row(do="treat", when=attribute("x") > cutoff), Row(do="wait"))
    return Strategy(id=f"above_{cutoff:g}", tables={"choose": rows})


def evaluate(chosen: Sequence[int], seed: int, number: int, patients: int = 300, draws: int = 25) -> Floats:
    """Months lived of twelve, with the chance of dying under treatment uncertain around 0.3."""
    evaluation = Evaluation(
        pathway=toy(),
        strategies=tuple(strategy(CUTOFFS[k]) for k in chosen),
        channels=(Channel(id="months"),),
        rewards=(RateReward(channel="months", rate=1.0),),
        horizon=12.0,
        grid_step=None,
        seed=seed,
    )
    chance = np.random.default_rng(seed).uniform(0.25, 0.35, draws)
    found = simulate(evaluation, {"p.death": chance}, None, patients=patients, threads=1, fresh_patients=True)
    return found.means[:, :, found.column("months")]


def exact(cutoff: float, chance: float = 0.3) -> float:
    """Expected months of twelve: those above the cut-off live 12 with 1 - chance, the others (1 - exp(-1.2 x)) / (x / 10)."""
    x = (np.arange(20_000) + 0.5) / 20_000
    waiting = (1.0 - np.exp(-1.2 * x)) / (x / 10.0)
    return float(np.where(x > cutoff, 12.0 * (1.0 - chance), waiting).mean())


def test_the_toy_agrees_with_its_closed_form() -> None:
    found = evaluate(range(5), 3, 0, patients=20_000, draws=2)
    for k, cutoff in enumerate(CUTOFFS):
        # sd of months is below 6: standard error 0.03; and the chance of dying moves it by 0.6 at most.
        chance = np.random.default_rng(3).uniform(0.25, 0.35, 2).mean()
        assert found[:, k].mean() == pytest.approx(exact(cutoff, chance), abs=4.9 * 0.03)


def test_a_planted_optimum_is_recovered() -> None:
    best = int(np.argmax([exact(cutoff) for cutoff in CUTOFFS]))
    assert 0 < best < 4
    found = search(lambda c, s, r: evaluate(c, s, r, patients=2000), len(CUTOFFS), 0, seed=1)
    assert found.chosen == best
    true = exact(CUTOFFS[best]) - exact(CUTOFFS[0])
    assert found.advantage == pytest.approx(true, abs=5.0 * found.advantage_mcse + 0.02)
    assert found.probability_better > 0.95
    assert found.probability_best[best] == np.nanmax(found.probability_best)
    assert np.nansum(found.probability_best) == pytest.approx(1.0)


def test_the_advantage_is_unbiased_over_repeats_and_that_of_the_search_is_not() -> None:
    truth = np.array([0.0, 0.05, 0.1, 0.05, 0.0, -0.05, -0.1, 0.0, 0.02, 0.03])
    repeats, draws = 400, 30
    honest, seeming, right = [], [], []
    for repeat in range(repeats):
        found = search(
            lambda chosen, seed, number, repeat=repeat: (  # type: ignore[misc]
                truth[list(chosen)]
                + np.random.default_rng([repeat, seed]).standard_normal((draws, len(truth)))[:, list(chosen)]
            ),
            len(truth),
            0,
            seed=repeat,
        )
        if found.chosen == 0:
            continue  # the reference itself: no advantage to speak of
        honest.append(found.advantage - (truth[found.chosen] - truth[0]))
        seeming.append(found.search_advantage - (truth[found.chosen] - truth[0]))
        right.append(found.advantage_mcse)
    error = np.std(honest, ddof=1) / math.sqrt(len(honest))
    # Once in a million beyond 4.9 standard errors; a bias of 0.08 would be found.
    assert abs(np.mean(honest)) < 4.9 * error
    assert 4.9 * error < 0.08
    # The planted fault: the search's own figure flatters the winner by far more.
    assert np.mean(seeming) > 0.15
    # The stated error is the true one: sqrt(2 / 30).
    assert np.mean(right) == pytest.approx(math.sqrt(2.0 / draws), rel=0.05)
    assert np.std(honest, ddof=1) == pytest.approx(math.sqrt(2.0 / draws), rel=0.15)


def test_rounds_and_the_final_never_share_random_numbers() -> None:
    seeds: list[int] = []

    def record(chosen: Sequence[int], seed: int, number: int) -> Floats:
        seeds.append(seed)
        return np.random.default_rng(seed).standard_normal((10, len(chosen)))

    search(record, 5, 0, seed=4)
    assert len(set(seeds)) == len(seeds) == 3


def test_rounds_with_other_patients_are_compared_by_differences() -> None:
    """Every round is shifted by as much as its seed says; the points are worth their position."""

    def shifted(chosen: Sequence[int], seed: int, number: int) -> Floats:
        wobble = np.random.default_rng(seed).standard_normal((20, 1))
        return 100.0 * number + wobble + np.array(chosen, dtype=float)[None, :] * np.linspace(0.9, 1.1, 20)[:, None]

    found = search(shifted, 6, 1, seed=2)
    assert found.chosen == 5
    assert found.search_difference == pytest.approx(np.arange(6) - 1.0)


def test_one_point_is_no_search() -> None:
    with pytest.raises(InputError):
        search(lambda c, s, r: np.zeros((2, 1)), 1, 0, seed=1)
