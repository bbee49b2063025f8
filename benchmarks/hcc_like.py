"""A synthetic pathway of the size of the HCC pathway, to measure the engine alone.

14 nodes, 25 hazard transitions of six families on four clocks, decision tables, chance nodes, scheduled reviews,
stay-transitions, two treatment slots with effects of up to three steps, marks with costs. Its numbers mean nothing. A life
visits about 22 nodes, or about 16 when it is `calm`: reviews come half as often, so do toxicity and steps of the liver.
"""

from __future__ import annotations

import numpy as np

from simhcc.engine.rng import uniforms
from simhcc.expressions import MONTHS, attribute, uniform, where
from simhcc.graph import (
    STAY,
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
    Pathway,
    RateReward,
    Row,
    Scheduled,
    State,
    Strategy,
    Transition,
    Treatment,
    exponential,
)
from simhcc.simulation import Evaluation

LIFE_TABLE = Hazard(
    "pwexp", {"rates": (0.004, 0.008, 0.02, 0.06, 0.2), "times": (0.0, 55.0, 65.0, 75.0, 85.0)}, years=True
)
burden, frailty, liver, line, response = (attribute(n) for n in ("burden", "frailty", "liver", "line", "response"))


def _life() -> Transition:
    return Transition(name="other", to="dead_other", hazard=LIFE_TABLE, clock=Clock.AGE, threshold="life")


def _worsens(rate: float) -> Transition:
    return Transition(
        name="liver_step",
        to=STAY,
        hazard=Hazard("exponential", {"rate": rate}),
        log_multiplier=0.3 * attribute("cirrhosis"),
        updates={"liver": liver + 1.0},
        mark="liver_step",
    )


def _weibull(shape: float, scale: float) -> Hazard:
    return Hazard("weibull", {"shape": shape, "scale": scale})


def _gompertz(shape: float, rate: float) -> Hazard:
    return Hazard("gompertz", {"shape": shape, "rate": rate})


def _state(name: str, progress: Hazard, die: Hazard, review: float, pace: float, clock: Clock = Clock.STATE) -> State:
    risk = 0.1 * burden + 0.5 * frailty + 0.2 * liver
    return State(
        name=name,
        transitions=(
            Transition(
                name="progression", to="relapse", hazard=progress, clock=clock, log_multiplier=risk, mark="progression"
            ),
            Transition(name="death", to="dead_cancer", hazard=die, log_multiplier=risk, clock=Clock.STATE),
            _worsens(0.04 * pace),
            Transition(name="toxicity", to="toxicity", hazard=_weibull(0.8, 30.0 / pace), mark="toxicity"),
            _life(),
        ),
        scheduled=(
            Scheduled(name="review", to="review", first=review / pace, period=review / pace, when=line < 4.0),
            Scheduled(name="stop", to=STAY, first=12.0, origin=Clock.SYSTEMIC, systemic="none"),
        ),
    )


