"""What the tests of the command line share: a small project of input files, and a small question for the engine.

The question stands in for the assembly of the disease model, so that these tests are about commands and results.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from inputs_project import use_project
from typer.testing import CliRunner, Result

from simhcc import cli
from simhcc.engine.rng import uniforms
from simhcc.expressions import attribute, parameter
from simhcc.graph import (
    Attribute,
    Branch,
    Chance,
    Channel,
    End,
    Endpoint,
    Hazard,
    MarkReward,
    Pathway,
    RateReward,
    State,
    Strategy,
    Transition,
    exponential,
)
from simhcc.inputs import ParameterSet, Scenario
from simhcc.model import as_values
from simhcc.report import command
from simhcc.simulation import Evaluation

HR = "recurrence.hr_perioperative"
RATE = "recurrence.rate_late_per_month"
FREE, RECURRED = "disease_free", "systemic"


def pathway() -> Pathway:
    """Free of disease, recurred, dead; recurrence at the rate of the project's parameters."""
    hazard = Hazard("exponential", {"rate": 4.0 * parameter(RATE) * parameter(HR) * parameter("strategy.ratio")})
    return Pathway(
        name="small",
        start="entry",
        nodes=(
            Chance(name="entry", branches=(Branch(name="in", weight=1.0, to=FREE, mark="cleared"),)),
            State(
                name=FREE,
                transitions=(
                    Transition(
                        name="recurrence",
                        to=RECURRED,
                        hazard=hazard,
                        mark="recurrence",
                        log_multiplier=0.1 * attribute("burden"),
                    ),
                    Transition(name="other", to="dead_other", hazard=exponential(0.002)),
                ),
            ),
            State(name=RECURRED, transitions=(Transition(name="death", to="dead_cancer", hazard=exponential(0.05)),)),
            End(name="dead_cancer"),
            End(name="dead_other"),
        ),
        attributes=(Attribute(name="age"), Attribute(name="burden")),
    )


def assembled(scenario: Scenario, parameters: ParameterSet) -> tuple[Evaluation, dict, dict]:
    """The same shape as the assembly of the disease model."""
    deaths = ("dead_cancer", "dead_other")
    evaluation = Evaluation(
        pathway=pathway(),
        strategies=tuple(
            Strategy(id=s.id, numbers={"strategy.ratio": 0.5 if "burden" in s.id else 1.0}) for s in scenario.strategies
        ),
        channels=(
            Channel(id="ly", discount=0.05, scale=1 / 12),
            Channel(id="qaly", discount=0.05, scale=1 / 12),
            Channel(id="ly_undiscounted", scale=1 / 12),
            Channel(id="cost", discount=0.05),
            Channel(id="cost_drugs", discount=0.05),
        ),
        rewards=(
            *(RateReward(channel=c, rate=1.0) for c in ("ly", "ly_undiscounted")),
            RateReward(channel="qaly", rate=0.8, states=(FREE,)),
            RateReward(channel="qaly", rate=0.5, states=(RECURRED,)),
            *(RateReward(channel=c, rate=1000.0, states=(FREE,)) for c in ("cost", "cost_drugs")),
            MarkReward(channel="cost", amount=5000.0 + 0.0 * parameter("cost.visit"), mark="recurrence"),
        ),
        endpoints=(
            Endpoint(id="os", marks=deaths),
            Endpoint(id="pfs", marks=("recurrence", *deaths)),
            Endpoint(id="rfs", marks=("recurrence", *deaths), origin="cleared"),
        ),
        horizon=240.0,
        comparator=scenario.comparator,
        landmarks=(12.0, 24.0, 36.0, 60.0),
        trace=True,
        seed=scenario.seed,
    )
    if scenario.iterations == 1:
        values = as_values(parameters.base_values())
    else:
        values = parameters.sample(scenario.iterations, scenario.seed)
    values = {name: np.asarray(value) for name, value in values.items()}
    values["strategy.ratio"] = np.ones(scenario.iterations)
    patients = np.arange(scenario.patients * min(scenario.iterations, 4))
    cohort = {
        "age": 40.0 + 50.0 * uniforms(scenario.seed, 0, patients, "test/age"),
        "burden": 4.0 * uniforms(scenario.seed, 0, patients, "test/burden"),
    }
    return evaluation, values, cohort


def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the small project as the packaged files and the working folder, with the small question."""
    root = use_project(tmp_path, monkeypatch)
    monkeypatch.setattr(command, "assembled", assembled)
    return root


def invoke(*arguments: object) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def tree_of(root: Path) -> dict[str, bytes]:
    """Every file below a folder with its contents."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
