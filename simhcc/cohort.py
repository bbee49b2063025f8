"""Deterministic cohort solver: the same pathway, numbers and rewards as a discrete-time Markov model.

It is a second implementation, for cross-checks and quick previews. It shares the declaration of the pathway with the
engine, but neither its hazard functions nor its notion of time: a cohort moves in cycles of fixed length, at most one
transition a cycle, and states whose hazards run on time in state are split by whole cycles of residence (tunnel
states). So its results have a discretisation error, which vanishes as the cycle shrinks, and no Monte-Carlo error.

A pathway can be solved when what happens next depends on nothing but the state, the time since entry and the time in
state. Whatever asks for more (attributes that change, treatments, random draws, scheduled events, scans) is refused
with the thing named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from simhcc.distributions import gengamma_survival
from simhcc.errors import ModelError
from simhcc.expressions import Expression, Operand, as_expression, depends_on_patient, evaluate, in_words, leaves
from simhcc.graph import (
    NO_TREATMENT,
    STAY,
    AdministrationReward,
    Chance,
    Channel,
    Clock,
    Edge,
    End,
    Hazard,
    MarkReward,
    Node,
    Pathway,
    RateReward,
    Reward,
    State,
    Strata,
    Strategy,
    Transition,
)
from simhcc.model import Names, Values, build, build_rewards, draws_of, names_of

Floats = NDArray[np.float64]

CORRECTIONS = ("none", "start", "end", "half-cycle", "simpson-1/3", "life-table")
"""Within-cycle corrections by name; see `correction_weights`."""

COMPETING = ("proportional", "ends_first", "separate")
"""How the hazards that compete within a cycle become probabilities; see `cohort_trace`."""

# A cumulative hazard that has reached this is taken for this much again in each further cycle: nobody survives it.
_LARGEST = 1e300


class Question(Protocol):
    """What is solved: the parts of a `simulation.Evaluation` that a cohort model has an answer to."""

    @property
    def pathway(self) -> Pathway:
        """The graph."""

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """What is compared."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What is summed."""

    @property
    def rewards(self) -> tuple[Reward, ...]:
        """Rates by state and amounts by mark."""

    @property
    def horizon(self) -> float:
        """Months."""


@dataclass(frozen=True)
class CohortOutcomes:
    """Results of the cohort solver. Arrays have axes (draw, strategy, ...).

    `means` holds the channels' sums per person, scaled as declared: life years, QALYs, costs.
    """

    strategies: tuple[str, ...]
    channels: tuple[str, ...]
    states: tuple[str, ...]
    ends: tuple[str, ...]
    marks: tuple[str, ...]
    cycle_months: float
    occupancy: Floats
    """(draws, strategies, states then ends, cycles + 1): share of the cohort at the start of each cycle"""
    flows: Floats
    """(draws, strategies, marks, cycles + 1): expected marks at time 0, then within each cycle"""
    means: Floats
    """(draws, strategies, channels)"""

    @property
    def times(self) -> Floats:
        """Months at which the cohort is counted: the starts of the cycles and the end of the last."""
        return _boundaries(self.occupancy.shape[3] - 1, self.cycle_months)

    @property
    def survival(self) -> Floats:
        """Share that has not reached an end, (draws, strategies, cycles + 1)."""
        return self.occupancy[:, :, : len(self.states)].sum(axis=2)

    def share(self, place: str) -> Floats:
        """Share in a state or an end, (draws, strategies, cycles + 1)."""
        return self.occupancy[:, :, _position(place, (*self.states, *self.ends), "state or end")]

    def flow(self, mark: str) -> Floats:
        """Expected number of a mark at time 0 and within each cycle, (draws, strategies, cycles + 1)."""
        return self.flows[:, :, _position(mark, self.marks, "mark")]

    def mean(self, channel: str) -> Floats:
        """Sum of a channel per person, (draws, strategies)."""
        return self.means[:, :, _position(channel, self.channels, "channel")]

    def table(self) -> pd.DataFrame:
        """One row per strategy and channel: mean and 95 % interval over draws (the mean itself for one draw)."""
        lower, upper = np.quantile(self.means, [0.025, 0.975], axis=0)
        rows = [
            {
                "strategy": strategy,
                "outcome": channel,
                "mean": self.means[:, i, j].mean(),
                "lower": lower[i, j],
                "upper": upper[i, j],
            }
            for i, strategy in enumerate(self.strategies)
            for j, channel in enumerate(self.channels)
        ]
        return pd.DataFrame(rows)


