"""The reference workload in NumPy, written for this one model and for speed.

Strategies share a patient's random numbers, a sojourn that does not differ between them is computed once, chunks of
patients and draws are small enough to stay in the processor's cache, and chunks run on threads, because NumPy releases
the interpreter's lock in its loops. This is the most that NumPy gave us; `numpy_plain` is how one would first write it.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.reference_workload import OUTCOMES, REFERENCE, Array, Draws, draws, summary

CHUNK = 16_384  # patients x draws worked on at once


def _chunk(numbers: Draws, n_patients: int, rng: np.random.Generator) -> Array:
    """Sums over `n_patients` patients of each outcome, shape (draws, strategies, outcomes), for the draws given."""
    rate = REFERENCE.discount_rate_per_month
    horizon = REFERENCE.horizon_months
    size = (len(numbers.shape), n_patients)

    def sojourn(position: int) -> Array:
        """Months to the transition at `position`, without any hazard ratio: scale * E ** (1 / shape)."""
        times = rng.standard_exponential(size)
        np.power(times, 1.0 / numbers.shape[:, position, None], out=times)
        times *= numbers.scale[:, position, None]
        return times

    to_progressed, stable_to_dead, to_progressed2, progressed_to_dead, progressed2_to_dead = map(sojourn, range(5))
    in_progressed = np.minimum(to_progressed2, progressed_to_dead)
    in_progressed2 = np.where(to_progressed2 < progressed_to_dead, progressed2_to_dead, 0.0)
    # Outcome = sum over states of reward x discounted months in the state.
    states = REFERENCE.states[:-1]
    reward = np.array(
        [
            [1.0 / 12.0 for state in states],
            [REFERENCE.utility[state] / 12.0 for state in states],
            [REFERENCE.cost_per_month[state] for state in states],
        ]
    )
    sums = np.empty((size[0], len(REFERENCE.hazard_ratios), len(OUTCOMES)))
    for strategy in range(sums.shape[1]):
        # A hazard ratio on a Weibull hazard multiplies time by ratio ** (-1 / shape).
        stretch = numbers.hazard_ratio[:, strategy] ** (-1.0 / numbers.shape[:, 0])
        progression = to_progressed * stretch[:, None]
        progressed = progression < stable_to_dead
        left = np.minimum(progression, stable_to_dead)
        boundaries = [np.minimum(left, horizon)]
        for months in (in_progressed, in_progressed2):
            left = left + months * progressed
            boundaries.append(np.minimum(left, horizon))
        # 1 - D(t) at each boundary; the difference between two is rate x the discounted months between them.
        discounted = np.stack([-np.expm1(-rate * boundary).sum(axis=1) for boundary in boundaries]) / rate
        months_in_state = np.diff(discounted, axis=0, prepend=0.0)
        sums[:, strategy] = (reward @ months_in_state).T
    return sums


def simulate(n_patients: int, n_draws: int, seed: int, threads: int | None = None) -> Array:
    """Mean outcomes of each draw, shape (draws, strategies, outcomes), from `n_patients` new patients a draw.

    `threads` (default: one a processor) changes the speed only: each chunk has a random stream of its own.
    """
    numbers = draws(n_draws)
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
        part = Draws(*(array[rows] for array in numbers))
        n = min(patients_at_once, n_patients - first_patient)
        return _chunk(part, n, np.random.Generator(np.random.SFC64(streams[item])))

    totals = np.zeros((n_draws, len(REFERENCE.hazard_ratios), len(OUTCOMES)))
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        for (first_draw, _), sums in zip(items, pool.map(work, range(len(items))), strict=True):
            totals[first_draw : first_draw + draws_at_once] += sums
    return totals / n_patients


def run(n_patients: int, n_draws: int, seed: int) -> dict[str, dict[str, float]]:
    """Mean discounted life years, QALYs and cost of each strategy."""
    return summary(simulate(n_patients, n_draws, seed))
