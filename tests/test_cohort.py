"""The deterministic cohort solver: answers by hand, relations between its options, and what it must refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from simhcc.cohort import CORRECTIONS, CohortOutcomes, cohort_trace, correction_weights
from simhcc.errors import ModelError
from simhcc.expressions import MONTHS_IN_STATE, attribute, log, parameter, receiving, uniform
from simhcc.graph import (
    AdministrationReward,
    Attribute,
    Branch,
    Chance,
    Channel,
    Clock,
    Decision,
    Edge,
    Effect,
    End,
    Endpoint,
    Hazard,
    MarkReward,
    Node,
    Pathway,
    RateReward,
    Reward,
    Row,
    ScanSchedule,
    Scheduled,
    State,
    Strata,
    Strategy,
    TimeToDeathReward,
    Transition,
    Treatment,
    exponential,
)
from simhcc.simulation import Evaluation

DEAD = End(name="dead")
MONTHS = (Channel(id="months"),)
ALIVE: tuple[Reward, ...] = (RateReward(channel="months", rate=1.0),)


def die(rate: Any = 0.1, **fields: Any) -> Transition:
    return Transition(name="die", to="dead", hazard=fields.pop("hazard", exponential(rate)), **fields)


def go(to: str, rate: Any = 0.2, **fields: Any) -> Transition:
    return Transition(name=f"to_{to}", to=to, hazard=fields.pop("hazard", exponential(rate)), **fields)


def state(name: str, *transitions: Transition) -> State:
    return State(name=name, transitions=transitions)


def question(
    *nodes: Node,
    rewards: tuple[Reward, ...] = ALIVE,
    channels: tuple[Channel, ...] = MONTHS,
    strategies: tuple[Strategy, ...] = (Strategy(id="one"),),
    horizon: float = 12.0,
    **fields: Any,
) -> Evaluation:
    start = fields.pop("start", nodes[0].name)
    return Evaluation(
        pathway=Pathway(name="test", start=start, nodes=nodes, **fields),
        strategies=strategies,
        channels=channels,
        rewards=rewards,
        horizon=horizon,
    )


def solve(
    asked: Evaluation, values: dict[str, Any] | None = None, cycle: float = 1.0, **options: Any
) -> CohortOutcomes:
    given = {name: np.atleast_1d(np.asarray(value, dtype=float)) for name, value in (values or {}).items()}
    return cohort_trace(asked, given, cycle, **options)


ONE_STATE = question(state("alive", die()), DEAD)


# -- answers by hand ---------------------------------------------------------------------------------------------------


def test_constant_hazard_and_every_correction_by_hand() -> None:
    found = solve(ONE_STATE)
    counts = np.exp(-0.1 * np.arange(13))
    assert np.allclose(found.share("alive")[0, 0], counts, rtol=1e-14)
    assert np.allclose(found.share("dead")[0, 0], 1.0 - counts, atol=1e-15)
    assert np.allclose(found.flow("dead")[0, 0], [0.0, *-np.diff(counts)], rtol=1e-12, atol=0)
    assert np.array_equal(found.times, np.arange(13.0))
    by_hand = {
        "none": counts.sum(),
        "start": counts[:-1].sum(),
        "end": counts[1:].sum(),
        "half-cycle": counts.sum() - 0.5 * (counts[0] + counts[-1]),
        "simpson-1/3": (counts[0] + 4 * counts[1:-1:2].sum() + 2 * counts[2:-1:2].sum() + counts[-1]) / 3.0,
        "life-table": 0.5 * (counts[1:] + counts[:-1]).sum(),
    }
    assert set(by_hand) == set(CORRECTIONS)
    for name, months in by_hand.items():
        assert math.isclose(solve(ONE_STATE, correction=name).mean("months")[0, 0], months, rel_tol=1e-13), name
    # The exact answer is (1 - exp(-1.2)) / 0.1; Simpson's rule comes closest.
    exact = -math.expm1(-1.2) / 0.1
    errors = {name: abs(months / exact - 1.0) for name, months in by_hand.items()}
    assert errors["simpson-1/3"] < 1e-5 < errors["half-cycle"] < 1e-3 < errors["start"]
    own = solve(ONE_STATE, correction=correction_weights("half-cycle", 12))
    assert own.mean("months")[0, 0] == solve(ONE_STATE, correction="half-cycle").mean("months")[0, 0]


def test_competing_hazards_of_a_cycle_by_hand() -> None:
    # Rates 0.3 to ill and 0.1 to dead over a cycle of 2 months: dH = 0.6 and 0.2.
    asked = question(state("well", go("ill", 0.3), die(0.1)), state("ill", die(0.4)), DEAD, horizon=2.0)
    shares = {name: solve(asked, cycle=2.0, competing=name) for name in ("proportional", "ends_first", "separate")}
    gone = -math.expm1(-0.8)
    by_hand = {
        "proportional": (0.75 * gone, 0.25 * gone),
        "ends_first": (math.exp(-0.2) * -math.expm1(-0.6), -math.expm1(-0.2)),
        "separate": (-math.expm1(-0.6), -math.expm1(-0.2)),
    }
    for name, (ill, dead) in by_hand.items():
        assert math.isclose(shares[name].share("ill")[0, 0, 1], ill, rel_tol=1e-14), name
        assert math.isclose(shares[name].share("dead")[0, 0, 1], dead, rel_tol=1e-14), name
        assert math.isclose(shares[name].share("well")[0, 0, 1], 1.0 - ill - dead, rel_tol=1e-14), name


def test_hazards_on_time_in_state_use_tunnels() -> None:
    # Everybody is ill for 12 months at least: a Weibull hazard in the second state counts from falling ill.
    weibull = Hazard("weibull", {"shape": 2.0, "scale": 6.0})
    asked = question(state("well", go("ill", 0.5)), state("ill", die(hazard=weibull)), DEAD, horizon=5.0)
    found = solve(asked).share("ill")[0, 0]
    arriving = np.diff(1.0 - np.exp(-0.5 * np.arange(6)))
    survival = np.exp(-((np.arange(6) / 6.0) ** 2.0))
    # Those who arrive within cycle k begin their stay at its end.
    by_hand = [sum(arriving[k] * survival[t - 1 - k] for k in range(t)) for t in range(6)]
    assert np.allclose(found, by_hand, rtol=1e-14)
    forward = question(
        state("well", go("ill", 0.5)), state("ill", die(hazard=weibull, clock=Clock.MODEL)), DEAD, horizon=5.0
    )
    assert solve(forward).share("ill")[0, 0, 3] < found[3]


def test_an_edge_to_its_own_state_begins_a_new_stay() -> None:
    weibull = Hazard("weibull", {"shape": 3.0, "scale": 5.0})
    renewed = question(state("a", go("a", 50.0), die(hazard=weibull)), DEAD)
    left_alone = question(state("a", die(hazard=weibull)), DEAD)
    # Renewed every cycle, nobody grows old.
    assert solve(renewed).share("a")[0, 0, -1] > 0.95
    assert solve(left_alone).share("a")[0, 0, -1] < 1e-5


def test_model_and_age_clocks_by_hand() -> None:
    gompertz = Hazard("gompertz", {"shape": 0.05, "rate": 0.01})

    def survival(clock: Clock, age: float) -> float:
        asked = question(
            state("a", die(hazard=gompertz, clock=clock)), DEAD, attributes=(Attribute(name="age"),), age_years="age"
        )
        return float(solve(asked, profile={"age": age}).survival[0, 0, -1])

    def cumulative(t: float) -> float:
        return 0.2 * math.expm1(0.05 * t)

    assert math.isclose(survival(Clock.MODEL, 5.0), math.exp(-cumulative(12.0)), rel_tol=1e-13)
    assert math.isclose(survival(Clock.AGE, 5.0), math.exp(cumulative(60.0) - cumulative(72.0)), rel_tol=1e-13)


def test_chance_nodes_decisions_by_parameters_and_marks_at_entry() -> None:
    arrive = Chance(
        name="arrive",
        branches=(
            Branch(name="dies", to="dead", weight=parameter("p"), mark="operated"),
            Branch(name="lives", to="choose", weight=1.0 - parameter("p"), mark="operated"),
        ),
    )
    choose = Decision(
        name="choose",
        actions={"rest": Edge(to="alive", mark="rests"), "wait": Edge(to="waiting")},
        default=(Row(do="rest", when=parameter("resting") > 0.5), Row(do="wait")),
    )
    asked = question(
        arrive,
        choose,
        state("alive", die()),
        state("waiting", die(0.3)),
        DEAD,
        rewards=(
            MarkReward(channel="marks", amount=3.0, mark="operated"),
            MarkReward(channel="marks", amount=10.0, mark="rests", per="size"),
            MarkReward(channel="marks", amount=parameter("fee"), mark="dead"),
        ),
        channels=(Channel(id="marks", discount=0.05, scale=2.0),),
        horizon=1.0,
        attributes=(Attribute(name="size", initial=4.0),),
    )
    found = solve(asked, {"p": [0.2, 0.4], "resting": [1.0, 0.0], "fee": [0.0, 7.0]})
    assert np.allclose(found.share("alive")[:, 0, 0], [0.8, 0.0])
    assert np.allclose(found.share("waiting")[:, 0, 0], [0.0, 0.6])
    assert np.allclose(found.flow("operated")[:, 0, 0], 1.0)
    dying = 0.6 * -math.expm1(-0.3)
    # In the middle of the only cycle: half a month.
    by_hand = [2.0 * (3.0 + 0.8 * 40.0), 2.0 * (3.0 + 7.0 * (0.4 + dying * 1.05 ** (-0.5 / 12.0)))]
    assert np.allclose(found.mean("marks")[:, 0], by_hand, rtol=1e-13)


def test_discounting_and_age_bands() -> None:
    channels = (
        Channel(id="plain", discount=0.06),
        Channel(id="banded", discount=0.06, age_bands=((50.25, 0.5), (50.75, 0.2))),
    )
    asked = question(
        state("a", die(0.0)),
        DEAD,
        rewards=tuple(RateReward(channel=c.id, rate=2.0) for c in channels),
        channels=channels,
        attributes=(Attribute(name="age"),),
        age_years="age",
    )
    rate = math.log(1.06) / 12.0

    def paid(begin: float, end: float) -> float:
        return (math.exp(-rate * begin) - math.exp(-rate * end)) / rate

    exact = solve(asked, correction="life-table", profile={"age": 50.0})
    assert math.isclose(exact.mean("plain")[0, 0], 2.0 * paid(0.0, 12.0), rel_tol=1e-13)
    banded = paid(0.0, 3.0) + 0.5 * paid(3.0, 9.0) + 0.2 * paid(9.0, 12.0)
    assert math.isclose(exact.mean("banded")[0, 0], 2.0 * banded, rel_tol=1e-13)
    # From beyond the last band's age on, its factor holds throughout.
    older = solve(asked, correction="life-table", profile={"age": 60.0})
    assert math.isclose(older.mean("banded")[0, 0], 0.4 * paid(0.0, 12.0), rel_tol=1e-13)
    counted = solve(asked, correction="start", profile={"age": 50.0})
    worth = np.exp(-rate * np.arange(12))
    factor = np.where(np.arange(12) < 3, 1.0, np.where(np.arange(12) < 9, 0.5, 0.2))
    assert math.isclose(counted.mean("banded")[0, 0], 2.0 * (worth * factor).sum(), rel_tol=1e-13)


def test_rewards_by_state_and_by_the_empty_slot() -> None:
    rewards: tuple[Reward, ...] = (
        RateReward(channel="months", rate=5.0, states=("ill",)),
        RateReward(channel="months", rate=1.0, systemic=("none",)),
        RateReward(channel="months", rate=100.0, systemic=("drug",)),
        AdministrationReward(channel="months", amount=100.0, treatment="drug", period=1.0),
    )
    asked = question(
        state("well", go("ill", 0.2)),
        state("ill", die(0.1)),
        DEAD,
        rewards=rewards,
        treatments=(Treatment(id="drug", slot="systemic"),),
    )
    found = solve(asked, correction="start")
    by_hand = found.survival[0, 0, :-1].sum() + 5.0 * found.share("ill")[0, 0, :-1].sum()
    assert math.isclose(found.mean("months")[0, 0], by_hand, rel_tol=1e-13)


def test_multipliers_profiles_strata_strategies_and_draws() -> None:
    nodes = (
        State(
            name="a",
            transitions=(
                Transition(
                    name="die",
                    to="dead",
                    hazard=Strata(by="sex", hazards=(exponential(0.1), exponential(parameter("rate")))),
                    log_multiplier=log(parameter("hr")) + 0.5 * attribute("severity"),
                ),
            ),
        ),
        DEAD,
    )
    asked = question(
        *nodes,
        strategies=(Strategy(id="one"), Strategy(id="two", numbers={"hr": 0.5})),
        attributes=(Attribute(name="sex", initial=0.0), Attribute(name="x", initial=1.0)),
        derived={"severity": attribute("x") * 2.0},
    )
    values = {"hr": [1.0, 3.0], "rate": [0.2, 0.3]}
    for sex, rates in ((0.0, [0.1, 0.1]), (1.0, [0.2, 0.3]), (7.0, [0.2, 0.3])):
        found = solve(asked, values, profile={"sex": sex})
        hazards = np.array(rates)[:, None] * np.array([[1.0, 0.5], [3.0, 0.5]]) * math.e * 12.0
        assert np.allclose(found.survival[:, :, -1], np.exp(-hazards), rtol=1e-12)
    never = solve(asked, {"hr": [0.0, 0.0], "rate": [1.0, 1.0]})
    assert (never.survival[:, 0] == 1.0).all()


def test_the_cohort_is_conserved() -> None:
    asked = question(
        state("a", go("b", 0.4), die(hazard=Hazard("lnorm", {"meanlog": 2.0, "sdlog": 1.0}))),
        state("b", go("a", hazard=Hazard("weibull", {"shape": 0.6, "scale": 9.0})), go("away", 0.01), die(0.02)),
        DEAD,
        End(name="away"),
        horizon=240.0,
    )
    found = solve(asked, cycle=0.5)
    assert np.allclose(found.occupancy.sum(axis=2), 1.0, atol=1e-12)
    assert (found.occupancy >= 0.0).all()
    assert np.allclose(found.flow("dead").cumsum(axis=2), found.share("dead"), atol=1e-12)
    assert np.allclose(found.survival, 1.0 - found.share("dead") - found.share("away"), atol=1e-12)


def test_a_hazard_that_has_become_huge_ends_everything() -> None:
    asked = question(state("a", die(hazard=Hazard("gompertz", {"shape": 5.0, "rate": 1.0}))), DEAD, horizon=240.0)
    found = solve(asked)
    assert found.share("dead")[0, 0, -1] == 1.0
    assert np.isfinite(found.occupancy).all()


def test_who_meets_a_huge_hazard_late_dies_at_once() -> None:
    # On the model clock the cumulative hazard overflows long before month 200; those who fall ill then live one cycle.
    huge = die(hazard=Hazard("gompertz", {"shape": 5.0, "rate": 1.0}), clock=Clock.MODEL, log_multiplier=700.0)
    found = solve(question(state("well", go("ill", 0.01)), state("ill", huge), DEAD, horizon=240.0))
    well, ill = found.share("well")[0, 0], found.share("ill")[0, 0]
    assert np.allclose(ill[200:], well[199:-1] - well[200:], rtol=1e-9)
    assert np.isfinite(found.occupancy).all()


def test_marks_at_chance_nodes_on_the_way_are_shared_out() -> None:
    which = Chance(
        name="which",
        branches=(
            Branch(name="known", to="dead", weight=0.25, mark="seen"),
            Branch(name="unknown", to="dead", weight=0.75, mark="asked"),
        ),
    )
    found = solve(question(state("a", go("which", 0.1, mark="asked")), which, DEAD))
    dying = found.flow("dead")[0, 0]
    assert dying[1:].min() > 0.0
    assert np.allclose(found.flow("seen")[0, 0], 0.25 * dying, rtol=1e-14)
    # Once on leaving and, for three in four, once more on the way.
    assert np.allclose(found.flow("asked")[0, 0], 1.75 * dying, rtol=1e-14)


def test_weights_by_attribute_are_shares_of_their_sum() -> None:
    flip = Chance(
        name="flip",
        branches=(
            Branch(name="heads", to="a", weight=attribute("x")),
            Branch(name="tails", to="dead", weight=3.0 * attribute("x")),
        ),
    )
    asked = question(flip, state("a", die()), DEAD, attributes=(Attribute(name="x", initial=2.0),))
    assert solve(asked).share("a")[0, 0, 0] == 0.25


def test_only_what_must_end_goes_first() -> None:
    # An operation that may kill is not a death: it is drawn among those who did not die of the rest.
    operate = Chance(
        name="operate",
        branches=(Branch(name="dies", to="dead", weight=0.5), Branch(name="lives", to="b", weight=0.5)),
    )
    asked = question(state("a", go("operate", 0.7), die(0.4)), operate, state("b", die()), DEAD, horizon=1.0)
    found = solve(asked, competing="ends_first")
    operated = math.exp(-0.4) * -math.expm1(-0.7)
    assert math.isclose(found.share("b")[0, 0, 1], 0.5 * operated, rel_tol=1e-14)
    assert math.isclose(found.share("dead")[0, 0, 1], -math.expm1(-0.4) + 0.5 * operated, rel_tol=1e-14)


def test_states_that_the_strategy_never_reaches_need_no_solution() -> None:
    scheduled = State(name="odd", scheduled=(Scheduled(name="visit", first=1.0, to="dead"),))
    choose = Decision(name="choose", actions={"odd": Edge(to="odd"), "even": Edge(to="a")}, default=(Row(do="even"),))
    found = solve(question(choose, scheduled, state("a", die()), DEAD))
    assert math.isclose(found.share("a")[0, 0, 1], math.exp(-0.1))
    other = Strategy(id="odd", tables={"choose": (Row(do="odd"),)})
    with pytest.raises(ModelError, match="odd/visit"):
        solve(question(choose, scheduled, state("a", die()), DEAD, strategies=(other,)))


def test_a_shorter_cycle_changes_the_result_and_the_table_names_it() -> None:
    asked = question(state("well", go("ill", 0.3)), state("ill", die(0.4)), DEAD)
    long, short = (solve(asked, cycle=cycle).table() for cycle in (3.0, 0.1))
    assert list(short.columns) == ["strategy", "outcome", "mean", "lower", "upper"]
    exact = -math.expm1(-3.6) / 0.3
    exact += (-math.expm1(-3.6) / 0.3 - -math.expm1(-4.8) / 0.4) * 0.3 / 0.1
    assert abs(short["mean"][0] / exact - 1.0) < 0.02 < abs(long["mean"][0] / exact - 1.0)


# -- what is refused ---------------------------------------------------------------------------------------------------

DRUG = Treatment(id="drug", slot="systemic", effects={"die": Effect(ratio=0.5)})
SCANS = ScanSchedule(name="scans", segments=((2.0, 2.0),))
X = (Attribute(name="x", initial=0.0),)

REFUSED: dict[str, tuple[Callable[[], Evaluation], str]] = {
    "treatment": (
        lambda: question(state("a", go("b", systemic="drug")), state("b", die()), DEAD, treatments=(DRUG,)),
        r"a/to_b: it gives 'drug' in the systemic slot",
    ),
    "stay": (
        lambda: question(state("a", die(), Transition(name="again", to="STAY", hazard=exponential(1.0))), DEAD),
        r"a/again: it returns to the running stay",
    ),
    "scheduled": (
        lambda: question(
            State(name="a", transitions=(die(),), scheduled=(Scheduled(name="v", first=3.0, to="dead"),)), DEAD
        ),
        r"a/v: a scheduled event",
    ),
    "scan": (
        lambda: question(state("a", die(seen_at_scan="scans")), DEAD, schedules=(SCANS,)),
        r"a/die: it takes effect at a scan",
    ),
    "treatment clock": (
        lambda: question(state("a", die(clock=Clock.SYSTEMIC)), DEAD),
        r"a/die: it runs on time since treatment start",
    ),
    "attribute that changes": (
        lambda: question(
            state("a", go("a", updates={"x": attribute("x") + 1.0}), die(log_multiplier=attribute("x"))),
            DEAD,
            attributes=X,
        ),
        r"a/die \(log multiplier\): it depends on attribute 'x', which a/to_a changes on the way",
    ),
    "age that changes": (
        lambda: question(
            state("a", go("a", updates={"x": 1.0}), die(clock=Clock.AGE)), DEAD, attributes=X, age_years="x"
        ),
        r"a/die: a/to_a changes the age",
    ),
    "random draw": (
        lambda: question(state("a", die(log_multiplier=uniform("luck"))), DEAD),
        r"a/die \(log multiplier\).*draws a random number",
    ),
    "time at evaluation": (
        lambda: question(state("a", die(log_multiplier=MONTHS_IN_STATE)), DEAD),
        r"a/die \(log multiplier\).*use a clock",
    ),
    "decision by patient": (
        lambda: question(
            Decision(
                name="choose",
                actions={"go": Edge(to="a"), "stop": Edge(to="dead")},
                default=(Row(do="go", when=receiving("drug")), Row(do="stop")),
            ),
            state("a", die()),
            DEAD,
            treatments=(DRUG,),
        ),
        r"choose/row 1 \(when\).*treatment received",
    ),
    "weight by patient": (
        lambda: question(
            Chance(
                name="flip",
                branches=(
                    Branch(name="heads", to="a", weight=uniform("coin")),
                    Branch(name="tails", to="dead", weight=1.0),
                ),
            ),
            state("a", die()),
            DEAD,
        ),
        r"flip/heads \(weight\).*draws a random number",
    ),
    "interval reward": (
        lambda: question(
            state("a", die(mark="m")), DEAD, rewards=(MarkReward(channel="months", amount=1.0, mark="m", months=2.0),)
        ),
        r"'months': it lasts an interval after a mark",
    ),
    "time to death": (
        lambda: question(
            state("a", die()), DEAD, rewards=(TimeToDeathReward(channel="months", rate=1.0, start=0.0, stop=1.0),)
        ),
        r"'months': it lasts a time before death",
    ),
    "tags": (
        lambda: question(
            state("a", die()),
            DEAD,
            rewards=(RateReward(channel="months", rate=1.0, tags={"x": ("low",)}),),
            attributes=(Attribute(name="x", initial=0.0, levels=("low", "high")),),
            tag=("x",),
        ),
        r"'months' by tags",
    ),
    "price by strategy": (
        lambda: question(
            state("a", die(parameter("r"))),
            DEAD,
            rewards=(RateReward(channel="months", rate=2.0 * parameter("r")),),
            strategies=(Strategy(id="one"), Strategy(id="two", numbers={"r": 3.0})),
        ),
        r"strategy 'two' replaces parameter 'r', which reward 1 \(months\) uses",
    ),
    "attribute without value": (
        lambda: question(state("a", die(log_multiplier=attribute("y"))), DEAD, attributes=(Attribute(name="y"),)),
        r"lacks attribute 'y'",
    ),
    "graph": (lambda: question(state("a", die(), go("b")), DEAD), r"'b'"),
    "number": (
        lambda: question(state("a", die(hazard=Hazard("weibull", {"shape": -1.0, "scale": 2.0}))), DEAD),
        "shape",
    ),
    "reward": (lambda: question(state("a", die()), DEAD, rewards=(RateReward(channel="money", rate=1.0),)), "money"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_a_history_is_refused_with_its_place(name: str) -> None:
    asked, words = REFUSED[name]
    with pytest.raises(ModelError, match=words):
        solve(asked(), {"r": 0.1})


@pytest.mark.parametrize(
    ("cycle", "options", "words"),
    [
        (0.0, {}, "cycle length 0"),
        (math.inf, {}, "cycle length inf"),
        (5.0, {}, "horizon 12 months is not a whole number of cycles of 5"),
        (24.0, {}, "not a whole number"),
        (4.0, {"correction": "simpson-1/3"}, "even number of cycles; there are 3"),
        (1.0, {"correction": "half cycle"}, "correction 'half cycle' is unknown"),
        (1.0, {"correction": [1.0, 2.0]}, r"shape \(2,\); give one finite weight for each of 13 counts"),
        (1.0, {"competing": "fair"}, "competing risks 'fair' are unknown"),
        (1.0, {"profile": {"sx": 1.0}}, "attribute 'sx' is unknown"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(cycle: float, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        solve(ONE_STATE, cycle=cycle, **options)


def test_probabilities_above_one_are_refused_and_unknown_names_too() -> None:
    asked = question(state("a", go("b", 3.0), die(2.0)), state("b", die()), DEAD)
    with pytest.raises(ModelError, match="state 'a': the probabilities of a cycle of 1 months sum to more than 1"):
        solve(asked, competing="separate")
    found = solve(asked)
    for call, words in ((found.share, "state or end 'c'"), (found.flow, "mark 'c'"), (found.mean, "channel 'c'")):
        with pytest.raises(ModelError, match=f"{words} is unknown"):
            call("c")


def test_anything_with_these_five_parts_can_be_asked() -> None:
    # The solver takes an evaluation, but looks only at what it answers.
    parts = {name: getattr(ONE_STATE, name) for name in ("pathway", "strategies", "channels", "rewards", "horizon")}
    asked: Any = SimpleNamespace(**parts)
    assert np.array_equal(cohort_trace(asked, {}, 1.0).means, solve(ONE_STATE).means)
    with_endpoint = Evaluation(**parts, endpoints=(Endpoint(id="os", marks=("dead",)),))
    assert np.array_equal(solve(with_endpoint).means, solve(ONE_STATE).means)