def cohort_trace(
    question: Question,
    values: Values,
    cycle_months: float,
    *,
    correction: str | Sequence[float] | Floats = "half-cycle",
    competing: str = "proportional",
    profile: Mapping[str, float] | None = None,
) -> CohortOutcomes:
    """Solve all strategies of an evaluation as a discrete-time Markov cohort model, for every draw of `values`.

    The horizon must be a whole number of cycles of `cycle_months`. `profile` gives the attributes of the one kind of
    person the cohort is made of (such as the age at entry); those it leaves out have their initial values. Endpoints,
    landmarks and curves of the evaluation belong to the simulation and are not computed.

    `competing` says how the cumulative hazards dH_k of a cycle become probabilities:
    "proportional", p_k = (dH_k / dH)(1 - exp(-dH)) with dH their sum, exact where hazards keep their ratio within the
    cycle; "ends_first", as in published tutorials: transitions into ends first, p = 1 - exp(-dH) of their sum, then
    each other one 1 - exp(-dH_k) of those who survived; "separate", each 1 - exp(-dH_k).

    `correction` turns counts at the cycle boundaries into time in state: a name of `CORRECTIONS`, or a weight for each
    of the cycles + 1 counts (`correction_weights`). Rates are discounted at the time of the count ("life-table":
    exactly over the cycle), amounts by mark in the middle of the cycle in which they fall; `flows` allows any other
    convention.

    Raises ModelError, naming the thing, for a pathway or number that cannot be run, and for whatever needs a patient's
    history.
    """
    cycles = _cycles(question.horizon, cycle_months)
    if competing not in COMPETING:
        raise ModelError(f"competing risks {competing!r} are unknown; allowed: {', '.join(COMPETING)}")
    weights = _weights(correction, cycles)
    names = names_of(question.pathway, question.strategies)
    profile = _profile(question.pathway, profile or {})
    build_rewards(
        question.pathway, names, question.channels, question.rewards, (), values, {name: 0 for name in names.attributes}
    )
    _check_prices(question)
    draws = draws_of(values)
    places = (*names.states, *names.ends)
    occupancy = np.zeros((draws, len(question.strategies), len(places), cycles + 1))
    flows = np.zeros((draws, len(question.strategies), len(names.marks), cycles + 1))
    for position, strategy in enumerate(question.strategies):
        build(question.pathway, strategy, values, names)
        solver = _Solver(question.pathway, strategy, values, draws, names, profile, cycles, cycle_months, competing)
        occupancy[:, position], flows[:, position] = solver.run()
    numbers = _Numbers(question.pathway, values, draws, profile)
    age = None if question.pathway.age_years is None else 12.0 * profile[question.pathway.age_years]
    means = np.zeros((draws, len(question.strategies), len(question.channels)))
    for position, channel in enumerate(question.channels):
        rewards = [reward for reward in question.rewards if reward.channel == channel.id]
        means[:, :, position] = channel.scale * _sum(
            channel, rewards, numbers, names, occupancy, flows, cycle_months, weights, age, profile
        )
    return CohortOutcomes(
        strategies=tuple(strategy.id for strategy in question.strategies),
        channels=tuple(channel.id for channel in question.channels),
        states=names.states,
        ends=names.ends,
        marks=names.marks,
        cycle_months=float(cycle_months),
        occupancy=occupancy,
        flows=flows,
        means=means,
    )


