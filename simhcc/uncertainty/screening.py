"""All parameters at once, through SALib: Morris screening and Sobol variance shares.

Parameters are moved through their quantile functions: SALib samples uniforms, a `Factor` turns them into values. What is
drawn together (a correlated group, a calibrated block, the shares of a Dirichlet) is one factor, since variance shares of
dependent inputs have no unique meaning. Sources: Morris, Technometrics 1991;33:161; Campolongo and others, Environ Model
Softw 2007;22:1509; Saltelli and others, Comput Phys Commun 2010;181:259; Jansen, Comput Phys Commun 1999;117:35.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simhcc.errors import InputError
from simhcc.uncertainty.deterministic import Rows, Run
from simhcc.uncertainty.factors import LEVEL, Factor
from simhcc.uncertainty.outcome import Outcome
from simhcc.uncertainty.points import Estimates
from simhcc.uncertainty.question import Question

Floats = NDArray[np.float64]

MORRIS_LEVELS = 4
RESAMPLES = 200
NOISY = 0.05
"""share of patient-level noise in the variance of the outcome above which it is pointed out"""


# ---------------------------------------------------------------------------------------------------------------------
# Which factors do anything


def active(
    question: Question, outcome: Outcome, factors: Sequence[Factor], seed: int, run: Run
) -> tuple[list[Factor], list[str]]:
    """Factors that change the outcome of anybody when they move to either end, and the names of the others.

    With the same patients and luck a factor that touches nobody leaves the outcome bit for bit as it is. Each is moved from
    the base case, and from a point drawn at random, so that what acts only together with others shows too.
    """
    rows = Rows(question)
    numbers = question.parameters
    starts = np.random.default_rng(seed).random((1, sum(factor.size for factor in factors)))
    elsewhere = _together(question, factors, starts)
    at_base, at_other = rows.add_base(), rows.add(elsewhere).start
    places = []
    for factor in factors:
        ends = np.repeat([[(1 - LEVEL) / 2], [(1 + LEVEL) / 2]], factor.size, axis=1)
        # The shares of a Dirichlet depend on the ratios of their uniforms, so the parts also go apart.
        apart = np.where(np.arange(factor.size) % 2 == 0, ends[0], ends[1])[None, :]
        values = factor.values(numbers, np.concatenate([ends, apart]))
        background = {name: np.repeat(value, 3, axis=0) for name, value in elsewhere.items()}
        places.append((rows.add(values), rows.add(background | values)))
    found = outcome.of(run(rows.arrays(), "screening"))
    every = np.concatenate([found.value[None], found.without])
    kept: list[Factor] = []
    idle: list[str] = []
    for factor, (near, far) in zip(factors, places, strict=True):
        same = all(
            np.array_equal(every[:, place], np.repeat(every[:, [start]], 3, axis=1), equal_nan=True)
            for place, start in ((near, at_base), (far, at_other))
        )
        if same:
            idle.append(factor.name)
        else:
            kept.append(factor)
    return kept, idle


# ---------------------------------------------------------------------------------------------------------------------
# Morris


@dataclass(frozen=True, eq=False)
class Morris:
    """Elementary effects of each factor, in units of the outcome, over its central 95 %.

    `table`, largest first: factor, members (number of parameters), mu_star (mean absolute effect) with `mu_star_conf` (half
    width of its 95 % interval over trajectories) and `mu_star_mcse` (of the finite number of patients), mu and sigma (mean
    and spread of the effects; missing where a factor holds several parameters). A Dirichlet has a row for each share's own
    draw (`NAME.k`). `idle` names the factors
    without any effect.
    """

    outcome: Outcome
    trajectories: int
    points: int
    table: pd.DataFrame
    idle: tuple[str, ...]


def morris(
    question: Question, outcome: Outcome, factors: Sequence[Factor], trajectories: int, seed: int, run: Run
) -> Morris:
    """Morris screening with `trajectories` trajectories on four levels between the 2.5th and the 97.5th percentile."""
    from SALib.analyze import morris as analysis
    from SALib.sample import morris as sampling

    if trajectories < 2:
        raise InputError(str(trajectories), "2 trajectories or more", "--samples")
    kept, idle = active(question, outcome, factors, seed, run)
    _need_some(kept, outcome)
    # The uniforms behind the shares of one Dirichlet are independent, so each has an effect of its own.
    single = all(factor.divisible for factor in kept)
    problem = _problem(kept, (1 - LEVEL) / 2, (1 + LEVEL) / 2, grouped=not single)
    with _quiet():
        x = sampling.sample(problem, trajectories, num_levels=MORRIS_LEVELS, seed=seed + 1)
    values = _at(question, outcome, kept, x, run, "morris")
    _all_finite(values, outcome)

    def indices(y: Floats, resamples: int) -> dict[str, Floats]:
        with _quiet():
            found = analysis.analyze(
                problem, x, y, num_resamples=resamples, conf_level=LEVEL, num_levels=MORRIS_LEVELS, seed=seed + 1
            )
        return {key: np.asarray(found[key], dtype=np.float64) for key in ("mu_star", "mu_star_conf", "mu", "sigma")}

    whole = indices(values.value, RESAMPLES)
    by_batch = Estimates(whole["mu_star"], np.stack([indices(y, 2)["mu_star"] for y in values.without]))
    named = [(factor, k) for factor in kept for k in range(factor.size if single else 1)]
    table = pd.DataFrame(
        {
            "factor": [f"{factor.name}.{k}" if single and factor.size > 1 else factor.name for factor, k in named],
            "members": [len(factor.members) for factor, _ in named],
            "mu_star": whole["mu_star"],
            "mu_star_conf": whole["mu_star_conf"],
            "mu_star_mcse": by_batch.mcse,
            "mu": whole["mu"] if single else np.nan,
            "sigma": whole["sigma"] if single else np.nan,
        }
    ).sort_values("mu_star", ascending=False, kind="stable", ignore_index=True)
    return Morris(outcome, trajectories, len(x), table, tuple(idle))


# ---------------------------------------------------------------------------------------------------------------------
# Sobol


@dataclass(frozen=True, eq=False)
class Sobol:
    """Shares of the variance of the outcome over the uncertain parameters.

    `table`, largest total first: factor, members, S1 (alone) and ST (with all its interactions), each with `_conf` (half
    width of the 95 % interval over samples) and `_mcse` (of the finite number of patients). `pairs`: first, second, S2,
    S2_conf, where asked for. `variance` is that of the outcome, `mean` its mean; `noise` the share of the variance that
    comes from the finite number of patients: at most so much of each ST is an artefact. `idle` names factors without effect.
    """

    outcome: Outcome
    samples: int
    points: int
    mean: float
    variance: float
    noise: float
    table: pd.DataFrame
    pairs: pd.DataFrame
    idle: tuple[str, ...]


def sobol(
    question: Question,
    outcome: Outcome,
    factors: Sequence[Factor],
    samples: int,
    seed: int,
    run: Run,
    second_order: bool = False,
) -> Sobol:
    """Sobol indices from `samples` (a power of two) base samples: samples x (factors + 2) points."""
    from SALib.analyze import sobol as analysis
    from SALib.sample import sobol as sampling

    if samples < 8 or samples & (samples - 1):
        raise InputError(str(samples), "a power of two from 8, for example 256", "--samples")
    kept, idle = active(question, outcome, factors, seed, run)
    _need_some(kept, outcome)
    problem = _problem(kept, 0.0, 1.0, grouped=any(factor.size > 1 for factor in kept))
    with _quiet():
        x = sampling.sample(problem, samples, calc_second_order=second_order, scramble=True, seed=seed + 1)
    values = _at(question, outcome, kept, x, run, "sobol")
    _all_finite(values, outcome)

    def indices(y: Floats, resamples: int) -> Any:
        with _quiet():
            return analysis.analyze(
                problem, y, calc_second_order=second_order, num_resamples=resamples, conf_level=LEVEL, seed=seed + 1
            )

    whole = indices(values.value, RESAMPLES)
    parts = [indices(y, 2) for y in values.without]
    error = {
        key: Estimates(np.asarray(whole[key]), np.stack([np.asarray(part[key]) for part in parts])).mcse
        for key in ("S1", "ST")
    }
    table = pd.DataFrame(
        {
            "factor": [factor.name for factor in kept],
            "members": [len(factor.members) for factor in kept],
            "S1": whole["S1"],
            "S1_conf": whole["S1_conf"],
            "S1_mcse": error["S1"],
            "ST": whole["ST"],
            "ST_conf": whole["ST_conf"],
            "ST_mcse": error["ST"],
        }
    ).sort_values("ST", ascending=False, kind="stable", ignore_index=True)
    pairs = [
        {
            "first": kept[j].name,
            "second": kept[k].name,
            "S2": float(whole["S2"][j, k]),
            "S2_conf": float(whole["S2_conf"][j, k]),
        }
        for j in range(len(kept) if second_order else 0)
        for k in range(j + 1, len(kept))
    ]
    variance = float(values.value.var())
    return Sobol(
        outcome, samples, len(x), float(values.value.mean()), variance, noise_share(values), table,
        pd.DataFrame(pairs, columns=["first", "second", "S2", "S2_conf"]), tuple(idle),
    )  # fmt: skip


def noise_share(values: Estimates) -> float:
    """Share of the variance over points that is patient-level noise left by common luck.

    The jackknife error of each point's distance from the mean over all points, squared and averaged, over the variance.
    What all points share (these patients were lucky) does not count: it moves no point against another.
    """
    variance = float(values.value.var())
    if variance == 0.0:
        return 0.0
    apart = values.map(lambda v: v - v.mean())
    return float((apart.mcse**2).mean() / variance)


# ---------------------------------------------------------------------------------------------------------------------
# SALib


def _problem(factors: Sequence[Factor], low: float, high: float, grouped: bool) -> dict[str, Any]:
    names = [f"{factor.name}#{k}" for factor in factors for k in range(factor.size)]
    problem: dict[str, Any] = {"num_vars": len(names), "names": names, "bounds": [[low, high]] * len(names)}
    if grouped:
        problem["groups"] = [factor.name for factor in factors for _ in range(factor.size)]
    return problem


def _at(question: Question, outcome: Outcome, factors: Sequence[Factor], x: Floats, run: Run, name: str) -> Estimates:
    rows = Rows(question)
    rows.add(_together(question, factors, x))
    return outcome.of(run(rows.arrays(), name))


def _together(question: Question, factors: Sequence[Factor], x: Floats) -> dict[str, Floats]:
    """Values of all factors for uniforms with a column for each of theirs, in order."""
    values: dict[str, Floats] = {}
    start = 0
    for factor in factors:
        values |= factor.values(question.parameters, x[:, start : start + factor.size])
        start += factor.size
    return values


def _need_some(factors: Sequence[Factor], outcome: Outcome) -> None:
    if not factors:
        raise InputError(f"no factor that changes {outcome.id}", "other parameters or another outcome", "--parameters")


def _all_finite(values: Estimates, outcome: Outcome) -> None:
    if not (np.isfinite(values.value).all() and np.isfinite(values.without).all()):
        share = 1.0 - float(np.isfinite(values.value).mean())
        raise InputError(
            f"{outcome.id}, which has no value at {share:.1%} of the points",
            "an outcome that always has one: nmb instead of icer, os_24m or os_rmst_60 instead of a median",
            "--outcome",
        )


@contextlib.contextmanager
def _quiet() -> Any:
    """SALib prints and warns; what matters of it is checked here."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
