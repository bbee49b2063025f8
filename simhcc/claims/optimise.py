"""Searching the cut-offs of a strategy: rounds of screening with paired random numbers, then a comparison with fresh ones.

The point that did best in the search did so partly by luck, so its advantage there is too large. The choice is made on the
search, and the advantage is estimated on parameter draws, patients and luck that the search never saw: it is unbiased for the
point that was chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simhcc.errors import InputError

Floats = NDArray[np.float64]

Evaluate = Callable[[Sequence[int], int, int], Floats]
"""points (positions), seed, round -> the objective, (draws, points); all points of a call share draws, patients and luck"""

KEPT = 3.0
"""a round keeps at least one point in so many"""
CLEAR = 2.0
"""paired standard errors behind the best at which a point is left"""
FINALISTS = 6
ROUNDS = 2
FRESH = 7_919
"""distance of the seeds of rounds, so that none shares a random number with another"""


@dataclass(frozen=True)
class Optimum:
    """What a search found. Arrays over points hold NaN for points that were not in the comparison."""

    chosen: int
    """the point that was best in the search"""
    reference: int
    search_mean: Floats
    """mean objective in the last round of the search that had the point; rounds have other patients, so compare differences"""
    search_difference: Floats
    """paired difference from the reference in that round"""
    search_advantage: float
    """advantage of the chosen point over the reference in the search: too large, by luck"""
    advantage: float
    """the same with fresh random numbers: unbiased"""
    advantage_mcse: float
    lower: float
    upper: float
    """95 % interval of the advantage over draws of the numbers"""
    probability_better: float
    """share of fresh draws in which the chosen point beats the reference"""
    fresh_mean: Floats
    fresh_difference: Floats
    """from the reference"""
    fresh_mcse: Floats
    probability_best: Floats
    """share of fresh draws in which a finalist is the best of them"""
    finalists: tuple[int, ...]
    draws: int


def search(evaluate: Evaluate, points: int, reference: int, seed: int, rounds: int = ROUNDS) -> Optimum:
    """Find the best of `points` and estimate its advantage over `reference` honestly.

    Each round drops the points that are clearly behind the best (two paired standard errors), and keeps at least a third. The final
    comparison has the best in the search, the next ones and the reference.
    """
    if points < 2:
        raise InputError(f"{points} points", "2 or more", "--vary")
    alive = list(range(points))
    means, differences = np.full(points, np.nan), np.full(points, np.nan)
    last = np.zeros((0, 0))
    for number in range(rounds):
        chosen = sorted({*alive, reference})
        last = evaluate(chosen, seed + FRESH * number, number)
        averages = last.mean(axis=0)
        means[chosen] = averages
        differences[chosen] = averages - averages[chosen.index(reference)]
        order = [chosen[k] for k in np.argsort(-averages, kind="stable")]
        best = chosen.index(order[0])
        behind = last[:, [best]] - last
        errors = behind.std(axis=0, ddof=1) / math.sqrt(len(last))
        near = [point for k, point in enumerate(chosen) if behind[:, k].mean() <= CLEAR * errors[k]]
        least = max(math.ceil(len(chosen) / KEPT), 2)
        alive = list(dict.fromkeys([*order[:least], *near])) if number < rounds - 1 else order
        if number == rounds - 1:
            finalists = order[:FINALISTS]
            searched = float((last[:, best] - last[:, chosen.index(reference)]).mean())
    winner = finalists[0]
    chosen = sorted({*finalists, reference})
    fresh = evaluate(chosen, seed + FRESH * (rounds + 1), rounds)
    place, at = chosen.index(reference), chosen.index(winner)
    difference = fresh - fresh[:, [place]]
    advantage = difference[:, at]
    errors = difference.std(axis=0, ddof=1) / math.sqrt(len(fresh))
    best_in = np.bincount(fresh.argmax(axis=1), minlength=len(chosen)) / len(fresh)
    lower, upper = np.quantile(advantage, (0.025, 0.975))

    def spread(values: Floats) -> Floats:
        whole = np.full(points, np.nan)
        whole[chosen] = values
        return whole

    return Optimum(
        chosen=winner,
        reference=reference,
        search_mean=means,
        search_difference=differences,
        search_advantage=searched,
        advantage=float(advantage.mean()),
        advantage_mcse=float(errors[at]),
        lower=float(lower),
        upper=float(upper),
        probability_better=float((advantage > 0.0).mean()),
        fresh_mean=spread(fresh.mean(axis=0)),
        fresh_difference=spread(difference.mean(axis=0)),
        fresh_mcse=spread(errors),
        probability_best=spread(best_in),
        finalists=tuple(finalists),
        draws=len(fresh),
    )


__all__ = ["Evaluate", "Optimum", "search"]
