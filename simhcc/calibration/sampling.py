"""How the figures of one trial would scatter together if the trial were repeated.

Landmarks of one curve, progression beside survival, and a hazard ratio beside the curves it summarises all rest on the same
patients. Treating them as independent would count a trial's information several times, so their covariance is taken from
virtual repetitions of the trial with its own size, accrual and follow-up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simhcc.errors import ModelError
from simhcc.trials.pools import Pool
from simhcc.trials.replicates import analysed, eligible, enrol, trial_size
from simhcc.trials.rows import Row, rows_of

Floats = NDArray[np.float64]

SHRINK = 0.02
"""weight of independence in the correlations, which keeps the matrix of a few hundred repetitions regular"""
SHARES = ("landmark", "orr", "share")
_EDGE = 1e-3


def repeated(pool: Pool, positions: Sequence[int], later: Sequence[str], replicates: int, seed: int) -> Floats:
    """Figures of `replicates` repetitions of a pool's trial, (replicates, positions + arms in `later`), on their scales.

    `positions` are those of the trial's rows, `later` names arms whose share with a later line is wanted. Repetition r takes
    draw r of the pool, beginning again at its end. A median that is not reached counts as twice the longest that was.
    Raises ModelError for a pool with too few patients for the trial.
    """
    trial = pool.trial
    there, needed = int(eligible(pool).sum(axis=1).min()), trial_size(trial)
    if there < needed:
        raise ModelError(f"{trial.id}: a pool of {there} randomised patients for a trial of {needed}")
    arms = enrol(pool, 0, replicates, seed)
    found = analysed(pool, arms, keep_curves=False)
    rows, names = rows_of(trial), list(arms)
    columns = [_whole(on_scale(rows[k], found["values"][:, k])) for k in positions]
    columns += [logit(found["next_line"][:, names.index(arm)]) for arm in later]
    return np.stack(columns, axis=1)


def _whole(values: Floats) -> Floats:
    """Figures on a scale, without holes: not reached becomes late, not computable the middle."""
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(values.shape)
    late = np.where(values == np.inf, values[known].max() + np.log(2.0), values)
    early = np.where(late == -np.inf, values[known].min() - np.log(2.0), late)
    return np.where(np.isnan(early), np.median(values[known]), early)


def covariance(samples: Floats, sds: Sequence[float | None]) -> Floats:
    """Covariance of repeated figures (replicates, rows), with the published standard deviations where there are any."""
    sd = samples.std(axis=0, ddof=1)
    chosen = np.array([s if given is None else given for s, given in zip(sd, sds, strict=True)])
    with np.errstate(invalid="ignore"):
        correlation = np.corrcoef(samples, rowvar=False).reshape(len(sd), len(sd))
    correlation = (1.0 - SHRINK) * np.nan_to_num(correlation)
    np.fill_diagonal(correlation, 1.0)
    result: Floats = correlation * np.outer(chosen, chosen)
    return result


def logit(share: Floats) -> Floats:
    """log(p / (1 - p)), p kept a thousandth away from 0 and 1."""
    p = np.clip(share, _EDGE, 1.0 - _EDGE)
    value: Floats = np.log(p / (1.0 - p))
    return value


def on_scale(row: Row, values: Floats) -> Floats:
    """Figures on the row's scale; shares are kept a thousandth away from 0 and 1."""
    if row.statistic in SHARES:
        return logit(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs: Floats = np.log(values)
    return logs
