"""How good a probabilistic forecast was: coverage, CRPS, and the naive forecasters beside it (analysis plan, section 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

Floats = NDArray[np.float64]


def crps_sample(draws: Floats, observed: float) -> float:
    """Continuous ranked probability score of a forecast given by draws: E|X - y| - E|X - X'| / 2 (Gneiting & Raftery 2007).

    Smaller is better; a forecast of one value scores its absolute error.
    """
    x = np.sort(np.asarray(draws, np.float64))
    n = x.size
    # E|X - X'| from the sorted draws: 2 / n^2 sum of (2 k - n - 1) x_k, k from 1.
    spread = 2.0 * np.sum((2.0 * np.arange(1, n + 1) - n - 1.0) * x) / n**2
    return float(np.mean(np.abs(x - observed)) - 0.5 * spread)


def crps_normal(mean: float, sd: float, observed: float) -> float:
    """The same for a normal forecast, in closed form."""
    z = (observed - mean) / sd
    return float(sd * (z * (2.0 * norm.cdf(z) - 1.0) + 2.0 * norm.pdf(z) - 1.0 / math.sqrt(math.pi)))


def inside(draws: Floats, observed: float, level: float) -> bool:
    """Whether the observed value lies in the central interval of the given probability."""
    low, high = np.quantile(draws, [0.5 - level / 2.0, 0.5 + level / 2.0])
    return bool(low <= observed <= high)


def least_coverage(count: int, level: float, alpha: float = 0.05) -> int:
    """Fewest hits among `count` intervals of probability `level` that do not speak against it: P(fewer) is at most alpha."""
    hits = int(binom.ppf(alpha, count, level))
    return hits


@dataclass(frozen=True)
class Naive:
    """A forecaster that knows one hazard ratio and how much a trial of this size scatters around it."""

    name: str
    hr: float

    def score(self, observed: float, sd: float) -> float:
        """CRPS on the log hazard ratio."""
        return crps_normal(math.log(self.hr), sd, observed)


NO_EFFECT = "no effect"
AS_PFS = "as the PFS effect"
ALWAYS_085 = "0.85"


def naive_forecasters(hr_pfs: float) -> tuple[Naive, ...]:
    """The three of the analysis plan: HR 1, OS as PFS, 0.85."""
    return (Naive(NO_EFFECT, 1.0), Naive(AS_PFS, hr_pfs), Naive(ALWAYS_085, float(ALWAYS_085)))


def power(hr: float, events: float, share: float, alpha: float = 0.025) -> float:
    """Probability that a log-rank test with so many events is significant at one-sided alpha (Schoenfeld 1981)."""
    drift = -math.log(hr) * math.sqrt(events * share * (1.0 - share))
    return float(norm.cdf(drift - norm.ppf(1.0 - alpha)))
