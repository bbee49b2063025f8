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
from simhcc.trials import observe
from simhcc.trials.expected import DAYS_PER_MONTH
from simhcc.trials.pools import NEXT_LINE, Pool
from simhcc.trials.rows import Row, response_shift, shifted
from simhcc.trials.statistics import analyse_replicates

Floats = NDArray[np.float64]

SHRINK = 0.02
"""weight of independence in the correlations, which keeps the matrix of a few hundred repetitions regular"""
_EDGE = 1e-3


def repeated(pool: Pool, rows: Sequence[Row], later: Sequence[str], replicates: int, seed: int) -> Floats:
    """Figures of `replicates` repetitions of a pool's trial, (replicates, rows + arms in `later`), each on its own scale.

    The pool has one draw; patients of each arm are drawn from it at random. `later` names arms whose share with a later line
    is wanted. A median that is not reached counts as the longest follow-up. Raises ModelError for a pool without patients.
    """
    trial, design = pool.trial, pool.trial.content.design
    rng = np.random.default_rng(seed)
    arms: dict[str, observe.Enrolled] = {}
    for arm in trial.content.arms:
        if arm.subset_of is not None:
            continue
        there = np.flatnonzero(~np.isnan(pool.column(arm.id, NEXT_LINE)[0]))
        if there.size == 0:
            raise ModelError(f"{trial.id}: nobody is randomised to {arm.id}")
        chosen = there[rng.integers(0, there.size, (replicates, arm.n))]
        entry = observe.entry_times(design, rng.random(chosen.shape), arm.enrolled_until_months)
        arms[arm.id] = observe.Enrolled(
            columns={name: pool.column(arm.id, name)[0][chosen] for name in pool.columns},
            entry=np.sort(entry, axis=1),
            dropout=observe.dropout_times(design, rng.random(chosen.shape)),
            window=observe.windows(design, rng.random(chosen.shape), DAYS_PER_MONTH),
            strata=pool.strata[chosen],
            subgroups={name: flags[chosen] for name, flags in pool.subgroups.items()},
        )
    whole = dict(arms)
    for arm in trial.content.arms:
        if arm.subset_of is not None:
            arms[arm.id] = _first(arms[arm.subset_of], arm.n)
    cutoffs = {look.name: observe.cutoff_of(trial, look, whole) for look in design.analyses}
    found = [_figure(pool, arms, row, cutoffs[row.look]) for row in rows]
    last = cutoffs[design.analyses[-1].name]
    for name in later:
        until = np.minimum(last[:, None] - arms[name].entry, arms[name].dropout)
        share = (arms[name].columns[NEXT_LINE] <= until).mean(axis=1)
        found.append(logit(share))
    return np.stack(found, axis=1)


def covariance(samples: Floats, sds: Sequence[float | None]) -> Floats:
    """Covariance of repeated figures (replicates, rows), with the published standard deviations where there are any."""
    sd = samples.std(axis=0, ddof=1)
    chosen = np.array([s if given is None else given for s, given in zip(sd, sds, strict=True)])
    correlation = np.corrcoef(samples, rowvar=False).reshape(len(sd), len(sd))
    correlation = (1.0 - SHRINK) * np.nan_to_num(correlation) + SHRINK * np.eye(len(sd))
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
    if row.statistic in ("landmark", "orr", "share"):
        return logit(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs: Floats = np.log(values)
    return logs


def _first(arm: observe.Enrolled, n: int) -> observe.Enrolled:
    """The first `n` patients of an arm whose patients stand in the order of entry."""
    return observe.Enrolled(
        columns={name: column[:, :n] for name, column in arm.columns.items()},
        entry=arm.entry[:, :n],
        dropout=arm.dropout[:, :n],
        window=arm.window[:, :n],
        strata=arm.strata[:, :n],
        subgroups={name: flags[:, :n] for name, flags in arm.subgroups.items()},
    )


def _figure(pool: Pool, arms: dict[str, observe.Enrolled], row: Row, cutoff: Floats) -> Floats:
    trial = pool.trial
    treated = arms[row.arm]
    mine = np.ones(treated.entry.shape, dtype=bool) if row.subgroup is None else treated.subgroups[row.subgroup]
    if row.statistic == "orr":
        yes, counted = observe.responded(trial, treated, cutoff)
        share = (yes & mine).sum(axis=1) / np.maximum((counted & mine).sum(axis=1), 1)
        return on_scale(row, shifted(np.clip(share, _EDGE, 1.0 - _EDGE), response_shift(pool, row)[:1]))
    seen = observe.see(trial, treated, row.endpoint, cutoff)
    if row.statistic == "share":
        counted = seen.counted & mine
        return on_scale(row, (seen.event & counted).sum(axis=1) / np.maximum(counted.sum(axis=1), 1))
    if row.reference is None:
        # One arm alone is analysed against itself.
        other, theirs = seen, mine
        strata = treated.strata
    else:
        control = arms[row.reference]
        other = observe.see(trial, control, row.endpoint, cutoff)
        theirs = np.ones(control.entry.shape, dtype=bool) if row.subgroup is None else control.subgroups[row.subgroup]
        strata = control.strata
    codes = np.concatenate(
        [np.where(other.counted & theirs, 0, -1), np.where(seen.counted & mine, 1, -1)], axis=1
    ).astype(np.int8)
    months = float(row.time_months or 1.0)
    found = analyse_replicates(
        np.concatenate([other.time, seen.time], axis=1),
        np.concatenate([other.event, seen.event], axis=1),
        codes,
        landmarks=(months,),
        tau=months,
        stratum=np.concatenate([strata, treated.strata], axis=1),
        threads=1,
    )
    if row.statistic == "hr":
        logs = np.where(np.isfinite(found.log_hr), found.log_hr, 0.0)
        return np.asarray(logs, np.float64)
    if row.statistic == "median":
        reached = np.isfinite(found.median[:, 1])
        return on_scale(row, np.where(reached, found.median[:, 1], found.last_time[:, 1]))
    return on_scale(row, found.survival[:, 1, 0] if row.statistic == "landmark" else found.rmst[:, 1])
