"""What a trial sees of its patients: staggered entry, drop-out, data cut-offs, scans in their windows.

Times in a pool are months from the patient's time zero and already lie on the trial's scans. Here a scan only moves
within its window, as appointments do, and nothing that a scan should see is seen after the last scan of the protocol.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simhcc.inputs.trials import RESPONSE, Analysis, Design, Trial
from simhcc.trials.pools import HORIZON, NEXT_LINE, Pool, median_cutoff
from simhcc.trials.statistics import apply_follow_up, event_cutoff, scan_times

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

DAYS_PER_MONTH = 365.25 / 12.0


@dataclass(frozen=True)
class Enrolled:
    """Patients of one arm in R replicates, arrays [R, n]: when they entered, when they left, how early they come to scans."""

    columns: Mapping[str, Floats]
    """times of the pool's columns, [R, n]"""
    entry: Floats
    """calendar month of randomisation"""
    dropout: Floats
    """months from randomisation to drop-out, infinite for never"""
    window: Floats
    """months by which scans come late (negative: early)"""
    strata: NDArray[np.int32]
    subgroups: Mapping[str, Flags]
    draw: NDArray[np.int64]
    """[R]: draw of the parameters of each replicate"""


@dataclass(frozen=True)
class Seen:
    """One endpoint of one arm at a data cut-off, arrays [R, n]; `counted` patients take part."""

    time: Floats
    event: Flags
    counted: Flags


def entry_times(design: Design, u: Floats, until: float | None) -> Floats:
    """Calendar months of entry from uniform numbers: even over the accrual, or half of the patients in its last part."""
    months = design.accrual_months
    if until is not None:
        return u * until
    if design.accrual_last_half_months is None:
        return u * months
    early = months - design.accrual_last_half_months
    return np.where(u < 0.5, 2.0 * u * early, early + (2.0 * u - 1.0) * design.accrual_last_half_months)


def dropout_times(design: Design, u: Floats) -> Floats:
    """Months to drop-out from uniform numbers, exponential."""
    if design.drop_out_per_month == 0.0:
        return np.full(u.shape, np.inf)
    return -np.log1p(-u) / design.drop_out_per_month


def windows(design: Design, u: Floats) -> Floats:
    """Months by which a patient's scans come late or early, even over the window."""
    return (2.0 * u - 1.0) * (design.assessment.window_days or 0.0) / DAYS_PER_MONTH


def scans(design: Design) -> Floats:
    """Months of the protocol's scans."""
    segments = design.assessment.segments
    ends = [segment.from_months for segment in segments[1:]] + [math.inf]
    horizon = min(design.assessment.until_months or HORIZON, HORIZON)
    return scan_times([(s.every_months, end) for s, end in zip(segments, ends, strict=True)], horizon)


def event_times(trial: Trial, arm: Enrolled, endpoint: str) -> tuple[Floats, Floats, Floats]:
    """First event, competing censoring, and origin after randomisation of an endpoint, [R, n] each; NaN: not at risk."""
    columns = arm.columns
    latest = trial.content.design.assessment.until_months
    found = np.full(arm.entry.shape, np.inf)
    scan = columns.get(f"{endpoint}/scan")
    now = columns.get(f"{endpoint}/now")
    never = np.zeros(arm.entry.shape, dtype=bool)
    if scan is not None:
        never |= np.isnan(scan)
        moved = np.maximum(scan + arm.window, 0.0)
        if latest is not None:
            moved = np.where(scan > latest, np.inf, moved)
        found = np.fmin(found, moved)
    if now is not None:
        never |= np.isnan(now)
        found = np.fmin(found, now)
    censor = columns.get(f"{endpoint}/censor", np.full(arm.entry.shape, np.inf))
    origin = columns.get(f"{endpoint}/origin", np.zeros(arm.entry.shape))
    return np.where(never, np.nan, found), np.where(never, np.inf, censor), np.where(never, 0.0, origin)


def see(trial: Trial, arm: Enrolled, endpoint: str, cutoff: Floats) -> Seen:
    """An endpoint as the trial sees it at `cutoff` (calendar months, [R] or one number)."""
    happened, censor, origin = event_times(trial, arm, endpoint)
    at_risk = ~np.isnan(happened)
    last = scans(trial.content.design) if f"{endpoint}/scan" in arm.columns else None
    followed = apply_follow_up(
        np.where(at_risk, happened, np.inf),
        arm.entry + origin,
        np.asarray(cutoff, dtype=np.float64).reshape(-1, 1),
        np.maximum(np.minimum(arm.dropout - origin, censor), 0.0),
        last_assessment=last,
    )
    return Seen(followed.time, followed.event, at_risk & followed.entered)


def responded(trial: Trial, arm: Enrolled, cutoff: Floats) -> tuple[Flags, Flags]:
    """Whether a response was seen before progression, a further line, drop-out and the cut-off; and who counts."""
    response, end = arm.columns[RESPONSE], arm.columns[f"{RESPONSE}/end"]
    counted = ~np.isnan(response) & (arm.entry <= np.asarray(cutoff).reshape(-1, 1))
    most = np.minimum(np.asarray(cutoff).reshape(-1, 1) - arm.entry, arm.dropout)
    within = trial.content.response.within_months if trial.content.response is not None else None
    if within is not None:
        most = np.minimum(most, within)
    with np.errstate(invalid="ignore"):
        return (response < end) & (response <= most) & counted, counted


def cutoff_of(trial: Trial, look: Analysis, arms: Mapping[str, Enrolled]) -> Floats:
    """Calendar month of a look's cut-off in each replicate, [R]: fixed, or when the events of all arms are reached."""
    replicates = next(iter(arms.values())).entry.shape[0]
    if not look.event_driven:
        return np.full(replicates, median_cutoff(trial, look.name))
    times, entries, lefts = [], [], []
    for arm in arms.values():
        happened, censor, origin = event_times(trial, arm, str(look.endpoint))
        times.append(np.where(np.isnan(happened), np.inf, happened))
        entries.append(arm.entry + origin)
        lefts.append(np.maximum(np.minimum(arm.dropout - origin, censor), 0.0))
    reached = event_cutoff(
        np.concatenate(times, axis=1), np.concatenate(entries, axis=1), int(look.events or 1), np.concatenate(lefts, 1)
    )
    return np.minimum(reached, HORIZON)


def next_line_share(arm: Enrolled, cutoff: Floats) -> Floats:
    """Share of the randomised who had a further line of systemic therapy by the cut-off, [R]."""
    later = arm.columns[NEXT_LINE]
    entered = ~np.isnan(later) & (arm.entry <= cutoff[:, None])
    with np.errstate(invalid="ignore"):
        yes = (later <= np.minimum(cutoff[:, None] - arm.entry, arm.dropout)) & entered
    return np.asarray(yes.sum(axis=1) / np.maximum(entered.sum(axis=1), 1))


def pooled(pool: Pool, arm: str, entry: Floats, dropout: Floats, window: Floats) -> Enrolled:
    """All patients of one arm of a pool as one large arm in each draw."""
    draws, patients = pool.draws, pool.patients
    return Enrolled(
        columns={name: pool.column(arm, name) for name in pool.columns},
        entry=np.broadcast_to(entry, (draws, patients)),
        dropout=np.broadcast_to(dropout, (draws, patients)),
        window=np.broadcast_to(window, (draws, patients)),
        strata=np.broadcast_to(pool.strata, (draws, patients)),
        subgroups={name: np.broadcast_to(flags, (draws, patients)) for name, flags in pool.subgroups.items()},
        draw=np.arange(draws),
    )
