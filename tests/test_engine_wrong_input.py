"""Wrong graphs, numbers and questions are refused before any patient is simulated, with words that name the thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_tools import DEAD, NEVER, PLAIN, dying, evaluation, only, pathway, weibull

from simhcc import outcomes
from simhcc.errors import SimhccError
from simhcc.expressions import MONTHS, attribute, lookup, months_on, parameter, receiving
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
    Endpoint,
    Hazard,
    MarkReward,
    Pathway,
    RateReward,
    Row,
    ScanSchedule,
    Scheduled,
    Strata,
    Strategy,
    Transition,
    Treatment,
    exponential,
)
from simhcc.model import as_values
from simhcc.simulation import Evaluation, simulate

NOBODY = Transition(name="nobody", to="dead", hazard=NEVER)
CHANNELS = (Channel(id="ly"), Channel(id="cost"))


def run(graph: Pathway | None = None, strategies: tuple[Strategy, ...] = (PLAIN,), **fields: Any) -> None:
    """Build and simulate; fields of the question, and `values`, `cohort`, `patients` and so on for the run."""
    running: dict[str, Any] = {"patients": 4, "threads": 1}
    for name in ("patients", "threads", "luck", "first_patient", "fresh_patients", "block"):
        if name in fields:
            running[name] = fields.pop(name)
    values, cohort = fields.pop("values", {}), fields.pop("cohort", None)
    fields.setdefault("channels", CHANNELS)
    simulate(evaluation(graph or ward(), strategies, **fields), values, cohort, **running)


def ward(*events: Any, **fields: Any) -> Pathway:
    """State a with the given events beside a death."""
    return pathway(only("a", *events, dying()), DEAD, **fields)


def with_hazard(hazard: Any, **fields: Any) -> Pathway:
    return ward(Transition(name="event", to="dead", hazard=hazard, **fields))


def chance(*weights: Any) -> Pathway:
    branches = tuple(Branch(name=f"b{k}", weight=w, to="a") for k, w in enumerate(weights))
    return pathway(Chance(name="toss", branches=branches), only("a", dying()), DEAD)


def table(*rows: Row, **fields: Any) -> Pathway:
    return pathway(
        Decision(name="plan", actions={"go": Edge(to="a")}, default=rows), only("a", dying()), DEAD, **fields
    )


def drug(effect: Effect | None = None, **fields: Any) -> Treatment:
    return Treatment(id="drug", slot="systemic", effects={} if effect is None else {"die": effect}, **fields)


def treated(effect: Effect) -> Pathway:
    return ward(treatments=(drug(effect),))


def priced(*rewards: Any, **fields: Any) -> None:
    event = Scheduled(name="visit", to="STAY", first=1.0, mark="visit", updates={"x": 1.0})
    graph = ward(
        event,
        treatments=(drug(),),
        attributes=(
            Attribute(name="x", initial=0.0),
            Attribute(name="size", initial=1.0),
            Attribute(name="age", levels=("a",)),
        ),
    )
    run(graph, rewards=rewards, cohort={"age": np.ones(4)}, **fields)


def hazard(family: str, **numbers: Any) -> Callable[[], None]:
    return lambda: run(with_hazard(Hazard(family, numbers)))


def refused(graph: Callable[[], Pathway], **fields: Any) -> Callable[[], None]:
    return lambda: run(graph(), **fields)


GO = Row(do="go")
SELDOM = Row(do="go", when=MONTHS > 1.0)
SCAN = ScanSchedule(name="scan", segments=((3.0, 3.0),))
AGE = Attribute(name="age", initial=60.0)

# what is wrong -> (how it comes about, words that the message must have)
WRONG: dict[str, tuple[Callable[[], None], list[str]]] = {
    # -- hazards and numbers
    "negative scale": (hazard("weibull", shape=1.0, scale=-3.0), ["a/event", "scale", "-3"]),
    "shape 0": (hazard("weibull", shape=0.0, scale=3.0), ["a/event", "shape", "0"]),
    "rate is not a number": (hazard("exponential", rate=np.nan), ["a/event", "rate", "nan"]),
    "negative rate": (hazard("exponential", rate=-0.1), ["a/event", "rate", "-0.1"]),
    "infinite rate": (hazard("exponential", rate=np.inf), ["a/event", "rate", "inf"]),
    "negative rate in draw 2": (
        lambda: run(with_hazard(exponential(parameter("r"))), values={"r": np.array([0.1, 0.1, -0.2])}),
        ["a/event", "rate", "-0.2"],
    ),
    "unknown family": (hazard("weibul", shape=1.0, scale=1.0), ["weibul", "weibull"]),
    "parameter of another family": (hazard("weibull", shape=1.0, rate=1.0), ["weibull", "rate", "scale"]),
    "parameter missing": (hazard("lnorm", meanlog=1.0), ["lnorm", "sdlog"]),
    "cure of one": (lambda: run(with_hazard(replace(exponential(0.1), cure=1.0))), ["a/event", "cure", "1"]),
    "piecewise times that fall": (hazard("pwexp", times=(0.0, 5.0, 4.0), rates=(0.1, 0.1, 0.1)), ["a/event", "times"]),
    "piecewise times from 1": (hazard("pwexp", times=(1.0, 5.0), rates=(0.1, 0.1)), ["a/event", "times", "0"]),
    "piecewise lengths": (hazard("pwexp", times=(0.0, 5.0), rates=(0.1,)), ["a/event", "1 rate", "2 time"]),
    "negative piecewise rate": (hazard("pwexp", times=(0.0, 5.0), rates=(0.1, -0.1)), ["a/event", "rate", "-0.1"]),
    "cumulative hazard that falls": (
        hazard("cumulative", times=(0.0, 5.0, 6.0), values=(0.0, 0.3, 0.2)),
        ["a/event", "cumulative hazard", "falls"],
    ),
    "cumulative hazard with a step": (
        hazard("cumulative", times=(0.0, 5.0, 5.0), values=(0.0, 0.3, 0.4)),
        ["a/event", "times"],
    ),
    "cumulative lengths": (hazard("cumulative", times=(0.0, 5.0, 6.0), values=(0.0, 0.3)), ["a/event", "3", "2"]),
    "spline that rises": (hazard("survspline", gamma=(1.0, -1.0), knots=(0.0, 2.0)), ["survspline", "rise"]),
    "vector where a number belongs": (
        lambda: run(with_hazard(exponential(parameter("v"))), values={"v": np.ones((1, 3))}),
        ["a/event", "'v'", "vector"],
    ),
    "number where a vector belongs": (
        lambda: run(with_hazard(Hazard("pwexp", {"times": "v", "rates": (1.0,)})), values={"v": np.ones(1)}),
        ["a/event", "'v'", "vector"],
    ),
    "undefined parameter": (
        lambda: run(with_hazard(exponential(parameter("rate.deth"))), values={"rate.death": np.ones(1)}),
        ["a/event", "'rate.deth'", "'rate.death'"],
    ),
    "undefined vector": (
        lambda: run(with_hazard(exponential(0.1), log_multiplier=lookup("steps", MONTHS))),
        ["a/event", "'steps'", "not defined"],
    ),
    "parameter that is not a number, by patient": (
        lambda: run(
            with_hazard(exponential(0.1), log_multiplier=MONTHS * parameter("b")), values={"b": np.array([np.nan])}
        ),
        ["a/event", "b", "not a number"],
    ),
    "log multiplier is not a number": (
        lambda: run(with_hazard(exponential(0.1), log_multiplier=np.nan)),
        ["a/event", "not a number"],
    ),
    "hazard that depends on the patient": (
        lambda: run(with_hazard(exponential(0.1 * MONTHS))),
        ["a/event", "months", "depends on the patient"],
    ),
    "numbers of draws that differ": (
        lambda: run(values={"one": np.ones(3), "two": np.ones(2)}),
        ["'one'", "3", "'two'", "2"],
    ),
    "values without an axis of draws": (lambda: run(values={"one": np.array(1.0)}), ["'one'", "axis of draws"]),
    "no draws": (lambda: run(values={"one": np.ones(0)}), ["draws"]),
    "a hazard that is a number": (lambda: run(with_hazard(0.1)), ["a/event", "hazard"]),
    "strata without hazards": (
        lambda: run(
            ward(
                Transition(name="event", to="dead", hazard=Strata("x", ())),
                attributes=(Attribute(name="x", initial=0.0),),
            )
        ),
        ["a/event", "strata"],
    ),
    "strata of an unknown attribute": (
        lambda: run(
            ward(
                Transition(name="event", to="dead", hazard=Strata("sx", (NEVER,))),
                attributes=(Attribute(name="sex", initial=0.0),),
            )
        ),
        ["a/event", "'sx'", "'sex'"],
    ),
    "strata that change": (
        lambda: run(
            ward(
                Transition(name="event", to="dead", hazard=Strata("x", (NEVER, NEVER)), updates={"x": 1.0}),
                attributes=(Attribute(name="x", initial=0.0),),
            )
        ),
        ["a/event", "'x'", "changes"],
    ),
    # -- nodes and edges
    "unknown destination": (
        lambda: run(ward(Transition(name="go", to="ded", hazard=NEVER))),
        ["a/go", "'ded'", "'dead'"],
    ),
    "unknown start": (refused(lambda: ward(start="b")), ["start", "'b'"]),
    "node named twice": (refused(lambda: pathway(only("a", dying()), only("a", dying()), DEAD)), ["'a'", "twice"]),
    "node without a name": (refused(lambda: pathway(only("", dying()), DEAD)), ["node", "''"]),
    "node named STAY": (refused(lambda: pathway(only("STAY", dying()), DEAD)), ["node", "'STAY'"]),
    "node whose name could be another's purpose": (refused(lambda: pathway(only("a/b", dying()), DEAD)), ["'a/b'"]),
    "transition named twice": (refused(lambda: ward(dying())), ["'a'", "'die'", "twice"]),
    "transition named as a scheduled event": (
        refused(lambda: ward(Scheduled(name="die", to="dead", first=1.0))),
        ["'a'", "'die'", "twice"],
    ),
    "branch named twice": (
        refused(
            lambda: pathway(
                Chance(
                    name="toss", branches=(Branch(name="x", weight=0.5, to="a"), Branch(name="x", weight=0.5, to="a"))
                ),
                only("a", dying()),
                DEAD,
            )
        ),
        ["'toss'", "'x'", "twice"],
    ),
    "attribute named twice": (
        refused(lambda: ward(attributes=(Attribute(name="x", initial=0.0), Attribute(name="x", initial=0.0)))),
        ["attribute", "'x'", "twice"],
    ),
    "treatment named twice": (refused(lambda: ward(treatments=(drug(), drug()))), ["treatment", "'drug'", "twice"]),
    "treatment named none": (
        refused(lambda: ward(treatments=(Treatment(id="none", slot="local"),))),
        ["'none'", "cannot be declared"],
    ),
    "unknown slot": (
        refused(lambda: ward(treatments=(Treatment(id="x", slot="global"),))),
        ["'x'", "'global'", "local"],
    ),
    "treatment in the wrong slot": (
        refused(lambda: ward(Scheduled(name="give", to="STAY", first=1.0, local="drug"), treatments=(drug(),))),
        ["a/give", "'drug'", "systemic"],
    ),
    "unknown treatment": (
        refused(lambda: ward(Scheduled(name="give", to="STAY", first=1.0, systemic="drag"), treatments=(drug(),))),
        ["a/give", "'drag'", "'drug'"],
    ),
    "update of an unknown attribute": (
        refused(
            lambda: ward(
                Scheduled(name="set", to="STAY", first=1.0, updates={"liner": 1.0}),
                attributes=(Attribute(name="line", initial=0.0),),
            )
        ),
        ["a/set", "'liner'", "'line'"],
    ),
    "unknown attribute in an expression": (
        refused(lambda: ward(Scheduled(name="set", to="STAY", first=attribute("ags")), attributes=(AGE,))),
        ["a/set", "'ags'", "'age'"],
    ),
    "unknown treatment in an expression": (
        refused(
            lambda: ward(Scheduled(name="set", to="STAY", first=1.0, when=receiving("drag")), treatments=(drug(),))
        ),
        ["a/set", "'drag'", "'drug'"],
    ),
    "unknown slot in an expression": (
        lambda: run(ward(Scheduled(name="x", to="STAY", first=months_on("both")))),
        ["'both'", "systemic"],
    ),
    "derived from an unknown attribute": (
        refused(lambda: ward(attributes=(AGE,), derived={"frail": attribute("agee") > 70.0})),
        ["'frail'", "'agee'"],
    ),
    "derived in a circle": (
        refused(lambda: ward(derived={"one": attribute("two"), "two": attribute("one")})),
        ["one", "two"],
    ),
    "node that cannot be reached": (
        refused(lambda: pathway(only("a", dying()), only("lost", dying()), DEAD)),
        ["'lost'", "reached"],
    ),
    "state with nothing in it": (refused(lambda: pathway(only("a"), DEAD, start="a")), ["'a'", "no transition"]),
    "pathway without a state": (
        refused(lambda: pathway(Chance(name="c", branches=(Branch(name="x", weight=1.0, to="dead"),)), DEAD)),
        ["'test'", "no state"],
    ),
    "loop that passes no time": (
        refused(
            lambda: pathway(
                Chance(
                    name="one", branches=(Branch(name="x", weight=0.5, to="two"), Branch(name="y", weight=0.5, to="a"))
                ),
                Decision(name="two", actions={"back": Edge(to="one")}, default=(Row(do="back"),)),
                only("a", dying()),
                DEAD,
            )
        ),
        ["one -> two -> one", "passes time"],
    ),
    "stay before there is one": (
        refused(
            lambda: pathway(
                Chance(
                    name="toss",
                    branches=(Branch(name="x", weight=0.5, to="STAY"), Branch(name="y", weight=0.5, to="a")),
                ),
                only("a", dying()),
                DEAD,
            )
        ),
        ["toss/x", "stay"],
    ),
    # -- chances
    "probability 1.2": (refused(lambda: chance(1.2)), ["toss/b0", "1.2"]),
    "negative probability": (refused(lambda: chance(1.1, -0.1)), ["toss/b", "outside 0 to 1"]),
    "probabilities that sum to 0.9": (refused(lambda: chance(0.5, 0.4)), ["'toss'", "0.9"]),
    "probability that is not a number": (refused(lambda: chance(np.nan, 0.5)), ["toss/b0", "nan"]),
    "probabilities that do not sum to 1 in draw 1": (
        lambda: run(chance(parameter("p"), 0.5), values={"p": np.array([0.5, 0.6])}),
        ["'toss'", "1.1"],
    ),
    "chance without branches": (refused(lambda: chance()), ["'toss'", "no branches"]),
    # -- decisions and strategies
    "table that can fall through": (refused(lambda: table(SELDOM)), ["'plan'", "fall through"]),
    "rows after one that always holds": (refused(lambda: table(GO, SELDOM, GO)), ["'plan'", "row 1", "never"]),
    "unknown action": (refused(lambda: table(Row(do="goo"))), ["'plan'", "'goo'", "'go'"]),
    "no table at all": (refused(lambda: table()), ["'plain'", "'plan'", "no table"]),
    "empty table of a strategy": (
        lambda: run(table(GO), (Strategy(id="empty", tables={"plan": ()}),)),
        ["'empty'", "'plan'"],
    ),
    "table for a node that is no decision": (
        lambda: run(table(GO), (Strategy(id="new", tables={"plam": (GO,)}),)),
        ["'new'", "'plam'", "'plan'"],
    ),
    "strategy replaces an unknown parameter": (
        lambda: run(ward(), (Strategy(id="new", numbers={"hr": 0.5}),), values={"hr.os": np.ones(1)}),
        ["'new'", "'hr'"],
    ),
    "no strategies": (lambda: run(ward(), ()), ["strategy"]),
    "strategy given twice": (lambda: run(ward(), (PLAIN, PLAIN)), ["'plain'", "twice"]),
    "unknown comparator": (lambda: run(comparator="old"), ["'old'", "plain"]),
    "row that gives an unknown treatment": (refused(lambda: table(Row(do="go", local="tase"))), ["plan", "'tase'"]),
    # -- clocks, thresholds, schedules
    "age clock without an age": (refused(lambda: with_hazard(NEVER, clock=Clock.AGE)), ["a/event", "age"]),
    "unknown age attribute": (refused(lambda: ward(age_years="agee", attributes=(AGE,))), ["'agee'", "'age'"]),
    "threshold for life on the clock of a state": (
        refused(lambda: with_hazard(NEVER, threshold="life")),
        ["a/event", "clock"],
    ),
    "threshold for life missing in a state": (
        refused(
            lambda: pathway(
                only(
                    "a",
                    Transition(name="other", to="dead", hazard=NEVER, threshold="life", clock=Clock.MODEL),
                    Transition(name="go", to="b", hazard=NEVER),
                ),
                only("b", dying()),
                DEAD,
            )
        ),
        ["'other'", "'b'"],
    ),
    "threshold for life that stays": (
        refused(lambda: ward(Transition(name="other", to="STAY", hazard=NEVER, threshold="life", clock=Clock.MODEL))),
        ["a/other", "life"],
    ),
    "unknown threshold": (refused(lambda: with_hazard(NEVER, threshold="live")), ["a/event", "'live'", "'life'"]),
    "treatment effect on a threshold for life": (
        refused(
            lambda: ward(
                Transition(name="other", to="dead", hazard=NEVER, threshold="life", clock=Clock.MODEL),
                treatments=(Treatment(id="drug", slot="systemic", effects={"other": Effect(ratio=0.5)}),),
            )
        ),
        ["a/other", "life"],
    ),
    "negative first time": (
        refused(lambda: ward(Scheduled(name="visit", to="STAY", first=-1.0))),
        ["a/visit", "negative"],
    ),
    "first time is not a number": (
        refused(lambda: ward(Scheduled(name="visit", to="STAY", first=np.nan))),
        ["a/visit", "not a number"],
    ),
    "period 0": (
        refused(lambda: ward(Scheduled(name="visit", to="STAY", first=1.0, period=0.0))),
        ["a/visit", "period", "0"],
    ),
    "infinite period": (
        refused(lambda: ward(Scheduled(name="visit", to="STAY", first=1.0, period=np.inf))),
        ["a/visit", "period", "inf"],
    ),
    "scheduled by age": (
        refused(lambda: ward(Scheduled(name="visit", to="STAY", first=1.0, origin=Clock.AGE))),
        ["a/visit", "age"],
    ),
    "unknown scan schedule": (
        refused(
            lambda: ward(Transition(name="event", to="dead", hazard=NEVER, seen_at_scan="scam"), schedules=(SCAN,))
        ),
        ["a/event", "'scam'", "'scan'"],
    ),
    "scan schedule without segments": (
        refused(lambda: ward(schedules=(ScanSchedule(name="scan", segments=()),))),
        ["'scan'", "segments"],
    ),
    "scan period 0": (
        refused(lambda: ward(schedules=(ScanSchedule(name="scan", segments=((1.0, 0.0),)),))),
        ["'scan'", "period", "0"],
    ),
    "infinite scan period": (
        refused(lambda: ward(schedules=(ScanSchedule(name="scan", segments=((1.0, np.inf),)),))),
        ["'scan'", "period", "inf"],
    ),
    "scan segments out of order": (
        refused(lambda: ward(schedules=(ScanSchedule(name="scan", segments=((6.0, 2.0), (3.0, 1.0))),))),
        ["'scan'", "segments"],
    ),
    "scans from an unknown attribute": (
        refused(
            lambda: ward(
                schedules=(ScanSchedule(name="scan", segments=((1.0, 1.0),), origin="sine"),),
                attributes=(Attribute(name="since", initial=0.0),),
            )
        ),
        ["'scan'", "'sine'", "'since'"],
    ),
    # -- treatment effects
    "negative hazard ratio": (refused(lambda: treated(Effect(ratio=-0.5))), ["drug", "die", "-0.5"]),
    "hazard ratio is not a number": (refused(lambda: treated(Effect(ratio=np.nan))), ["drug", "die", "nan"]),
    "share above 1": (
        refused(lambda: treated(Effect(ratio=0.5, share_postponed=1.5))),
        ["drug", "share_postponed", "1.5"],
    ),
    "negative delay": (refused(lambda: treated(Effect(ratio=0.5, delay=-1.0))), ["drug", "delay", "-1"]),
    "steps out of order": (
        refused(lambda: treated(Effect(ratio=0.5, delay=4.0, steps=((3.0, 0.7),)))),
        ["drug", "steps"],
    ),
    "half-life 0": (
        refused(lambda: treated(Effect(ratio=0.5, off_ratio=0.5, waning_half_life=0.0))),
        ["drug", "half-life"],
    ),
    "waning in too many steps": (
        refused(lambda: treated(Effect(ratio=0.5, off_ratio=0.5, waning_half_life=60.0, waning_step=0.1))),
        ["drug", "steps"],
    ),
    "effect on a transition that does not exist": (
        refused(lambda: ward(treatments=(Treatment(id="drug", slot="systemic", effects={"dye": Effect(ratio=0.5)}),))),
        ["'drug'", "'dye'", "'die'"],
    ),
    # -- tags
    "unknown tag": (
        refused(lambda: ward(tag=("lime",), attributes=(Attribute(name="line", levels=("1", "2")),))),
        ["'lime'", "'line'"],
    ),
    "tag without levels": (
        refused(lambda: ward(tag=("x",), attributes=(Attribute(name="x", initial=0.0),))),
        ["'x'", "levels"],
    ),
    # -- the question
    "horizon 0": (lambda: run(horizon=0.0), ["horizon", "0"]),
    "horizon is not a number": (lambda: run(horizon=np.nan), ["horizon", "nan"]),
    "infinite horizon": (lambda: run(horizon=np.inf), ["horizon", "inf"]),
    "grid step 0": (lambda: run(grid_step=0.0), ["grid step", "0"]),
    "landmark after the horizon": (lambda: run(horizon=12.0, landmarks=(24.0,)), ["landmark", "24"]),
    "covariance of an unknown channel": (lambda: run(crosses=(("ly", "qaly"),)), ["'qaly'"]),
    "negative seed": (lambda: run(seed=-1), ["seed", "-1"]),
    "seed of a half": (lambda: run(seed=0.5), ["seed", "0.5"]),
    "channel twice": (lambda: run(channels=(Channel(id="ly"), Channel(id="ly"))), ["'ly'", "twice"]),
    "endpoint twice": (
        lambda: run(endpoints=(Endpoint(id="os", marks=("dead",)), Endpoint(id="os", marks=("dead",)))),
        ["'os'", "twice"],
    ),
    "endpoint without marks": (lambda: run(endpoints=(Endpoint(id="os", marks=()),)), ["'os'", "marks"]),
    "endpoint of an unknown mark": (
        lambda: run(endpoints=(Endpoint(id="os", marks=("ded",)),)),
        ["'os'", "'ded'", "'dead'"],
    ),
    "endpoint from an unknown mark": (
        lambda: run(endpoints=(Endpoint(id="os", marks=("dead",), origin="randomized"),)),
        ["'os'", "'randomized'"],
    ),
    "discount rate of 5": (lambda: run(channels=(Channel(id="ly", discount=5.0),)), ["'ly'", "discount", "5"]),
    "negative discount rate": (
        lambda: run(channels=(Channel(id="ly", discount=-0.01),)),
        ["'ly'", "discount", "-0.01"],
    ),
    "age bands without an age": (lambda: run(channels=(Channel(id="ly", age_bands=((70.0, 0.9),)),)), ["'ly'", "age"]),
    # -- rewards
    "reward in an unknown channel": (lambda: priced(RateReward(channel="costs", rate=1.0)), ["'cost'", "costs"]),
    "reward in an unknown state": (
        lambda: priced(RateReward(channel="cost", rate=1.0, states=("b",))),
        ["state", "'b'"],
    ),
    "reward on an unknown treatment": (
        lambda: priced(RateReward(channel="cost", rate=1.0, systemic=("drag",))),
        ["'drag'", "'drug'"],
    ),
    "reward for an unknown tag": (
        lambda: priced(RateReward(channel="cost", rate=1.0, tags={"line": ("1",)})),
        ["tag", "'line'"],
    ),
    "reward that is not a number": (
        lambda: priced(RateReward(channel="cost", rate=np.nan)),
        ["reward 1", "cost", "not a number"],
    ),
    "reward that depends on the patient": (
        lambda: priced(RateReward(channel="cost", rate=MONTHS)),
        ["reward 1", "depends on the patient"],
    ),
    "reward of an unknown parameter": (
        lambda: priced(RateReward(channel="cost", rate=parameter("cost.dya")), values={"cost.day": np.ones(1)}),
        ["reward 1", "'cost.dya'", "'cost.day'"],
    ),
    "administration of an unknown treatment": (
        lambda: priced(AdministrationReward(channel="cost", amount=1.0, treatment="drag", period=1.0)),
        ["'drag'", "'drug'"],
    ),
    "administration with period 0": (
        lambda: priced(AdministrationReward(channel="cost", amount=1.0, treatment="drug", period=0.0)),
        ["period", "0"],
    ),
    "administration under an unknown tag": (
        lambda: priced(
            AdministrationReward(channel="cost", amount=1.0, treatment="drug", period=1.0, tags={"lime": ("first",)})
        ),
        ["tag", "'lime'"],
    ),
    "price of an unknown mark": (
        lambda: priced(MarkReward(channel="cost", amount=1.0, mark="visits")),
        ["'visits'", "'visit'"],
    ),
    "price by an unknown attribute": (
        lambda: priced(MarkReward(channel="cost", amount=1.0, mark="visit", per="ag")),
        ["'ag'", "'age'"],
    ),
    "price by an attribute that changes": (
        lambda: priced(MarkReward(channel="cost", amount=1.0, mark="visit", per="x")),
        ["'x'", "changes"],
    ),
    "price by an attribute that no patient brings": (
        lambda: priced(MarkReward(channel="cost", amount=1.0, mark="visit", per="size")),
        ["'size'", "cohort"],
    ),
    "price that a strategy replaces": (
        lambda: run(
            ward(),
            (PLAIN, Strategy(id="new", numbers={"price": 2.0})),
            values={"price": np.ones(1)},
            rewards=(RateReward(channel="cost", rate=parameter("price")),),
        ),
        ["'new'", "'price'", "reward 1"],
    ),
    # -- cohort and run
    "attribute that nobody gives": (lambda: run(ward(attributes=(Attribute(name="size"),))), ["'size'", "initial"]),
    "attribute that is not a number": (
        lambda: run(ward(attributes=(Attribute(name="size"),)), cohort={"size": [1.0, np.nan, 1.0, 1.0]}),
        ["'size'", "patient 1"],
    ),
    "attributes of different lengths": (
        lambda: run(
            ward(attributes=(Attribute(name="size"), Attribute(name="age"))),
            cohort={"size": np.ones(4), "age": np.ones(5)},
        ),
        ["'age'", "5"],
    ),
    "too few patients in the cohort": (
        lambda: run(ward(attributes=(Attribute(name="size"),)), cohort={"size": np.ones(3)}),
        ["3 patients", "4"],
    ),
    "misspelt attribute in the cohort": (
        lambda: run(ward(attributes=(Attribute(name="weight", initial=70.0),)), cohort={"wieght": np.ones(9)}),
        ["'wieght'", "'weight'"],
    ),
    "no patients": (lambda: run(patients=0), ["patients", "0"]),
    "patients of a half": (lambda: run(patients=2.5), ["2.5", "patients"]),
    "patients as truth": (lambda: run(patients=True), ["True", "patients"]),
    "block 0": (lambda: run(block=0), ["block", "0"]),
    "no threads": (lambda: run(threads=0), ["threads", "0"]),
    "threads of a half": (lambda: run(threads=1.5), ["1.5", "threads"]),
    "negative patient": (lambda: run(first_patient=-1), ["first_patient", "-1"]),
    "patients beyond their address": (lambda: run(first_patient=2**44 - 2), ["patient"]),
    "luck of a half": (lambda: run(luck=[0.5]), ["luck", "whole"]),
    "negative luck": (lambda: run(luck=-1), ["luck"]),
    "luck beyond its address": (lambda: run(luck=2**32), ["luck"]),
    "luck for other draws": (lambda: run(luck=[1, 2, 3]), ["luck", "3"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_refused_before_any_simulation_and_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> int:
        raise AssertionError("a patient was simulated")

    monkeypatch.setattr(outcomes, "run_items", never)
    attempt, words = WRONG[name]
    with pytest.raises(SimhccError) as caught:
        attempt()
    for word in words:
        assert word in str(caught.value), f"{name}: {caught.value}"


def test_what_the_wrong_ones_are_built_from_is_right() -> None:
    # Otherwise each of them might be refused for something that is wrong with all.
    run()
    run(with_hazard(weibull(1.0, 1.0)))
    run(chance(0.5, 0.5))
    run(table(SELDOM, GO))
    run(treated(Effect(ratio=0.5, delay=1.0, steps=((3.0, 0.7),), off_ratio=0.5, waning_half_life=2.0)))
    run(ward(attributes=(AGE,), schedules=(SCAN,)), cohort={"age": np.ones(4)})
    priced(
        RateReward(channel="cost", rate=parameter("day"), states=("a",), systemic=("drug",)),
        AdministrationReward(channel="cost", amount=1.0, treatment="drug", period=1.0, per="age"),
        MarkReward(channel="cost", amount=1.0, mark="visit", per="age"),
        values=as_values({"day": 1.0}),
    )


def test_an_evaluation_is_frozen() -> None:
    question: Evaluation = evaluation(ward())
    with pytest.raises(AttributeError):
        question.horizon = 5.0  # type: ignore[misc]
