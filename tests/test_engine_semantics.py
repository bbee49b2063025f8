"""The sixteen rules of the engine's semantics, each by a hand-made graph, a closed form or the plain second engine."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_tools import (
    DEAD,
    NEVER,
    PLAIN,
    all_tables,
    clinic,
    clinic_cohort,
    differing,
    dying,
    endings,
    evaluation,
    kernel_histories,
    marks_of,
    months_in,
    only,
    pathway,
    same_as_oracle,
    thresholds,
    weibull,
)
from oracle import Mark

from simhcc.engine import rng
from simhcc.errors import ModelError, SimulationError
from simhcc.expressions import (
    MONTHS,
    MONTHS_IN_STATE,
    Operand,
    attribute,
    log,
    maximum,
    minimum,
    months_on,
    parameter,
    receiving,
    uniform,
    where,
)
from simhcc.graph import (
    Attribute,
    Branch,
    Chance,
    Clock,
    Decision,
    Edge,
    Effect,
    Hazard,
    Pathway,
    RateReward,
    Row,
    ScanSchedule,
    Scheduled,
    Strata,
    Transition,
    Treatment,
    exponential,
)
from simhcc.model import as_values
from simhcc.simulation import simulate

PATIENTS = 200
NOBODY = Transition(name="nobody", to="dead", hazard=NEVER)
"""keeps the end of a graph reachable without ever happening"""


def times(lives: list[Any], mark: str = "dead") -> np.ndarray:
    """Time of each patient's first such mark, infinite without one."""
    return np.array([next(iter(marks_of(life, mark)), np.inf) for life in lives])


def close(found: Any, expected: Any, tolerance: float = 1e-11) -> bool:
    found, expected = np.asarray(found), np.asarray(expected)
    return found.shape == expected.shape and bool(np.allclose(found, expected, rtol=tolerance, atol=0.0))


def censored(expected: Any, horizon: float) -> np.ndarray:
    """Event times as a history shows them: infinite from the horizon on."""
    return np.where(np.asarray(expected) < horizon, expected, np.inf)


# -- the whole engine ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [0, 1, 2])
def test_kernel_and_plain_engine_give_the_same_bits_on_a_pathway_that_uses_everything(strategy: int) -> None:
    graph, strategies, numbers = clinic()
    lives = same_as_oracle(
        graph, strategies[strategy], numbers, patients=PATIENTS, horizon=240.0, cohort=clinic_cohort(PATIENTS),
        seed=2**40 + 7, luck=3, first_patient=2**33 - 60, buffer=400,
    )  # fmt: skip
    marks = {mark.name for life in lives for mark in life.marks}
    expected = {"progressed", "birthday", "hospice", "died_of_other", "decompensated", "rallied", "dead"}
    expected |= [set(), {"drug", "toxicity", "visit", "stopped"}, {"tace", "toxicity", "visit", "stopped"}][strategy]
    assert expected <= marks, "the pathway should lead patients through all of its parts"


# -- rule 1: the horizon -------------------------------------------------------------------------------------------


def at_ten() -> Pathway:
    return pathway(only("a", NOBODY, Scheduled(name="ten", to="b", first=10.0, mark="ten")), only("b", NOBODY), DEAD)


def test_what_is_due_at_the_horizon_does_not_happen_and_the_visit_closes_there() -> None:
    (life,) = same_as_oracle(at_ten(), patients=1, horizon=10.0)
    assert life.marks == []
    assert [(v.state, v.entered, v.left) for v in life.visits] == [("a", 0.0, 10.0)]
    assert endings(at_ten(), patients=1, horizon=10.0) == [["horizon"]]


def test_what_is_due_just_before_the_horizon_happens() -> None:
    horizon = math.nextafter(10.0, 11.0)
    (life,) = same_as_oracle(at_ten(), patients=1, horizon=horizon)
    assert life.marks == [Mark("ten", 10.0)]
    assert [(v.state, v.entered, v.left) for v in life.visits] == [("a", 0.0, 10.0), ("b", 10.0, horizon)]
    assert endings(at_ten(), patients=1, horizon=horizon) == [["a/ten", "horizon"]]


def test_a_transition_that_reaches_its_threshold_at_the_horizon_does_not_happen() -> None:
    graph = pathway(only("a", dying(0.1)), DEAD)
    time = float(times(kernel_histories(graph, patients=1, horizon=1e6))[0])
    assert kernel_histories(graph, patients=1, horizon=time)[0].marks == []
    assert kernel_histories(graph, patients=1, horizon=math.nextafter(time, 1e9))[0].marks == [Mark("dead", time)]


def test_a_longer_horizon_only_adds() -> None:
    graph, strategies, numbers = clinic()
    options: dict[str, Any] = {"patients": 100, "cohort": clinic_cohort(100)}
    for short, long in zip(
        kernel_histories(graph, strategies[2], numbers, horizon=20.0, **options),
        kernel_histories(graph, strategies[2], numbers, horizon=60.0, **options),
        strict=True,
    ):
        assert short.marks == [mark for mark in long.marks if mark.time < 20.0]
        assert short.visits == [v._replace(left=min(v.left, 20.0)) for v in long.visits if v.entered < 20.0]


# -- rule 2: a stay and a new stay ---------------------------------------------------------------------------------


def every_five_months(to: str) -> Pathway:
    """A death with a threshold, and an event every 5 months of the stay that leads to `to`."""
    again = Scheduled(name="again", to=to, first=5.0, period=5.0, mark="again")
    return pathway(only("a", dying(0.08), again), DEAD)


def test_a_stay_goes_on_with_its_threshold_and_its_schedule() -> None:
    lives = same_as_oracle(every_five_months("STAY"), patients=PATIENTS, horizon=1e3)
    expected = thresholds("a/die", PATIENTS) / 0.08
    assert np.array_equal(times(lives), expected)
    for life, death in zip(lives, expected, strict=True):
        assert marks_of(life, "again") == [5.0 * k for k in range(1, 500) if 5.0 * k < death]
        assert [(v.entered, v.left) for v in life.visits] == [(0.0, death)], "staying does not split a visit"


def test_an_edge_to_the_same_state_begins_a_new_stay_with_a_new_threshold() -> None:
    lives = same_as_oracle(every_five_months("a"), patients=PATIENTS, horizon=1e3)
    drawn = np.array([thresholds("a/die", PATIENTS, entry=entry) / 0.08 for entry in range(150)])
    stays = (drawn <= 5.0).argmax(axis=0)
    expected = [5.0 * stay + drawn[stay, patient] for patient, stay in enumerate(stays)]
    assert close(times(lives), expected)
    assert stays.max() > 3


def test_the_clock_of_a_state_goes_on_in_a_stay_and_starts_again_in_a_new_one() -> None:
    # H(u) = (u / 10)^2. After k new stays of 5 months: 5 k + 10 sqrt(E_k).
    for to in ("STAY", "a"):
        event = Scheduled(name="again", to=to, first=5.0, period=5.0, updates={"seen": MONTHS_IN_STATE})
        graph = pathway(
            only("a", Transition(name="die", to="dead", hazard=weibull(2.0, 10.0)), event),
            DEAD,
            attributes=(Attribute(name="seen", initial=0.0),),
        )
        found = times(same_as_oracle(graph, patients=PATIENTS, horizon=1e4))
        drawn = np.array([10.0 * np.sqrt(thresholds("a/die", PATIENTS, entry=entry)) for entry in range(60)])
        stays = (drawn <= 5.0).argmax(axis=0)
        new = 5.0 * stays + drawn[stays, np.arange(PATIENTS)]
        assert close(found, drawn[0] if to == "STAY" else new)


# -- rule 3: thresholds --------------------------------------------------------------------------------------------


def test_a_transition_that_fires_within_a_stay_draws_a_new_threshold_and_its_clock_goes_on() -> None:
    # A recurrent event with H(t) = (t / 10)^1.5: H(t_k) is a sum of thresholds, so t_k = 10 (E_0 + ... + E_k)^(2/3).
    recurrent = Transition(name="bleed", to="STAY", hazard=weibull(1.5, 10.0), mark="bleed")
    lives = same_as_oracle(pathway(only("a", recurrent, NOBODY), DEAD), patients=PATIENTS, horizon=100.0)
    sums = np.cumsum([thresholds("a/bleed", PATIENTS, firing=firing) for firing in range(80)], axis=0)
    for patient, life in enumerate(lives):
        expected = 10.0 * sums[:, patient] ** (2.0 / 3.0)
        assert close(marks_of(life, "bleed"), expected[expected < 100.0])
    # Without a new threshold it would fire again at once; with H(t) = (t/10)^1.5 the mean number is 10^1.5 = 31.6.
    number = np.mean([len(life.marks) for life in lives])
    assert abs(number - 10.0**1.5) < 4.9 * math.sqrt(10.0**1.5 / PATIENTS)


def test_the_other_thresholds_of_a_stay_do_not_notice_an_event_that_changes_nothing() -> None:
    die = Transition(name="die", to="dead", hazard=weibull(1.3, 20.0), log_multiplier=0.1 * attribute("x"))
    bleed = Transition(name="bleed", to="STAY", hazard=exponential(0.5), updates={"y": attribute("y") + 1.0})
    attributes = (Attribute(name="x", initial=2.0), Attribute(name="y", initial=0.0))
    alone = kernel_histories(pathway(only("a", die), DEAD, attributes=attributes), patients=PATIENTS, horizon=1e3)
    both = kernel_histories(pathway(only("a", bleed, die), DEAD, attributes=attributes), patients=PATIENTS, horizon=1e3)
    assert alone == both


