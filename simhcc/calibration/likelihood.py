"""The posterior of a module: standard normal priors, one multivariate normal term for each trial.

Parameters are sampled on their normal scores z, so every prior is N(0, 1); two more coordinates are the scores of the sd
between trials (tau) and of the discrepancy (delta, half-normal). A trial's term is

    y ~ N(f(z), S + E + tau^2 J J' + delta^2 I)

with y and f the published and expected figures on their scales, S their sampling covariance, E the error of the
simulation and of the emulator, and J the derivative of the figures by the trial's random effects, which are thereby
integrated out. A recalled figure has its rows and columns of S + E divided by the root of its weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from simhcc.distributions import Distribution

Floats = NDArray[np.float64]
EDGE = 1e-9


@dataclass(frozen=True)
class Term:
    """One trial's part of the likelihood.

    `observed` (figures,), `sampling` their covariance, `error` that of the simulation with finitely many patients and of the
    emulator, `jacobian` (figures, effects) their derivative by the random effects, whose sd is tau.
    """

    trial: str
    names: tuple[str, ...]
    observed: Floats
    sampling: Floats
    error: Floats
    jacobian: Floats

    def covariance(self, tau: Floats, delta: Floats) -> Floats:
        """(n, figures, figures) for sds between trials and of the discrepancy (n,)."""
        between = self.jacobian @ self.jacobian.T
        own = self.sampling + self.error
        eye = np.eye(len(self.observed))
        total: Floats = own + tau[:, None, None] ** 2 * between + delta[:, None, None] ** 2 * eye
        return total

    def log_likelihood(self, predicted: Floats, tau: Floats, delta: Floats) -> Floats:
        """(n,) for predicted figures (n, figures)."""
        root = np.linalg.cholesky(self.covariance(tau, delta))
        away = self.observed - predicted
        solved = np.linalg.solve(root, away[:, :, None])[:, :, 0]
        constant = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        density: Floats = -0.5 * np.sum(solved**2, axis=1) - constant - 0.5 * away.shape[1] * math.log(2.0 * math.pi)
        return np.where(np.isfinite(density), density, -np.inf)

    def effects(self, predicted: Floats, tau: Floats, delta: Floats, rng: np.random.Generator | None = None) -> Floats:
        """(n, effects): the random effects given the data, their means or, with `rng`, one draw each."""
        own = self.sampling + self.error + delta[:, None, None] ** 2 * np.eye(len(self.observed))
        weighted = np.linalg.solve(own, np.broadcast_to(self.jacobian, (len(tau), *self.jacobian.shape)))
        precision = np.swapaxes(weighted, 1, 2) @ self.jacobian + np.eye(self.jacobian.shape[1]) / (
            np.maximum(tau, 1e-6)[:, None, None] ** 2
        )
        right = np.einsum("nfe,nf->ne", weighted, self.observed - predicted)
        mean = np.linalg.solve(precision, right[:, :, None])[:, :, 0]
        if rng is None:
            return np.asarray(mean, np.float64)
        root = np.linalg.cholesky(np.linalg.inv(precision))
        drawn: Floats = mean + np.einsum("nij,nj->ni", root, rng.standard_normal(mean.shape))
        return drawn


@dataclass(frozen=True)
class Scales:
    """Priors of the sd between trials, and of the discrepancy: |N(0, `discrepancy`^2)|."""

    between: Distribution
    discrepancy: float

    def tau(self, score: Floats) -> Floats:
        """Sd between trials from its normal score."""
        return np.asarray(self.between.ppf(np.clip(ndtr(score), EDGE, 1.0 - EDGE)), np.float64)

    def delta(self, score: Floats) -> Floats:
        """Sd of the discrepancy from its normal score."""
        u = np.clip(ndtr(score), EDGE, 1.0 - EDGE)
        found: Floats = self.discrepancy * ndtri(0.5 + 0.5 * u)
        return found


def weighted(covariance: Floats, weights: Floats) -> Floats:
    """A covariance whose rows and columns are divided by the root of each figure's weight."""
    scale = 1.0 / np.sqrt(weights)
    result: Floats = covariance * np.outer(scale, scale)
    return result


def log_prior(x: Floats) -> Floats:
    """Standard normal density of all coordinates, (n,)."""
    density: Floats = -0.5 * np.sum(x * x, axis=1) - 0.5 * x.shape[1] * math.log(2.0 * math.pi)
    return density


def log_likelihood(
    terms: Sequence[Term], predict: Mapping[str, Callable[[Floats], Floats]], scales: Scales
) -> Callable[[Floats], Floats]:
    """The log likelihood of coordinates (n, parameters + 2): z, then the scores of tau and delta."""

    def of(x: Floats) -> Floats:
        z, tau, delta = x[:, :-2], scales.tau(x[:, -2]), scales.delta(x[:, -1])
        total = np.zeros(len(x))
        for term in terms:
            total += term.log_likelihood(predict[term.trial](z), tau, delta)
        return total

    return of
