"""A question with its numbers, patients and strategies in place, to be asked at many parameter vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhcc.errors import InputError
from simhcc.expressions import Expression, leaves
from simhcc.graph import Hazard
from simhcc.inputs import ParameterSet, Scenario, one_of
from simhcc.simulation import Evaluation

Floats = NDArray[np.float64]
Assemble = Callable[[Scenario, ParameterSet], tuple[Evaluation, dict[str, Floats], dict[str, Floats]]]

LEAF = 1024
"""patients that the engine adds up together; batches of patients are whole leaves"""
MOST_BATCHES = 16
"""batches of patients from whose spread the Monte-Carlo error of any outcome is taken"""
FEWEST_BATCHES = 4
FEWEST_PATIENTS = FEWEST_BATCHES * LEAF


@dataclass(frozen=True)
class Question:
    """Strategies, base values (an axis of one draw) and baseline patients, the same for every parameter vector."""

    scenario: Scenario
    parameters: ParameterSet
    evaluation: Evaluation
    values: Mapping[str, Floats]
    cohort: Mapping[str, Floats]
    patients: int

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what is summed, as `simulation.Outcomes.columns` has them."""
        names = [channel.id for channel in self.evaluation.channels]
        for endpoint in self.evaluation.endpoints:
            names += [f"{endpoint.id}_{months:g}m" for months in self.evaluation.landmarks]
            names += [f"{endpoint.id}_rmst_{months:g}" for months in self.evaluation.restrictions]
        return tuple(names)

    @property
    def block(self) -> int:
        """Patients in a batch, a whole number of leaves."""
        leaves_in_all = self.patients // LEAF
        return -(-leaves_in_all // MOST_BATCHES) * LEAF

    def used(self) -> frozenset[str]:
        """Names of the parameters that the pathway, the strategies or what is summed refer to."""
        return frozenset(names_in(self.evaluation))


def ask(
    scenario: Scenario,
    parameters: ParameterSet,
    patients: int,
    assemble: Assemble,
    strategies: Sequence[str] | None = None,
) -> Question:
    """The base case of a scenario as a question for some of its strategies (all of them by default).

    `patients` is rounded up to whole leaves of 1,024; at least 4,096, because errors are read off the spread of batches.
    The first of `strategies` is the comparator. Raises InputError for too few patients and an unknown strategy.
    """
    if patients < FEWEST_PATIENTS:
        raise InputError(
            f"{patients:,}", f"at least {FEWEST_PATIENTS:,}: errors are read off batches of {LEAF:,}", "--patients"
        )
    rounded = -(-patients // LEAF) * LEAF
    if strategies is not None:
        chosen = tuple(scenario.strategy(name) for name in dict.fromkeys(strategies))
        scenario = replace(scenario, strategies=chosen, comparator=chosen[0].id)
    scenario = replace(scenario, patients=rounded, iterations=1)
    evaluation, values, cohort = assemble(scenario, parameters)
    patients_at_hand = {name: np.asarray(column)[:rounded] for name, column in cohort.items()}
    evaluation = replace(evaluation, trace=False, crosses=(), all_pairs=False)
    base = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
    return Question(scenario, parameters, evaluation, base, patients_at_hand, rounded)


def require_strategy(scenario: Scenario, name: str, key: str) -> str:
    """The id of a strategy of the scenario; InputError with the nearest one where there is none."""
    ids = [strategy.id for strategy in scenario.strategies]
    if name not in ids:
        raise InputError(f"no strategy {name!r} in the scenario {scenario.id}", one_of(ids, name), key)
    return name


def names_in(thing: Any) -> set[str]:
    """Names of all parameters that expressions and hazards below `thing` refer to."""
    found: set[str] = set()
    seen: set[int] = set()
    waiting = [thing]
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        if isinstance(current, Expression):
            seen.add(id(current))
            found |= {*leaves(current, "parameter"), *leaves(current, "lookup")}
            continue
        if isinstance(current, Hazard):
            found |= {value for value in current.parameters.values() if isinstance(value, str)}
        waiting += _below(current)
    return found


def _below(thing: Any) -> Iterator[Any]:
    if is_dataclass(thing) and not isinstance(thing, type):
        yield from (getattr(thing, field.name) for field in fields(thing))
    elif isinstance(thing, Mapping):
        yield from thing.values()
    elif isinstance(thing, tuple | list):
        yield from thing
