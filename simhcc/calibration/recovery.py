"""Does a calibration find what it should? Data are simulated from the model itself, fitted, and compared with the truth.

For each repeat a truth is drawn from the priors (parameters, sd between trials, discrepancy, each trial's random effect), the
module's trials are simulated at that truth with other patients and other luck and their own sizes and follow-up, and their
figures are fitted as published ones would be. When truths come from the prior, 90 % intervals contain 90 % of them exactly
if everything in between is right: the emulator, its error, the covariances, the random effects, the sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhcc.calibration.fit import Options, emulated_prior
from simhcc.calibration.imis import imis
from simhcc.calibration.likelihood import Scales, Term, log_likelihood, log_prior
from simhcc.calibration.sampling import repeated
from simhcc.calibration.simulated import in_module
from simhcc.calibration.specification import Module
from simhcc.trials.pools import simulate_trial

Floats = NDArray[np.float64]

POOL = 2048
OTHER_SEED = 900_001
TRUTHS_AT_ONCE = 20


@dataclass(frozen=True)
class Recovery:
    """Truths (repeats, parameters) on normal scores, posterior means and sds, and whether intervals hold the truth.

    `lower` and `upper` are the limits of the central interval of probability `level`.
    """

    names: tuple[str, ...]
    truth: Floats
    mean: Floats
    sd: Floats
    lower: Floats
    upper: Floats
    level: float

    @property
    def covered(self) -> NDArray[np.bool_]:
        """(repeats, parameters)"""
        return np.asarray((self.lower <= self.truth) & (self.truth <= self.upper))

    @property
    def coverage(self) -> Floats:
        """Share of the repeats whose interval holds the truth, by parameter."""
        share: Floats = self.covered.mean(axis=0)
        return share


def recover(
    module: Module,
    base: Mapping[str, Any],
    repeats: int,
    *,
    level: float = 0.9,
    seed: int = 1,
    options: Options | None = None,
    tamper: Callable[[Term], Term] = lambda term: term,
    believed: Scales | None = None,
) -> Recovery:
    """Simulate and fit `repeats` data sets.

    `tamper` changes the terms of the likelihood, and `believed` the scales that it takes for true, to see the check fail.

    Emulators are fitted once, over the prior, and serve all repeats.
    """
    options = options or Options()
    terms, predict, scales, figures = emulated_prior(module, base, options)
    effects = tuple(module.content.between_trials.effects)
    rng = np.random.default_rng([seed, 5])
    size = len(module.fitted)
    x = rng.standard_normal((repeats, size + 2))
    tau, delta = scales.tau(x[:, -2]), scales.delta(x[:, -1])
    observed = {term.trial: np.empty((repeats, len(term.names))) for term in terms}
    for one in figures:
        wider = module.entry(one.trial.id).wider
        shift = {
            effect: wider * tau * rng.standard_normal(repeats)
            if effect in module.effects(one.trial.id)
            else np.zeros(repeats)
            for effect in effects
        }
        values = module.values(x[:, :-2])
        for first in range(0, repeats, TRUTHS_AT_ONCE):
            last = min(first + TRUTHS_AT_ONCE, repeats)
            here = {
                name: values[name][first:last]
                if name in values
                else np.broadcast_to(np.asarray(value, np.float64), (last - first, *np.shape(value)))
                for name, value in base.items()
            }
            pool = simulate_trial(
                in_module(one.trial, effects),
                here,
                patients=POOL,
                seed=OTHER_SEED + seed,
                effects={effect: s[first:last] for effect, s in shift.items()},
                threads=options.threads,
            )
            # Repetition k of the pool takes draw k: one data set for each truth.
            observed[one.trial.id][first:last] = repeated(
                pool, one.positions, one.later, last - first, seed * 7919 + first
            )
        observed[one.trial.id] += delta[:, None] * rng.standard_normal(observed[one.trial.id].shape)
    mean, sd, lower, upper = (np.empty((repeats, size)) for _ in range(4))
    tail = 0.5 * (1.0 - level)
    for k in range(repeats):
        mine = [tamper(replace(term, observed=observed[term.trial][k])) for term in terms]
        sample = imis(
            log_prior,
            log_likelihood(mine, predict, believed or scales),
            lambda n, generator: generator.standard_normal((n, size + 2)),
            wanted=200,
            seed=seed + k,
        )
        mean[k] = sample.mean()[:-2]
        sd[k] = np.sqrt(np.diag(sample.covariance()))[:-2]
        lower[k], upper[k] = _quantiles(sample.draws[:, :-2], sample.weights, (tail, 1.0 - tail))
    return Recovery(module.names, x[:, :-2], mean, sd, lower, upper, level)


def _quantiles(draws: Floats, weights: Floats, probabilities: tuple[float, ...]) -> Floats:
    """Weighted quantiles of each column, (probabilities, columns)."""
    found = np.empty((len(probabilities), draws.shape[1]))
    for column in range(draws.shape[1]):
        order = np.argsort(draws[:, column])
        cumulative = np.cumsum(weights[order])
        places = np.searchsorted(cumulative / cumulative[-1], probabilities)
        found[:, column] = draws[order[np.minimum(places, len(order) - 1)], column]
    return found
