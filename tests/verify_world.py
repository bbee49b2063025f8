"""A small world with everything that `simhcc verify` looks at: two drugs, two states, toxicity, prices, utilities, draws.

Everything in it can be seen through, and a fault can be planted in any part of it.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from simhcc.engine.rng import uniforms
from simhcc.expressions import Expression, attribute, log, maximum, minimum, parameter, where
from simhcc.graph import (
    AdministrationReward,
    Attribute,
    Branch,
    Chance,
    Channel,
    Decision,
    Edge,
    End,
    Endpoint,
    MarkReward,
    Pathway,
    RateReward,
    Row,
    State,
    Strategy,
    Transition,
    Treatment,
    exponential,
)
from simhcc.inputs import ParameterSet, Scenario
from simhcc.model import as_values
from simhcc.simulation import Evaluation

NUMBERS = """\
rates:
  progression_per_month: {value: 0.06, unit: per_month, grade: assumed, reason: test, distribution: {gamma: {sd: 0.006}}}
  death_per_month: {value: 0.01, unit: per_month, grade: assumed, reason: test, distribution: {gamma: {sd: 0.001}}}
  death_progressed_per_month: {value: 0.05, unit: per_month, grade: assumed, reason: test, distribution: {gamma: {sd: 0.005}}}
  hr_new: {value: 0.6, unit: hazard_ratio, grade: assumed, reason: test, distribution: {lognormal: {ci95: [0.4, 0.9]}}}
  severe_toxicity_rate_per_month:
    {value: 0.1, unit: per_month, grade: assumed, reason: test, distribution: {gamma: {sd: 0.01}}}
utility:
  free: {value: 0.8, unit: utility, grade: assumed, reason: test, distribution: {beta: {sd: 0.04}}}
  loss_progressed: {value: 0.2, unit: disutility, grade: assumed, reason: test, distribution: {beta: {sd: 0.04}}}
  loss_toxicity: {value: 0.1, unit: disutility, grade: assumed, reason: test}
costs:
  state_free_per_month: {value: 100, unit: cny_per_month, grade: assumed, reason: test, distribution: {gamma: {sd: 20}}}
  state_progressed_per_month:
    {value: 300, unit: cny_per_month, grade: assumed, reason: test, distribution: {gamma: {sd: 60}}}
  toxicity: {value: 2000, unit: cny, grade: assumed, reason: test}
prices:
  old: {value: 500, unit: cny, grade: assumed, reason: test}
  new: {value: 900, unit: cny, grade: assumed, reason: test}
dose:
  new_mg_per_kg: {value: 2.5, unit: mg_per_kg, grade: assumed, reason: test}
economics:
  discount_rate: {value: 0.05, unit: per_year, grade: assumed, reason: test}
  price_year: {value: 2025, unit: calendar_year, grade: assumed, reason: test}
  wtp_per_qaly: {value: 100000, unit: cny_per_qaly, grade: assumed, reason: test}
"""
FILES = {
    "params/numbers.yaml": NUMBERS,
    "params/correlations.yaml": """\
- parameters: [rates.progression_per_month, rates.death_progressed_per_month]
  matrix: [[1.0, 0.6], [0.6, 1.0]]
""",
    "params/sources.yaml": "judgement: {citation: none}\n",
    "params/countries/china/size.yaml": "country:\n  size: {value: 1, unit: number, grade: assumed, reason: test}\n",
    "params/populations/everybody.yaml": "id: everybody\n",
    "scenarios/small.yaml": """\