def correction_weights(name: str, cycles: int) -> Floats:
    """Weight of each of the cycles + 1 counts at the cycle boundaries, in cycles.

    "none" counts every boundary, the first and the last included; "start" and "end" leave out the last or the first;
    "half-cycle" is the trapezoidal rule; "simpson-1/3" is Simpson's composite rule and needs an even number of cycles.
    The sixth correction, "life-table", averages the two counts of each cycle before it discounts, so it is no weight.
    See Elbasha and Chhatwal 2016, Med Decis Making 36(1):115-131.
    """
    weights = np.ones(cycles + 1)
    if name == "start":
        weights[-1] = 0.0
    elif name == "end":
        weights[0] = 0.0
    elif name == "half-cycle":
        weights[[0, -1]] = 0.5
    elif name == "simpson-1/3":
        if cycles % 2:
            raise ModelError(f"correction 'simpson-1/3' needs an even number of cycles; there are {cycles}")
        weights[1::2], weights[2:-1:2] = 4.0 / 3.0, 2.0 / 3.0
        weights[[0, -1]] = 1.0 / 3.0
    elif name != "none":
        raise ModelError(f"correction {name!r} is unknown; allowed: {', '.join(CORRECTIONS)}, or {cycles + 1} weights")
    return weights


def cumulative_hazard(hazard: Hazard, values: Values, times: Floats) -> Floats:
    """Cumulative hazard at `times` (months) for each draw, shape (draws, times); flexsurv's parameters.

    Written apart from the engine's functions, with SciPy's special functions, so that one can check the other.
    """
    draws = draws_of(values)

    def number(operand: Operand) -> Floats:
        return np.broadcast_to(evaluate(as_expression(operand), values), (draws,))[:, None]

    def vector(name: str) -> Floats:
        value = hazard.parameters[name]
        if isinstance(value, str):
            return np.broadcast_to(np.asarray(values[value], dtype=np.float64), (draws, np.shape(values[value])[1]))
        return np.concatenate([number(item) for item in value], axis=1)  # type: ignore[union-attr]

    family = hazard.family
    p = {}
    if family not in ("survspline", "pwexp", "cumulative"):
        p = {name: number(value) for name, value in hazard.parameters.items()}  # type: ignore[arg-type]
    with np.errstate(all="ignore"):
        t = times[None, :]
        if family == "exponential":
            total = p["rate"] * t
        elif family == "weibull":
            total = (t / p["scale"]) ** p["shape"]
        elif family == "weibullPH":
            total = p["scale"] * t ** p["shape"]
        elif family == "gompertz":
            flat = p["shape"] == 0.0
            total = np.where(flat, p["rate"] * t, p["rate"] / p["shape"] * np.expm1(p["shape"] * t))
        elif family == "llogis":
            total = np.logaddexp(0.0, p["shape"] * np.log(t / p["scale"]))
        elif family == "lnorm":
            total = -special.log_ndtr(-(np.log(t) - p["meanlog"]) / p["sdlog"])
        elif family == "gengamma":
            rows = zip(p["mu"][:, 0], p["sigma"][:, 0], p["Q"][:, 0], strict=True)
            total = -np.log(np.stack([gengamma_survival(times, *(float(x) for x in row)) for row in rows]))
        elif family == "survspline":
            total = np.exp(_spline(np.log(t), vector("gamma"), vector("knots")))
        else:
            total = _table(family, hazard.years, vector, times)
        if hazard.cure is not None:
            cure = number(hazard.cure)
            total = -np.log(cure + (1.0 - cure) * np.exp(-total))
        total = np.broadcast_to(total, (draws, times.size))
        return np.minimum(np.where(t <= 0.0, 0.0, total), _LARGEST)


def _spline(x: Floats, gamma: Floats, knots: Floats) -> Floats:
    """Natural cubic spline of Royston and Parmar in log time, as flexsurv writes it."""
    low, high = knots[:, :1], knots[:, -1:]
    total = gamma[:, :1] + gamma[:, 1:2] * x
    for j in range(1, knots.shape[1] - 1):
        knot = knots[:, j : j + 1]
        share = (high - knot) / (high - low)
        basis = np.maximum(x - knot, 0.0) ** 3
        basis = basis - share * np.maximum(x - low, 0.0) ** 3 - (1.0 - share) * np.maximum(x - high, 0.0) ** 3
        total = total + gamma[:, j + 1 : j + 2] * basis
    return total


