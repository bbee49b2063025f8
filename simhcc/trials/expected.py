"""Expected statistics of a virtual trial, without sampling error: what a calibration compares with published figures.

The trial's accrual, drop-out, scans and cut-offs are applied to a whole pool with constant luck, so the result is a
smooth function of the parameters. Nothing here is random beyond the pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from simhcc.engine.rng import uniforms
from simhcc.inputs.trials import Analysis
from simhcc.trials import observe
from simhcc.trials.pools import Pool
from simhcc.trials.rows import Row, response_shift, rows_of, shifted
from simhcc.trials.statistics import analyse_replicates, kaplan_meier

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Expected:
    """Expected statistics of a trial's published figures.

    `values` has axes (row, draw), on the natural scale (months, shares, hazard ratios); NaN where the model does not predict
    the row. `reached` (row, draw) is, for medians, the probability that a trial of this size reaches its median; 1 elsewhere.
    `next_line` maps an arm to the share of its randomised patients that has a further line by the last cut-off, (draw,).
    """

    rows: tuple[Row, ...]
    values: Floats
    reached: Floats
    next_line: Mapping[str, Floats]


def expected(pool: Pool) -> Expected:
    """Expected value of every published figure of the pool's trial, for each draw of the pool.

    Landmarks and shares are those of the pool under the trial's censoring; hazard ratios are those of a stratified Cox model
    fitted to the whole pool; a median is exp of the expected log of the Kaplan-Meier median of a trial of the arm's size,
    which is smooth where scans make the curve fall in steps: P(median <= t) = Phi((1/2 - S(t)) / se(t)), with Greenwood's
    standard error rescaled to the arm's size (Brookmeyer & Crowley 1982 inverted).
    """
    trial, design = pool.trial, pool.trial.content.design
    ids = np.arange(pool.patients)
    u = [uniforms(0, 0, ids, f"trial/{name}") for name in ("entry", "dropout", "window")]
    arms: dict[str, observe.Enrolled] = {}
    for arm in trial.content.arms:
        entry = observe.entry_times(design, u[0], arm.enrolled_until_months)
        enrolled = observe.pooled(
            pool,
            arm.id,
            entry,
            observe.dropout_times(design, u[1]),
            observe.windows(design, u[2]),
        )
        if arm.subset_of is not None:
            share = arm.n / trial.arm(arm.subset_of).n
            enrolled = _first(enrolled, entry <= np.quantile(entry, share))
        arms[arm.id] = enrolled
    cutoffs = {look.name: _cutoff(pool, look, arms) for look in design.analyses}
    rows = rows_of(trial)
    values = np.full((len(rows), pool.draws), np.nan)
    reached = np.ones((len(rows), pool.draws))
    ratios: dict[tuple[object, ...], Floats] = {}
    for k, row in enumerate(rows):
        if row.missing is not None:
            continue
        cutoff = cutoffs[row.look]
        if row.statistic == "orr":
            yes, counted = observe.responded(trial, arms[row.arm], cutoff)
            counted = counted & _chosen(arms[row.arm], row)
            share = (yes & counted).sum(axis=1) / counted.sum(axis=1)
            values[k] = shifted(share, response_shift(pool, row))
            continue
        if row.kind == "contrast":
            key = (row.arm, row.reference, row.endpoint, row.look, row.subgroup, row.period)
            if key not in ratios:
                ratios[key] = _hazard_ratio(pool, arms, row, cutoff)
            values[k] = ratios[key]
            continue
        seen = observe.see(trial, arms[row.arm], row.endpoint, cutoff)
        counted = seen.counted & _chosen(arms[row.arm], row)
        size = trial.arm(row.arm).n * _chosen(arms[row.arm], row)[0].mean()
        for draw in range(pool.draws):
            chosen = counted[draw]
            curve = kaplan_meier(seen.time[draw][chosen], seen.event[draw][chosen])
            if row.statistic == "median":
                values[k, draw], reached[k, draw] = expected_median(
                    curve.times, curve.survival, curve.greenwood * chosen.sum() / size
                )
            elif row.statistic == "landmark":
                values[k, draw] = float(curve.survival_at(float(row.time_months or 0.0)))
            elif row.statistic == "rmst":
                values[k, draw] = curve.restricted_mean(float(row.time_months or 0.0))[0]
            else:
                values[k, draw] = float(seen.event[draw][chosen].mean())
    last = cutoffs[design.analyses[-1].name]
    later = {name: observe.next_line_share(arm, last) for name, arm in arms.items()}
    return Expected(rows, values, reached, later)


def expected_median(times: Floats, survival: Floats, greenwood: Floats) -> tuple[float, float]:
    """exp E[log median] among trials that reach it, and the probability that they do.

    `survival` and `greenwood` follow each of `times`; `greenwood` is rescaled to the size of the trial.
    """
    if times.size == 0:
        return np.nan, 0.0
    with np.errstate(all="ignore"):
        se = survival * np.sqrt(greenwood)
        below = np.where(se > 0.0, ndtr((0.5 - survival) / np.where(se > 0.0, se, 1.0)), survival <= 0.5)
    cumulative = np.maximum.accumulate(np.where(np.isfinite(below), below, 1.0))
    weight = np.diff(cumulative, prepend=0.0)
    total = float(cumulative[-1])
    if total <= 0.0:
        return np.nan, 0.0
    used = weight > 0.0
    return float(np.exp((weight[used] * np.log(times[used])).sum() / total)), total


def _cutoff(pool: Pool, look: Analysis, arms: Mapping[str, observe.Enrolled]) -> Floats:
    """Cut-off in each draw; an event-driven one when the pool has the look's events per patient."""
    whole = {arm.id: arms[arm.id] for arm in pool.trial.content.arms if arm.subset_of is None}
    if not look.event_driven or look.events is None:
        return observe.cutoff_of(pool.trial, look, whole)
    patients = sum(pool.trial.arm(name).n for name in whole)
    events = round(look.events * pool.patients * len(whole) / patients)
    return observe.cutoff_of(pool.trial, look.model_copy(update={"events": max(events, 1)}), whole)


def _first(arm: observe.Enrolled, keep: observe.Flags) -> observe.Enrolled:
    """Only the patients in `keep` enter; the others come too late for any cut-off."""
    return replace(arm, entry=np.where(keep, arm.entry, np.finfo(np.float64).max))


def _chosen(arm: observe.Enrolled, row: Row) -> observe.Flags:
    if row.subgroup is None:
        return np.ones(arm.entry.shape, dtype=bool)
    return np.asarray(arm.subgroups[row.subgroup])


def _hazard_ratio(pool: Pool, arms: Mapping[str, observe.Enrolled], row: Row, cutoff: Floats) -> Floats:
    sides = [arms[str(row.reference)], arms[row.arm]]
    seen = [observe.see(pool.trial, arm, row.endpoint, cutoff) for arm in sides]
    arm = np.concatenate(
        [np.where(s.counted & _chosen(a, row), code, -1) for code, (s, a) in enumerate(zip(seen, sides, strict=True))],
        axis=1,
    ).astype(np.int8)
    analysis = analyse_replicates(
        np.concatenate([s.time for s in seen], axis=1),
        np.concatenate([s.event for s in seen], axis=1),
        arm,
        landmarks=(),
        tau=1.0,
        stratum=np.concatenate([a.strata for a in sides], axis=1),
        period_edges=row.period or (),
        threads=1,
    )
    return np.exp(analysis.period_log_hr[:, 0]) if row.period is not None else np.asarray(analysis.hazard_ratio)