id: small
label: {en: Small world}
setting: advanced
population: everybody
strategies: [old, new]
comparator: old
patients: 1024
iterations: 1
seed: 7
wtp: [economics.wtp_per_qaly]
""",
}
STRATEGY = "id: ID\nlabel: {en: ID}\nsetting: advanced\ntables:\n  first: [{do: start}]\n"
MG_IN_VIAL = 100.0


def write(root: Path) -> None:
    """The input files, as packaged `params/` and `scenarios/`."""
    strategies = {
        f"scenarios/strategies/{name}.yaml": STRATEGY.replace("ID", name) for name in ("old", "new", "standard_care")
    }
    for name, text in (FILES | strategies).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def vials(weight: Any, base: Any) -> dict[str, Any]:
    """Whole vials of the new drug that a weight needs."""
    return {"units": np.ceil(np.asarray(weight) * float(base["dose.new_mg_per_kg"]) / MG_IN_VIAL)}


def pathway(faults: Collection[str] = ()) -> Pathway:
    """Free of progression, progressed, dead; severe toxicity happens on the way."""
    p = parameter
    toxicity = p("rates.severe_toxicity_rate_per_month")
    # TV37: some toxicity does not come from its rate.
    toxicity = toxicity + 0.01 if "TV37" in faults else toxicity
    death = Transition(name="death", to="dead", hazard=exponential(p("rates.death_per_month")))
    free = State(
        name="free",
        transitions=(
            Transition(
                name="progression",
                to="progressed",
                mark="progression",
                hazard=exponential(p("rates.progression_per_month")),
                log_multiplier=log(p("rates.hr_new")) * attribute("new"),
            ),
            death,
            Transition(name="toxicity", to="STAY", hazard=exponential(toxicity), mark="severe_toxicity"),
        ),
    )
    after = Transition(name="death_cancer", to="dead", hazard=exponential(p("rates.death_progressed_per_month")))
    return Pathway(
        name="small",
        start="first",
        nodes=(
            Decision(name="first", actions={"start": Edge(to="begin")}),
            Chance(name="begin", branches=(Branch(name="in", weight=1.0, to="free"),)),
            free,
            State(name="progressed", transitions=(after, death)),
            End(name="dead"),
        ),
        attributes=(Attribute(name="weight"), Attribute(name="units"), Attribute(name="new", initial=0.0)),
        treatments=(Treatment(id="old", slot="systemic"), Treatment(id="new", slot="systemic")),
    )


def _rewards(faults: Collection[str]) -> list[Any]:
    p = parameter
    utility: Expression = p("utility.free")
    if "TV31" in faults:
        utility = minimum(utility, 0.95)
    if "TV32" in faults:
        utility = maximum(utility, 0.1)
    old: Expression = p("prices.old")
    if "TV01" in faults:
        old = old + old * old * 1e-4
    if "TV33" in faults:
        old = old + 1.0
    free: Expression = p("costs.state_free_per_month")
    if "TV36" in faults:
        free = free + free * free * 1e-3
    rewards: list[Any] = [RateReward(channel=c, rate=1.0) for c in ("ly", "ly_undiscounted")]
    for channel in ("qaly", "qaly_undiscounted"):
        rewards += [
            RateReward(channel=channel, rate=utility, states=("free",)),
            RateReward(channel=channel, rate=utility - p("utility.loss_progressed"), states=("progressed",)),
            MarkReward(channel=channel, amount=-p("utility.loss_toxicity"), mark="severe_toxicity", months=0.5),
        ]
    for channel in ("cost", "cost_drug"):
        rewards += [
            AdministrationReward(channel=channel, amount=old, treatment="old", period=1.0),
            AdministrationReward(channel=channel, amount=p("prices.new"), treatment="new", period=1.0, per="units"),
        ]
    for channel in ("cost", "cost_supportive"):
        rewards += [
            RateReward(channel=channel, rate=free, states=("free",)),
            RateReward(channel=channel, rate=p("costs.state_progressed_per_month"), states=("progressed",)),
        ]
    for channel in ("cost", "cost_adverse_event"):
        # TV38: the total counts more than its part.
        share = 1.1 if "TV38" in faults and channel == "cost" else 1.0
        rewards.append(MarkReward(channel=channel, amount=share * p("costs.toxicity"), mark="severe_toxicity"))
    return rewards


def assembled(
    scenario: Scenario, parameters: ParameterSet, faults: Collection[str] = ()
) -> tuple[Evaluation, dict[str, Any], dict[str, Any]]:
    """The same shape as the assembly of the disease model."""
    rate = parameter("economics.discount_rate")
    if "TV34" in faults:
        rate = where(rate <= 0.0, 0.001, rate)
    if "TV35" in faults:
        rate = where(rate > 0.1, 0.01, rate)
    evaluation = Evaluation(
        pathway=pathway(faults),
        strategies=tuple(
            Strategy(
                id=s.id,
                tables={"first": (Row(do="start", systemic=s.id, updates={"new": float(s.id == "new")}),)},
            )
            for s in scenario.strategies
        ),
        channels=(
            Channel(id="ly", discount=rate, scale=1 / 12),
            Channel(id="ly_undiscounted", scale=1 / 12),
            Channel(id="qaly", discount=rate, scale=1 / 12),
            Channel(id="qaly_undiscounted", scale=1 / 12),
            *(Channel(id=c, discount=rate) for c in ("cost", "cost_drug", "cost_supportive", "cost_adverse_event")),
        ),
        rewards=tuple(_rewards(faults)),
        endpoints=(Endpoint(id="os", marks=("dead",)), Endpoint(id="pfs", marks=("progression", "dead"))),
        horizon=480.0,
        comparator=scenario.comparator,
        landmarks=(12.0, 24.0),
        trace=True,
        seed=scenario.seed,
    )
    if scenario.iterations == 1:
        values = as_values(parameters.base_values())
    else:
        values = dict(parameters.sample(scenario.iterations, scenario.seed))
    if "TV51" in faults and scenario.iterations == 3:
        values["rates.hr_new"] = values["rates.hr_new"] * np.array([1.0, 1.1, 1.0])
    patients = np.arange(scenario.patients)
    weight = 45.0 + 40.0 * uniforms(scenario.seed, 0, patients, "test/weight")
    return evaluation, values, {"weight": weight, **vials(weight, parameters.base_values())}