def _table(family: str, years: bool, vector: Callable[[str], Floats], times: Floats) -> Floats:
    """Piecewise linear cumulative hazard that goes on with its last slope."""
    scale = 12.0 if years else 1.0
    knots = vector("times") * scale
    if family == "pwexp":
        slopes = vector("rates") / scale
        heights = np.concatenate(
            [np.zeros((len(knots), 1)), np.cumsum(slopes[:, :-1] * np.diff(knots), axis=1)], axis=1
        )
    else:
        heights = vector("values")
        slopes = np.diff(heights) / np.diff(knots)
        slopes = np.concatenate([slopes, slopes[:, -1:]], axis=1)
    rows = []
    for knot, height, slope in zip(knots, heights, slopes, strict=True):
        segment = np.searchsorted(knot, times, side="right") - 1
        rows.append(height[segment] + slope[segment] * (times - knot[segment]))
    return np.stack(rows)


# -- the solver ----------------------------------------------------------------------------------------------------


class _Route(NamedTuple):
    """Where an edge leads: shares by place and expected marks by name, each (draws,)."""

    places: dict[str, Floats]
    marks: dict[str, Floats]


@dataclass
class _Moves:
    """A transition of a state, ready to run."""

    name: str
    steps: Floats
    """cumulative hazard of each cycle, (draws, cycles): of the model, or of the stay"""
    by_stay: bool
    route: _Route
    fatal: bool


@dataclass
class _Numbers:
    """Evaluates expressions with the cohort's attributes in the place of a patient's."""

    pathway: Pathway
    values: Values
    draws: int
    profile: Mapping[str, float]
    changing: dict[str, str] = field(default_factory=dict)
    """attribute -> an edge that changes it"""

    def __call__(self, operand: Operand, place: str) -> Floats:
        expression = self.written_out(as_expression(operand), place)
        if depends_on_patient(expression):
            raise ModelError(
                f"the cohort solver cannot run {place}: {in_words(as_expression(operand))} differs between patients "
                f"({_why(expression)})"
            )
        value = np.broadcast_to(evaluate(expression, self.values), (self.draws,))
        if np.isnan(value).any():
            raise ModelError(f"{place}: {in_words(expression)} is not a number in draw {int(np.isnan(value).argmax())}")
        return value

    def written_out(self, expression: Expression, place: str) -> Expression:
        """Derived attributes by their expressions, and attributes by their values."""
        if expression.operation == "attribute":
            name = str(expression.payload)
            if name in self.pathway.derived:
                return self.written_out(self.pathway.derived[name], place)
            if name in self.changing:
                raise ModelError(
                    f"the cohort solver cannot run {place}: it depends on attribute {name!r}, which "
                    f"{self.changing[name]} changes on the way"
                )
            return as_expression(self.profile[name])
        if not expression.operands:
            return expression
        return Expression(
            expression.operation,
            tuple(self.written_out(operand, place) for operand in expression.operands),
            expression.payload,
        )


def _why(expression: Expression) -> str:
    if next(leaves(expression, "uniform"), None) is not None:
        return "it draws a random number for each"
    if next(leaves(expression, "receiving"), None) is not None:
        return "it depends on the treatment received"
    return "it depends on time passed at the moment of evaluation; use a clock"