@pytest.mark.parametrize("log_ratio", [0.7, -1.1])
def test_consumed_hazard_is_kept_when_a_multiplier_changes(log_ratio: float) -> None:
    # H(t) = (t / 20)^1.4 until 5 months, from then on the hazard is r times as high.
    worse = Scheduled(name="worse", to="STAY", first=5.0, updates={"x": 1.0})
    die = Transition(name="die", to="dead", hazard=weibull(1.4, 20.0), log_multiplier=log_ratio * attribute("x"))
    graph = pathway(only("a", die, worse), DEAD, attributes=(Attribute(name="x", initial=0.0),))
    found = times(same_as_oracle(graph, patients=PATIENTS, horizon=1e4))
    e, before, r = thresholds("a/die", PATIENTS), (5.0 / 20.0) ** 1.4, math.exp(log_ratio)
    later = before + np.maximum(e - before, 0.0) / r
    expected = 20.0 * np.where(e <= before, e, later) ** (1 / 1.4)
    assert close(found, expected)


def test_a_multiplier_that_changes_and_changes_back_follows_the_closed_form() -> None:
    # Exponential: the hazard is 0.05 x 2^(number of whole 4-month periods that are odd).
    flip = Scheduled(name="flip", to="STAY", first=4.0, period=4.0, updates={"x": 1.0 - attribute("x")})
    graph = pathway(
        only("a", dying(0.05, log_multiplier=math.log(2.0) * attribute("x")), flip),
        DEAD,
        attributes=(Attribute(name="x", initial=0.0),),
    )
    found = times(same_as_oracle(graph, patients=PATIENTS, horizon=1e4))
    knots = 4.0 * np.arange(400)
    consumed = np.concatenate([[0.0], np.cumsum(4.0 * 0.05 * np.where(np.arange(399) % 2 == 1, 2.0, 1.0))])
    assert close(found, np.interp(thresholds("a/die", PATIENTS), consumed, knots), 1e-10)


@pytest.mark.parametrize("months", [MONTHS, MONTHS_IN_STATE])
def test_a_multiplier_that_depends_on_time_is_looked_at_whenever_something_happens_in_the_stay(months: Operand) -> None:
    # The visits change nothing else. From each the hazard is 0.02 exp(0.1 t) with t the month of the visit.
    visit = Scheduled(name="visit", to="STAY", first=3.0, period=3.0)
    graph = pathway(only("a", dying(0.02, log_multiplier=0.1 * months), visit), DEAD)
    found = times(same_as_oracle(graph, patients=PATIENTS, horizon=1e4))
    knots = 3.0 * np.arange(40)
    consumed = np.concatenate([[0.0], np.cumsum(3.0 * 0.02 * np.exp(0.1 * knots[:-1]))])
    assert close(found, np.interp(thresholds("a/die", PATIENTS), consumed, knots), 1e-10)


def test_a_clock_of_treatment_starts_again_when_the_treatment_does() -> None:
    # H(u) = (u / 12)^2 with u since the start of treatment: 5 months, then from 0 again after the restart at 5.
    again = Scheduled(name="again", to="STAY", first=5.0, local="tace", restart=True)
    die = Transition(name="die", to="dead", hazard=weibull(2.0, 12.0), clock=Clock.LOCAL)
    start = Decision(name="d", actions={"go": Edge(to="a", local="tace")}, default=(Row(do="go"),))
    graph = pathway(start, only("a", die, again), DEAD, treatments=(Treatment(id="tace", slot="local"),))
    found = times(same_as_oracle(graph, patients=PATIENTS, horizon=1e4))
    e, before = thresholds("a/die", PATIENTS), (5.0 / 12.0) ** 2
    expected = np.where(e <= before, 12.0 * np.sqrt(e), 5.0 + 12.0 * np.sqrt(np.maximum(e - before, 0.0)))
    assert close(found, expected)


def test_hazard_already_consumed_never_makes_a_threshold_negative() -> None:
    # The multiplier becomes 0 a hair before the event: all but nothing of the threshold is used, and it never happens.
    attributes = (Attribute(name="stop"), Attribute(name="x", initial=0.0))
    off = Scheduled(name="off", to="STAY", first=attribute("stop"), updates={"x": 1.0})
    hazard = weibull(1.7, 9.0)
    die = Transition(name="die", to="dead", hazard=hazard, log_multiplier=where(attribute("x") > 0.0, -1.0, 0.0))
    undisturbed = times(
        kernel_histories(pathway(only("a", replace(die, log_multiplier=None)), DEAD), patients=PATIENTS, horizon=1e3)
    )
    cohort = {"stop": np.nextafter(undisturbed, 0.0)}
    graph = pathway(only("a", die, off), DEAD, attributes=attributes)
    found = times(same_as_oracle(graph, patients=PATIENTS, horizon=1e3, cohort=cohort))
    assert (found >= cohort["stop"]).all()
    assert close(found, undisturbed, 1e-13)


def test_a_threshold_used_up_to_the_last_bit_never_fires_once_the_multiplier_is_zero() -> None:
    attributes = (Attribute(name="stop"), Attribute(name="x", initial=0.0))
    off = Scheduled(name="off", to="STAY", first=attribute("stop"), updates={"x": 1.0})
    die = dying(0.1, log_multiplier=where(attribute("x") > 0.0, -np.inf, 0.0))
    undisturbed = thresholds("a/die", PATIENTS) / 0.1
    graph = pathway(only("a", die, off), DEAD, attributes=attributes)
    lives = kernel_histories(graph, patients=PATIENTS, horizon=1e3, cohort={"stop": np.nextafter(undisturbed, 0.0)})
    assert not np.isfinite(times(lives)).any()


# -- rule 4: purposes and occurrences ------------------------------------------------------------------------------


def test_a_threshold_is_addressed_by_node_and_transition_entry_and_firing() -> None:
    # a and b share the name of a transition; a is entered again and again. Every stay's length has its own address.
    graph = pathway(
        only("a", Transition(name="go", to="b", hazard=exponential(0.2))),
        only("b", Transition(name="go", to="a", hazard=exponential(0.3)), NOBODY),
        DEAD,
    )
    options: dict[str, Any] = {"seed": 2**63 + 11, "luck": 2**32 - 1}
    for patient, life in enumerate(same_as_oracle(graph, patients=50, horizon=40.0, **options)):
        for number, visit in enumerate(life.visits[:-1]):
            rate, node, entry = (0.2, 0.3)[number % 2], "ab"[number % 2], number // 2
            length = thresholds(f"{node}/go", 50, entry=entry, **options)[patient] / rate
            assert close(visit.left - visit.entered, length, 1e-9)


def test_a_uniform_in_an_expression_is_addressed_by_its_place() -> None:
    chance = Chance(
        name="c", branches=(Branch(name="all", weight=uniform("w"), to="a", updates={"x": uniform("x")}, mark="in"),)
    )
    # The value of x is seen in the time of the next event.
    back = Scheduled(name="back", to="c", first=1.0 + attribute("x"))
    graph = pathway(chance, only("a", back, NOBODY), DEAD, attributes=(Attribute(name="x", initial=0.0),))
    lives = same_as_oracle(graph, patients=20, horizon=30.0, luck=5)
    for patient, life in enumerate(lives):
        steps = np.diff(marks_of(life, "in"))
        expected = [1.0 + float(rng.uniforms(0, 5, patient, "c/all/x", entry)) for entry in range(len(steps))]
        assert close(steps, expected, 1e-12)


X, Y, ONE = attribute("x"), attribute("y"), parameter("one")
WITH_NUMBERS = {
    "minimum, number last": minimum(X, 2.0),
    "minimum, number first": minimum(ONE, X),
    "maximum, number last": maximum(X, ONE),
    "maximum, number first": maximum(2.0, X),
    "a choice between numbers": where(X > Y, 3.0, ONE),
    "a choice of a number": where(X > Y, ONE, Y),
    "a choice or else a number": where(X > Y, Y, 2.0),
    "a choice by a number": where(ONE, X, Y),
    "a choice by the number it could give": where(0.0, X, 0.0) + where(ONE, Y, ONE),
    "a choice between equals": where(X > Y, X, X),
    "one value in several places": minimum(X, 2.0) + maximum(minimum(X, 2.0), Y),
}


@pytest.mark.parametrize("name", WITH_NUMBERS)
def test_numbers_may_stand_anywhere_in_an_expression(name: str) -> None:
    formula = WITH_NUMBERS[name]
    # Its value is seen in the time of the next event, as a multiplier, as a weight, and after an update of what it reads.
    set_ = Scheduled(name="set", to="b", first=1.0 + formula, updates={"z": formula, "x": Y + 0.5, "w": formula})
    leave = Scheduled(name="leave", to="c", first=1.0 + attribute("z") + attribute("w"))
    chance = Chance(
        name="c", branches=(Branch(name="one", weight=formula, to="a"), Branch(name="two", weight=Y, to="b"))
    )
    attributes = (Attribute(name="x"), Attribute(name="y"), *(Attribute(name=n, initial=0.0) for n in "zw"))
    a, b = only("a", set_, dying(0.01, log_multiplier=0.1 * formula)), only("b", leave, dying(0.02))
    graph = pathway(a, b, chance, DEAD, attributes=attributes)
    cohort = {"x": [0.25, 1.0, 2.0, 3.0, 1.5, 2.5], "y": [1.0, 1.0, 0.5, 4.0, 2.0, 2.5]}
    lives = same_as_oracle(graph, PLAIN, {"one": 1.0}, patients=6, horizon=60.0, cohort=cohort)
    assert sum(len(life.visits) for life in lives) > 20


