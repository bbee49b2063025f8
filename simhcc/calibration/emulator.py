"""A fast stand-in for the simulation: statistics of virtual trials as smooth functions of the parameters.

Each statistic is a Gaussian process whose covariance is that of a random polynomial of second order plus a smooth remainder.
Its error is not assumed: every design point is predicted from all the others, and the covariance of these errors between
the statistics goes into the likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Prior variances, against that of the linear part, of the quadratic part and of the smooth remainder; noise against all.
_SHAPES = tuple((quadratic, rest) for quadratic in (0.05, 0.3, 1.5) for rest in (0.0, 0.1, 0.6))
_NOISE = np.geomspace(1e-6, 1.0, 19)
_CONSTANT = 25.0
_LEAST_SCALE = 0.05
_PREDICTED_AT_ONCE = 4_000


@dataclass(frozen=True)
class Emulator:
    """Predicts `outputs` statistics from `inputs` parameters.

    `error` (outputs, outputs) is the covariance of its errors, by leaving out each design point in turn; `explained` the
    share of the variance over the design that it explains.
    """

    centre: Floats
    scale: Floats
    design: Floats
    shapes: tuple[tuple[float, float], ...]
    coefficients: Floats
    offset: Floats
    unit: Floats
    error: Floats
    explained: Floats

    def __call__(self, x: Floats) -> Floats:
        """Statistics (n, outputs) at parameters (n, inputs)."""
        found = np.empty((len(x), self.offset.size))
        for begin in range(0, len(x), _PREDICTED_AT_ONCE):
            piece = (x[begin : begin + _PREDICTED_AT_ONCE] - self.centre) * self.scale
            square = _squares(piece, self.design)
            for shape in set(self.shapes):
                mine = [k for k, other in enumerate(self.shapes) if other == shape]
                covariance = _covariance(piece @ self.design.T, square, shape)
                found[begin : begin + len(piece), mine] = covariance @ self.coefficients[:, mine]
        return self.offset + found * self.unit


def fit(x: Floats, y: Floats) -> Emulator:
    """Fit an emulator to a design: parameters x (n, inputs), statistics y (n, outputs).

    Inputs are scaled by how much the statistics depend on them, found by a first fit. For each statistic the shape of the
    covariance and the noise are those with the smallest errors at points left out.
    """
    centre, spread = x.mean(axis=0), x.std(axis=0)
    scale = 1.0 / np.where(spread > 0.0, spread, 1.0)
    first = _fit(x, y, centre, scale)
    at = centre + (x[: min(len(x), 60)] - centre) * 0.5
    # Mean absolute change of all statistics, in their own units, over one sd of each input.
    effect = np.array(
        [
            np.abs((first(at + step) - first(at - step)) / (2.0 * first.unit)).mean() if step.any() else 0.0
            for step in np.diag(spread * 0.5)
        ]
    )
    relevance = np.clip(np.sqrt(effect / max(effect.max(), 1e-300)), _LEAST_SCALE, 1.0)
    second = _fit(x, y, centre, scale * relevance)
    return (
        second
        if np.trace(second.error / np.outer(second.unit, second.unit))
        < np.trace(first.error / np.outer(first.unit, first.unit))
        else first
    )


def _fit(x: Floats, y: Floats, centre: Floats, scale: Floats) -> Emulator:
    design = (x - centre) * scale
    # On average the linear part of two points has covariance 1 with itself.
    scale = scale / max(np.sqrt(np.mean(np.sum(design**2, axis=1))), 1e-300)
    design = (x - centre) * scale
    offset, unit = y.mean(axis=0), np.maximum(y.std(axis=0), 1e-12)
    z = (y - offset) / unit
    outputs = y.shape[1]
    best = np.full(outputs, np.inf)
    coefficients, left_out = np.zeros((len(x), outputs)), np.zeros((len(x), outputs))
    shapes: list[tuple[float, float]] = [_SHAPES[0]] * outputs
    product, square = design @ design.T, _squares(design, design)
    for shape in _SHAPES:
        values, vectors = np.linalg.eigh(_covariance(product, square, shape))
        rotated = vectors.T @ z
        for noise in _NOISE:
            inverse = 1.0 / (np.maximum(values, 0.0) + noise)
            solved = vectors @ (rotated * inverse[:, None])
            errors = solved / ((vectors**2) @ inverse)[:, None]
            score = np.mean(errors**2, axis=0)
            for k in np.flatnonzero(score < best):
                best[k], shapes[k] = score[k], shape
                coefficients[:, k], left_out[:, k] = solved[:, k], errors[:, k]
    error = (left_out.T @ left_out) / len(x) * np.outer(unit, unit)
    return Emulator(centre, scale, design, tuple(shapes), coefficients, offset, unit, error, 1.0 - best)


def _squares(a: Floats, b: Floats) -> Floats:
    distance: Floats = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)[None] - 2.0 * a @ b.T
    return np.maximum(distance, 0.0)


def _covariance(product: Floats, square: Floats, shape: tuple[float, float]) -> Floats:
    quadratic, rest = shape
    covariance = _CONSTANT + 4.0 * product + quadratic * 4.0 * product**2
    if rest > 0.0:
        covariance = covariance + rest * np.exp(-0.5 * square)
    return covariance