class _Solver:
    """One strategy."""

    def __init__(
        self,
        pathway: Pathway,
        strategy: Strategy,
        values: Values,
        draws: int,
        names: Names,
        profile: Mapping[str, float],
        cycles: int,
        cycle: float,
        competing: str,
    ) -> None:
        replaced = {name: np.full(draws, float(number)) for name, number in strategy.numbers.items()}
        self.pathway, self.strategy, self.draws, self.names = pathway, strategy, draws, names
        self.values = {**values, **replaced}
        self.cycles, self.cycle, self.competing = cycles, cycle, competing
        self.profile = profile
        changing = {
            name: f"{node.name}/{edge_name}"
            for node, edge_name, edge in pathway.edges(strategy)
            for name in edge.updates
        }
        self.numbers = _Numbers(pathway, self.values, draws, profile, changing)
        self.one = np.ones(draws)

    # -- the graph

    def route(self, edge: Edge, place: str) -> _Route:
        """Follow an edge, through chance and decision nodes, to states and ends."""
        for slot, treatment in (("local", edge.local), ("systemic", edge.systemic)):
            if treatment is not None and (treatment != NO_TREATMENT or edge.restart):
                raise ModelError(
                    f"the cohort solver cannot run {place}: it gives {treatment!r} in the {slot} slot, and a cohort "
                    "model does not remember when a treatment began; give treated patients states of their own"
                )
        if edge.to == STAY:
            raise ModelError(
                f"the cohort solver cannot run {place}: it returns to the running stay, and a cohort model does not "
                "remember the hazard that is used up"
            )
        found = self.enter(self.pathway.node(edge.to))
        marks = dict(found.marks)
        if edge.mark is not None:
            marks[edge.mark] = marks.get(edge.mark, 0.0) + self.one
        return _Route(found.places, marks)

    def enter(self, node: Node) -> _Route:
        """Where those who enter a node are afterwards, and the marks that are made."""
        if isinstance(node, State):
            return _Route({node.name: self.one}, {})
        if isinstance(node, End):
            return _Route({node.name: self.one}, {node.name: self.one})
        shares: list[tuple[Floats, _Route]] = []
        if isinstance(node, Chance):
            weights = [self.numbers(b.weight, f"{node.name}/{b.name} (weight)") for b in node.branches]
            total = np.sum(weights, axis=0)
            for branch, weight in zip(node.branches, weights, strict=True):
                shares.append((weight / total, self.route(branch, f"{node.name}/{branch.name}")))
        else:
            left = self.one
            for number, (row, edge) in enumerate(self.pathway.strategy_edges(self.strategy, node), start=1):
                place = f"{node.name}/row {number}"
                holds = self.one if row.when is None else (self.numbers(row.when, f"{place} (when)") != 0.0) * 1.0
                if (left * holds).any():
                    shares.append((left * holds, self.route(edge, place)))
                left = left * (1.0 - holds)
        places: dict[str, Floats] = {}
        marks: dict[str, Floats] = {}
        for share, found in shares:
            for name, value in found.places.items():
                places[name] = places.get(name, 0.0) + share * value
            for name, value in found.marks.items():
                marks[name] = marks.get(name, 0.0) + share * value
        return _Route(places, marks)

    def moves(self, state: State) -> list[_Moves]:
        """The transitions of a state."""
        for event in state.scheduled:
            raise ModelError(
                f"the cohort solver cannot run {state.name}/{event.name}: a scheduled event falls at times of its own, "
                "not at the ends of cycles"
            )
        return [self.move(transition, f"{state.name}/{transition.name}") for transition in state.transitions]

    def move(self, transition: Transition, place: str) -> _Moves:
        """One transition, with its cumulative hazard by cycle."""
        if transition.seen_at_scan is not None:
            raise ModelError(
                f"the cohort solver cannot run {place}: it takes effect at a scan, and a cohort model does not "
                "remember what has happened unseen"
            )
        if transition.clock in (Clock.LOCAL, Clock.SYSTEMIC):
            raise ModelError(
                f"the cohort solver cannot run {place}: it runs on time since treatment start, which a cohort model "
                "does not remember"
            )
        hazard = transition.hazard
        if isinstance(hazard, Strata):
            level = int(np.clip(self.profile[hazard.by], 0, len(hazard.hazards) - 1))
            hazard = hazard.hazards[level]
        boundaries = _boundaries(self.cycles, self.cycle)
        if transition.clock is Clock.AGE:
            assert self.pathway.age_years is not None
            changed_by = self.numbers.changing.get(self.pathway.age_years)
            if changed_by is not None:
                raise ModelError(f"the cohort solver cannot run {place}: {changed_by} changes the age on the way")
            boundaries = boundaries + 12.0 * self.profile[self.pathway.age_years]
        total = cumulative_hazard(hazard, self.values, boundaries)
        steps = np.where(total[:, 1:] < _LARGEST, np.diff(total, axis=1), _LARGEST)
        if transition.log_multiplier is not None:
            logarithm = self.numbers(transition.log_multiplier, f"{place} (log multiplier)")
            factor = np.where(logarithm == -np.inf, 0.0, np.exp(np.clip(logarithm, -700.0, 700.0)))[:, None]
            with np.errstate(over="ignore"):
                steps = np.minimum(steps * factor, _LARGEST)
        constant = hazard.family == "exponential" and hazard.cure is None
        route = self.route(transition, place)
        return _Moves(
            name=place,
            steps=steps,
            by_stay=transition.clock is Clock.STATE and not constant,
            route=route,
            fatal=all(name in self.names.ends for name in route.places),
        )

    # -- time

    def run(self) -> tuple[Floats, Floats]:
        """Occupancy (draws, states and ends, cycles + 1) and marks (draws, marks, cycles + 1)."""
        places = [*self.names.states, *self.names.ends]
        row = {name: position for position, name in enumerate(places)}
        mark = {name: position for position, name in enumerate(self.names.marks)}
        occupancy = np.zeros((self.draws, len(places), self.cycles + 1))
        flows = np.zeros((self.draws, len(mark), self.cycles + 1))
        begin = self.enter(self.pathway.node(self.pathway.start))
        for name, value in begin.places.items():
            occupancy[:, row[name], 0] += value
        for name, value in begin.marks.items():
            flows[:, mark[name], 0] += value
        moves = self.reachable(begin)
        # Cohorts by cycles of residence where that matters, else in one piece.
        mass = {
            name: np.zeros((self.draws, self.cycles + 1 if any(m.by_stay for m in some) else 1))
            for name, some in moves.items()
        }
        for name, cohort in mass.items():
            cohort[:, 0] = occupancy[:, row[name], 0]
        for t in range(self.cycles):
            arriving = np.zeros((self.draws, len(places)))
            for name, some in moves.items():
                cohort = mass[name]
                tunnels = cohort.shape[1] > 1
                here = cohort[:, : t + 1] if tunnels else cohort
                if not here.any():
                    continue
                steps = [m.steps[:, : t + 1] if m.by_stay else m.steps[:, t : t + 1] for m in some]
                leaving, staying = self.probabilities(name, some, steps)
                for one, probability in zip(some, leaving, strict=True):
                    flow = (here * probability).sum(axis=1)
                    for place, share in one.route.places.items():
                        arriving[:, row[place]] += flow * share
                    for place, count in one.route.marks.items():
                        flows[:, mark[place], t + 1] += flow * count
                if tunnels:
                    cohort[:, 1 : t + 2] = here * staying
                    cohort[:, 0] = 0.0
                else:
                    cohort[...] = here * staying
            for name, cohort in mass.items():
                cohort[:, 0] += arriving[:, row[name]]
                occupancy[:, row[name], t + 1] = cohort.sum(axis=1)
            for name in self.names.ends:
                occupancy[:, row[name], t + 1] = occupancy[:, row[name], t] + arriving[:, row[name]]
        return occupancy, flows

    def reachable(self, begin: _Route) -> dict[str, list[_Moves]]:
        """The moves of every state that the strategy can reach; the others need not be solvable."""
        moves: dict[str, list[_Moves]] = {}
        todo = list(begin.places)
        while todo:
            node = self.pathway.node(todo.pop())
            if isinstance(node, State) and node.name not in moves:
                moves[node.name] = self.moves(node)
                todo.extend(place for one in moves[node.name] for place in one.route.places)
        return {name: moves[name] for name in self.names.states if name in moves}

    def probabilities(self, name: str, some: list[_Moves], steps: list[Floats]) -> tuple[list[Floats], Floats]:
        """Probability of each transition within a cycle, and of none."""
        if not some:
            return [], np.ones((1, 1))
        if self.competing == "proportional":
            return _proportional(steps)
        if self.competing == "separate":
            leaving = [-np.expm1(-step) for step in steps]
        else:
            fatal = [step for one, step in zip(some, steps, strict=True) if one.fatal]
            deaths, alive = _proportional(fatal) if fatal else ([], np.ones((1, 1)))
            queue = iter(deaths)
            leaving = [
                next(queue) if one.fatal else alive * -np.expm1(-step) for one, step in zip(some, steps, strict=True)
            ]
        staying = 1.0 - sum(leaving[1:], leaving[0])
        if (staying < -1e-12).any():
            raise ModelError(
                f"state {name!r}: the probabilities of a cycle of {self.cycle:g} months sum to more than 1 with "
                f"competing risks {self.competing!r}; use a shorter cycle or 'proportional'"
            )
        return leaving, np.maximum(staying, 0.0)