def test_random_numbers_in_a_scheduled_edge_count_earlier_firings_in_the_stay() -> None:
    # Entered at month 200: the first firing of the stay is number 0, though it is the 400th half month of life.
    tick = Scheduled(
        name="tick", to="STAY", first=0.0, period=0.5, origin=Clock.MODEL, updates={"x": uniform("x")}, mark="tick"
    )
    out = Scheduled(name="out", to="dead", first=attribute("x") + 0.25)
    graph = pathway(
        only("a", NOBODY, Scheduled(name="go", to="b", first=200.0)),
        only("b", NOBODY, tick, out),
        DEAD,
        attributes=(Attribute(name="x", initial=9.0),),
    )
    lives = same_as_oracle(graph, patients=20, horizon=202.0)
    x = rng.uniforms(0, 0, np.arange(20), "b/tick/x", 0, 0)
    early = x + 0.25 < 0.5
    assert close(times(lives)[early], 200.25 + x[early], 1e-12)


def for_life(rate: Operand = 0.03, **fields: Any) -> Transition:
    return Transition(name="other", to="dead", hazard=exponential(rate), clock=Clock.MODEL, threshold="life", **fields)


def test_a_threshold_for_life_is_drawn_once_and_carried_through_all_states() -> None:
    death = for_life()
    go = Transition(name="go", to="b", hazard=exponential(0.5))
    back = Transition(name="back", to="a", hazard=exponential(0.5))
    bleed = Transition(name="bleed", to="STAY", hazard=exponential(0.5))
    lives = same_as_oracle(
        pathway(only("a", go, death), only("b", death, bleed, back), DEAD), patients=PATIENTS, horizon=1e3
    )
    assert np.array_equal(times(lives), thresholds("life/other", PATIENTS) / 0.03)


def test_a_threshold_for_life_keeps_its_consumed_hazard_when_the_multiplier_changes_with_the_state() -> None:
    hazard = exponential(0.03)
    one = replace(for_life(), hazard=hazard)
    other = replace(one, log_multiplier=math.log(3.0))
    go = Scheduled(name="go", to="b", first=10.0)
    found = times(same_as_oracle(pathway(only("a", one, go), only("b", other), DEAD), patients=PATIENTS, horizon=1e4))
    e = thresholds("life/other", PATIENTS)
    assert close(found, np.where(e <= 0.3, e / 0.03, 10.0 + (e - 0.3) / 0.09))


def test_attained_age_is_a_clock() -> None:
    # Gompertz from age 60: the event is at the age at which H has risen by the threshold.
    shape, rate = 0.007, 2e-5
    hazard = Hazard("gompertz", {"shape": shape, "rate": rate})
    death = Transition(name="other", to="dead", hazard=hazard, clock=Clock.AGE, threshold="life")
    graph = pathway(only("a", death), DEAD, attributes=(Attribute(name="age", initial=60.0),), age_years="age")
    found = times(same_as_oracle(graph, patients=PATIENTS, horizon=1e4))
    e = thresholds("life/other", PATIENTS)
    at_sixty = math.exp(shape * 720.0)
    assert close(found, np.log(at_sixty + e * shape / rate) / shape - 720.0, 1e-9)


# -- rule 5: equal times -------------------------------------------------------------------------------------------


def two_at_once(first: str, second: str) -> list[str]:
    events = {name: Scheduled(name=name, to="STAY", first=3.0, mark=name) for name in "xy"}
    graph = pathway(only("a", NOBODY, events[first], events[second]), DEAD)
    (life,) = same_as_oracle(graph, patients=1, horizon=5.0)
    assert [mark.time for mark in life.marks] == [3.0, 3.0]
    return [mark.name for mark in life.marks]


def test_scheduled_events_at_one_time_happen_in_declared_order() -> None:
    assert two_at_once("x", "y") == ["x", "y"]
    assert two_at_once("y", "x") == ["y", "x"]


def test_a_transition_goes_before_a_scheduled_event_at_the_same_time() -> None:
    bleed = Transition(name="bleed", to="STAY", hazard=exponential(0.1), mark="bleed")
    visit = Scheduled(name="visit", to="STAY", first=attribute("when"), mark="visit")
    graph = pathway(only("a", bleed, NOBODY, visit), DEAD, attributes=(Attribute(name="when"),))
    when = thresholds("a/bleed", 50) / 0.1
    for life, time in zip(same_as_oracle(graph, patients=50, horizon=1e3, cohort={"when": when}), when, strict=True):
        assert [mark.name for mark in life.marks if mark.time == time] == ["bleed", "visit"]


@pytest.mark.parametrize("order", ["xy", "yx"])
def test_transitions_at_one_time_happen_in_declared_order(order: str) -> None:
    # Both happen before 6 months and are seen at the scan then; the first one declared is carried out.
    found = {
        name: Transition(name=name, to="dead", hazard=exponential(50.0), seen_at_scan="scan", mark=name)
        for name in "xy"
    }
    graph = pathway(
        only("a", *(found[name] for name in order)),
        DEAD,
        schedules=(ScanSchedule(name="scan", segments=((6.0, 6.0),)),),
    )
    for life in same_as_oracle(graph, patients=20, horizon=50.0):
        assert life.marks == [Mark(order[0], 6.0), Mark("dead", 6.0)]


# -- rule 6: scheduled events --------------------------------------------------------------------------------------


def test_scheduled_times_are_multiples_and_not_running_sums() -> None:
    tick = Scheduled(name="tick", to="STAY", first=0.3, period=0.1, mark="tick")
    (life,) = same_as_oracle(pathway(only("a", NOBODY, tick), DEAD), patients=1, horizon=20.0)
    assert marks_of(life, "tick") == [0.3 + k * 0.1 for k in range(197)]
    running, total = [], 0.3
    for _ in range(197):
        running.append(total)
        total += 0.1
    assert marks_of(life, "tick") != running


def model_ticks(entered: float, period: float, first: float = 0.0) -> Pathway:
    tick = Scheduled(name="tick", to="STAY", first=first, period=period, origin=Clock.MODEL, mark="tick")
    return pathway(only("a", NOBODY, Scheduled(name="go", to="b", first=entered)), only("b", NOBODY, tick), DEAD)


def test_due_exactly_at_entry_fires_and_due_earlier_is_skipped() -> None:
    assert marks_of(same_as_oracle(model_ticks(6.0, 2.0), patients=1, horizon=11.0)[0], "tick") == [6.0, 8.0, 10.0]
    assert marks_of(same_as_oracle(model_ticks(6.5, 2.0), patients=1, horizon=11.0)[0], "tick") == [8.0, 10.0]
    assert marks_of(same_as_oracle(model_ticks(6.0, 2.0, 7.0), patients=1, horizon=11.0)[0], "tick") == [7.0, 9.0]


@pytest.mark.parametrize("period", [0.1, 0.7, 1.0 / 3.0, 0.69, 1.1])
def test_due_exactly_at_entry_fires_whatever_the_rounding(period: float) -> None:
    for k in range(1, 60):
        entered = k * period
        (life,) = same_as_oracle(model_ticks(entered, period), patients=1, horizon=entered + 2.5 * period)
        assert marks_of(life, "tick") == [j * period for j in (k, k + 1, k + 2) if j * period < entered + 2.5 * period]


def rearmed(first: Operand, updates: dict[str, Operand], origin: Clock = Clock.STATE, **fields: Any) -> Scheduled:
    return Scheduled(
        name="alarm", to="STAY", first=first, rearmed=True, origin=origin, mark="alarm", updates=updates, **fields
    )


def test_a_rearmed_event_comes_each_time_that_is_set() -> None:
    # Set to month 2, then 1.5 months after each time, until the third has come; by hand 2, 3.5 and 5.
    again = where(attribute("left") > 1.0, MONTHS_IN_STATE + 1.5, 1e9)
    alarm = rearmed(attribute("due"), {"due": again, "left": attribute("left") - 1.0})
    graph = pathway(
        only("a", NOBODY, alarm),
        DEAD,
        attributes=(Attribute(name="due", initial=2.0), Attribute(name="left", initial=3.0)),
    )
    (life,) = same_as_oracle(graph, patients=1, horizon=20.0)
    assert marks_of(life, "alarm") == [2.0, 3.5, 5.0]


def test_a_rearmed_event_belongs_to_its_origin_and_is_skipped_when_its_time_has_passed() -> None:
    # In state b, entered at month 4, the time 1 means month 5; on the clock of life it has passed.
    graph = [
        pathway(
            only("a", NOBODY, Scheduled(name="go", to="b", first=4.0)),
            only("b", NOBODY, rearmed(attribute("due"), {"due": 1e9}, origin)),
            DEAD,
            attributes=(Attribute(name="due", initial=1.0),),
        )
        for origin in (Clock.STATE, Clock.MODEL)
    ]
    assert [marks_of(same_as_oracle(one, patients=1, horizon=9.0)[0], "alarm") for one in graph] == [[5.0], []]


def test_a_rearmed_event_that_nothing_sets_anew_stops_the_run() -> None:
    alarm = rearmed(attribute("due"), {})
    graph = pathway(only("a", NOBODY, alarm), DEAD, attributes=(Attribute(name="due", initial=2.0),))
    with pytest.raises(SimulationError, match="passed more than 64 instant nodes at one time"):
        kernel_histories(graph, patients=1, horizon=9.0)


@pytest.mark.parametrize(("first", "period"), [(2.0, None), (attribute("due"), 3.0)])
def test_a_rearmed_event_without_an_attribute_or_with_a_period_is_refused(
    first: Operand, period: Operand | None
) -> None:
    alarm = rearmed(first, {"due": 1e9}, period=period)
    graph = pathway(only("a", NOBODY, alarm), DEAD, attributes=(Attribute(name="due", initial=2.0),))
    with pytest.raises(ModelError, match="a/alarm: a rearmed event has no period, and a first time that depends"):
        graph.check(PLAIN)


