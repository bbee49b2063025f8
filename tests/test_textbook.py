"""Published and textbook models: the Sick-Sicker model and a time-inhomogeneous Markov model, by both solvers.

Sick-Sicker: Krijkamp et al. 2018, Med Decis Making 38(3):400-422, doi:10.1177/0272989X18754513; Alarid-Escudero et al.
2023, 43(1):3-20, doi:10.1177/0272989X221103163 (time-independent) and 43(1):21-41, doi:10.1177/0272989X221121747
(time-dependent). The tutorials work in cycles of one year, count people at the ends of cycles and let death come first.
With these conventions the cohort solver gives their printed tables; as the cycle shrinks it meets the microsimulation,
which knows no cycles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from statistical import Mean, Share, disagreements

from simhcc.cohort import CohortOutcomes, cohort_trace
from simhcc.expressions import log, parameter
from simhcc.graph import (
    Attribute,
    Channel,
    Clock,
    End,
    Hazard,
    MarkReward,
    Pathway,
    RateReward,
    State,
    Strategy,
    Transition,
    exponential,
)
from simhcc.model import as_values
from simhcc.simulation import Evaluation, Outcomes, simulate

Floats = NDArray[np.float64]

# Total mortality of the United States in 2015 per person-year at ages 25 to 99: the life table of the time-dependent
# tutorial (LifeTable_USA_Mx_2015.csv).
MORTALITY_FROM_25 = [
    0.001014, 0.000999, 0.00107, 0.001087, 0.001162, 0.001167, 0.001213, 0.001289, 0.001331, 0.001375, 0.00142,
    0.00149, 0.00155, 0.001616, 0.001657, 0.001747, 0.001902, 0.002052, 0.002173, 0.002395, 0.002559, 0.002807,
    0.003023, 0.003349, 0.003712, 0.004085, 0.00449, 0.004905, 0.005364, 0.005806, 0.006253, 0.006775, 0.007395,
    0.007895, 0.008418, 0.008974, 0.009666, 0.010456, 0.011384, 0.011838, 0.012667, 0.013593, 0.0147, 0.015732,
    0.01734, 0.018758, 0.020967, 0.022917, 0.024913, 0.026767, 0.029707, 0.032412, 0.035982, 0.039238, 0.043595,
    0.048727, 0.053735, 0.059911, 0.066618, 0.074051, 0.08219, 0.090754, 0.103968, 0.115093, 0.124341, 0.137872,
    0.154177, 0.172393, 0.1941, 0.212654, 0.243752, 0.259087, 0.287781, 0.316429, 0.339149,
]  # fmt: skip

# The four strategies of the tutorials as four draws: hazard ratio of progression, utility when Sick, annual drug cost.
STRATEGIES = {
    "SoC": (1.0, 0.75, 0.0),
    "A": (1.0, 0.95, 12_000.0),
    "B": (0.6, 0.75, 13_000.0),
    "AB": (0.6, 0.95, 25_000.0),
}
INTRODUCTORY_TABLE = {
    "SoC": (151_580, 20.711), "A": (284_805, 21.499), "B": (259_100, 22.184), "AB": (378_875, 23.137)
}  # fmt: skip
AGE_DEPENDENT_TABLE = {
    "SoC": (116_374, 18.879), "A": (218_789, 19.636), "B": (202_536, 20.199), "AB": (296_300, 21.097)
}  # fmt: skip
PATIENTS = 100_000
CONSTANT_DEATH = exponential(0.002 / 12.0)
LIFE_TABLE = Hazard("pwexp", {"times": [0.0, *range(26, 100)], "rates": MORTALITY_FROM_25}, years=True)
CONSTANT_PROGRESSION = exponential(0.105 / 12.0)
# The tutorial's cumulative hazard is (0.08 x years in Sick) ** 1.1.
WEIBULL_PROGRESSION = Hazard("weibull", {"shape": 1.1, "scale": 12.0 / 0.08})


def sick_sicker(
    death: Hazard = CONSTANT_DEATH,
    progression: Hazard = CONSTANT_PROGRESSION,
    rates: tuple[float, float] = (0.15, 0.5),
    years: float = 75.0,
    once: tuple[float, float, float] = (0.0, 0.0, 0.0),
    **fields: Any,
) -> Evaluation:
    """The model with annual `rates` of becoming Sick and of recovery.

    `once`: loss of quality of life and cost on becoming Sick, and cost of dying.
    """
    clock = Clock.AGE if death is LIFE_TABLE else Clock.MODEL

    def dying(ratio: float) -> Transition:
        return Transition(name="die", to="dead", hazard=death, clock=clock, log_multiplier=float(np.log(ratio)))

    fall_ill = Transition(name="fall_ill", to="sick", hazard=exponential(rates[0] / 12.0), mark="falls_ill")
    recover = Transition(name="recover", to="healthy", hazard=exponential(rates[1] / 12.0))
    worsen = Transition(name="worsen", to="sicker", hazard=progression, log_multiplier=log(parameter("hr")))
    pathway = Pathway(
        name="sick_sicker",
        start="healthy",
        nodes=(
            State(name="healthy", transitions=(fall_ill, dying(1.0))),
            State(name="sick", transitions=(recover, worsen, dying(3.0))),
            State(name="sicker", transitions=(dying(10.0),)),
            End(name="dead"),
        ),
        attributes=(Attribute(name="age", initial=25.0),),
        age_years="age",
    )
    cost = parameter("cost")
    rewards = (
        RateReward(channel="qaly", rate=1.0, states=("healthy",)),
        RateReward(channel="qaly", rate=parameter("utility"), states=("sick",)),
        RateReward(channel="qaly", rate=0.5, states=("sicker",)),
        RateReward(channel="cost", rate=2_000.0 / 12.0, states=("healthy",)),
        RateReward(channel="cost", rate=(4_000.0 + cost) / 12.0, states=("sick",)),
        RateReward(channel="cost", rate=(15_000.0 + cost) / 12.0, states=("sicker",)),
        MarkReward(channel="qaly", amount=-12.0 * once[0], mark="falls_ill"),
        MarkReward(channel="cost", amount=once[1], mark="falls_ill"),
        MarkReward(channel="cost", amount=once[2], mark="dead"),
        RateReward(channel="ly", rate=1.0),
    )
    return Evaluation(
        pathway=pathway,
        strategies=(Strategy(id="one"),),
        channels=(
            Channel(id="cost", discount=0.03),
            Channel(id="qaly", discount=0.03, scale=1.0 / 12.0),
            Channel(id="ly", scale=1.0 / 12.0),
        ),
        rewards=rewards,
        horizon=12.0 * years,
        **fields,
    )


def four_strategies() -> dict[str, Floats]:
    hr, utility, cost = (np.array(column) for column in zip(*STRATEGIES.values(), strict=True))
    return {"hr": hr, "utility": utility, "cost": cost}


def tutorial_weights(cycles: int) -> Floats:
    """Weights of the tutorials' counts: Simpson's 4/3 and 2/3 in the opposite order (darthtools, `gen_wcc`)."""
    weights = np.where(np.arange(cycles + 1) % 2 == 1, 2.0 / 3.0, 4.0 / 3.0)
    weights[[0, -1]] = 1.0 / 3.0
    return weights


def as_printed(cost: Floats, qaly: Floats) -> dict[str, tuple[int, float]]:
    return {name: (round(float(c)), round(float(q), 3)) for name, c, q in zip(STRATEGIES, cost, qaly, strict=True)}


def icers(cost: Floats, qaly: Floats) -> tuple[int, int]:
    """B against SoC and AB against B; A is dominated."""
    return tuple(round(float((cost[i] - cost[j]) / (qaly[i] - qaly[j]))) for i, j in ((2, 0), (3, 2)))  # type: ignore[return-value]


# -- published tables ----------------------------------------------------------------------------------------------


def test_the_introductory_tutorial_to_the_dollar() -> None:
    found = cohort_trace(
        sick_sicker(), four_strategies(), 12.0, correction=tutorial_weights(75), competing="ends_first"
    )
    cost, qaly = found.mean("cost")[:, 0], found.mean("qaly")[:, 0]
    assert as_printed(cost, qaly) == INTRODUCTORY_TABLE
    assert icers(cost, qaly) == (72_988, 125_764)


def test_the_age_dependent_tutorial_to_the_dollar() -> None:
    # One-off rewards are counted in the tutorial with the weight and the discount of the end of their cycle.
    weights = tutorial_weights(75)
    question = sick_sicker(death=LIFE_TABLE)
    found = cohort_trace(question, four_strategies(), 12.0, correction=weights, competing="ends_first")
    worth = weights * 1.03 ** -np.arange(76.0)
    falls_ill, dies = (found.flow(mark)[:, 0] @ worth for mark in ("falls_ill", "dead"))
    cost = found.mean("cost")[:, 0] + 1_000.0 * falls_ill + 2_000.0 * dies
    qaly = found.mean("qaly")[:, 0] - 0.01 * falls_ill
    assert as_printed(cost, qaly) == AGE_DEPENDENT_TABLE
    assert icers(cost, qaly) == (65_288, 104_461)
    # The first year's row as printed in the tutorial.
    first = [found.share(place)[0, 0, 1] for place in ("healthy", "sick", "sicker", "dead")]
    assert np.allclose(first, [0.8598357, 0.1391509, 0.0, 0.001013486], atol=5e-8)


def test_the_state_residence_tutorial_against_its_tunnel_matrices() -> None:
    # States 0 healthy, 1 to 75 Sick for so many years, 76 sicker, 77 dead, as the tutorial lays them out.
    death = -np.expm1(-np.outer([1.0, 3.0, 10.0], MORTALITY_FROM_25))
    worse = -np.expm1(-np.diff((0.08 * np.arange(76.0)) ** 1.1))
    ill, well = -np.expm1(-0.15), -np.expm1(-0.5)
    cohort = np.eye(78)[0]
    trace = [cohort]
    for year in range(75):
        matrix = np.zeros((78, 78))
        matrix[0, [0, 1, 77]] = [*((1 - death[0, year]) * np.array([1 - ill, ill])), death[0, year]]
        for spent in range(75):
            stay = min(spent + 2, 75)
            alive = 1 - death[1, year]
            matrix[spent + 1, [0, stay, 76]] = alive * np.array([well, 1 - well - worse[spent], worse[spent]])
            matrix[spent + 1, 77] = death[1, year]
        matrix[76, [76, 77]] = 1 - death[2, year], death[2, year]
        matrix[77, 77] = 1.0
        cohort = cohort @ matrix
        trace.append(cohort)
    expected = np.array(trace)
    values = {name: value[:1] for name, value in four_strategies().items()}
    found = cohort_trace(sick_sicker(LIFE_TABLE, WEIBULL_PROGRESSION), values, 12.0, competing="ends_first")
    assert np.allclose(found.share("healthy")[0, 0], expected[:, 0], atol=1e-13)
    assert np.allclose(found.share("sick")[0, 0], expected[:, 1:76].sum(axis=1), atol=1e-13)
    assert np.allclose(found.share("sicker")[0, 0], expected[:, 76], atol=1e-13)
    assert np.allclose(found.share("dead")[0, 0], expected[:, 77], atol=1e-13)


def test_the_microsimulation_tutorial_by_cohort() -> None:
    # Krijkamp 2018 gives probabilities a year: healthy to Sick 0.15, back 0.5, to Sicker 0.105, death 0.005 and by rate
    # ratios 3 and 10. Its appendix C multiplies the matrix below 30 times and counts all 31 ends of cycles.
    p_die = -np.expm1(np.array([1.0, 3.0, 10.0]) * np.log1p(-0.005))
    matrix = np.array(
        [
            [1 - 0.15 - p_die[0], 0.15, 0.0, p_die[0]],
            [0.5, 1 - 0.5 - 0.105 - p_die[1], 0.105, p_die[1]],
            [0.0, 0.0, 1 - p_die[2], p_die[2]],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
    trace = np.array([np.linalg.matrix_power(matrix, year)[0] for year in range(31)])
    worth = 1.03 ** -np.arange(31.0)
    question = sick_sicker(
        exponential(-np.log1p(-0.005) / 12.0),
        exponential(-np.log1p(-0.105) / 12.0),
        (-np.log1p(-0.15), -np.log1p(-0.5)),
        30.0,
    )
    values = {"hr": np.ones(2), "utility": np.array([0.75, 0.95]), "cost": np.array([0.0, 12_000.0])}
    found = cohort_trace(question, values, 12.0, correction="none", competing="separate")
    assert np.allclose(found.occupancy[0, 0].T, trace, atol=1e-13)
    for draw, treated in enumerate((0.0, 12_000.0)):
        by_year = trace @ np.array([2_000.0, 4_000.0 + treated, 15_000.0 + treated, 0.0])
        assert np.isclose(found.mean("cost")[draw, 0], by_year @ worth, rtol=1e-13)
        by_year = trace @ np.array([1.0, (0.75, 0.95)[draw], 0.5, 0.0])
        assert np.isclose(found.mean("qaly")[draw, 0], by_year @ worth, rtol=1e-13)


# -- the same model without cycles -----------------------------------------------------------------------------------


def extrapolated(question: Evaluation, values: dict[str, Floats], cycle: float) -> tuple[Floats, Floats]:
    """Means as the cycle shrinks to 0 (Richardson, three cycle lengths), and an estimate of what is still missing."""
    traces: list[CohortOutcomes] = [cohort_trace(question, values, cycle / halves) for halves in (1, 2, 4)]
    one, two, four = (trace.means[:, 0] for trace in traces)
    first, second = 2.0 * two - one, 2.0 * four - two
    answer = (4.0 * second - first) / 3.0
    return answer, np.abs(answer - second)


def simulated(question: Evaluation, values: dict[str, Floats]) -> Outcomes:
    return simulate(question, values, {"age": np.full(PATIENTS, 25.0)}, patients=PATIENTS, luck=0)


def means_of(found: Outcomes, exact: Floats) -> list[Mean]:
    return [
        Mean(f"{name} {column}", found.means[i, 0, j], found.mcse[i, 0, j], exact[i, j])
        for i, name in enumerate(STRATEGIES)
        for j, column in enumerate(found.columns)
    ]


def test_sick_sicker_in_continuous_time() -> None:
    # Constant rates: the expected discounted time in each state is the integral of expm(Q t) exp(-r t).
    values = four_strategies()
    exact = np.zeros((4, 3))
    for draw, (ratio, utility, cost) in enumerate(STRATEGIES.values()):
        worse = 0.105 * ratio
        generator = np.array([[-0.152, 0.15, 0.0], [0.5, -0.506 - worse, worse], [0.0, 0.0, -0.02]])
        for column, (rate, prices) in enumerate(
            [
                (np.log(1.03), [2_000.0, 4_000.0 + cost, 15_000.0 + cost]),
                (np.log(1.03), [1.0, utility, 0.5]),
                (0.0, [1.0, 1.0, 1.0]),
            ]
        ):
            discounted = generator - rate * np.eye(3)
            exact[draw, column] = np.linalg.solve(discounted, (expm(75.0 * discounted) - np.eye(3)) @ prices)[0]
    question = sick_sicker(grid_step=None)
    found = simulated(question, values)
    assert disagreements(means_of(found, exact)) == []
    assert len(disagreements(means_of(found, 1.03 * exact))) == 12
    by_cohort, missing = extrapolated(question, values, 1.5)
    assert np.allclose(by_cohort, exact, rtol=1e-6)
    assert (missing < 1e-4 * exact).all()


@pytest.mark.parametrize("progression", [CONSTANT_PROGRESSION, WEIBULL_PROGRESSION])
def test_both_solvers_agree_where_hazards_run_on_age_and_time_in_state(progression: Hazard) -> None:
    question = sick_sicker(LIFE_TABLE, progression, once=(0.01, 1_000.0, 2_000.0), grid_step=None)
    values = four_strategies()
    exact, missing = extrapolated(question, values, 3.0)
    found = simulated(question, values)
    # What is left of the cycle is small beside the Monte-Carlo error.
    assert (missing < 0.2 * found.mcse[:, 0]).all()
    assert disagreements(means_of(found, exact)) == []
    assert len(disagreements(means_of(found, 1.03 * exact))) == 12


# -- a time-inhomogeneous Markov model ---------------------------------------------------------------------------------

BREAKS, LEVELS = [0.0, 18.0, 40.0], [0.01, 0.05, 0.02]


def hazards_at(t: float) -> tuple[float, float, float, float]:
    """Well to ill (Weibull), ill to well (log-logistic), well to dead (Gompertz), ill to dead (piecewise constant)."""
    x = (t / 20.0) ** 2.0
    return (
        1.5 / 30.0 * (t / 30.0) ** 0.5,
        2.0 / 20.0 * (t / 20.0) / (1.0 + x),
        0.002 * np.exp(0.03 * t),
        float(np.interp(t, BREAKS[1:], LEVELS[1:])) if t < 0 else LEVELS[int(np.searchsorted(BREAKS, t, "right")) - 1],
    )


def inhomogeneous(**fields: Any) -> Evaluation:
    def transition(to: str, family: str, **parameters: float | Sequence[float]) -> Transition:
        return Transition(name=f"to_{to}", to=to, hazard=Hazard(family, parameters), clock=Clock.MODEL)

    well = State(
        name="well",
        transitions=(
            transition("ill", "weibull", shape=1.5, scale=30.0),
            transition("dead", "gompertz", shape=0.03, rate=0.002),
        ),
    )
    ill = State(
        name="ill",
        transitions=(
            transition("well", "llogis", shape=2.0, scale=20.0),
            transition("dead", "pwexp", rates=LEVELS, times=BREAKS),
        ),
    )
    return Evaluation(
        pathway=Pathway(name="inhomogeneous", start="well", nodes=(well, ill, End(name="dead"))),
        strategies=(Strategy(id="one"),),
        channels=(Channel(id="ly", scale=1.0 / 12.0), Channel(id="cost", discount=0.05)),
        rewards=(RateReward(channel="ly", rate=1.0), RateReward(channel="cost", rate=100.0, states=("ill",))),
        horizon=120.0,
        **fields,
    )


def kolmogorov() -> tuple[Floats, Floats, Floats]:
    """Occupancy of well and ill every six months by the forward equations; life years and discounted cost."""

    def slope(t: float, y: Floats) -> list[float]:
        ill, well, die, die_ill = hazards_at(t)
        a, b = y[:2]
        return [
            b * well - a * (ill + die),
            a * ill - b * (well + die_ill),
            (a + b) / 12.0,
            100.0 * b * 1.05 ** (-t / 12.0),
        ]

    times, state, rows = np.arange(0.0, 121.0, 6.0), np.array([1.0, 0.0, 0.0, 0.0]), []
    # Piece by piece, so that no step crosses a jump of the hazard.
    for begin, end in zip((*BREAKS,), (*BREAKS[1:], 120.0), strict=True):
        inside = times[(times >= begin) & (times < end)]
        solved = solve_ivp(
            slope, (begin, np.nextafter(end, 0.0)), state, "LSODA", inside, dense_output=True, rtol=1e-11, atol=1e-13
        )
        rows.append(solved.y[:2].T)
        state = solved.sol(np.nextafter(end, 0.0))
    occupancy = np.concatenate([*rows, state[None, :2]])
    return times, occupancy, state[2:]


def test_a_time_inhomogeneous_markov_model_by_both_solvers() -> None:
    times, occupancy, totals = kolmogorov()
    question = inhomogeneous(trace=True, grid_step=6.0)
    found = simulate(question, {}, patients=PATIENTS)

    def comparisons(stretch: float) -> list[Mean | Share]:
        means: list[Mean | Share] = [
            Mean(column, found.means[0, 0, j], found.mcse[0, 0, j], stretch * totals[j])
            for j, column in enumerate(found.columns)
        ]
        # At the horizon itself every visit has closed.
        shares = [
            Share(f"{state} at {times[k]:g}", found.occupancy[0, s, k], PATIENTS, occupancy[k, s])
            for s, state in enumerate(("well", "ill"))
            for k in range(1, times.size - 1)
        ]
        return means + shares

    assert disagreements(comparisons(1.0)) == []
    assert "ly" in disagreements(comparisons(1.03))[0]
    one, two = (cohort_trace(question, {}, cycle).occupancy[0, 0, :2].T for cycle in (0.5, 0.25))
    each, every = round(6.0 / 0.5), round(6.0 / 0.25)
    errors = [np.abs(trace - occupancy).max() for trace in (one[::each], two[::every])]
    assert errors[0] < 0.004
    # First order: half the cycle, half the error; extrapolation leaves little.
    assert 1.9 < errors[0] / errors[1] < 2.1
    assert np.abs(2.0 * two[::every] - one[::each] - occupancy).max() < 2e-5


def test_the_values_of_a_base_case_serve_both_solvers() -> None:
    values = as_values({"hr": 1.0, "utility": 0.75, "cost": 0.0})
    question = sick_sicker(grid_step=None)
    by_cohort = cohort_trace(question, values, 1.0).table().set_index("outcome")["mean"]
    people = {"age": np.full(20_000, 25.0)}
    by_engine = simulate(question, values, people, patients=20_000).table().set_index("outcome")["mean"]
    assert np.allclose(by_cohort, by_engine, rtol=0.02)
