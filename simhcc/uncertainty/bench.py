"""A scenario under test: what the checks of `simhcc verify` look at, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhcc.assembly import doses
from simhcc.economics import Psa
from simhcc.expressions import Expression, leaves
from simhcc.graph import (
    Channel,
    End,
    Endpoint,
)
from simhcc.inputs import UNITS, Parameter, ParameterSet, Scenario
from simhcc.simulation import Evaluation, Outcomes, simulate
from simhcc.uncertainty import surgery
from simhcc.uncertainty.question import Assemble, names_in

Floats = NDArray[np.float64]
Values = Mapping[str, Floats]

LUCK = 0
PATIENTS = 1024
PSA_DRAWS = 64
SAMPLED = 2000
"""draws of the parameters alone, which cost nothing"""
ROUNDING = 1e-9
SIGMAS = 4.0
MANY_SIGMAS = 5.0
"""for checks that look at several hundred numbers at once"""
CURRENCIES = ("cny", "usd")
PROGRESSION = ("progression", "recurrence")
UNDISCOUNTED_COST = "cost_undiscounted_"
LIFETIME_YEARS = 40.0
INSTANT = 1e-12
"""a horizon in months that is as good as none"""
STEEPEST_RATE = 0.99
"""an annual discount rate at the end of what a model accepts"""


class NotApplicable(Exception):
    """The scenario has nothing that this check could look at; the text says what is missing."""


class Failed(Exception):
    """The model does not give the known answer; the text says where."""


@dataclass(frozen=True, eq=False)
class Bench:
    """A scenario under test, with everything that the checks look at computed once.

    `assemble` makes the question for the engine; `report` (optional) runs the whole command into a folder and reads its
    summary back: strategy -> outcome -> mean.
    """

    scenario: Scenario
    parameters: ParameterSet
    assemble: Assemble
    patients: int = PATIENTS
    threads: int | None = None
    report: Callable[[Scenario, ParameterSet], Mapping[str, Mapping[str, float]]] | None = None
    doses: Callable[[Floats, Mapping[str, Any]], dict[str, Floats]] = doses
    """weights and base values -> units of each weight-dosed drug, by cohort attribute"""

    # -- the scenario as it is

    @cached_property
    def sized(self) -> Scenario:
        """The scenario's base case with the bench's number of patients."""
        return replace(self.scenario, patients=self.patients, iterations=1, subgroups=())

    @cached_property
    def parts(self) -> tuple[Evaluation, dict[str, Floats], dict[str, Floats]]:
        """Evaluation, base values and patients; costs are also summed without discounting."""
        evaluation, values, cohort = self.assemble(self.sized, self.parameters)
        return self.watched(evaluation), values, {k: np.asarray(v)[: self.patients] for k, v in cohort.items()}

    def watched(self, evaluation: Evaluation) -> Evaluation:
        """An evaluation that also sums costs without discounting and keeps the share of patients in each state."""
        more: list[Channel] = []
        copies = []
        for channel in evaluation.channels:
            if channel.id == "cost":
                more.append(Channel(id=UNDISCOUNTED_COST, scale=channel.scale))
                copies = [replace(r, channel=UNDISCOUNTED_COST) for r in evaluation.rewards if r.channel == "cost"]
        return replace(
            evaluation,
            channels=(*evaluation.channels, *more),
            rewards=(*evaluation.rewards, *copies),
            trace=True,
            crosses=(),
        )

    @property
    def ids(self) -> tuple[str, ...]:
        """Strategies under test."""
        return tuple(strategy.id for strategy in self.scenario.strategies)

    @cached_property
    def used(self) -> frozenset[str]:
        """Parameters that the question refers to."""
        return frozenset(names_in(self.parts[0]))

    def run(
        self,
        evaluation: Evaluation | None = None,
        values: Values | None = None,
        cohort: Values | None = None,
    ) -> Outcomes:
        """Simulate with the same patients and luck; what is not given is as it is."""
        parts = self.parts
        return simulate(
            evaluation or parts[0],
            values if values is not None else parts[1],
            cohort if cohort is not None else parts[2],
            patients=self.patients,
            luck=LUCK,
            threads=self.threads,
        )

    @cached_property
    def immortal(self) -> Outcomes:
        """The base case in which nobody dies."""
        evaluation = self.parts[0]
        closed = surgery.without(evaluation.pathway, surgery.deadly(evaluation.pathway))
        return self.run(replace(evaluation, pathway=closed))

    @cached_property
    def instant(self) -> Outcomes:
        """The base case with a horizon of no length."""
        return self.run(
            replace(self.parts[0], horizon=INSTANT, landmarks=(), restrictions=(), grid_step=None, trace=False)
        )

    @cached_property
    def base(self) -> Outcomes:
        """The base case."""
        return self.run()

    # -- experiments on numbers: one simulation for all of them

    @cached_property
    def cases(self) -> dict[str, dict[str, Any]]:
        """Name of an experiment -> parameters that it changes, with their values."""
        return cases_of(self)

    @cached_property
    def rows(self) -> Outcomes:
        """All experiments on numbers, one draw each, in the order of `cases`."""
        base = {name: np.asarray(value, dtype=np.float64) for name, value in self.parts[1].items()}
        n = len(self.cases)
        values = {name: np.broadcast_to(value, (n, *value.shape[1:])).copy() for name, value in base.items()}
        for row, changes in enumerate(self.cases.values()):
            for name, value in changes.items():
                values[name][row] = value
        return self.run(replace(self.parts[0], grid_step=None, trace=False), values)

    def case(self, name: str, column: str) -> Floats:
        """Means of a column by strategy in an experiment."""
        found = self.rows
        means: Floats = found.means[list(self.cases).index(name), :, found.column(column)]
        return means

    def mean(self, column: str) -> Floats:
        """Means of a column by strategy in the base case."""
        means: Floats = self.base.means[0, :, self.base.column(column)]
        return means

    def has(self, *columns: str) -> None:
        """Raise NotApplicable unless all columns exist."""
        for column in columns:
            if column not in self.base.columns:
                raise NotApplicable(f"no outcome {column}")

    @cached_property
    def cost_columns(self) -> tuple[str, ...]:
        """Cost and its categories."""
        return tuple(c.id for c in self.parts[0].channels if is_cost(c.id) and c.id != UNDISCOUNTED_COST)

    @cached_property
    def discount_names(self) -> frozenset[str]:
        """Parameters that channels are discounted with."""
        return frozenset(n for c in self.parts[0].channels for n in names_of(c.discount))

    @cached_property
    def moneys(self) -> tuple[str, ...]:
        """Parameters of money that are used in costs."""
        return tuple(n for n in sorted(self.used) if n in self.parameters and is_money(self.parameters[n]))

    def names_of_unit(self, *units: str) -> tuple[str, ...]:
        """Used parameters with one of these units."""
        return tuple(n for n in sorted(self.used) if n in self.parameters and self.parameters[n].unit in units)

    @cached_property
    def quantity_of(self) -> dict[str, NDArray[np.bool_]]:
        """Parameter of money -> by strategy, whether anything is paid with it in the base case."""
        found = {name: np.zeros(len(self.ids), dtype=np.bool_) for name in self.moneys}
        for position, term in enumerate(self.base.terms):
            if not is_cost(term.channel):
                continue
            for name in amount_names(term):
                if name in found:
                    found[name] |= self.base.quantities[0, :, position] > 0.0
        return found

    # -- a probabilistic analysis

    @cached_property
    def psa(self) -> tuple[Values, Outcomes]:
        """Sampled values and their outcomes, all with the same patients and luck."""
        drawn = replace(self.sized, iterations=PSA_DRAWS)
        evaluation, values, cohort = self.assemble(drawn, self.parameters)
        columns = {k: np.asarray(v)[: self.patients] for k, v in cohort.items()}
        outcomes = self.run(replace(self.watched(evaluation), grid_step=None, trace=False), values, columns)
        return values, outcomes

    @cached_property
    def psa_tables(self) -> Psa:
        """Costs and QALYs of the draws. Raises NotApplicable without either."""
        self.has("cost", "qaly")
        found = self.psa[1]
        return Psa(found.per_draw("cost"), found.per_draw("qaly"))

    @cached_property
    def sampled(self) -> dict[str, Floats]:
        """Many draws of the parameters alone."""
        return self.parameters.sample(SAMPLED, self.scenario.seed)

    @cached_property
    def uncertain(self) -> tuple[str, ...]:
        """Uncertain parameters that are used. Raises NotApplicable when there are none."""
        found = tuple(n for n in self.parameters.uncertain() if n in self.used)
        if not found:
            raise NotApplicable("nothing that is used is uncertain")
        return found

    @cached_property
    def wtp(self) -> float:
        """The scenario's first willingness to pay. Raises NotApplicable without one."""
        if not self.scenario.wtp:
            raise NotApplicable("the scenario has no willingness to pay")
        first = self.scenario.wtp[0]
        return float(first) if isinstance(first, float) else float(self.parameters[str(first)].base())


