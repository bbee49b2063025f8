"""Incremental mixture importance sampling (Raftery & Bao 2010), started at the mode (IMIS-opt).

A posterior is sampled by importance weights from a mixture that grows where it is too thin: first the prior and a normal at
the mode, then one normal at a time around the draw of the highest weight. Every likelihood ever computed stays in use,
nothing has to be tuned, and the sizes of the weights say how good the sample is, which a Markov chain does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from simhcc.errors import ModelError

Floats = NDArray[np.float64]
LogDensity = Callable[[Floats], Floats]

FIRST_DRAWS = 4_000
"""draws of the prior, and of the normal at the mode, before the mixture begins to grow"""
STEP_DRAWS = 1_000
"""draws added with each new component"""
MOST_STEPS = 60
NEAREST = 2_000
"""draws nearest to a new component's centre that give it its spread"""
WIDER = 1.2
"""factor on the sd of the normal at the mode: an importance distribution must be wider than its target"""


@dataclass(frozen=True)
class Sample:
    """Weighted draws of a posterior.

    `draws` (n, d) and `weights` (n,), which add up to 1. `mode` is the best point found, `expected_unique` the expected
    share of different draws when as many as `wanted` are resampled: 1 - 1 / e is that of equal weights, the usual aim.
    """

    draws: Floats
    weights: Floats
    log_likelihood: Floats
    mode: Floats
    steps: int
    expected_unique: float
    reached: bool

    @property
    def ess(self) -> float:
        """Effective sample size 1 / sum of squared weights (Kish 1965)."""
        return float(1.0 / np.sum(self.weights**2))

    @property
    def largest(self) -> float:
        """Largest weight of one draw; near 1 when the sample is worth nothing."""
        return float(self.weights.max())

    def mean(self) -> Floats:
        """Weighted mean, (d,)."""
        mean: Floats = self.weights @ self.draws
        return mean

    def covariance(self) -> Floats:
        """Weighted covariance, (d, d)."""
        away = self.draws - self.mean()
        covariance: Floats = (away * self.weights[:, None]).T @ away
        return covariance

    def resampled(self, n: int, rng: np.random.Generator) -> Floats:
        """`n` equally weighted draws, (n, d): systematic resampling, whose noise is smaller than that of a plain draw."""
        return self.draws[systematic(self.weights, n, rng)]