def _proportional(steps: list[Floats]) -> tuple[list[Floats], Floats]:
    """Cause-specific probabilities (dH_k / dH)(1 - exp(-dH)), and the probability exp(-dH) of no event."""
    total = sum(steps[1:], steps[0])
    with np.errstate(all="ignore"):
        factor = np.where(total > 0.0, -np.expm1(-total) / total, 1.0)
    return [step * factor for step in steps], np.exp(-total)


# -- rewards -------------------------------------------------------------------------------------------------------


def _sum(
    channel: Channel,
    rewards: Sequence[Reward],
    numbers: _Numbers,
    names: Names,
    occupancy: Floats,
    flows: Floats,
    cycle: float,
    weights: Floats | None,
    age: float | None,
    profile: Mapping[str, float],
) -> Floats:
    """Discounted sum of a channel before its scale, (draws, strategies). `weights` None is the life-table method."""
    place = f"channel {channel.id!r}"
    rate = np.log1p(numbers(channel.discount, place))[:, None] / 12.0
    bands = [(12.0 * numbers(a, place)[:, None], numbers(f, place)[:, None]) for a, f in channel.age_bands]
    times = _boundaries(occupancy.shape[3] - 1, cycle)
    accruing = np.zeros((occupancy.shape[0], occupancy.shape[1], times.size))
    total = np.zeros(occupancy.shape[:2])
    for reward in rewards:
        if isinstance(reward, RateReward):
            amount = numbers(reward.rate, place)[:, None, None]
            untreated = all(chosen is None or NO_TREATMENT in chosen for chosen in (reward.local, reward.systemic))
            if reward.tags:
                raise ModelError(f"the cohort solver cannot sum a reward of {place} by tags: everybody has one profile")
            if untreated:
                chosen_states = names.states if reward.states is None else reward.states
                rows = sorted({names.states.index(state) for state in chosen_states})
                accruing += amount * occupancy[:, :, rows].sum(axis=2)
        elif isinstance(reward, MarkReward) and reward.months is None:
            amount = numbers(reward.amount, place)
            if reward.per is not None:
                amount = amount * profile[reward.per]
            middle = np.maximum(times - 0.5 * cycle, 0.0)
            count = flows[:, :, names.marks.index(reward.mark)]
            total += amount[:, None] * (count * np.exp(-rate * middle)[:, None, :]).sum(axis=2)
        elif isinstance(reward, AdministrationReward):
            # Nobody is treated: an edge that gives a treatment has been refused.
            continue
        else:
            what = "an interval after a mark" if isinstance(reward, MarkReward) else "a time before death"
            raise ModelError(
                f"the cohort solver cannot sum a reward of {place}: it lasts {what}, which needs histories"
            )
    if weights is None:
        paid = np.diff(_integrated_weight(times, rate, bands, age), axis=1)[:, None, :]
        return total + (0.5 * (accruing[:, :, 1:] + accruing[:, :, :-1]) * paid).sum(axis=2)
    worth = np.exp(-rate * times)
    factor = np.ones_like(worth)
    for starts, value in bands:
        factor = np.where(times + (age or 0.0) >= starts, value, factor)
    return total + (accruing * (worth * factor * weights * cycle)[:, None, :]).sum(axis=2)