# ---------------------------------------------------------------------------------------------------------------------
# Small words


def is_cost(channel: str) -> bool:
    """Whether a channel holds money."""
    return channel == "cost" or channel.startswith("cost_")


def is_money(parameter: Parameter) -> bool:
    """Whether a parameter is an amount of money that is paid: no exchange rate, no willingness to pay."""
    code, _, per = parameter.unit.partition("_per_")
    return code in CURRENCIES and per not in (*CURRENCIES, "qaly")


def names_of(value: object) -> set[str]:
    """Parameters that an expression names."""
    return {*leaves(value, "parameter"), *leaves(value, "lookup")} if isinstance(value, Expression) else set()


def amount_names(reward: Any) -> set[str]:
    """Parameters that the amount of a reward names."""
    return names_of(reward.amount if hasattr(reward, "amount") else reward.rate)


def filled(parameter: Parameter, value: float) -> Any:
    """A number in the shape of the parameter."""
    return np.full(np.shape(parameter.value), value)


def same(found: Floats, expected: Floats, what: str, ids: Sequence[str], scale: Floats | float = 0.0) -> None:
    """Raise Failed unless two rows agree to rounding; `scale` is the size of the numbers behind them."""
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    size = np.maximum(np.maximum(np.abs(found), np.abs(expected)), np.abs(scale))
    wrong = ~(np.abs(found - expected) <= ROUNDING * np.maximum(size, 1e-6))
    if wrong.any():
        k = int(np.flatnonzero(wrong)[0])
        raise Failed(f"{what}, {ids[k]}: {found[k]:.6g} instead of {expected[k]:.6g}")