def systematic(weights: Floats, n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Positions of `n` draws in proportion to `weights`, in random order."""
    edges = np.cumsum(weights)
    places = np.searchsorted(edges, (np.arange(n) + rng.random()) / n * edges[-1], side="right")
    found: NDArray[np.intp] = rng.permutation(np.minimum(places, len(weights) - 1))
    return found


def imis(
    log_prior: LogDensity,
    log_likelihood: LogDensity,
    prior_draws: Callable[[int, np.random.Generator], Floats],
    *,
    wanted: int,
    seed: int,
    start: Floats | None = None,
) -> Sample:
    """Sample the posterior of `log_prior` + `log_likelihood` until `wanted` resampled draws are nearly all different.

    Both functions take (n, d) and return (n,); a log likelihood of -inf is allowed, NaN is not. `start` is where the
    search for the mode begins (default: the best prior draw). Raises ModelError when no prior draw has any likelihood.
    """
    rng = np.random.default_rng(seed)
    draws = prior_draws(FIRST_DRAWS, rng)
    like = _checked(log_likelihood(draws))
    if not np.isfinite(like).any():
        raise ModelError("no draw of the prior has a likelihood above 0; the targets lie outside what the priors allow")
    best = draws[np.argmax(like + log_prior(draws))] if start is None else np.asarray(start, np.float64)
    mode, spread = at_mode(lambda x: log_prior(x) + _checked(log_likelihood(x)), best)
    centres, roots, sizes = [mode], [np.linalg.cholesky(spread) * WIDER], [FIRST_DRAWS]
    more = mode + rng.standard_normal((FIRST_DRAWS, mode.size)) @ roots[0].T
    draws, like = np.concatenate([draws, more]), np.concatenate([like, _checked(log_likelihood(more))])
    prior = log_prior(draws)
    # Log densities of the components at all draws; the prior is the first.
    parts = [prior, _normal(draws, mode, roots[0])]
    aim, steps = 1.0 - math.exp(-1.0), 0
    while True:
        share = np.log(np.array([FIRST_DRAWS, *sizes]) / len(draws))
        mixture = logsumexp(np.stack(parts) + share[:, None], axis=0)
        log_weight = prior + like - mixture
        weights = np.exp(log_weight - logsumexp(log_weight))
        unique = float(np.sum(1.0 - (1.0 - np.minimum(weights, 1.0)) ** wanted)) / wanted
        if unique >= aim or steps >= MOST_STEPS:
            return Sample(draws, weights, like, mode, steps, unique, unique >= aim)
        centre = draws[np.argmax(weights)]
        root = _around(draws, weights, centre, spread)
        more = centre + rng.standard_normal((STEP_DRAWS, mode.size)) @ root.T
        parts = [
            np.concatenate([part, _normal(more, c, r)]) for part, c, r in zip(parts[1:], centres, roots, strict=True)
        ]
        draws = np.concatenate([draws, more])
        like = np.concatenate([like, _checked(log_likelihood(more))])
        prior = np.concatenate([prior, log_prior(more)])
        parts = [prior, *parts, _normal(draws, centre, root)]
        centres.append(centre)
        roots.append(root)
        sizes.append(STEP_DRAWS)
        steps += 1


def at_mode(log_density: LogDensity, start: Floats) -> tuple[Floats, Floats]:
    """The mode of a density near `start`, and the covariance of the normal that has its curvature there.

    Derivatives are central differences. Directions in which the density does not fall get a variance of 1, that of the
    prior on the scale on which parameters are sampled.
    """
    step = 1e-3

    def descent(x: Floats) -> tuple[float, Floats]:
        points = np.concatenate([x[None], x + step * np.eye(x.size), x - step * np.eye(x.size)])
        values = log_density(points)
        gradient = (values[1 : x.size + 1] - values[x.size + 1 :]) / (2.0 * step)
        return -float(values[0]), -gradient

    found = minimize(descent, start, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    mode = np.asarray(found.x, np.float64)
    step = 1e-2
    size = mode.size
    eye = step * np.eye(size)
    pairs = [(i, j) for i in range(size) for j in range(i, size)]
    corners = np.concatenate(
        [np.stack([mode + a * eye[i] + b * eye[j] for i, j in pairs]) for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
    )
    values = log_density(corners).reshape(4, len(pairs))
    hessian = np.zeros((size, size))
    for (i, j), v in zip(pairs, values.T, strict=True):
        hessian[i, j] = hessian[j, i] = -(v[0] - v[1] - v[2] + v[3]) / (4.0 * step**2)
    eigenvalues, vectors = np.linalg.eigh(hessian)
    variances = 1.0 / np.where(eigenvalues > 1.0, eigenvalues, 1.0)
    return mode, (vectors * variances) @ vectors.T


def _around(draws: Floats, weights: Floats, centre: Floats, metric: Floats) -> Floats:
    """Cholesky factor of the spread of the draws nearest to a centre, weighted as Raftery and Bao do."""
    away = draws - centre
    distance = np.sum(away * np.linalg.solve(metric, away.T).T, axis=1)
    near = np.argsort(distance, kind="stable")[: min(NEAREST, len(draws))]
    w = 0.5 * (weights[near] + 1.0 / len(draws))
    covariance = (away[near] * (w / w.sum())[:, None]).T @ away[near]
    # A little of the overall spread keeps the matrix regular when few draws carry the weight.
    return np.linalg.cholesky(0.9 * covariance + 0.1 * metric)


def _normal(x: Floats, mean: Floats, root: NDArray[Any]) -> Floats:
    z = np.linalg.solve(root, (x - mean).T)
    constant = np.log(np.diag(root)).sum() + 0.5 * mean.size * math.log(2.0 * math.pi)
    density: Floats = -0.5 * np.sum(z * z, axis=0) - constant
    return density


def _checked(values: Floats) -> Floats:
    if np.isnan(values).any():
        raise ModelError("a log likelihood is not a number; a draw of the prior cannot be evaluated")
    return values
