"""Does a calibration find what it should? Data are simulated from the model itself, fitted, and compared with the truth.

For each repeat a truth is drawn from the priors (parameters, sd between trials, discrepancy, each trial's random effect), the
module's trials are simulated at that truth with other patients and other luck and their own sizes and follow-up, and their
figures are fitted as published ones would be. When truths come from the prior, 90 % intervals contain 90 % of them exactly
if everything in between is right: the emulator, its error, the covariances, the random effects, the sampler.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from simhcc.calibration.fit import Options, emulated_prior
from simhcc.calibration.imis import imis
from simhcc.calibration.likelihood import Scales, Term, log_likelihood, log_prior
from simhcc.calibration.sampling import repeated
from simhcc.calibration.simulated import Figures, as_input, gathered, in_module, read_trial, shards_of, vectors
from simhcc.calibration.specification import Module
from simhcc.runner import Job, run, split
from simhcc.trials.pools import simulate_trial
from simhcc.trials.replicates import trial_size

Floats = NDArray[np.float64]

POOL = 2048
OTHER_SEED = 900_001
POOL_MARGIN = 2
TRUTHS_AT_ONCE = 20
FITS_IN_SHARD = 4
WANTED = 200
Z95 = 1.959963984540054


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

    def table(self) -> pd.DataFrame:
        """One row per parameter: intervals that hold the truth, of how many, with the binomial 95 % limits of their share.

        `correlation` is that of truths and posterior means, `sd_ratio` the mean posterior sd over prior sd.
        """
        rows = []
        repeats = len(self.truth)
        for k, name in enumerate(self.names):
            hits = int(self.covered[:, k].sum())
            limits = binomtest(hits, repeats).proportion_ci(0.95)
            rows.append(
                {
                    "parameter": name,
                    "covered": hits,
                    "repeats": repeats,
                    "coverage": hits / repeats,
                    "lower": float(limits.low),
                    "upper": float(limits.high),
                    "correlation": float(np.corrcoef(self.truth[:, k], self.mean[:, k])[0, 1]),
                    "sd_ratio": float(self.sd[:, k].mean()),
                }
            )
        return pd.DataFrame(rows)

    def overall(self) -> dict[str, float]:
        """Coverage over all parameters, with 95 % limits in which data sets, not parameters, are independent.

        `excluded` counts parameters whose own binomial limits do not hold the nominal level.
        """
        each = self.covered.mean(axis=1)
        half = Z95 * float(each.std(ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else math.nan
        table = self.table()
        outside = (table["lower"] > self.level) | (table["upper"] < self.level)
        return {
            "level": self.level,
            "repeats": len(each),
            "coverage": float(each.mean()),
            "lower": float(each.mean()) - half,
            "upper": float(each.mean()) + half,
            "excluded": int(outside.sum()),
        }


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
    """Simulate and fit `repeats` data sets; both are jobs of the runner.

    `tamper` changes the terms of the likelihood, and `believed` the scales that it takes for true, to see the check fail.

    Emulators are fitted once, over the prior, and serve all repeats.
    """
    options = options or Options()
    terms, predict, scales, figures = emulated_prior(module, base, options)
    rng = np.random.default_rng([seed, 5])
    size = len(module.fitted)
    x = rng.standard_normal((repeats, size + 2))
    tau, delta = scales.tau(x[:, -2]), scales.delta(x[:, -1])
    observed = _data(module, base, figures, module.values(x[:, :-2]), tau, seed, rng, options)
    for one in figures:
        told = observed[one.trial.id]
        told += delta[:, None] * rng.standard_normal(told.shape)
    tail = 0.5 * (1.0 - level)
    options.say(f"{module.id}: {repeats} data sets fitted")
    inputs = {
        "seed": seed,
        "coordinates": size + 2,
        "tails": (tail, 1.0 - tail),
        "likelihood": _bytes_of(([tamper(term) for term in terms], dict(predict), believed or scales)),
        "observed": observed,
    }
    job = Job(
        f"recovery-{module.id}-fits",
        "simhcc.calibration.recovery:fit_shard",
        inputs,
        [{"repeats": part} for part in split(repeats, -(-repeats // FITS_IN_SHARD))],
    )
    told_of = {name: np.empty((repeats, size)) for name in ("mean", "sd", "lower", "upper")}
    with _run(job, options, "fits") as results:
        for done in results:
            lo, hi = done.address["repeats"]
            for name, array in told_of.items():
                array[lo:hi] = done.arrays[name]
    return Recovery(module.names, x[:, :-2], **told_of, level=level)


def _data(
    module: Module,
    base: Mapping[str, Any],
    figures: Sequence[Figures],
    values: Mapping[str, Floats],
    tau: Floats,
    seed: int,
    rng: np.random.Generator,
    options: Options,
) -> dict[str, Floats]:
    """What each truth's trials would report, by trial (repeats, figures), on the figures' scales."""
    effects = tuple(module.content.between_trials.effects)
    repeats = len(tau)
    shifts: dict[str, dict[str, Floats]] = {}
    for one in figures:
        wider = module.entry(one.trial.id).wider
        shifts[one.trial.id] = {
            effect: wider * tau * rng.standard_normal(repeats)
            for effect in effects
            if effect in module.effects(one.trial.id)
        }
    inputs = {
        "seed": OTHER_SEED + seed,
        "base": {key: np.asarray(value, np.float64) for key, value in base.items()},
        "values": dict(values),
        "effects": shifts,
        "random_effects": list(effects),
        "trials": {one.trial.id: as_input(one) for one in figures},
    }
    shards = shards_of(figures, repeats, TRUTHS_AT_ONCE, "truths")
    options.say(f"{module.id}: trials of {repeats} truths simulated")
    job = Job(f"recovery-{module.id}-data", "simhcc.calibration.recovery:data_shard", inputs, shards)
    with _run(job, options, "data") as results:
        return gathered(results, figures, repeats, "truths")


def data_shard(inputs: Mapping[str, Any], address: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """One repetition of a trial for each truth of a range."""
    given = inputs["trials"][address["trial"]]
    lo, hi = address["truths"]
    trial = in_module(read_trial(given), inputs["random_effects"])
    here = vectors(inputs["base"], inputs["values"], lo, hi)
    pool = simulate_trial(
        trial,
        here,
        patients=max(POOL, -(-trial_size(trial) * POOL_MARGIN // 1024) * 1024),
        # Every truth has luck of its own, and every range of truths patients of its own.
        seed=inputs["seed"] + lo,
        luck=None,
        effects={effect: shift[lo:hi] for effect, shift in inputs["effects"][address["trial"]].items()},
        threads=1,
    )
    # Repetition k of the pool takes draw k: one data set for each truth.
    return {"figures": repeated(pool, given["positions"], given["later"], hi - lo, inputs["seed"] * 7919 + lo)}


def fit_shard(inputs: Mapping[str, Any], address: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Posterior mean, sd and limits of a range of data sets."""
    terms, predict, scales = pickle.loads(inputs["likelihood"])
    lo, hi = address["repeats"]
    size = inputs["coordinates"]
    found: dict[str, list[Floats]] = {"mean": [], "sd": [], "lower": [], "upper": []}
    for k in range(lo, hi):
        mine = [replace(term, observed=inputs["observed"][term.trial][k]) for term in terms]
        sample = imis(
            log_prior,
            log_likelihood(mine, predict, scales),
            lambda n, generator: generator.standard_normal((n, size)),
            wanted=WANTED,
            seed=inputs["seed"] + k,
        )
        limits = _quantiles(sample.draws[:, :-2], sample.weights, inputs["tails"])
        found["mean"].append(sample.mean()[:-2])
        found["sd"].append(np.sqrt(np.diag(sample.covariance()))[:-2])
        found["lower"].append(limits[0])
        found["upper"].append(limits[1])
    return {name: np.stack(rows) for name, rows in found.items()}


def _run(job: Job, options: Options, step: str) -> Any:
    folder = options.folder / job.name.removesuffix(f"-{step}") / step if options.folder is not None else None
    return run(
        job,
        folder,
        resume=options.resume and folder is not None and folder.exists(),
        threads=options.threads,
        dask=options.dask,
        progress=options.progress,
    )


def _bytes_of(likelihood: Any) -> bytes:
    """Terms, emulators and scales for other processes; equal ones give equal bytes."""
    buffer = io.BytesIO()
    packer = pickle.Pickler(buffer, protocol=5)
    # Without the memo, so that which of two equal texts is the same object makes no difference.
    packer.fast = True
    packer.dump(likelihood)
    return buffer.getvalue()


def _quantiles(draws: Floats, weights: Floats, probabilities: tuple[float, ...]) -> Floats:
    """Weighted quantiles of each column, (probabilities, columns)."""
    found = np.empty((len(probabilities), draws.shape[1]))
    for column in range(draws.shape[1]):
        order = np.argsort(draws[:, column])
        cumulative = np.cumsum(weights[order])
        places = np.searchsorted(cumulative / cumulative[-1], probabilities)
        found[:, column] = draws[order[np.minimum(places, len(order) - 1)], column]
    return found
