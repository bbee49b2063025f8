"""Statistical checks with a stated false-alarm rate, and the event times of patients.

A check compares estimates with exact values and may cry wolf once in a million runs, over all its comparisons together
(Bonferroni). Counts of patients are held against the exact binomial distribution. Means are held against the normal
distribution; their skewness matters so far in the tail, so half of the allowed rate is kept back for it: with 100,000
patients and a skewness of 2 the tail beyond 5.5 standard errors is 1.2 times the normal one (first Edgeworth term).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

from simhcc.simulation import Evaluation, histories

Floats = NDArray[np.float64]

FALSE_ALARM = 1e-6
"""How often a whole check may fail although nothing is wrong."""
KEPT_FOR_SKEWNESS = 0.5


@dataclass(frozen=True)
class Mean:
    """An estimated mean with its standard error, and the exact value."""

    name: str
    estimate: float
    error: float
    exact: float

    def tail(self) -> float:
        """Two-sided probability of a deviation at least this large."""
        return float(2.0 * norm.sf(abs(self.estimate - self.exact) / self.error)) / KEPT_FOR_SKEWNESS


@dataclass(frozen=True)
class Share:
    """A share of `patients` independent patients, and the exact probability."""

    name: str
    estimate: float
    patients: int
    exact: float

    def tail(self) -> float:
        """Two-sided probability, twice the smaller tail, of a count at least this far out."""
        count = round(self.estimate * self.patients)
        lower = binom.cdf(count, self.patients, self.exact)
        upper = binom.sf(count - 1, self.patients, self.exact)
        return float(min(1.0, 2.0 * min(lower, upper)))


def disagreements(comparisons: Iterable[Mean | Share], false_alarm: float = FALSE_ALARM) -> list[str]:
    """One line for each estimate that is too far from its exact value.

    If all exact values are right, the list is not empty with a probability of at most `false_alarm`.
    """
    all_of_them = list(comparisons)
    assert all_of_them, "nothing to compare"
    allowed = false_alarm / len(all_of_them)
    return [f"{c.name}: {c.estimate:.6g}, exactly {c.exact:.6g}" for c in all_of_them if not c.tail() > allowed]


def first_times(evaluation: Evaluation, values: Mapping[str, Floats], *, patients: int) -> dict[str, dict[str, Floats]]:
    """First time of each mark for each patient, by strategy and mark; infinite for a mark that is never made."""
    times: dict[str, dict[str, Floats]] = {}
    for strategy in evaluation.ids:
        marks = histories(evaluation, values, strategy=strategy, patients=patients).marks
        times[strategy] = {}
        for name, made in marks.groupby("mark"):
            first = np.full(patients, np.inf)
            np.minimum.at(first, made["patient"].to_numpy(), made["time"].to_numpy())
            times[strategy][str(name)] = first
    return times