def test_a_single_event_that_was_due_before_entry_never_happens() -> None:
    once = Scheduled(name="once", to="STAY", first=5.0, origin=Clock.MODEL, mark="once")
    go = Scheduled(name="go", to="b", first=attribute("go"))
    graph = pathway(only("a", NOBODY, go), only("b", NOBODY, once), DEAD, attributes=(Attribute(name="go"),))
    lives = same_as_oracle(graph, patients=3, horizon=20.0, cohort={"go": [4.0, 5.0, 6.0]})
    assert [marks_of(life, "once") for life in lives] == [[5.0], [5.0], []]


def test_a_counter_on_the_clock_of_the_state_belongs_to_the_stay() -> None:
    once = Scheduled(name="once", to="STAY", first=1.0, mark="once")
    again = Scheduled(name="again", to="a", first=3.0)
    (life,) = same_as_oracle(pathway(only("a", NOBODY, once, again), DEAD), patients=1, horizon=10.0)
    assert marks_of(life, "once") == [1.0, 4.0, 7.0]


def test_a_counter_on_the_clock_of_a_treatment_belongs_to_the_treatment() -> None:
    # Doses at 0, 2, 4 of treatment, in whatever stay; a restart counts anew.
    dose = Scheduled(
        name="dose", to="STAY", first=0.0, period=2.0, origin=Clock.SYSTEMIC, when=receiving("drug"), mark="dose"
    )
    again = Scheduled(name="again", to="a", first=4.0, when=MONTHS < 6.0, mark="again")
    restart = Scheduled(name="restart", to="STAY", first=9.0, origin=Clock.MODEL, systemic="drug", restart=True)
    start = Decision(name="d", actions={"go": Edge(to="a", systemic="drug")}, default=(Row(do="go"),))
    graph = pathway(
        start, only("a", NOBODY, dose, again, restart), DEAD, treatments=(Treatment(id="drug", slot="systemic"),)
    )
    (life,) = same_as_oracle(graph, patients=1, horizon=12.0)
    assert marks_of(life, "dose") == [0.0, 2.0, 4.0, 6.0, 8.0, 9.0, 11.0]


def test_an_event_that_is_switched_off_misses_its_times_and_goes_on_later() -> None:
    tick = Scheduled(name="tick", to="STAY", first=1.0, period=1.0, when=attribute("x") == 0.0, mark="tick")
    flip = Scheduled(name="flip", to="STAY", first=2.5, period=3.0, updates={"x": 1.0 - attribute("x")})
    graph = pathway(only("a", NOBODY, tick, flip), DEAD, attributes=(Attribute(name="x", initial=0.0),))
    (life,) = same_as_oracle(graph, patients=1, horizon=10.0)
    assert marks_of(life, "tick") == [1.0, 2.0, 6.0, 7.0, 8.0]


@pytest.mark.parametrize("origin", [Clock.STATE, Clock.MODEL])
def test_a_latent_event_takes_effect_at_the_next_scan(origin: Clock) -> None:
    # Scans at 2, 5, 8, then from 9 on every 4 months.
    schedule = ScanSchedule(name="scan", segments=((2.0, 3.0), (9.0, 4.0)), origin=origin)
    seen = Transition(name="progress", to="dead", hazard=exponential(0.15), seen_at_scan="scan")
    lives = same_as_oracle(pathway(only("a", seen), DEAD, schedules=(schedule,)), patients=PATIENTS, horizon=80.0)
    scans = np.array([2.0, 5.0, 8.0, *np.arange(9.0, 200.0, 4.0)])
    latent = thresholds("a/progress", PATIENTS) / 0.15
    assert np.array_equal(times(lives), censored(scans[np.searchsorted(scans, latent)], 80.0))


def test_a_latent_event_is_not_undone_by_what_happens_before_the_scan() -> None:
    # Latent before 3 months: the multiplier is 0 from then on, but what has happened is still seen at 12.
    off = Scheduled(name="off", to="STAY", first=3.0, updates={"x": 1.0})
    seen = Transition(
        name="progress",
        to="dead",
        hazard=exponential(0.2),
        seen_at_scan="scan",
        log_multiplier=where(attribute("x") > 0.0, -np.inf, 0.0),
    )
    graph = pathway(
        only("a", seen, off),
        DEAD,
        schedules=(ScanSchedule(name="scan", segments=((12.0, 12.0),)),),
        attributes=(Attribute(name="x", initial=0.0),),
    )
    lives = same_as_oracle(graph, patients=PATIENTS, horizon=100.0)
    assert np.array_equal(times(lives), np.where(thresholds("a/progress", PATIENTS) / 0.2 <= 3.0, 12.0, np.inf))


def test_two_latent_events_take_effect_at_one_scan() -> None:
    # The first returns to the stay; the second must not wait for the scan after.
    events = [
        Transition(name="x", to="STAY", hazard=exponential(50.0), seen_at_scan="scan", mark="x"),
        Transition(name="y", to="dead", hazard=exponential(50.0), seen_at_scan="scan", mark="y"),
    ]
    schedule = ScanSchedule(name="scan", segments=((6.0, 6.0),))
    for life in same_as_oracle(pathway(only("a", *events), DEAD, schedules=(schedule,)), patients=20, horizon=50.0):
        assert life.marks == [Mark("x", 6.0), Mark("y", 6.0), Mark("dead", 6.0)]


def test_scans_can_count_from_a_time_kept_in_an_attribute() -> None:
    schedule = ScanSchedule(name="scan", segments=((1.0, 2.0),), origin="since")
    seen = Transition(name="progress", to="dead", hazard=exponential(0.2), seen_at_scan="scan")
    graph = pathway(only("a", seen), DEAD, schedules=(schedule,), attributes=(Attribute(name="since", initial=0.25),))
    lives = same_as_oracle(graph, patients=PATIENTS, horizon=500.0)
    latent = thresholds("a/progress", PATIENTS) / 0.2
    assert np.array_equal(times(lives), 1.25 + 2.0 * np.maximum(np.ceil((latent - 1.25) / 2.0), 0.0))


# -- rule 7: treatments --------------------------------------------------------------------------------------------

DRUG = Treatment(id="drug", slot="systemic")


def on_drug(*events: Any, treatments: tuple[Treatment, ...] = (DRUG,), **fields: Any) -> Pathway:
    """Everybody starts the drug at time 0 and stays in state a."""
    start = Decision(name="d", actions={"go": Edge(to="a", systemic="drug")}, default=(Row(do="go"),))
    return pathway(start, only("a", *events), DEAD, treatments=treatments, **fields)


def test_no_treatment_starts_at_entry() -> None:
    seen = Scheduled(name="seen", to="STAY", first=4.0, updates={"x": months_on("systemic"), "y": months_on("local")})
    out = Scheduled(name="out", to="dead", first=attribute("x") + 10.0 * attribute("y"), when=attribute("x") > 0.0)
    graph = pathway(
        only("a", NOBODY, seen, out),
        DEAD,
        attributes=(Attribute(name="x", initial=0.0), Attribute(name="y", initial=0.0)),
    )
    assert times(same_as_oracle(graph, patients=1, horizon=50.0)).tolist() == [44.0]


def test_giving_the_current_treatment_again_changes_nothing() -> None:
    again = Scheduled(name="again", to="STAY", first=3.0, period=3.0, systemic="drug")
    die = Transition(name="die", to="dead", hazard=weibull(1.5, 10.0), clock=Clock.SYSTEMIC, effect="death")
    drug = replace(DRUG, effects={"death": Effect(ratio=0.5, delay=4.0)})
    with_it = same_as_oracle(on_drug(die, again, treatments=(drug,)), patients=PATIENTS, horizon=100.0)
    assert with_it == kernel_histories(on_drug(die, treatments=(drug,)), patients=PATIENTS, horizon=100.0)
    assert all(len(life.visits) == 1 for life in with_it)


def test_giving_none_again_changes_nothing() -> None:
    again = Scheduled(name="again", to="STAY", first=3.0, local="none", systemic="none")
    die = Transition(name="die", to="dead", hazard=weibull(1.5, 10.0), clock=Clock.LOCAL)
    with_it = same_as_oracle(pathway(only("a", die, again), DEAD), patients=PATIENTS, horizon=100.0)
    assert with_it == kernel_histories(pathway(only("a", die), DEAD), patients=PATIENTS, horizon=100.0)


def test_restart_starts_the_current_treatment_anew() -> None:
    again = Scheduled(name="again", to="STAY", first=3.0, systemic="drug", restart=True)
    (life,) = same_as_oracle(on_drug(NOBODY, again), patients=1, horizon=10.0)
    assert [(v.entered, v.left, v.systemic_since) for v in life.visits] == [(0.0, 3.0, 0.0), (3.0, 10.0, 3.0)]


def test_the_two_slots_are_independent() -> None:
    tace = Treatment(id="tace", slot="local")
    events = (
        Scheduled(name="tace", to="STAY", first=2.0, local="tace"),
        Scheduled(name="stop", to="STAY", first=5.0, systemic="none"),
        Scheduled(name="end", to="STAY", first=7.0, local="none"),
    )
    (life,) = same_as_oracle(on_drug(NOBODY, *events, treatments=(DRUG, tace)), patients=1, horizon=10.0)
    assert [(v.entered, v.local, v.systemic, v.local_since, v.systemic_since) for v in life.visits] == [
        (0.0, "none", "drug", 0.0, 0.0),
        (2.0, "tace", "drug", 2.0, 0.0),
        (5.0, "tace", "none", 2.0, 5.0),
        (7.0, "none", "none", 7.0, 5.0),
    ]


# -- rule 8: limits of hazards -------------------------------------------------------------------------------------

