"""The reference workload in heormodel (https://github.com/pedroliman/heormodel, MIT), through its public functions.

`MicrosimModel.continuous` races sampled event times, takes the earliest and accrues discounted rewards between events:
the right one of its engines for a clock-reset semi-Markov model (its discrete-event engine runs one Python generator a
patient and is far slower). `run_psa` spreads draws over processes; one draw runs in one.

heormodel reports one cost and one effect. Life years therefore take a second pass with the same seed, where the effect
is 1 a year of life; the speed is measured on the first pass alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from heormodel.models import Intervention, MicrosimModel
from heormodel.run import run_psa
from numpy.typing import NDArray

from benchmarks.reference_workload import OUTCOMES, REFERENCE, Array, draws, summary

ORIGIN = np.array([REFERENCE.states.index(transition.origin) for transition in REFERENCE.transitions])
DESTINATION = np.array([REFERENCE.states.index(transition.destination) for transition in REFERENCE.transitions])
COST_PER_YEAR = np.array([12.0 * REFERENCE.cost_per_month[state] for state in REFERENCE.states])
UTILITY = np.array([REFERENCE.utility[state] for state in REFERENCE.states])
ALIVE = np.array([float(state != REFERENCE.states[-1]) for state in REFERENCE.states])


def _event_times(
    params: pd.Series, intervention: str, state: NDArray[np.int64], attrs: pd.DataFrame, rng: np.random.Generator
) -> Array:
    """Years to each destination, shape (n, states): infinite where a patient cannot go."""
    times = np.full((len(state), len(REFERENCE.states)), np.inf)
    for position, (origin, destination) in enumerate(zip(ORIGIN, DESTINATION, strict=True)):
        there = np.flatnonzero(state == origin)
        shape = params[f"shape_{position}"]
        scale = params[f"scale_{position}"] / 12.0
        if position == REFERENCE.treated:
            scale *= params["hazard_ratio"] ** (-1.0 / shape)
        times[there, destination] = scale * rng.weibull(shape, there.size)
    return times


def _cost_and_utility(
    params: pd.Series, intervention: str, state: NDArray[np.int64], attrs: pd.DataFrame
) -> tuple[Array, Array]:
    """Cost and utility per year of each patient's state."""
    return COST_PER_YEAR[state], UTILITY[state]


def _cost_and_life(
    params: pd.Series, intervention: str, state: NDArray[np.int64], attrs: pd.DataFrame
) -> tuple[Array, Array]:
    """Cost per year of each patient's state, and 1 while alive."""
    return COST_PER_YEAR[state], ALIVE[state]


def simulate(n_patients: int, n_draws: int, seed: int, threads: int | None = None, life_years: bool = True) -> Array:
    """Mean outcomes of each draw, shape (draws, strategies, outcomes), from `n_patients` new patients a draw.

    `threads` is heormodel's number of processes (default: one a processor). Without `life_years` the second pass is
    left out and life years are NaN.
    """
    numbers = draws(n_draws)
    columns = {f"shape_{i}": numbers.shape[:, i] for i in range(len(REFERENCE.transitions))}
    columns |= {f"scale_{i}": numbers.scale[:, i] for i in range(len(REFERENCE.transitions))}
    columns["hazard_ratio"] = np.ones(n_draws)
    table = pd.DataFrame(columns, index=pd.RangeIndex(n_draws, name="iteration"))
    per_draw = np.full((n_draws, len(REFERENCE.hazard_ratios), len(OUTCOMES)), np.nan)

    def fill(rewards: Callable[..., tuple[Array, Array]], effect: str) -> None:
        engine = MicrosimModel.continuous(
            states=REFERENCE.states,
            event_times=_event_times,
            state_reward_rates=rewards,
            interventions=[Intervention(name, {"hazard_ratio": hr}) for name, hr in REFERENCE.hazard_ratios.items()],
            horizon=REFERENCE.horizon_months / 12.0,
            population=n_patients,
            discount_rate=math.log1p(REFERENCE.annual_discount_rate),
        )
        outcomes = run_psa(engine, table, seed=seed, n_jobs=threads or -1, progress=False).outcomes.data
        for row, strategy in enumerate(REFERENCE.hazard_ratios):
            per_draw[:, row, OUTCOMES.index(effect)] = outcomes.loc[strategy, "qaly"]
            per_draw[:, row, OUTCOMES.index("cost")] = outcomes.loc[strategy, "cost"]

    fill(_cost_and_utility, "qaly")
    if life_years:
        fill(_cost_and_life, "ly")
    return per_draw


def run(n_patients: int, n_draws: int, seed: int) -> dict[str, dict[str, float]]:
    """Mean discounted life years, QALYs and cost of each strategy."""
    return summary(simulate(n_patients, n_draws, seed))