def pathway(calm: bool = False) -> Pathway:
    """The graph."""
    pace = 0.5 if calm else 1.0
    states = (
        _state("free", _gompertz(-0.05, 0.04), exponential(0.002), 12.0, pace),
        _state("local", Hazard("llogis", {"shape": 1.5, "scale": 10.0}), _weibull(1.1, 50.0), 6.0, pace),
        _state(
            "systemic", Hazard("lnorm", {"meanlog": 2.0, "sdlog": 0.9}), exponential(0.02), 6.0, pace, Clock.SYSTEMIC
        ),
        _state("second", _weibull(1.1, 6.0), exponential(0.06), 6.0, pace, Clock.MODEL),
        State(
            name="supportive",
            transitions=(
                Transition(name="death", to="dead_cancer", hazard=_weibull(0.9, 5.0)),
                Transition(name="liver_death", to="dead_liver", hazard=exponential(0.02), log_multiplier=0.4 * liver),
                Transition(name="bleeding", to=STAY, hazard=exponential(0.05), mark="bleeding"),
                _worsens(0.05 * pace),
                _life(),
            ),
        ),
    )
    review = Decision(
        name="review",
        actions={
            "go_on": Edge(to=STAY),
            "session": Edge(to="session", local="procedure", restart=True, mark="session"),
            "next": Edge(to="next_line"),
        },
        default=(
            Row(do="session", when=(response < 1.0) & (burden > 6.0) & (liver < 2.0) & (MONTHS < 60.0)),
            Row(do="next", when=(liver >= 5.0)),
            Row(do="go_on"),
        ),
    )
    next_line = Decision(
        name="next_line",
        actions={
            "systemic": Edge(to="systemic", systemic="drug_a", updates={"line": line + 1.0}),
            "second": Edge(to="second", systemic="drug_b", updates={"line": line + 1.0}),
            "supportive": Edge(to="supportive", systemic="none", local="none"),
            "free": Edge(to="free", systemic="drug_a", updates={"burden": 1.0}),
        },
        default=(
            Row(do="free", when=(burden < 4.0) & (line < 2.0)),
            Row(do="systemic", when=(line < 2.0) & (liver < 4.0)),
            Row(do="second", when=line < 3.0),
            Row(do="supportive"),
        ),
    )
    return Pathway(
        name="hcc_like",
        start="entry",
        attributes=(
            Attribute(name="age"),
            Attribute(name="burden"),
            Attribute(name="frailty"),
            Attribute(name="cirrhosis"),
            Attribute(name="liver", initial=0.0),
            Attribute(name="line", initial=0.0, levels=("0", "1", "2", "3")),
            Attribute(name="response", initial=0.0),
        ),
        treatments=(
            Treatment(
                id="drug_a",
                slot="systemic",
                effects={
                    "progression": Effect(ratio=0.5, delay=1.0, off_ratio=0.8),
                    "death": Effect(ratio=0.8),
                },
            ),
            Treatment(id="drug_b", slot="systemic", effects={"progression": Effect(ratio=0.7, share_postponed=0.5)}),
            Treatment(
                id="procedure",
                slot="local",
                effects={"progression": Effect(ratio=0.6, steps=((3.0, 0.8), (6.0, 1.0)))},
            ),
        ),
        nodes=(
            Chance(
                name="entry",
                branches=(
                    Branch(name="free", weight=where(burden < 5.0, 0.8, 0.1), to="free"),
                    Branch(name="local", weight=where(burden < 9.0, 0.5, 0.3), to="local", local="procedure"),
                    Branch(name="systemic", weight=0.4, to="systemic", systemic="drug_a", updates={"line": 1.0}),
                ),
            ),
            *states,
            Chance(
                name="relapse",
                branches=(
                    Branch(name="limited", weight=0.3, to="next_line", updates={"burden": 2.0 + 3.0 * uniform("size")}),
                    Branch(
                        name="spread", weight=0.7, to="next_line", updates={"burden": burden + 2.0, "response": 0.0}
                    ),
                ),
            ),
            review,
            next_line,
            Chance(
                name="session",
                branches=(
                    Branch(name="death", weight=0.01, to="dead_liver"),
                    Branch(name="response", weight=0.4, to=STAY, updates={"response": 1.0, "burden": burden * 0.7}),
                    Branch(
                        name="none",
                        weight=0.59,
                        to=STAY,
                        updates={"liver": liver + where(uniform("harm") < 0.1, 1.0, 0.0)},
                    ),
                ),
            ),
            Chance(
                name="toxicity",
                branches=(
                    Branch(name="continue", weight=0.7, to=STAY),
                    Branch(name="stop", weight=0.29, to=STAY, systemic="none"),
                    Branch(name="death", weight=0.01, to="dead_liver"),
                ),
            ),
            End(name="dead_cancer"),
            End(name="dead_liver"),
            End(name="dead_other"),
        ),
        tag=("line",),
        age_years="age",
    )


def evaluation(strategies: int = 2, calm: bool = False) -> Evaluation:
    """The comparison: strategies that differ in their decision tables."""
    table = {"review": (Row(do="next", when=liver >= 4.0), Row(do="go_on"))}
    kept = [Strategy(id="sessions"), Strategy(id="no_sessions", tables=table)]
    rewards = [
        RateReward(channel="ly", rate=1.0),
        RateReward(channel="ly_discounted", rate=1.0),
        RateReward(channel="qaly", rate=0.75),
        RateReward(channel="qaly", rate=-0.05, systemic=("drug_a", "drug_b")),
        RateReward(channel="qaly", rate=-0.1, states=("supportive",)),
        RateReward(channel="cost", rate=5000.0, systemic=("drug_a",)),
        RateReward(channel="cost", rate=3000.0, systemic=("drug_b",), tags={"line": ("2", "3")}),
        RateReward(channel="cost", rate=300.0),
        MarkReward(channel="cost", amount=10000.0, mark="session"),
        MarkReward(channel="cost", amount=2000.0, mark="toxicity"),
        MarkReward(channel="qaly", amount=-0.1, mark="toxicity", months=0.7),
    ]
    return Evaluation(
        pathway=pathway(calm),
        strategies=tuple(kept[:strategies]),
        channels=(
            Channel(id="ly", scale=1 / 12),
            Channel(id="ly_discounted", discount=0.05, scale=1 / 12),
            Channel(id="qaly", discount=0.05, scale=1 / 12),
            Channel(id="cost", discount=0.05),
        ),
        rewards=tuple(rewards),
        endpoints=(
            Endpoint(id="os", marks=("dead_cancer", "dead_liver", "dead_other")),
            Endpoint(id="pfs", marks=("progression", "dead_cancer", "dead_liver", "dead_other")),
        ),
        horizon=360.0,
        landmarks=(12.0, 36.0, 60.0),
        restrictions=(60.0,),
        crosses=(("cost", "qaly"),),
        seed=7,
    )


def cohort(patients: int) -> dict[str, np.ndarray]:
    """Baseline patients by address."""
    numbers = np.arange(patients)
    u = {name: uniforms(7, 0, numbers, f"baseline/{name}") for name in ("age", "burden", "frailty", "cirrhosis")}
    return {
        "age": 45.0 + 30.0 * u["age"],
        "burden": 2.0 + 12.0 * u["burden"],
        "frailty": u["frailty"] - 0.5,
        "cirrhosis": (u["cirrhosis"] < 0.6).astype(float),
    }
