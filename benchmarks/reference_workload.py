"""The reference workload: one small semi-Markov model that every program of the benchmark runs, and its exact answer.

    Stable -> Progressed -> Progressed2, and from each of the three to Dead

Sojourns are Weibull with flexsurv's `shape` and `scale` (survival exp(-(t / scale) ** shape); shape 1 is exponential),
the clock starts again at each entry, and the second strategy multiplies the hazard Stable -> Progressed by 0.6. Every
patient starts in Stable; life is followed for 240 months. Costs and utilities are constants of the state and both are
discounted by 5 % a year in continuous time: the weight at t months is 1.05 ** (-t / 12).

The numbers are the benchmark's own. They are not estimates for any disease.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class WeibullTransition(NamedTuple):
    """A transition between two states with hazard (shape / scale) * (t / scale) ** (shape - 1) since entry, a month."""

    origin: str
    destination: str
    shape: float
    scale: float


@dataclass(frozen=True)
class Workload:
    """A model of the benchmark: an acyclic graph of states with Weibull transitions, and strategies that scale one.

    `states` stand so that transitions lead forwards; the last one is Dead. `treated` is the position of the transition
    whose hazard a strategy multiplies by its entry in `hazard_ratios`.
    """

    states: tuple[str, ...]
    transitions: tuple[WeibullTransition, ...]
    treated: int
    hazard_ratios: dict[str, float]
    cost_per_month: dict[str, float]
    utility: dict[str, float]
    horizon_months: float
    annual_discount_rate: float

    @property
    def discount_rate_per_month(self) -> float:
        """The continuous discount rate per month: log(1 + annual rate) / 12."""
        return math.log1p(self.annual_discount_rate) / 12.0


REFERENCE = Workload(
    states=("stable", "progressed", "progressed2", "dead"),
    transitions=(
        WeibullTransition("stable", "progressed", shape=1.2, scale=14.0),
        WeibullTransition("stable", "dead", shape=1.0, scale=60.0),
        WeibullTransition("progressed", "progressed2", shape=1.1, scale=8.0),
        WeibullTransition("progressed", "dead", shape=1.1, scale=12.0),
        WeibullTransition("progressed2", "dead", shape=0.9, scale=9.0),
    ),
    treated=0,
    hazard_ratios={"control": 1.0, "treatment": 0.6},
    cost_per_month={"stable": 1_000.0, "progressed": 3_000.0, "progressed2": 2_000.0, "dead": 0.0},
    utility={"stable": 0.80, "progressed": 0.70, "progressed2": 0.55, "dead": 0.0},
    horizon_months=240.0,
    annual_discount_rate=0.05,
)

# What each program reports for each strategy, all discounted: life years, quality-adjusted life years, cost.
OUTCOMES = ("ly", "qaly", "cost")

# Patients and draws of the two runs that are timed: (a) many patients, (b) many draws.
SIZES = {"a": (1_000_000, 1), "b": (1_000, 1_000)}


class Draws(NamedTuple):
    """The workload's numbers with one row a draw, as a probabilistic analysis hands them to a program.

    `shape` and `scale` have shape (draws, transitions), `hazard_ratio` (draws, strategies). All rows are equal, so that
    the exact answer is known; a program may not make use of that.
    """

    shape: Array
    scale: Array
    hazard_ratio: Array


def draws(n_draws: int, workload: Workload = REFERENCE) -> Draws:
    """The numbers of `workload` repeated for `n_draws` draws."""
    ones = np.ones((n_draws, 1))
    return Draws(
        shape=ones * [transition.shape for transition in workload.transitions],
        scale=ones * [transition.scale for transition in workload.transitions],
        hazard_ratio=ones * list(workload.hazard_ratios.values()),
    )


def summary(per_draw: Array, workload: Workload = REFERENCE) -> dict[str, dict[str, float]]:
    """Means over draws, by strategy and outcome, of `per_draw` with shape (draws, strategies, outcomes)."""
    means = per_draw.mean(axis=0)
    return {
        strategy: dict(zip(OUTCOMES, means[row].tolist(), strict=True))
        for row, strategy in enumerate(workload.hazard_ratios)
    }


def exact(workload: Workload = REFERENCE, nodes: int = 80) -> dict[str, dict[str, float]]:
    """Expected discounted life years, QALYs and cost of each strategy, by quadrature of the renewal equation.

    With R months left at entry to state i, survival S_i and hazards h_ij since entry, reward rate c_i and continuous
    discount rate r, the value of being there is

        V_i(R) = integral over u from 0 to R of exp(-r u) S_i(u) (c_i + sum over j of h_ij(u) V_j(R - u)) du

    and V_dead = 0. The graph has no cycle, so the recursion ends. With u = R y ** 10 a Weibull integrand whose shape is
    a multiple of 0.1 is smooth in y on (0, 1), and Gauss-Legendre with `nodes` points converges fast: 80 points
    agree with 160 to 1e-11 relative.
    """
    points, weights = np.polynomial.legendre.leggauss(nodes)
    y = 0.5 * (points + 1.0)
    weight_y = 0.5 * weights
    rate = workload.discount_rate_per_month
    rewards = {
        "ly": {state: 0.0 if state == workload.states[-1] else 1.0 / 12.0 for state in workload.states},
        "qaly": {state: value / 12.0 for state, value in workload.utility.items()},
        "cost": workload.cost_per_month,
    }

    def value(state: str, left: Array, hazard_ratio: float) -> Array:
        """V of one state for months left of shape (m,), stacked over outcomes: shape (outcomes, m)."""
        leaving = [
            (edge, hazard_ratio if position == workload.treated else 1.0)
            for position, edge in enumerate(workload.transitions)
            if edge.origin == state
        ]
        total = np.zeros((len(OUTCOMES), left.size))
        if not leaving:
            return total
        u = left[:, None] * y**10
        cumulative = sum((multiplier * (u / edge.scale) ** edge.shape for edge, multiplier in leaving), np.zeros(()))
        density = np.exp(-rate * u - cumulative) * weight_y
        stay = (density * (left[:, None] * 10.0 * y**9)).sum(axis=1)
        total += np.array([rewards[outcome][state] for outcome in OUTCOMES])[:, None] * stay
        for edge, multiplier in leaving:
            if not any(other.origin == edge.destination for other in workload.transitions):
                continue
            # dH/dy of H = multiplier (u / scale) ** shape is shape * H * 10 / y: finite also where h(0) is not.
            hazard_dy = multiplier * (u / edge.scale) ** edge.shape * edge.shape * 10.0 / y
            onwards = value(edge.destination, (left[:, None] - u).ravel(), hazard_ratio)
            total += (density * hazard_dy * onwards.reshape(len(OUTCOMES), *u.shape)).sum(axis=2)
        return total

    answer = {}
    for strategy, hazard_ratio in workload.hazard_ratios.items():
        values = value(workload.states[0], np.array([workload.horizon_months]), hazard_ratio)[:, 0]
        answer[strategy] = dict(zip(OUTCOMES, values.tolist(), strict=True))
    return answer