def identical(one: Outcomes, other: Outcomes, what: str, pairs: Sequence[tuple[int, int]], ids: Sequence[str]) -> None:
    """Raise Failed unless strategies of two results agree bit for bit in every column."""
    for i, j in pairs:
        a, b = one.means[0, i], other.means[0, j]
        wrong = ~((a == b) | (np.isnan(a) & np.isnan(b)))
        if wrong.any():
            k = int(np.flatnonzero(wrong)[0])
            raise Failed(f"{what}, {ids[i]}, {one.columns[k]}: {a[k]:.8g} and {b[k]:.8g}")


def deaths(bench: Bench) -> Endpoint:
    """The endpoint of all deaths from entry."""
    ends = {node.name for node in bench.parts[0].pathway.nodes if isinstance(node, End)}
    for endpoint in bench.parts[0].endpoints:
        if set(endpoint.marks) == ends and endpoint.origin is None:
            return endpoint
    raise NotApplicable("no endpoint of death from entry")


# ---------------------------------------------------------------------------------------------------------------------
# Experiments on numbers


def cases_of(bench: Bench) -> dict[str, dict[str, Any]]:
    """All experiments that only change numbers: name -> parameters with their values."""
    numbers = bench.parameters
    cases: dict[str, dict[str, Any]] = {"base": {}}
    utilities, losses = bench.names_of_unit("utility"), bench.names_of_unit("disutility")
    zero_losses = {name: filled(numbers[name], 0.0) for name in losses}
    cases["utilities 1"] = {name: filled(numbers[name], 1.0) for name in utilities} | zero_losses
    # A profile by age multiplies: it has no 0 to be set to.
    values = [name for name in utilities if not numbers[name].is_vector]
    cases["utilities 0"] = {name: 0.0 for name in values} | zero_losses
    cases["costs 0"] = {name: filled(numbers[name], 0.0) for name in bench.moneys}
    for word, rate in (("0", 0.0), ("raised", None)):
        cases[f"discount {word}"] = {
            name: rate if rate is not None else 2.0 * float(bench.parts[1][name][0]) + 0.01
            for name in bench.discount_names
        }
    cases["discount steepest"] = dict.fromkeys(bench.discount_names, STEEPEST_RATE)
    cases["toxicity 0"] = dict.fromkeys(toxicity_rates(bench), 0.0)
    for name in bench.moneys:
        base = bench.parts[1][name][0]
        for factor in (0.0, 1.5, 2.0):
            cases[f"{name} x {factor:g}"] = {name: factor * base}
    for name in (*utilities, *losses):
        low, high = _ends(numbers[name], bench.parts[1][name][0])
        cases[f"{name} lower"], cases[f"{name} higher"] = {name: low}, {name: high}
    return cases


def _ends(parameter: Parameter, base: Floats) -> tuple[Floats, Floats]:
    """The ends of a number's 95 % interval; a fifth to either side, within its unit, where it has no distribution."""
    if parameter.uncertainty is not None:
        low, high = np.array(parameter.uncertainty.intervals()).T
        return (low[0], high[0]) if not parameter.is_vector else (low, high)
    limit = UNITS[parameter.unit]
    return np.maximum(0.8 * base, limit.low), np.minimum(1.2 * base, limit.high)


def toxicity_rates(bench: Bench) -> list[str]:
    """Used rates of adverse events."""
    return [
        name
        for name in bench.names_of_unit("per_month", "per_year")
        if "toxicity_rate" in name or "adverse_event_rate" in name
    ]
