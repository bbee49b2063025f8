"""The whole uncertainty can be run: no draw of the parameters makes a chance negative or a number undefined."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from simhcc.assembly import assemble
from simhcc.inputs import load_scenario
from simhcc.simulation import simulate


@pytest.mark.parametrize("name", ["resectable", "intermediate", "advanced"])
def test_every_draw_of_the_parameters_can_be_run(name: str) -> None:
    scenario = dataclasses.replace(load_scenario(name), patients=20, iterations=150)
    evaluation, values, cohort = assemble(scenario, scenario.load_parameters())
    few = dataclasses.replace(evaluation, strategies=evaluation.strategies[-3:], comparator=None, trace=False)
    outcomes = simulate(few, values, cohort, patients=20)
    assert outcomes.draws == 150
    assert np.isfinite(outcomes.means[:, :, outcomes.column("qaly")]).all()
    assert (outcomes.means[:, :, outcomes.column("ly")] > 0).all()
