"""Marginal distributions: a standard normal (the patient's place in the copula) becomes the value of an attribute.

Each marginal may be moved on the standard normal scale, x -> shift + scale * x, before it is applied. That is how a
population is fitted to its published table without touching the numbers a person wrote.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from simhcc.population.attributes import Array


@dataclass(frozen=True)
class Levels:
    """Classes or counts with their shares, in rising order; a higher normal gives a higher level."""

    codes: tuple[float, ...]
    shares: tuple[float, ...]

    def values(self, x: Array, shift: float, scale: float) -> Array:
        """Values for standard normals `x`."""
        shares = np.asarray(self.shares)
        # Where nothing is left above a cut, rounding in the sum must not leave a sliver for it.
        cuts = ndtri(np.where(np.cumsum(shares[::-1])[::-1][1:] > 0.0, np.cumsum(shares)[:-1], 1.0))
        # Comparing x itself with moved cuts keeps shares of 0 and 1 exact (their cuts are infinite).
        return np.asarray(self.codes)[np.searchsorted((cuts - shift) / scale, x, side="left")]

    @property
    def constant(self) -> bool:
        """Whether every patient gets the same value."""
        return max(self.shares) == 1.0


@dataclass(frozen=True)
class Normal:
    """Normal with `mean` and `sd` before truncation to [low, high]."""

    mean: float
    sd: float
    low: float
    high: float

    def values(self, x: Array, shift: float, scale: float) -> Array:
        """Values for standard normals `x`."""
        return _truncated(x, self.mean + self.sd * shift, self.sd * scale, self.low, self.high)

    @property
    def constant(self) -> bool:
        """Never."""
        return False


@dataclass(frozen=True)
class LogNormal:
    """Lognormal with `median` and standard deviation of the logarithm `sd_log` before truncation to [low, high]."""

    median: float
    sd_log: float
    low: float
    high: float

    def values(self, x: Array, shift: float, scale: float) -> Array:
        """Values for standard normals `x`."""
        location = math.log(self.median) + self.sd_log * shift
        return np.exp(_truncated(x, location, self.sd_log * scale, math.log(self.low), math.log(self.high)))

    @property
    def constant(self) -> bool:
        """Never."""
        return False


Marginal = Levels | Normal | LogNormal


def _truncated(x: Array, mean: float, sd: float, low: float, high: float) -> Array:
    """Normal(mean, sd) truncated to [low, high] at the probabilities of standard normals `x`."""
    below, above = ndtr((low - mean) / sd), ndtr((high - mean) / sd)
    return np.clip(mean + sd * ndtri(below + ndtr(x) * (above - below)), low, high)