NEVER_HAZARDS = {
    "exponential rate 0": (exponential(0.0), None),
    "weibull scale infinite": (weibull(1.5, np.inf), None),
    "log-logistic scale infinite": (Hazard("llogis", {"shape": 2.0, "scale": np.inf}), None),
    "log-normal meanlog infinite": (Hazard("lnorm", {"meanlog": np.inf, "sdlog": 1.0}), None),
    "gompertz rate 0": (Hazard("gompertz", {"shape": 0.1, "rate": 0.0}), None),
    "piecewise rates 0": (Hazard("pwexp", {"times": (0.0, 3.0), "rates": (0.0, 0.0)}), None),
    "cumulative flat": (Hazard("cumulative", {"times": (0.0, 3.0), "values": (0.0, 0.0)}), None),
    "multiplier 0": (exponential(5.0), -np.inf),
    "multiplier 0 by patient": (weibull(0.7, 1.0), where(attribute("x") > 0.0, 0.0, -np.inf)),
    "multiplier 0 of a hazard that is infinite at 0": (weibull(0.3, 1.0), -np.inf),
}


@pytest.mark.parametrize("name", NEVER_HAZARDS)
def test_a_hazard_of_zero_means_never(name: str) -> None:
    hazard, log_multiplier = NEVER_HAZARDS[name]
    event = Transition(name="event", to="dead", hazard=hazard, log_multiplier=log_multiplier)
    moving = Scheduled(name="move", to="STAY", first=1.0, period=1.0, updates={"y": attribute("y") + 1.0})
    attributes = (Attribute(name="x", initial=0.0), Attribute(name="y", initial=0.0))
    lives = same_as_oracle(pathway(only("a", event, moving), DEAD, attributes=attributes), patients=20, horizon=1e3)
    assert not np.isfinite(times(lives)).any()


def test_a_passed_plateau_means_never() -> None:
    # Gompertz with a negative shape: H tends to rate / |shape| = 0.4, and whoever drew more never has the event.
    hazard = Hazard("gompertz", {"shape": -0.1, "rate": 0.04})
    event = Transition(name="event", to="dead", hazard=hazard)
    found = times(same_as_oracle(pathway(only("a", event), DEAD), patients=PATIENTS, horizon=1e12))
    e = thresholds("a/event", PATIENTS)
    assert np.array_equal(np.isfinite(found), e < 0.4)
    inside = e < 0.4
    assert close(found[inside], -10.0 * np.log1p(-e[inside] / 0.4), 1e-9)


def test_a_flat_end_of_a_table_means_never() -> None:
    hazard = Hazard("cumulative", {"times": (0.0, 10.0, 20.0), "values": (0.0, 0.5, 0.5)})
    event = Transition(name="event", to="dead", hazard=hazard)
    found = times(same_as_oracle(pathway(only("a", event), DEAD), patients=PATIENTS, horizon=1e12))
    e = thresholds("a/event", PATIENTS)
    assert close(found, np.where(e <= 0.5, 20.0 * e, np.inf))


def test_the_cured_never_have_the_event() -> None:
    hazard = replace(exponential(0.1), cure=0.3)
    event = Transition(name="event", to="dead", hazard=hazard)
    found = times(same_as_oracle(pathway(only("a", event), DEAD), patients=PATIENTS, horizon=1e12))
    s = np.exp(-thresholds("a/event", PATIENTS))
    with np.errstate(all="ignore"):
        expected = np.where(s > 0.3, -np.log((s - 0.3) / 0.7) / 0.1, np.inf)
    assert close(found, expected, 1e-9)
    # the chance that fewer than 30 or more than 94 of 200 are cured at 30 % is below one in a million
    assert 30 <= np.isinf(found).sum() <= 94


@pytest.mark.parametrize(
    ("given", "limited", "rate"), [(1e6, 700.0, 1e-300), (-1e6, -700.0, 1e303), (701.0, 700.0, 1e-300)]
)
def test_log_multipliers_are_limited_to_seven_hundred(given: float, limited: float, rate: float) -> None:
    def die(log_multiplier: Operand) -> np.ndarray:
        graph = pathway(
            only("a", dying(rate, log_multiplier=log_multiplier)),
            DEAD,
            attributes=(Attribute(name="one", initial=1.0),),
        )
        return times(kernel_histories(graph, patients=20, horizon=1e9))

    expected = thresholds("a/die", 20) / rate / math.exp(limited)
    assert close(die(limited), expected, 1e-9)
    for operand in (given, given * attribute("one"), attribute("one") * given):
        assert np.array_equal(die(operand), die(limited))
    assert np.isfinite(expected).all() and (expected < 1e9).all()


@pytest.mark.parametrize("patient", [0, 7, 9])
def test_a_multiplier_that_is_not_a_number_stops_the_run_and_names_the_patient(patient: int) -> None:
    graph = pathway(only("a", dying(0.1, log_multiplier=log(attribute("z")))), DEAD, attributes=(Attribute(name="z"),))
    z = np.ones(10)
    z[patient] = -1.0
    with pytest.raises(SimulationError, match=rf"patient {100 + patient} .*not a number"):
        kernel_histories(graph, patients=10, horizon=50.0, cohort={"z": z}, first_patient=100)


def test_a_multiplier_that_becomes_no_number_within_a_stay_stops_the_run_and_names_the_patient() -> None:
    less = Scheduled(name="less", to="STAY", first=1.0, updates={"z": attribute("z") - 1.5})
    die = dying(0.01, log_multiplier=log(attribute("z")))
    graph = pathway(only("a", die, less), DEAD, attributes=(Attribute(name="z"),))
    with pytest.raises(SimulationError, match=r"patient 2 .*not a number"):
        kernel_histories(graph, patients=4, horizon=50.0, cohort={"z": [9.0, 9.0, 1.0, 9.0]})


@pytest.mark.parametrize("use", ["update", "condition", "switch"])
def test_a_value_that_is_not_a_number_stops_the_run_wherever_it_is_used(use: str) -> None:
    wrong = log(attribute("z"))
    events: dict[str, Any] = {
        "update": Scheduled(name="event", to="STAY", first=1.0, updates={"y": wrong}),
        "switch": Scheduled(name="event", to="STAY", first=1.0, when=wrong),
        "condition": Scheduled(name="event", to="plan", first=1.0),
    }
    rows = (Row(do="go", when=wrong), Row(do="go")) if use == "condition" else (Row(do="go"),)
    graph = pathway(
        only("a", NOBODY, events[use], Scheduled(name="other", to="plan", first=9.0)),
        Decision(name="plan", actions={"go": Edge(to="STAY")}, default=rows),
        DEAD,
        attributes=(Attribute(name="z"), Attribute(name="y", initial=0.0)),
    )
    with pytest.raises(SimulationError, match=r"patient 1 .*not a number"):
        kernel_histories(graph, patients=3, horizon=5.0, cohort={"z": [2.0, -1.0, 3.0]})


def test_a_first_time_that_is_not_a_number_stops_the_run_and_names_the_patient() -> None:
    event = Scheduled(name="event", to="dead", first=log(attribute("z")))
    graph = pathway(only("a", NOBODY, event), DEAD, attributes=(Attribute(name="z"),))
    z = np.array([2.0, 2.0, -1.0, 2.0])
    with pytest.raises(SimulationError, match=r"patient 2 .*not a number"):
        kernel_histories(graph, patients=4, horizon=50.0, cohort={"z": z})


# -- rule 9: effects -----------------------------------------------------------------------------------------------


def with_effect(effect: Effect | None, *events: Any, hazard: Hazard | None = None, horizon: float = 1e4) -> np.ndarray:
    """Times of an event on which a drug, taken from the start, has an effect."""
    drug = replace(DRUG, effects={} if effect is None else {"event": effect})
    event = Transition(name="event", to="dead", hazard=hazard or weibull(1.4, 20.0), effect="event")
    if effect is None:
        event = replace(event, effect=None)
    return times(same_as_oracle(on_drug(event, *events, treatments=(drug,)), patients=PATIENTS, horizon=horizon))


def inverse_of(pieces: list[tuple[float, float]], e: np.ndarray, shape: float = 1.4, scale: float = 20.0) -> np.ndarray:
    """Time at which sum of ratio x dH reaches e, with H = (t / scale)^shape and `pieces` (from month, ratio)."""
    edges = np.array([month for month, _ in pieces] + [1e7])
    ratios = np.array([ratio for _, ratio in pieces])
    h = (edges / scale) ** shape
    consumed = np.concatenate([[0.0], np.cumsum(ratios * np.diff(h))])
    place = np.clip(np.searchsorted(consumed, e, side="left") - 1, 0, len(ratios) - 1)
    return scale * (h[place] + (e - consumed[place]) / ratios[place]) ** (1.0 / shape)


def test_an_effect_on_the_rate_is_piecewise_constant_in_time_since_start() -> None:
    found = with_effect(Effect(ratio=0.4, delay=3.0, steps=((9.0, 0.7), (18.0, 1.5))))
    expected = inverse_of([(0.0, 1.0), (3.0, 0.4), (9.0, 0.7), (18.0, 1.5)], thresholds("a/event", PATIENTS))
    assert close(found, expected)


def test_an_effect_on_the_clock_postpones_the_event() -> None:
    # The transition's own clock runs at 0.4 from month 3: what would happen at t > 3 happens at 3 + (t - 3) / 0.4.
    t = 20.0 * thresholds("a/event", PATIENTS) ** (1 / 1.4)
    found = with_effect(Effect(ratio=0.4, delay=3.0, share_postponed=1.0), horizon=1e6)
    assert close(found, np.where(t <= 3.0, t, 3.0 + (t - 3.0) / 0.4))