def _integrated_weight(times: Floats, rate: Floats, bands: list[tuple[Floats, Floats]], age: float | None) -> Floats:
    """Integral of discount factor times age-band factor from 0 to each time, (draws, times)."""

    def paid(until: Floats) -> Floats:
        with np.errstate(all="ignore"):
            return np.where(rate == 0.0, until, -np.expm1(-rate * until) / rate)

    total = paid(np.broadcast_to(times, (rate.shape[0], times.size)))
    factor = np.ones_like(rate)
    for starts, value in bands:
        # From the band's start on, the factor changes by the difference.
        begin = np.maximum(starts - (age or 0.0), 0.0)
        total = total + (value - factor) * (paid(np.maximum(times, begin)) - paid(begin))
        factor = value
    return total


def _check_prices(question: Question) -> None:
    """Rewards are the same for all strategies, so a strategy cannot replace a parameter of one."""
    for position, reward in enumerate(question.rewards, start=1):
        for name in reward.__dataclass_fields__:
            value = getattr(reward, name)
            used = (
                set(leaves(value, "parameter")) | set(leaves(value, "lookup"))
                if isinstance(value, Expression)
                else set()
            )
            for strategy in question.strategies:
                for replaced in sorted(used & set(strategy.numbers)):
                    raise ModelError(
                        f"strategy {strategy.id!r} replaces parameter {replaced!r}, which reward {position} "
                        f"({reward.channel}) uses; rewards are the same for all strategies"
                    )


