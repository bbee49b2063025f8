"""The reference workload in Numba, one patient at a time: a loop that an analyst would write in C.

For context: it is compiled, skips what does not happen to a patient, and knows this one model only. Each strategy
meets the same random numbers, drawn before the strategies are run.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from math import exp

import numpy as np
from numba import njit

from benchmarks.reference_workload import OUTCOMES, REFERENCE, Array, draws, summary

CHUNK = 65_536  # patients x draws in one call


@njit(nogil=True, error_model="numpy")
def _chunk(  # pragma: no cover - compiled
    shape: Array,
    scale: Array,
    hazard_ratio: Array,
    reward: Array,
    rate: float,
    horizon: float,
    n_patients: int,
    rng: np.random.Generator,
    sums: Array,
) -> None:
    """Add to `sums` (draws, strategies, outcomes) the outcomes of `n_patients` patients of each draw."""
    months = np.empty(3)
    for draw in range(shape.shape[0]):
        for _ in range(n_patients):
            stable_to_progressed = rng.standard_exponential()
            stable_to_dead = scale[draw, 1] * rng.standard_exponential() ** (1.0 / shape[draw, 1])
            to_progressed2 = scale[draw, 2] * rng.standard_exponential() ** (1.0 / shape[draw, 2])
            progressed_to_dead = scale[draw, 3] * rng.standard_exponential() ** (1.0 / shape[draw, 3])
            progressed2_to_dead = scale[draw, 4] * rng.standard_exponential() ** (1.0 / shape[draw, 4])
            for strategy in range(hazard_ratio.shape[1]):
                threshold = stable_to_progressed / hazard_ratio[draw, strategy]
                progression = scale[draw, 0] * threshold ** (1.0 / shape[draw, 0])
                months[:] = 0.0
                now = min(progression, stable_to_dead, horizon)
                weight = exp(-rate * now)
                months[0] = 1.0 - weight
                if progression < stable_to_dead and now < horizon:
                    now = min(now + min(to_progressed2, progressed_to_dead), horizon)
                    later = exp(-rate * now)
                    months[1] = weight - later
                    if to_progressed2 < progressed_to_dead and now < horizon:
                        months[2] = later - exp(-rate * min(now + progressed2_to_dead, horizon))
                for outcome in range(sums.shape[2]):
                    for state in range(3):
                        sums[draw, strategy, outcome] += reward[outcome, state] * months[state] / rate


def simulate(n_patients: int, n_draws: int, seed: int, threads: int | None = None) -> Array:
    """Mean outcomes of each draw, shape (draws, strategies, outcomes), from `n_patients` new patients a draw.

    `threads` (default: one a processor) changes the speed only: each chunk has a random stream of its own.
    """
    numbers = draws(n_draws)
    states = REFERENCE.states[:-1]
    reward = np.array(
        [
            [1.0 / 12.0 for state in states],
            [REFERENCE.utility[state] / 12.0 for state in states],
            [REFERENCE.cost_per_month[state] for state in states],
        ]
    )
    patients_at_once = min(n_patients, CHUNK)
    draws_at_once = max(1, CHUNK // n_patients)
    items = [
        (first_draw, first_patient)
        for first_draw in range(0, n_draws, draws_at_once)
        for first_patient in range(0, n_patients, patients_at_once)
    ]
    streams = np.random.SeedSequence(seed).spawn(len(items))

    def work(item: int) -> Array:
        first_draw, first_patient = items[item]
        rows = slice(first_draw, first_draw + draws_at_once)
        sums = np.zeros((len(numbers.shape[rows]), len(REFERENCE.hazard_ratios), len(OUTCOMES)))
        _chunk(
            numbers.shape[rows],
            numbers.scale[rows],
            numbers.hazard_ratio[rows],
            reward,
            REFERENCE.discount_rate_per_month,
            REFERENCE.horizon_months,
            min(patients_at_once, n_patients - first_patient),
            np.random.Generator(np.random.SFC64(streams[item])),
            sums,
        )
        return sums

    totals = np.zeros((n_draws, len(REFERENCE.hazard_ratios), len(OUTCOMES)))
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        for (first_draw, _), sums in zip(items, pool.map(work, range(len(items))), strict=True):
            totals[first_draw : first_draw + draws_at_once] += sums
    return totals / n_patients


def run(n_patients: int, n_draws: int, seed: int) -> dict[str, dict[str, float]]:
    """Mean discounted life years, QALYs and cost of each strategy."""
    return summary(simulate(n_patients, n_draws, seed))