def test_stopping_a_clock_effect_leaves_the_time_gained() -> None:
    # Speed 0.5 for 10 months, own time 5; then the clock runs as before, 5 months behind.
    t = 20.0 * thresholds("a/event", PATIENTS) ** (1 / 1.4)
    stop = Scheduled(name="stop", to="STAY", first=10.0, systemic="none")
    found = with_effect(Effect(ratio=0.5, share_postponed=1.0), stop)
    assert close(found, np.where(t <= 5.0, 2.0 * t, t + 5.0))


def test_a_share_of_an_effect_postpones_and_the_rest_avoids() -> None:
    # speed s = r^q, rate r^(1 - q): r^(1 - q) H(s t) = e.
    r, q = 0.5, 0.3
    e = thresholds("a/event", PATIENTS)
    found = with_effect(Effect(ratio=r, share_postponed=q), horizon=1e6)
    assert close(found, 20.0 * (e / r ** (1 - q)) ** (1 / 1.4) / r**q)


def test_effects_of_both_slots_multiply() -> None:
    tace = Treatment(id="tace", slot="local", effects={"event": Effect(ratio=0.5)})
    drug = replace(DRUG, effects={"event": Effect(ratio=0.6, delay=2.0)})
    event = Transition(name="event", to="dead", hazard=weibull(1.4, 20.0))
    start = Scheduled(name="start", to="STAY", first=6.0, local="tace")
    found = times(same_as_oracle(on_drug(event, start, treatments=(drug, tace)), patients=PATIENTS, horizon=1e4))
    assert close(found, inverse_of([(0.0, 1.0), (2.0, 0.6), (6.0, 0.3)], thresholds("a/event", PATIENTS)))


@pytest.mark.parametrize(("stopped", "applies"), [(3.0, False), (4.0, True), (9.0, True)])
def test_an_effect_after_stopping_needs_the_delay_to_have_passed(stopped: float, applies: bool) -> None:
    stop = Scheduled(name="stop", to="STAY", first=stopped, systemic="none")
    found = with_effect(Effect(ratio=0.5, delay=4.0, off_ratio=1.6), stop)
    pieces = [(0.0, 1.0), *([(4.0, 0.5)] if stopped > 4.0 else []), (stopped, 1.6 if applies else 1.0)]
    assert close(found, inverse_of(pieces, thresholds("a/event", PATIENTS)))


def test_equal_steps_are_merged() -> None:
    one = with_effect(Effect(ratio=0.6, delay=2.0))
    several = with_effect(Effect(ratio=0.6, delay=2.0, steps=((5.0, 0.6), (7.0, 0.6))))
    assert np.array_equal(one, several)
    leading = with_effect(Effect(ratio=1.0, steps=((2.0, 0.6),)))
    assert np.array_equal(one, leading)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_ratio_of_one_throughout_is_no_effect(share: float) -> None:
    stop = Scheduled(name="stop", to="STAY", first=8.0, systemic="none")
    nothing = with_effect(None, stop)
    neutral = Effect(ratio=1.0, share_postponed=share, delay=1.0, steps=((3.0, 1.0), (6.0, 1.0)), waning_half_life=2.0)
    assert np.array_equal(with_effect(neutral, stop), nothing)


def test_an_effect_of_zero_stops_the_hazard() -> None:
    for share in (0.0, 0.5, 1.0):
        stop = Scheduled(name="stop", to="STAY", first=12.0, systemic="none")
        found = with_effect(Effect(ratio=0.0, delay=5.0, share_postponed=share), stop)
        e, at_5, at_12 = thresholds("a/event", PATIENTS), (5 / 20) ** 1.4, (12 / 20) ** 1.4
        later = e + at_12 - at_5 if share == 0.0 else e
        expected = 20.0 * later ** (1 / 1.4) + (7.0 if share > 0.0 else 0.0)
        assert close(found, np.where(e <= at_5, 20.0 * e ** (1 / 1.4), expected))
        assert not ((found > 5.0) & (found < 12.0)).any()


def waned(step: float) -> np.ndarray:
    stop = Scheduled(name="stop", to="STAY", first=6.0, systemic="none")
    return with_effect(Effect(ratio=0.4, off_ratio=0.4, waning_half_life=4.0, waning_step=step), stop)


def test_halving_the_step_of_a_waning_effect_does_not_matter() -> None:
    coarse, fine, finest = waned(1.0), waned(0.5), waned(0.25)
    # Against steps of 6 months, which do matter: the check can see a step that is too wide.
    assert np.abs(coarse / fine - 1.0).max() < 0.004
    assert np.abs(fine / finest - 1.0).max() < 0.001
    assert np.abs(waned(6.0) / finest - 1.0).max() > 0.02


def test_a_waning_effect_halves_its_logarithm_every_half_life() -> None:
    # Exponential(0.05): from the stop at 6 the log hazard ratio is log(0.4) 2^(-t / 4). Integrated by fine midpoints.
    stop = Scheduled(name="stop", to="STAY", first=6.0, systemic="none")
    effect = Effect(ratio=0.4, off_ratio=0.4, waning_half_life=4.0, waning_step=0.25)
    found = with_effect(effect, stop, hazard=exponential(0.05))
    grid = np.arange(0.0, 400.0, 0.005)
    hazard = 0.05 * np.where(grid < 6.0, 0.4, np.exp(math.log(0.4) * 2.0 ** (-(grid + 0.0025 - 6.0) / 4.0)))
    consumed = np.concatenate([[0.0], np.cumsum(0.005 * hazard)])
    expected = np.interp(thresholds("a/event", PATIENTS), consumed, np.append(grid, 400.0))
    assert close(found, expected, 2e-3)


# -- rule 10: the order within an edge -----------------------------------------------------------------------------


def test_an_edge_makes_its_updates_in_order_and_before_it_changes_treatment() -> None:
    # x sees no treatment yet; y sees the new x. The destination, a chance, sees all of it.
    x, y = attribute("x"), attribute("y")
    edge = Scheduled(
        name="edge",
        to="c",
        first=2.0,
        systemic="drug",
        updates={"x": x + 3.0 + 100.0 * receiving("drug"), "y": 10.0 * x},
    )
    right = (x == 4.0) & (y == 40.0) & receiving("drug") & (months_on("systemic") == 0.0)
    chance = Chance(
        name="c",
        branches=(
            Branch(name="right", weight=right, to="a", mark="right"),
            Branch(name="wrong", weight=~right, to="a", mark="wrong"),
        ),
    )
    graph = pathway(
        only("a", NOBODY, edge),
        chance,
        DEAD,
        attributes=(Attribute(name="x", initial=1.0), Attribute(name="y", initial=0.0)),
        treatments=(DRUG,),
    )
    (life,) = same_as_oracle(graph, patients=1, horizon=3.0)
    assert life.marks == [Mark("right", 2.0)]


def test_updates_can_exchange_two_attributes_through_a_third() -> None:
    x, y = attribute("x"), attribute("y")
    edge = Scheduled(name="edge", to="STAY", first=1.0, updates={"z": x, "x": y, "y": attribute("z")})
    out = Scheduled(name="out", to="dead", first=10.0 * x + y, when=attribute("z") > 0.0)
    attributes = (Attribute(name="x", initial=1.0), Attribute(name="y", initial=2.0), Attribute(name="z", initial=0.0))
    assert times(
        same_as_oracle(pathway(only("a", NOBODY, edge, out), DEAD, attributes=attributes), patients=1, horizon=50.0)
    ) == [21.0]


def test_an_attribute_that_nobody_sets_is_a_number_whoever_brings_it() -> None:
    # Left to its initial value it is folded into the formulas; a cohort that brings the same value is looked up.
    kept, x = attribute("kept"), attribute("x")
    chosen = where((kept > 1.0) & (x < 0.5), 0.3, where(kept == 2.0, 0.1 * kept, x))
    graph = pathway(
        only(
            "a",
            dying(0.02, log_multiplier=log(0.5 + chosen)),
            Scheduled(name="visit", to="d", first=6.0 * kept, period=3.0, when=(kept > 1.0) | (x > 2.0)),
        ),
        Decision(
            name="d",
            actions={"on": Edge(to="STAY", updates={"x": x + kept, "y": x * kept}), "off": Edge(to="STAY")},
            default=(Row(do="off", when=(kept < 1.0) & (x > 0.0)), Row(do="on")),
        ),
        DEAD,
        attributes=(
            Attribute(name="kept", initial=2.0),
            Attribute(name="x", initial=0.1),
            Attribute(name="y", initial=0.0),
        ),
    )
    rewards = (RateReward(channel="ly", rate=1.0),)
    question = evaluation(graph, rewards=rewards)
    folded = simulate(question, as_values({}), patients=300)
    brought = simulate(question, as_values({}), {"kept": np.full(300, 2.0)}, patients=300)
    assert differing(all_tables(folded), all_tables(brought)) == []
    same_as_oracle(graph, patients=20, horizon=60.0)


def test_what_an_update_stored_is_what_later_updates_of_the_edge_read() -> None:
    x, y = attribute("x"), attribute("y")
    # z uses twice the old x, which y stored, and the new x; a number that was stored goes into later formulas.
    edge = Scheduled(
        name="edge",
        to="STAY",
        first=1.0,
        updates={"y": 2.0 * x, "x": x + 5.0, "z": 2.0 * attribute("w") + y + x, "w": 3.0, "v": attribute("w") + 1.0},
    )
    out = Scheduled(name="out", to="dead", first=attribute("z") + 100.0 * attribute("v"), when=attribute("v") > 0.0)
    attributes = tuple(
        Attribute(name=name, initial=value) for name, value in zip("vwxyz", (0, 7, 1, 0, 0), strict=True)
    )
    (life,) = same_as_oracle(
        pathway(only("a", NOBODY, edge, out), DEAD, attributes=attributes), patients=1, horizon=1e3
    )
    # z = 14 + 2 + 6, v = 4.
    assert times([life]) == [422.0]


