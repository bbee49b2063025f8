"""Smooth regression of many outcomes on the draws of a few parameters or study results.

The value of partial information needs E[outcome | what is learnt] for every draw. Both methods are one penalised
least squares fit, X b with penalty on b, and differ in the columns of X:

- `spline`: for each input a cubic regression spline (Wood, Generalized Additive Models, 2017, chapter 5) written as a
  straight line, free, and wiggly columns of unit roughness, penalised together; with two or more inputs also products
  of their columns, penalised together. Needs nothing beyond scipy.
- `gp`: Gaussian-process regression (Strong, Oakley and Brennan, Med Decis Making 2014;34:311). scikit-learn fits one
  length scale per input on a subset of draws; all draws are then used through the subset's kernel columns (the
  deterministic training conditional approximation: Quinonero-Candela and Rasmussen, J Mach Learn Res 2005;6:1939).

The penalties are chosen for each outcome by generalised cross-validation with 1.4 degrees of freedom charged per
degree used, which guards against overfitting (Kim and Gu, J R Stat Soc B 2004;66:337).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.interpolate import BSpline
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from simhcc.economics.tables import Floats
from simhcc.errors import InputError

METHODS = ("spline", "gp")

_BASIS_SIZE = 10  # spline coefficients per input, as mgcv's default
# Simpler regressions for many inputs or few draws: coefficients per input, and whether products enter.
_SIMPLER = (
    (_BASIS_SIZE, True, ""),
    (_BASIS_SIZE, False, "no interactions"),
    (6, False, "no interactions, 6 coefficients per input"),
    (4, False, "no interactions, 4 coefficients per input"),
    (2, False, "straight lines only"),
)
_MOST_TERMS = 400  # the cost grows with the cube
_CHARGE = 1.4
_PENALTIES = 10.0 ** np.arange(-8.0, 5.0)
_PRODUCT_RANK = {2: 4, 3: 3, 4: 2}  # columns per input that enter products; 1 (straight lines) from 5 inputs on
_KERNEL_DRAWS = 300  # draws that carry the Gaussian process, at most; the cost grows with the cube


@dataclass(frozen=True, eq=False)
class Fit:
    """Fitted conditional means (draws x outcomes) and what is needed to judge them.

    `degrees` of freedom and `r_squared` are per outcome. `note` says how the regression was simplified for want of
    draws (empty when it was not). `columns` (draws x terms) is the regression matrix, `penalties` the diagonal
    penalty chosen for each outcome (terms x outcomes).
    """

    values: Floats
    degrees: Floats
    r_squared: Floats
    columns: Floats
    penalties: Floats
    outcomes: Floats
    note: str

    def redraw(self, n: int, seed: int) -> Floats:
        """n draws of the fitted means from their approximate posterior: outcomes x n x draws.

        The coefficients are normal with the Bayesian covariance of a penalised fit; errors are correlated across
        outcomes as the residuals are.
        """
        draws, terms = self.columns.shape
        outcomes = self.outcomes.shape[1]
        residual = (self.outcomes - self.values) / np.sqrt(np.maximum(draws - self.degrees, 1.0))
        spread, vectors = np.linalg.eigh(residual.T @ residual)
        root = vectors * np.sqrt(np.maximum(spread, 0.0))
        z = np.random.default_rng(seed).standard_normal((n, terms, outcomes)) @ root.T
        gram = self.columns.T @ self.columns
        result = np.empty((outcomes, n, draws))
        for penalty, members in _alike(self.penalties):
            lower = np.linalg.cholesky(gram + draws * np.diag(penalty))
            for j in members:
                error = solve_triangular(lower.T, z[:, :, j].T)
                np.matmul(error.T, self.columns.T, out=result[j])
                result[j] += self.values[:, j]
        return result

    def held_out(self, parts: int) -> Floats:
        """Fitted means of each draw from the other draws only, in `parts` parts, keeping the penalties."""
        draws = len(self.columns)
        part = np.arange(draws) % parts
        result = np.empty_like(self.values)
        for k in range(parts):
            out = part == k
            seen, known = self.columns[~out], self.outcomes[~out]
            centre = known.mean(axis=0)
            gram = seen.T @ seen
            for penalty, members in _alike(self.penalties):
                factor = cho_factor(gram + len(seen) * np.diag(penalty))
                coefficients = cho_solve(factor, seen.T @ (known[:, members] - centre[members]))
                result[np.ix_(out, members)] = centre[members] + self.columns[out] @ coefficients
        return result


def fit(inputs: pd.DataFrame, outcomes: Floats, method: str) -> Fit:
    """Regress each column of `outcomes` (draws x outcomes) on the columns of `inputs` (draws x parameters).

    Constant inputs have nothing to say and are left out. Raises InputError for an unknown method, too few draws for
    the number of regression terms, or `gp` without scikit-learn.
    """
    if method not in METHODS:
        raise InputError(f"{method!r}", f"one of {list(METHODS)}", key="method")
    values = inputs.to_numpy(dtype=np.float64)
    values = values[:, np.ptp(values, axis=0) > 0.0]
    note = ""
    if values.shape[1] == 0:
        columns, group = np.ones((len(inputs), 1)), np.zeros(1, dtype=int)
    elif method == "spline":
        columns, group, note = _spline_columns(values)
    else:
        columns, group = _kernel_columns(values, outcomes)
    n, terms = columns.shape
    if n < 2 * terms:
        raise InputError(
            f"{n} draws for {terms} regression terms",
            f"{2 * terms} draws or more, or a smaller group of parameters",
            key="inputs",
        )
    gram = columns.T @ columns / n
    centre = outcomes.mean(axis=0)
    cross = columns.T @ (outcomes - centre) / n
    power = outcomes.var(axis=0)
    # A whisper of ridge on everything but the constant keeps collinear inputs (a full Dirichlet) solvable.
    whisper = 1e-10 * (np.arange(terms) > 0)
    score = np.full(outcomes.shape[1], np.inf)
    coefficients, penalties = np.zeros((2, terms, outcomes.shape[1]))
    degrees = np.zeros(outcomes.shape[1])
    for first in _PENALTIES if (group == 1).any() else [0.0]:
        for second in _PENALTIES[::2] if (group == 2).any() else [0.0]:
            penalty = whisper + first * (group == 1) + second * (group == 2)
            factor = cho_factor(gram + np.diag(penalty))
            trial = cho_solve(factor, cross)
            used = float(np.trace(cho_solve(factor, gram)))
            if _CHARGE * used >= n:
                continue
            rss = power - 2.0 * (trial * cross).sum(axis=0) + (trial * (gram @ trial)).sum(axis=0)
            trial_score = np.maximum(rss, 0.0) / (1.0 - _CHARGE * used / n) ** 2
            better = trial_score < score
            score[better], degrees[better] = trial_score[better], used
            coefficients[:, better], penalties[:, better] = trial[:, better], penalty[:, None]
    fitted = columns @ coefficients + centre
    spread = np.where(power > 0.0, power, 1.0)
    r_squared = np.where(power > 0.0, 1.0 - (outcomes - fitted).var(axis=0) / spread, 0.0)
    return Fit(fitted, degrees, r_squared, columns, penalties, outcomes, note)


def _alike(penalties: Floats) -> list[tuple[Floats, list[int]]]:
    """Outcomes grouped by their penalty, so that each matrix is factored once."""
    groups: dict[bytes, list[int]] = {}
    for j in range(penalties.shape[1]):
        groups.setdefault(penalties[:, j].tobytes(), []).append(j)
    return [(penalties[:, members[0]], members) for members in groups.values()]


def _spline_columns(values: Floats) -> tuple[Floats, Floats, str]:
    """Columns, their penalty group (0 constant and straight lines, 1 wiggles, 2 products), and what was left out."""
    n, q = values.shape
    rank = _PRODUCT_RANK.get(q, 1)
    pairs = q * (q - 1) // 2 * rank**2
    fits = [form for form in _SIMPLER if 1 + q * (form[0] - 1) + pairs * form[1] <= min(_MOST_TERMS, n / 4)]
    size, with_products, note = fits[0] if fits else _SIMPLER[-1]
    bases = [_one_spline(values[:, j], size) for j in range(q)]
    lines = [basis[:, :1] for basis in bases]
    wiggles = [basis[:, 1:] for basis in bases]
    products = []
    for a in range(q) if with_products else ():
        for b in range(a + 1, q):
            left, right = _unit(bases[a][:, :rank]), _unit(bases[b][:, :rank])
            both = (left[:, :, None] * right[:, None, :]).reshape(n, -1)
            products.append(_unit(both - both.mean(axis=0)))
    blocks = [np.ones((n, 1)), *lines, *wiggles, *products]
    sizes = [1 + len(lines), sum(block.shape[1] for block in wiggles), sum(block.shape[1] for block in products)]
    return np.hstack(blocks), np.repeat([0, 1, 2], sizes), note


def _unit(columns: Floats) -> Floats:
    """Columns scaled to standard deviation 1; a column without spread stays as it is."""
    spread = columns.std(axis=0)
    return columns / np.where(spread > 0.0, spread, 1.0)


def _one_spline(x: Floats, size: int) -> Floats:
    """Centred columns for one input: the straight line, then wiggles of unit roughness from smooth to rough.

    Roughness is the integral of the squared second derivative. An input with few distinct values gets a straight line
    and orthogonal columns for the rest of its levels, each of them penalised like a wiggle.
    """
    z = (x - x.mean()) / x.std()
    levels = min(len(np.unique(z)), _BASIS_SIZE + 1)
    if levels <= _BASIS_SIZE or size < 4:
        powers = np.vander(z, min(levels, size), increasing=True)[:, 1:]
        triangle, _ = np.linalg.qr(np.column_stack([np.ones(len(z)), powers]))
        return triangle[:, 1:] * np.sqrt(len(z))
    inner = np.unique(np.quantile(z, np.linspace(0.0, 1.0, size - 2)))
    knots = np.concatenate([np.repeat(inner[0], 3), inner, np.repeat(inner[-1], 3)])
    basis = BSpline.design_matrix(z, knots, 3).toarray()
    k = basis.shape[1]
    second = BSpline(knots, np.eye(k), 3).derivative(2)
    # Second derivatives of a cubic spline are straight between knots, so Simpson's rule is exact for their products.
    roughness = np.zeros((k, k))
    for left, right in pairwise(inner):
        inset = 1e-9 * (right - left)
        ends = second(np.array([left + inset, right - inset]))
        middle = ends.mean(axis=0)
        parts = np.outer(ends[0], ends[0]) + 4.0 * np.outer(middle, middle) + np.outer(ends[1], ends[1])
        roughness += (right - left) / 6.0 * parts
    weight, direction = np.linalg.eigh(roughness)
    wiggly = weight > 1e-10 * weight.max()
    order = np.flatnonzero(wiggly)
    columns = basis @ (direction[:, order] / np.sqrt(weight[order]))
    columns = columns - columns.mean(axis=0)
    columns -= np.outer(z, z @ columns / (z @ z))  # what a straight line can do is left to the straight line
    return np.column_stack([z, columns])


def _few_steps(objective: Callable[..., Any], start: Floats, bounds: Floats) -> tuple[Floats, float]:
    """scikit-learn's own search for length scales, stopped early: a flat optimum is not worth the time."""
    found = minimize(objective, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": 25})
    return found.x, float(found.fun)


def _kernel_columns(values: Floats, outcomes: Floats) -> tuple[Floats, Floats]:
    """Constant, straight lines (both free) and whitened kernel columns (penalised together)."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
    except ImportError:
        raise InputError(
            "scikit-learn is not installed",
            "method='spline', or the extra that brings it: pip install 'simhcc[analysis]'",
            key="method",
        ) from None
    z = (values - values.mean(axis=0)) / values.std(axis=0)
    n, q = z.shape
    # An even walk through the draws: they are exchangeable, and the same call gives the same answer.
    chosen = np.unique(np.linspace(0, n - 1, min(max(n // 4, 2), _KERNEL_DRAWS)).astype(int))
    lines = np.column_stack([np.ones(n), z])
    rest = outcomes - lines @ np.linalg.lstsq(lines, outcomes, rcond=None)[0]
    target = _unit(rest)[chosen]
    kernel = ConstantKernel(0.5, (1e-4, 1e2)) * RBF(np.full(q, 2.0), (0.2, 1e3)) + WhiteKernel(0.5, (1e-6, 1e1))
    with warnings.catch_warnings():
        # A length scale at its limit only says that the input does not matter.
        warnings.simplefilter("ignore", ConvergenceWarning)
        process = GaussianProcessRegressor(kernel, optimizer=_few_steps).fit(z[chosen], target)
    smooth = process.kernel_.k1.k2
    middle = smooth(z[chosen]) + 1e-8 * np.eye(len(chosen))
    weight, direction = np.linalg.eigh(middle)
    kept = weight > 1e-6 * weight.max()
    columns = smooth(z, z[chosen]) @ (direction[:, kept] / np.sqrt(weight[kept]))
    columns = columns - columns.mean(axis=0)
    columns -= lines @ np.linalg.lstsq(lines, columns, rcond=None)[0]
    return np.hstack([lines, columns]), np.repeat([0, 1], [q + 1, columns.shape[1]])
