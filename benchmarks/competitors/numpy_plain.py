"""The reference workload in vectorised NumPy, as one would first write it: draw by draw, strategy by strategy.

Each step is one operation on arrays over all patients; one thread; both strategies start from the same random state.
"""

from __future__ import annotations

import numpy as np

from benchmarks.reference_workload import OUTCOMES, REFERENCE, Array, draws, summary


def _discounted_months(entered: Array, left: Array) -> Array:
    """Months from `entered` to `left` weighted by their discount factor."""
    rate = REFERENCE.discount_rate_per_month
    return (np.exp(-rate * entered) - np.exp(-rate * left)) / rate


def _strategy(shape: Array, scale: Array, hazard_ratio: float, n_patients: int, rng: np.random.Generator) -> Array:
    """Mean outcomes of one strategy and one draw, in the order of OUTCOMES."""
    times = [scale[i] * rng.weibull(shape[i], n_patients) for i in range(len(shape))]
    to_progressed = times[0] * hazard_ratio ** (-1.0 / shape[0])
    horizon = REFERENCE.horizon_months
    progressed = to_progressed < times[1]
    progressed_again = progressed & (times[2] < times[3])
    left_stable = np.minimum(to_progressed, times[1])
    left_progressed = left_stable + np.where(progressed, np.minimum(times[2], times[3]), 0.0)
    left_progressed2 = left_progressed + np.where(progressed_again, times[4], 0.0)
    boundaries = [np.zeros(n_patients), left_stable, left_progressed, left_progressed2]
    boundaries = [np.minimum(boundary, horizon) for boundary in boundaries]
    life_years, qalys, cost = np.zeros(n_patients), np.zeros(n_patients), np.zeros(n_patients)
    for state, entered, left in zip(REFERENCE.states[:-1], boundaries[:-1], boundaries[1:], strict=True):
        months = _discounted_months(entered, left)
        life_years += months / 12.0
        qalys += REFERENCE.utility[state] * months / 12.0
        cost += REFERENCE.cost_per_month[state] * months
    return np.array([life_years.mean(), qalys.mean(), cost.mean()])


def simulate(n_patients: int, n_draws: int, seed: int) -> Array:
    """Mean outcomes of each draw, shape (draws, strategies, outcomes), from `n_patients` new patients a draw."""
    numbers = draws(n_draws)
    per_draw = np.empty((n_draws, len(REFERENCE.hazard_ratios), len(OUTCOMES)))
    for draw in range(n_draws):
        for row in range(per_draw.shape[1]):
            rng = np.random.default_rng((seed, draw))
            hazard_ratio = numbers.hazard_ratio[draw, row]
            per_draw[draw, row] = _strategy(numbers.shape[draw], numbers.scale[draw], hazard_ratio, n_patients, rng)
    return per_draw


def run(n_patients: int, n_draws: int, seed: int) -> dict[str, dict[str, float]]:
    """Mean discounted life years, QALYs and cost of each strategy."""
    return summary(simulate(n_patients, n_draws, seed))