def test_a_mark_comes_before_the_mark_of_the_end_it_leads_to() -> None:
    graph = pathway(only("a", dying(1.0, mark="cause")), DEAD)
    for life in same_as_oracle(graph, patients=5, horizon=1e3):
        assert [mark.name for mark in life.marks] == ["cause", "dead"]


def test_a_row_of_a_table_adds_to_its_action() -> None:
    action = Edge(to="a", updates={"x": 1.0, "y": 1.0}, mark="action", systemic="drug")
    row = Row(do="go", updates={"y": attribute("x") + 6.0}, mark="row")
    out = Scheduled(name="out", to="dead", first=10.0 * attribute("x") + attribute("y"))
    graph = pathway(
        Decision(name="d", actions={"go": action}, default=(row,)),
        only("a", NOBODY, out),
        DEAD,
        attributes=(Attribute(name="x", initial=0.0), Attribute(name="y", initial=0.0)),
        treatments=(DRUG,),
    )
    (life,) = same_as_oracle(graph, patients=1, horizon=50.0)
    assert life.marks == [Mark("row", 0.0), Mark("dead", 17.0)]
    assert life.visits[0].systemic == "drug"


def test_the_first_row_that_holds_is_carried_out() -> None:
    x = attribute("x")
    rows = (Row(do="one", when=x > 2.0), Row(do="two", when=x > 1.0), Row(do="three", when=x > 2.0), Row(do="four"))
    actions = {name: Edge(to="a", mark=name) for name in ("one", "two", "three", "four")}
    graph = pathway(
        Decision(name="d", actions=actions, default=rows), only("a", NOBODY), DEAD, attributes=(Attribute(name="x"),)
    )
    lives = same_as_oracle(graph, patients=4, horizon=1.0, cohort={"x": [3.0, 1.5, 1.0, 2.0]})
    assert [life.marks[0].name for life in lives] == ["one", "two", "four", "two"]


# -- rule 11: limits -----------------------------------------------------------------------------------------------


def chain_of_chances(length: int) -> Pathway:
    """Patients with x = 1 pass `length` chance nodes at once, the others go straight to state a."""
    names = [f"c{number}" for number in range(length)] + ["a"]
    nodes: list[Any] = []
    for name, following in itertools.pairwise(names):
        go = Branch(name="on", weight=attribute("x"), to=following)
        nodes.append(Chance(name=name, branches=(go, Branch(name="off", weight=1.0 - attribute("x"), to="a"))))
    return pathway(*nodes, only("a", NOBODY), DEAD, attributes=(Attribute(name="x"),))


def stopped(graph: Pathway, words: str, x: list[float], horizon: float) -> None:
    """The run must stop and name the patient who has x = 1."""
    named = 1000 + x.index(1.0)
    with pytest.raises(SimulationError, match=rf"patient {named} .*{words}"):
        kernel_histories(graph, patients=len(x), horizon=horizon, cohort={"x": x}, first_patient=1000)


def test_sixty_four_instant_nodes_at_one_time_are_allowed() -> None:
    same_as_oracle(chain_of_chances(64), patients=3, horizon=1.0, cohort={"x": [0.0, 1.0, 0.0]})


def test_more_instant_nodes_at_one_time_stop_the_run_with_the_patient() -> None:
    stopped(chain_of_chances(65), "more than 64 instant nodes", [0.0, 0.0, 1.0], 1.0)


def test_a_state_that_passes_no_time_for_ever_stops_the_run_with_the_patient() -> None:
    again = Scheduled(name="again", to="a", first=0.0, when=attribute("x") == 1.0)
    graph = pathway(only("a", NOBODY, again), DEAD, attributes=(Attribute(name="x"),))
    stopped(graph, "instant", [0.0, 1.0], 5.0)


def test_instants_at_different_times_do_not_add_up() -> None:
    graph = pathway(
        Chance(name="c", branches=(Branch(name="on", weight=1.0, to="a"),)),
        only("a", NOBODY, Scheduled(name="again", to="c", first=0.5)),
        DEAD,
    )
    (life,) = same_as_oracle(graph, patients=1, horizon=100.0)
    assert len(life.visits) == 1


def test_instants_at_different_times_do_not_add_up_on_a_way_without_return() -> None:
    def chances(prefix: str, last: str) -> list[Chance]:
        names = [f"{prefix}{number}" for number in range(40)] + [last]
        return [
            Chance(name=one, branches=(Branch(name="on", weight=1.0, to=to),)) for one, to in itertools.pairwise(names)
        ]

    go = Scheduled(name="go", to="d0", first=1.0)
    graph = pathway(*chances("c", "a"), only("a", NOBODY, go), *chances("d", "b"), only("b", NOBODY), DEAD)
    (life,) = same_as_oracle(graph, patients=1, horizon=2.0)
    assert [visit.state for visit in life.visits] == ["a", "b"]


def ticking(period: float, to: str = "STAY") -> Pathway:
    tick = Scheduled(name="tick", to=to, first=period, period=period, when=attribute("x") == 1.0)
    return pathway(only("a", NOBODY, tick), DEAD, attributes=(Attribute(name="x"),))


def test_ten_thousand_events_are_allowed() -> None:
    assert len(kernel_histories(ticking(1.0), patients=2, horizon=10_000.5, cohort={"x": [0.0, 1.0]})) == 2


def test_more_events_stop_the_run_with_the_patient() -> None:
    stopped(ticking(1.0), "more than 10000 events", [0.0, 1.0], 10_001.5)


def test_four_thousand_and_ninety_six_entries_are_allowed() -> None:
    assert len(kernel_histories(ticking(1.0, "a"), patients=2, horizon=4_095.5, cohort={"x": [0.0, 1.0]})) == 2


def test_more_entries_stop_the_run_with_the_patient() -> None:
    stopped(ticking(1.0, "a"), "entered one node more than 4096 times", [0.0, 0.0, 1.0], 4_096.5)


def firing(most: int) -> tuple[Pathway, float]:
    """A recurrent event that fires `most` times until the horizon for patient 0."""
    total = np.cumsum([thresholds("a/bleed", 1, firing=k)[0] for k in range(256)])
    bleed = Transition(
        name="bleed",
        to="STAY",
        hazard=exponential(1.0),
        mark="bleed",
        log_multiplier=where(attribute("x") == 1.0, 0.0, -np.inf),
    )
    graph = pathway(only("a", bleed, NOBODY), DEAD, attributes=(Attribute(name="x"),))
    return graph, float(total[most - 1]) + 1e-6


def test_two_hundred_and_fifty_five_firings_in_a_stay_are_allowed() -> None:
    graph, horizon = firing(255)
    (life,) = kernel_histories(graph, patients=1, horizon=horizon, cohort={"x": [1.0]})
    assert len(marks_of(life, "bleed")) == 255


def test_two_hundred_and_fifty_six_firings_in_a_stay_stop_the_run_with_the_patient() -> None:
    graph, _ = firing(255)
    stopped(graph, "one event 256 times within a stay", [0.0, 1.0], 600.0)


def test_scheduled_events_without_random_numbers_may_fire_more_often() -> None:
    (life,) = same_as_oracle(ticking(0.25), patients=1, horizon=200.0, cohort={"x": [1.0]})
    assert len(life.visits) == 1


# -- rule 12: visits -----------------------------------------------------------------------------------------------


def test_a_visit_closes_when_state_treatment_or_tag_changes_and_only_then() -> None:
    events = (
        Scheduled(name="nothing", to="STAY", first=1.0, mark="nothing", updates={"y": 5.0}),
        Scheduled(name="tag", to="STAY", first=2.0, updates={"line": 1.0}),
        Scheduled(name="drug", to="STAY", first=3.0, systemic="drug"),
        Scheduled(name="again", to="a", first=4.0, when=MONTHS < 5.0),
        Scheduled(name="move", to="b", first=5.0, origin=Clock.MODEL),
    )
    graph = pathway(
        only("a", NOBODY, *events),
        only("b", NOBODY),
        DEAD,
        attributes=(Attribute(name="line", initial=0.0, levels=("first", "second")), Attribute(name="y", initial=0.0)),
        treatments=(DRUG,),
        tag=("line",),
    )
    (life,) = same_as_oracle(graph, patients=1, horizon=7.0)
    assert [(v.state, v.systemic, v.tags, v.entered, v.left) for v in life.visits] == [
        ("a", "none", (0,), 0.0, 2.0),
        ("a", "none", (1,), 2.0, 3.0),
        ("a", "drug", (1,), 3.0, 5.0),
        ("b", "drug", (1,), 5.0, 7.0),
    ]
    assert endings(graph, patients=1, horizon=7.0) == [["a/tag", "a/drug", "a/move", "horizon"]]


def test_visits_of_no_length_are_not_written_but_their_marks_are() -> None:
    graph = pathway(
        only("a", NOBODY, Scheduled(name="in", to="b", first=0.0, mark="left a")),
        only("b", NOBODY, Scheduled(name="on", to="c", first=0.0, mark="left b")),
        only("c", NOBODY, Scheduled(name="out", to="dead", first=2.0)),
        DEAD,
    )
    (life,) = same_as_oracle(graph, patients=1, horizon=5.0)
    assert [(v.state, v.entered, v.left) for v in life.visits] == [("c", 0.0, 2.0)]
    assert life.marks == [Mark("left a", 0.0), Mark("left b", 0.0), Mark("dead", 2.0)]