# -- arguments -----------------------------------------------------------------------------------------------------


def _boundaries(cycles: int, cycle: float) -> Floats:
    return np.arange(cycles + 1, dtype=np.float64) * cycle


def _cycles(horizon: float, cycle: float) -> int:
    if not (0.0 < cycle < np.inf):
        raise ModelError(f"cycle length {cycle:g} months is not above 0 and finite")
    cycles = round(horizon / cycle)
    if cycles < 1 or abs(cycles * cycle - horizon) > 1e-9 * horizon:
        raise ModelError(f"horizon {horizon:g} months is not a whole number of cycles of {cycle:g} months")
    return cycles


def _weights(correction: str | Sequence[float] | Floats, cycles: int) -> Floats | None:
    if isinstance(correction, str):
        return None if correction == "life-table" else correction_weights(correction, cycles)
    weights = np.asarray(correction, dtype=np.float64)
    if weights.shape != (cycles + 1,) or not np.isfinite(weights).all():
        raise ModelError(
            f"correction has shape {weights.shape}; give one finite weight for each of {cycles + 1} counts"
        )
    return weights


def _profile(pathway: Pathway, given: Mapping[str, float]) -> dict[str, float]:
    known = [attribute.name for attribute in pathway.attributes]
    for name in given:
        _position(name, known, "attribute")
    profile: dict[str, float] = {}
    for attribute in pathway.attributes:
        value = given.get(attribute.name, attribute.initial)
        if value is None:
            raise ModelError(f"the cohort's profile lacks attribute {attribute.name!r}, which has no initial value")
        if np.isnan(value):
            raise ModelError(f"attribute {attribute.name!r} of the cohort's profile is not a number")
        profile[attribute.name] = float(value)
    return profile


def _position(name: str, known: Sequence[str], what: str) -> int:
    if name not in known:
        import difflib

        near = difflib.get_close_matches(name, known, 1, 0.5)
        raise ModelError(f"{what} {name!r} is unknown" + (f"; the nearest is {near[0]!r}" if near else ""))
    return list(known).index(name)
