"""Patient-level noise: how much there is, how to take it out, and how many patients and draws to simulate.

With n patients per draw the mean of a draw is its true value plus Monte-Carlo noise, so the variance between draws is
the variance that matters plus the noise. Source: O'Hagan, Stevenson and Madan, Health Econ 2007;16:1009 (one-way
analysis of variance with draws as random effects).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from simhcc.economics.tables import Floats, Psa, inputs_for, numeric_table, require_number, require_same, standard_error
from simhcc.errors import InputError


def variance_split(means: pd.DataFrame, mc_variances: pd.DataFrame) -> pd.DataFrame:
    """Split the variance over draws into what the parameters do and what patients' luck does.

    `means`: draws x outcomes (for a decision: paired increments, such as INMB by strategy). `mc_variances`: the same
    shape, the squared Monte-Carlo standard error of each mean, from paired differences where the mean is one.

    One row per outcome: Outcome, Mean, MCSE (of the mean over draws, both sources), Total (variance of the means),
    Noise (mean Monte-Carlo variance), Between (Total - Noise, not below 0), Between_Raw, Between_SE, Noise_Ratio
    (Noise / Between). Between_SE takes the means as normal and the Monte-Carlo variances as known: Total x sqrt(2 /
    (draws - 1)).
    """
    table, noise = _matching(means, mc_variances)
    values, variances = table.to_numpy(), noise.to_numpy()
    total, within = values.var(axis=0, ddof=1), variances.mean(axis=0)
    return _split_table(list(table.columns), values.mean(axis=0), standard_error(values), total, within, len(table))


def variance_split_replicates(values: Floats, outcomes: list[str]) -> pd.DataFrame:
    """The same split from replicated runs: `values` is draws x replicates x outcomes, replicates with fresh luck.

    Balanced one-way analysis of variance. Rows as in `variance_split`, for the mean of one replicate: Noise is the
    variance within draws, Between (mean square between - mean square within) / replicates, Total their sum.
    """
    array = _replicates(values, outcomes)
    draws, replicates, _ = array.shape
    means = array.mean(axis=1)
    within = array.var(axis=1, ddof=1).mean(axis=0)
    between = means.var(axis=0, ddof=1) - within / replicates
    table = _split_table(outcomes, means.mean(axis=0), standard_error(means), between + within, within, draws)
    # Var(MSB) and Var(MSW) of a balanced normal one-way layout.
    square = 2.0 * means.var(axis=0, ddof=1) ** 2 / (draws - 1)
    square += 2.0 * (within / replicates) ** 2 / (draws * (replicates - 1))
    return table.assign(Between_SE=np.sqrt(square))


def noise_free(means: pd.DataFrame, mc_variances: pd.DataFrame) -> pd.DataFrame:
    """Draws of each outcome with the Monte-Carlo variance taken out: same mean, variance `Between` of `variance_split`.

    Every draw is moved towards the mean of all by the factor sqrt(Between / Total). The ranks of the draws, and so
    the noise in them, stay: use `smooth_on_inputs` where the parameters are known. Shape and labels as `means`.
    """
    table, _ = _matching(means, mc_variances)
    split = variance_split(means, mc_variances)
    total = split["Total"].to_numpy()
    factor = np.sqrt(split["Between"].to_numpy() / np.where(total > 0.0, total, 1.0))
    centre = table.mean(axis=0)
    return centre + (table - centre) * factor


@dataclass(frozen=True, eq=False)
class Smoothed:
    """Outcomes smoothed on the inputs, with the raw ones beside them.

    `report`, one row per strategy and outcome (cost, effect; the first strategy as it is, the others as increments
    over it): Strategy, Outcome, Variance_Raw, Variance_Smoothed, R2, Terms, Note (how the regression
    was simplified for want of draws).
    """

    smoothed: Psa
    raw: Psa
    report: pd.DataFrame


def smooth_on_inputs(psa: Psa, inputs: pd.DataFrame, *, method: str = "spline") -> Smoothed:
    """Replace each draw's costs and effects by their regression on all `inputs` (draws x parameters).

    What the parameters cannot explain is patients' luck when the regression is flexible enough; compare
    Variance_Smoothed with the Between of `variance_split`: clearly less means that the regression missed real
    effects, clearly more that it followed noise. Increments over the first strategy are smoothed, not levels, so
    paired luck stays paired. Expected costs and effects do not change.
    """
    from simhcc.economics import metamodel

    table = inputs_for(psa, inputs)
    names = psa.strategies
    raw = np.hstack([_from_first(psa.costs.to_numpy()), _from_first(psa.effects.to_numpy())])
    fitted = metamodel.fit(table, raw, method)
    n = len(names)
    smooth = [_to_levels(fitted.values[:, :n]), _to_levels(fitted.values[:, n:])]
    costs, effects = (pd.DataFrame(part, index=psa.costs.index, columns=names) for part in smooth)
    report = pd.DataFrame(
        {
            "Strategy": names * 2,
            "Outcome": ["cost"] * n + ["effect"] * n,
            "Variance_Raw": raw.var(axis=0, ddof=1),
            "Variance_Smoothed": fitted.values.var(axis=0, ddof=1),
            "R2": fitted.r_squared,
            "Terms": fitted.degrees,
            "Note": fitted.note,
        }
    )
    return Smoothed(Psa(costs, effects), psa, report)


def sample_size_split(
    pilot: Floats,
    outcomes: list[str],
    *,
    patients: int,
    noise_share: float = 0.05,
    mcse: float | None = None,
    total_patients: int | None = None,
) -> pd.DataFrame:
    """Patients per draw, then draws, from a pilot.

    `pilot` is draws x replicates x outcomes, each value a paired INMB (or other increment) over `patients` patients,
    replicates with fresh luck (analysis plan: 200 draws x 2 replicates). Patients per draw are the fewest for which
    the Monte-Carlo variance of an increment is at most `noise_share` of its between-draw variance. Then give one of:
    `mcse`, the standard error wanted for expected increments, or `total_patients`, a budget of patients x draws (per
    strategy).

    One row per outcome and a last row `all` with the largest need: Outcome, Between, Between_SE, Noise_Per_Patient
    (variance), Patients (infinite where the pilot shows no between-draw variance; Note says so), Draws, MCSE
    (expected with them), Note. `all` leaves out outcomes without between-draw variance unless there is no other.
    """
    if (mcse is None) == (total_patients is None):
        raise InputError(
            "both or neither of mcse and total_patients", "exactly one of them", key="mcse, total_patients"
        )
    require_number(patients, "patients", low=1.0)
    if not 0.0 < noise_share < 1.0:
        raise InputError(f"{noise_share}", "a share between 0 and 1", key="noise_share")
    split = variance_split_replicates(pilot, outcomes)
    between, per_patient = split["Between"].to_numpy(), split["Noise"].to_numpy() * patients
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = np.where(per_patient == 0.0, 1.0, np.ceil(per_patient / (noise_share * between)))
    needed = np.maximum(needed, 1.0)
    note = np.where(np.isfinite(needed), "", "no between-draw variance seen in the pilot")
    usable = np.isfinite(needed)
    shared = float(needed[usable].max()) if usable.any() else np.inf
    variance = between + per_patient / needed
    worst = between + per_patient / shared
    if mcse is not None:
        require_number(mcse, "mcse", above=0.0)
        draws = np.maximum(np.ceil(variance / mcse**2), 2.0)
        shared_draws = max(math.ceil(float(worst.max()) / mcse**2), 2)
    else:
        budget = require_number(total_patients or 0, "total_patients", low=2.0)
        draws = np.floor(budget / needed)
        shared_draws = math.floor(budget / shared)
        note = np.where(usable & (draws < 2.0), "budget too small for two draws", note)
    with np.errstate(divide="ignore"):
        reached = np.sqrt(variance / draws)
        shared_reached = float(np.sqrt(np.float64(worst.max()) / shared_draws))
    table = pd.DataFrame(
        {
            "Outcome": outcomes,
            "Between": between,
            "Between_SE": split["Between_SE"],
            "Noise_Per_Patient": per_patient,
            "Patients": needed,
            "Draws": draws,
            "MCSE": reached,
            "Note": note,
        }
    )
    too_small = "budget too small for two draws" if shared_draws < 2 else ""
    last = {
        "Outcome": "all",
        "Between": np.nan,
        "Between_SE": np.nan,
        "Noise_Per_Patient": np.nan,
        "Patients": shared,
        "Draws": float(shared_draws),
        "MCSE": shared_reached,
        "Note": too_small if usable.any() else "no between-draw variance seen in the pilot",
    }
    return pd.concat([table, pd.DataFrame([last])], ignore_index=True)


def running_means(values: pd.DataFrame, *, points: int = 50) -> pd.DataFrame:
    """Convergence: the mean of the first k draws of each column, at about `points` values of k up to all draws.

    `values` is draws x outcomes. Columns: Draws, Outcome, mean, mcse, lower, upper (mean -+ 1.96 mcse; the band of
    the mean, not of the draws). mcse is sd / sqrt(k). The first point has two draws.
    """
    table = numeric_table(values, "values")
    if len(table) < 2 or points < 1:
        raise InputError(
            f"{len(table)} draws, {points} points", "two draws and one point, or more", key="values, points"
        )
    array = table.to_numpy()
    at = np.unique(np.linspace(2, len(array), min(points, len(array) - 1)).round().astype(int))
    # Sums of deviations from the overall mean, so that large means do not eat the digits of the variance.
    centre = array.mean(axis=0)
    sums = np.cumsum(array - centre, axis=0)[at - 1]
    squares = np.cumsum((array - centre) ** 2, axis=0)[at - 1]
    k = at[:, None]
    mean = centre + sums / k
    mcse = np.sqrt(np.maximum(squares - sums**2 / k, 0.0) / (k - 1) / k)
    names = list(table.columns)
    return pd.DataFrame(
        {
            "Draws": np.repeat(at, len(names)),
            "Outcome": names * len(at),
            "mean": mean.ravel(),
            "mcse": mcse.ravel(),
            "lower": (mean - 1.959963984540054 * mcse).ravel(),
            "upper": (mean + 1.959963984540054 * mcse).ravel(),
        }
    )


# ------------------------------------------------------------------------------------------------------- inside


def _from_first(levels: Floats) -> Floats:
    """The first column, and the others minus it."""
    return np.column_stack([levels[:, :1], levels[:, 1:] - levels[:, :1]])


def _to_levels(increments: Floats) -> Floats:
    return np.column_stack([increments[:, :1], increments[:, 1:] + increments[:, :1]])


def _matching(means: pd.DataFrame, mc_variances: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    table, noise = numeric_table(means, "means"), numeric_table(mc_variances, "mc_variances")
    require_same(table.columns, noise.columns, "mc_variances", "outcomes", "means")
    require_same(table.index, noise.index, "mc_variances", "draws", "means")
    if len(table) < 2:
        raise InputError("one draw", "two draws or more", key="means")
    if (noise.to_numpy() < 0.0).any():
        raise InputError("a negative variance", "squared standard errors, 0 or more", key="mc_variances")
    return table, noise.loc[table.index, table.columns]


def _replicates(values: Floats, outcomes: list[str]) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 3 or array.shape[0] < 2 or array.shape[1] < 2 or array.shape[2] != len(outcomes):
        raise InputError(
            f"an array of shape {array.shape} for {len(outcomes)} outcomes",
            "draws x replicates x outcomes, two draws and two replicates at least",
            key="pilot",
        )
    if not np.isfinite(array).all():
        raise InputError("a missing or infinite number", "a finite number everywhere", key="pilot")
    return array


def _split_table(
    outcomes: list[str], mean: Floats, mcse: Floats, total: Floats, within: Floats, draws: int
) -> pd.DataFrame:
    raw = total - within
    between = np.maximum(raw, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(within == 0.0, 0.0, within / between)
    return pd.DataFrame(
        {
            "Outcome": outcomes,
            "Mean": mean,
            "MCSE": mcse,
            "Total": total,
            "Noise": within,
            "Between": between,
            "Between_Raw": raw,
            "Between_SE": total * np.sqrt(2.0 / (draws - 1)),
            "Noise_Ratio": ratio,
        }
    )