def test_two_tags_are_told_apart() -> None:
    attributes = (
        Attribute(name="one", levels=("a", "b", "c")),
        Attribute(name="two", levels=("a", "b")),
    )
    graph = pathway(only("a", NOBODY), DEAD, attributes=attributes, tag=("one", "two"))
    cohort = {"one": [0.0, 1.0, 2.0, 2.0, 0.0], "two": [0.0, 1.0, 0.0, 1.0, 1.0]}
    lives = same_as_oracle(graph, patients=5, horizon=1.0, cohort=cohort)
    assert [life.visits[0].tags for life in lives] == [(0, 0), (1, 1), (2, 0), (2, 1), (0, 1)]


# -- rule 13: chance -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [(0.2, 0.5, 0.3), (0.0, 1.0, 0.0), (0.25, 0.0, 0.75), (1e-9, 1.0 - 1e-9, 0.0)])
@pytest.mark.parametrize("by_patient", [False, True])
def test_a_chance_takes_the_first_branch_whose_cumulative_weight_exceeds_u(
    weights: tuple[float, ...], by_patient: bool
) -> None:
    factor: Operand = attribute("seven") if by_patient else 1.0
    branches = tuple(Branch(name=f"b{k}", weight=w * factor, to="a", mark=f"b{k}") for k, w in enumerate(weights))
    graph = pathway(
        Chance(name="c", branches=branches), only("a", NOBODY), DEAD, attributes=(Attribute(name="seven", initial=7.0),)
    )
    lives = same_as_oracle(graph, patients=PATIENTS, horizon=1.0)
    u = rng.uniforms(0, 0, np.arange(PATIENTS), "c")
    expected = np.minimum(np.searchsorted(np.cumsum(weights), u, side="right"), 2)
    assert [life.marks[0].name for life in lives] == [f"b{k}" for k in expected]


def test_the_last_branch_takes_the_rest() -> None:
    # Ten weights of 0.1 sum to a little less than 1, so the last cumulative weight is not compared with.
    branches = tuple(Branch(name=f"b{k}", weight=0.1, to="a", mark=f"b{k}") for k in range(10))
    graph = pathway(Chance(name="c", branches=branches), only("a", NOBODY), DEAD)
    lives = same_as_oracle(graph, patients=PATIENTS, horizon=1.0)
    assert {life.marks[0].name for life in lives} == {f"b{k}" for k in range(10)}


def test_a_chance_visited_again_draws_again() -> None:
    branches = (Branch(name="x", weight=0.5, to="a", mark="x"), Branch(name="y", weight=0.5, to="a", mark="y"))
    again = Scheduled(name="again", to="c", first=1.0)
    graph = pathway(Chance(name="c", branches=branches), only("a", NOBODY, again), DEAD)
    for patient, life in enumerate(same_as_oracle(graph, patients=10, horizon=19.5)):
        u = rng.uniforms(0, 0, patient, "c", np.arange(20))
        assert [mark.name for mark in life.marks] == ["x" if number < 0.5 else "y" for number in u]


@pytest.mark.parametrize("bad", [-0.1, np.inf, 0.0])
def test_weights_that_are_no_chances_stop_the_run_with_the_patient(bad: float) -> None:
    other = where(attribute("w") == 0.0, 0.0, 0.5)
    branches = (Branch(name="x", weight=attribute("w"), to="a"), Branch(name="y", weight=other, to="a"))
    graph = pathway(Chance(name="c", branches=branches), only("a", NOBODY), DEAD, attributes=(Attribute(name="w"),))
    with pytest.raises(SimulationError, match=r"patient 3 .*chances"):
        kernel_histories(graph, patients=5, horizon=1.0, cohort={"w": [0.5, 0.5, 0.2, bad, 0.1]})


# -- rule 14: tables -----------------------------------------------------------------------------------------------


def test_a_table_goes_on_with_its_last_slope() -> None:
    hazard = Hazard("cumulative", {"times": (0.0, 10.0, 15.0), "values": (0.0, 0.1, 0.4)})
    event = Transition(name="event", to="dead", hazard=hazard)
    found = times(same_as_oracle(pathway(only("a", event), DEAD), patients=PATIENTS, horizon=1e4))
    e = thresholds("a/event", PATIENTS)
    assert close(found, np.where(e <= 0.1, 100.0 * e, 10.0 + (e - 0.1) / 0.06))


def test_the_last_rate_of_a_piecewise_hazard_goes_on() -> None:
    hazard = Hazard("pwexp", {"times": "times", "rates": "rates"})
    event = Transition(name="event", to="dead", hazard=hazard)
    numbers = {"times": [0.0, 6.0, 12.0], "rates": [0.01, 0.1, 0.05]}
    found = times(same_as_oracle(pathway(only("a", event), DEAD), PLAIN, numbers, patients=PATIENTS, horizon=1e4))
    e = thresholds("a/event", PATIENTS)
    expected = np.where(e <= 0.06, 100.0 * e, np.where(e <= 0.66, 6.0 + 10.0 * (e - 0.06), 12.0 + (e - 0.66) / 0.05))
    assert close(found, expected)


def test_a_life_table_by_years_is_per_month_inside() -> None:
    # 0.02 a year to age 70, then 0.1 a year: from age 69.5, 0.01 is consumed in the first half year.
    hazard = Hazard("pwexp", {"times": (0.0, 70.0), "rates": (0.02, 0.1)}, years=True)
    death = Transition(name="other", to="dead", hazard=hazard, clock=Clock.AGE, threshold="life")
    graph = pathway(only("a", death), DEAD, attributes=(Attribute(name="age", initial=69.5),), age_years="age")
    found = times(kernel_histories(graph, patients=PATIENTS, horizon=1e4))
    e = thresholds("life/other", PATIENTS)
    assert close(found, np.where(e <= 0.01, 600.0 * e, 6.0 + 120.0 * (e - 0.01)), 1e-9)


def test_a_hazard_by_stratum_takes_the_level_of_the_attribute() -> None:
    death = Transition(name="die", to="dead", hazard=Strata("sex", (exponential(0.1), exponential(0.4))))
    graph = pathway(only("a", death), DEAD, attributes=(Attribute(name="sex", levels=("woman", "man")),))
    sex = np.arange(PATIENTS) % 2.0
    found = times(same_as_oracle(graph, patients=PATIENTS, horizon=1e4, cohort={"sex": sex}))
    assert np.array_equal(found, thresholds("a/die", PATIENTS) / np.where(sex == 1.0, 0.4, 0.1))


# -- every family and clock, with what changes in a stay -----------------------------------------------------------

FAMILIES: dict[str, Hazard] = {
    "exponential": exponential(parameter("rate")),
    "weibull": weibull(0.8, 15.0),
    "weibullPH": Hazard("weibullPH", {"shape": 1.4, "scale": 0.02}),
    "gompertz": Hazard("gompertz", {"shape": 0.05, "rate": 0.03}),
    "gompertz falling": Hazard("gompertz", {"shape": -0.05, "rate": 0.06}),
    "llogis": Hazard("llogis", {"shape": 1.6, "scale": 14.0}),
    "lnorm": Hazard("lnorm", {"meanlog": 2.4, "sdlog": 0.9}, cure=0.1),
    "gengamma": Hazard("gengamma", {"mu": 2.5, "sigma": 0.8, "Q": -0.4}),
    "survspline": Hazard("survspline", {"gamma": (-4.0, 1.3, 0.02), "knots": (0.0, 2.0, 4.0)}),
    "pwexp": Hazard("pwexp", {"times": (0.0, 5.0, 20.0), "rates": (0.08, 0.02, 0.1)}),
    "cumulative": Hazard("cumulative", {"times": (0.0, 5.0, 20.0), "values": (0.0, 0.2, 1.5)}, cure=0.2),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_on_every_clock_keeps_its_hazard_through_changes(family: str) -> None:
    hazard = FAMILIES[family]
    effect = Effect(ratio=0.5, share_postponed=0.4, delay=1.0, steps=((4.0, 0.8),), off_ratio=1.3, waning_half_life=2.0)
    drug = replace(DRUG, effects={"event": effect})
    tace = Treatment(id="tace", slot="local", effects={"event": Effect(ratio=1.4)})
    change = Scheduled(name="change", to="STAY", first=2.5, period=2.5, updates={"x": attribute("x") * -0.9})
    treat = Scheduled(name="treat", to="STAY", first=3.0, period=9.0, systemic="drug", local="tace")
    stop = Scheduled(name="stop", to="STAY", first=6.5, period=9.0, systemic="none")
    for clock in (Clock.STATE, Clock.MODEL, Clock.LOCAL, Clock.SYSTEMIC, Clock.AGE):
        event = Transition(
            name="event", to="STAY", hazard=hazard, clock=clock, log_multiplier=0.5 * attribute("x"), mark="event"
        )
        leave = Transition(name="leave", to="a", hazard=hazard, clock=clock, effect="event")
        graph = pathway(
            only("a", event, leave, NOBODY, change, treat, stop),
            DEAD,
            treatments=(drug, tace),
            attributes=(Attribute(name="x", initial=1.0), Attribute(name="age", initial=2.0)),
            age_years="age",
        )
        lives = same_as_oracle(graph, PLAIN, {"rate": 0.07}, patients=10, horizon=40.0, luck=9)
        assert sum(len(life.marks) + len(life.visits) for life in lives) > 40


# -- small checks of the helpers themselves ------------------------------------------------------------------------


def test_time_in_states_adds_up_to_the_length_of_life() -> None:
    graph, strategies, numbers = clinic()
    for life in kernel_histories(graph, strategies[1], numbers, patients=50, horizon=60.0, cohort=clinic_cohort(50)):
        end = (marks_of(life, "dead") or [60.0])[0]
        total = sum(months_in(life, state) for state in ("stable", "late", "hospice"))
        assert math.isclose(total, end, rel_tol=1e-12)
