"""Many replicates of a whole trial: patients drawn from its pool, enrolled, followed, and analysed as the trialists did.

A replicate takes different patients for each arm, without replacement, so it is a trial of independent patients. With
several draws of the parameters replicate r takes draw r modulo their number: the spread over replicates then holds
sampling and parameter uncertainty both. Replicates are drawn in blocks of `BLOCK`, each with a generator of its own, so
they are the same numbers for any cut into shards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhcc.errors import InputError
from simhcc.inputs.trials import Analysis, Trial, TrialModel
from simhcc.runner import Address, Job, ProgressCallback, run, split
from simhcc.trials import observe
from simhcc.trials.pools import NEXT_LINE, Plan, Pool
from simhcc.trials.rows import Row, response_shift, rows_of, shifted
from simhcc.trials.statistics import TrialAnalysis, analyse_replicates

Floats = NDArray[np.float64]

BLOCK = 50
"""replicates that share a generator"""
SHARD_REPLICATES = 250
SHARD_PATIENTS = 8192
"""patients of a shard with one draw"""
SHARD_OF_DRAWS = 32768
"""patients of a shard with several draws: to put their numbers in place takes as long as a thousand patients"""
CURVE_REPLICATES = 500
"""replicates whose curves are kept for the figures"""
CURVE_POINTS = 90
STILL_FOLLOWED = 0.05
"""a curve is kept while this share of its arm entered early enough to be followed so long"""
SPREAD = 0.95


@dataclass(frozen=True)
class Replicates:
    """What R replicates of a trial showed."""

    rows: tuple[Row, ...]
    values: Floats
    """(R, rows): the row's statistic; infinite for a median not reached, NaN where the row is not predicted"""
    z: Floats
    """(R, rows): z of the stratified log-rank test, positive for a benefit of the arm; NaN but for contrasts"""
    events: Floats
    """(R, rows): events behind a contrast, of both arms; NaN otherwise"""
    cutoffs: Floats
    """(R, looks): calendar month of each look"""
    next_line: Floats
    """(R, arms): share of the randomised who had a further line by the last look"""
    curve_names: tuple[tuple[str, str], ...]
    """(endpoint, arm) of each curve"""
    curve_months: Floats
    """(curves, points)"""
    curves: Floats
    """(kept replicates, curves, points): Kaplan-Meier survival at the last look of the endpoint; NaN beyond follow-up"""
    draws: int
    pool_patients: int

    @property
    def count(self) -> int:
        """Replicates."""
        return int(self.values.shape[0])

    def effective(self, row: Row, n: int) -> float:
        """Replicates that would carry the same Monte-Carlo error if they shared neither pool nor draws."""
        shared = 1.0 / self.count + n / (self.pool_patients * self.draws)
        if self.draws > 1:
            shared = max(shared, 1.0 / self.draws)
        return 1.0 / shared


# -- pools through the runner --------------------------------------------------------------------------------------


def pool_job(plan: Plan, name: str) -> Job:
    """The runner's job that simulates a plan's patients."""
    inputs = {
        "seed": plan.seed,
        "luck": -1 if plan.luck is None else plan.luck,
        "first_patient": plan.first_patient,
        "evaluations": tuple(part.evaluation for part in plan.parts),
        "numbers": tuple(dict(part.numbers) for part in plan.parts),
        "values": {key: np.ascontiguousarray(value) for key, value in plan.values.items()},
        "cohort": dict(plan.cohort),
        "levels": dict(plan.levels),
    }
    draws = [(lo, hi) for lo, hi in split(plan.draws, -(-plan.draws // max(SHARD_OF_DRAWS // plan.patients, 1)))]
    pieces = -(-plan.patients // SHARD_PATIENTS) if plan.draws == 1 else 1
    patients = split(plan.patients, pieces, 1024)
    shards: list[Address] = [
        {"part": part, "draws": d, "patients": p} for part in range(len(plan.parts)) for d in draws for p in patients
    ]
    return Job(name, "simhcc.trials.replicates:pool_shard", inputs, shards)


def pool_shard(inputs: Mapping[str, Any], address: Address) -> dict[str, NDArray[Any]]:
    """Simulate some patients of one part of a plan for some draws."""
    from simhcc.analysis import unpacked
    from simhcc.trials.pools import reached

    (lo, hi), (first, last), part = address["draws"], address["patients"], address["part"]
    values = {name: value[lo:hi] for name, value in inputs["values"].items()}
    values |= {name: np.full(hi - lo, number) for name, number in inputs["numbers"][part].items()}
    times = reached(
        unpacked(inputs["evaluations"][part]),
        values,
        {name: column[first:last] for name, column in inputs["cohort"].items()},
        {name: level[lo:hi] for name, level in inputs["levels"].items()},
        np.arange(lo, hi) if inputs["luck"] < 0 else np.full(hi - lo, inputs["luck"]),
        inputs["first_patient"] + first,
        1,
    )
    return {"times": times}


def simulated_pool(
    plan: Plan,
    name: str,
    folder: Path | None = None,
    *,
    resume: bool = False,
    threads: int | None = None,
    dask: str | None = None,
    progress: ProgressCallback | None = None,
) -> Pool:
    """The pool of a plan, simulated by the runner; arguments and errors are those of `simhcc.runner.run`."""
    job = pool_job(plan, name)
    times = {k: np.empty((plan.draws, len(plan.columns), plan.patients)) for k in range(len(plan.parts))}
    with run(job, folder, resume=resume, threads=threads, dask=dask, progress=progress) as shards:
        for shard in shards:
            (lo, hi), (first, last) = shard.address["draws"], shard.address["patients"]
            times[shard.address["part"]][lo:hi, :, first:last] = shard.arrays["times"]
    return plan.pool(times)


# -- replicates ----------------------------------------------------------------------------------------------------


def replicate(
    pool: Pool,
    replicates: int,
    seed: int,
    *,
    name: str = "replicates",
    folder: Path | None = None,
    resume: bool = False,
    threads: int | None = None,
    dask: str | None = None,
    progress: ProgressCallback | None = None,
) -> Replicates:
    """Run the trial of a pool `replicates` times.

    Raises InputError for fewer than one replicate and for a pool with fewer randomised patients than the trial needs.
    """
    if replicates < 1:
        raise InputError(f"{replicates} replicates", "at least 1", key="--replicates")
    require(pool)
    job = replicate_job(pool, replicates, seed, name)
    with run(job, folder, resume=resume, threads=threads, dask=dask, progress=progress) as shards:
        parts = [shard.arrays for shard in shards]

    def joined(key: str) -> Floats:
        return np.concatenate([part[key] for part in parts])

    months, names = curve_grid(pool.trial)
    return Replicates(
        rows=rows_of(pool.trial),
        values=joined("values"),
        z=joined("z"),
        events=joined("events"),
        cutoffs=joined("cutoffs"),
        next_line=joined("next_line"),
        curve_names=names,
        curve_months=months,
        curves=joined("curves").astype(np.float64),
        draws=pool.draws,
        pool_patients=pool.patients,
    )


def require(pool: Pool) -> None:
    """Refuse a pool from which no whole trial can be taken, with the number of patients that would do (InputError)."""
    needed = trial_size(pool.trial)
    found = int(eligible(pool).sum(axis=1).min())
    if found < needed:
        raise InputError(
            f"{found} randomised patients in a pool, of which the trial {pool.trial.id} takes {needed}",
            f"--patients {math.ceil(1.3 * pool.patients * needed / max(found, 1))} or more",
            key="--patients",
        )


def trial_size(trial: Trial) -> int:
    """Randomised patients of all arms."""
    return sum(arm.n for arm in trial.content.arms if arm.subset_of is None)


def eligible(pool: Pool) -> NDArray[np.bool_]:
    """(draws, patients): who is randomised. The arms agree: until then their histories are the same."""
    first = next(arm.id for arm in pool.trial.content.arms if arm.subset_of is None)
    return ~np.isnan(pool.column(first, NEXT_LINE))


def replicate_job(pool: Pool, replicates: int, seed: int, name: str) -> Job:
    """The runner's job of `replicate`."""
    inputs = {
        "seed": seed,
        "trial": pool.trial.content.model_dump_json(exclude_none=True),
        "columns": pool.columns,
        "times": dict(pool.times),
        "strata": pool.strata,
        "subgroups": dict(pool.subgroups),
        "shift": pool.shift,
    }
    spans = split(replicates, -(-replicates // SHARD_REPLICATES), BLOCK)
    return Job(name, "simhcc.trials.replicates:shard", inputs, [{"replicates": span} for span in spans])


def shard(inputs: Mapping[str, Any], address: Address) -> dict[str, NDArray[Any]]:
    """Run and analyse a range of replicates."""
    pool = pool_of(inputs)
    lo, hi = address["replicates"]
    arms = enrol(pool, lo, hi, inputs["seed"])
    return analysed(pool, arms, keep_curves=lo < CURVE_REPLICATES)


def pool_of(inputs: Mapping[str, Any]) -> Pool:
    """The pool that a job's inputs hold."""
    content = TrialModel.model_validate_json(inputs["trial"])
    from simhcc.inputs import read_yaml_bytes

    trial = Trial(content.id, content, (), read_yaml_bytes(b"id: trial", "a running job"))
    return Pool(
        trial, tuple(inputs["columns"]), inputs["times"], inputs["strata"], inputs["subgroups"], inputs["shift"]
    )


def enrol(pool: Pool, lo: int, hi: int, seed: int) -> dict[str, observe.Enrolled]:
    """Patients of every arm in replicates `lo` to `hi` - 1."""
    trial = pool.trial
    whole = [arm for arm in trial.content.arms if arm.subset_of is None]
    sizes = [arm.n for arm in whole]
    total = sum(sizes)
    who = eligible(pool)
    candidates = [np.flatnonzero(flags) for flags in who]
    picked = np.empty((hi - lo, total), dtype=np.int64)
    u = np.empty((3, hi - lo, total))
    for block in range(lo // BLOCK, -(-hi // BLOCK)):
        rng = np.random.Generator(np.random.Philox(key=np.array([seed, block], dtype=np.uint64)))
        for r in range(block * BLOCK, (block + 1) * BLOCK):
            mine = candidates[r % pool.draws]
            chosen = mine[rng.choice(len(mine), total, replace=False)]
            numbers = rng.random((3, total))
            if lo <= r < hi:
                picked[r - lo], u[:, r - lo] = chosen, numbers
    draw = (np.arange(lo, hi) % pool.draws)[:, None]
    arms: dict[str, observe.Enrolled] = {}
    begin = 0
    for arm in whole:
        mine_, end = picked[:, begin : begin + arm.n], begin + arm.n
        design = trial.content.design
        arms[arm.id] = observe.Enrolled(
            columns={name: pool.times[arm.id][:, k][draw, mine_] for k, name in enumerate(pool.columns)},
            entry=observe.entry_times(design, u[0, :, begin:end], arm.enrolled_until_months),
            dropout=observe.dropout_times(design, u[1, :, begin:end]),
            window=observe.windows(design, u[2, :, begin:end]),
            strata=pool.strata[mine_],
            subgroups={name: flags[mine_] for name, flags in pool.subgroups.items()},
            draw=draw[:, 0],
        )
        begin = end
    for arm in trial.content.arms:
        if arm.subset_of is not None:
            arms[arm.id] = _first_enrolled(arms[arm.subset_of], int(arm.first_enrolled or 0))
    return {arm.id: arms[arm.id] for arm in trial.content.arms}


def _first_enrolled(arm: observe.Enrolled, k: int) -> observe.Enrolled:
    order = np.argsort(arm.entry, axis=1, kind="stable")[:, :k]

    def take(values: NDArray[Any]) -> NDArray[Any]:
        return np.take_along_axis(values, order, axis=1)

    return observe.Enrolled(
        columns={name: take(column) for name, column in arm.columns.items()},
        entry=take(arm.entry),
        dropout=take(arm.dropout),
        window=take(arm.window),
        strata=take(arm.strata),
        subgroups={name: take(flags) for name, flags in arm.subgroups.items()},
        draw=arm.draw,
    )


# -- analysis ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """Two arms compared in one endpoint at one look, in everyone or a subgroup."""

    endpoint: str
    look: str
    subgroup: str | None
    arm: str
    reference: str
    period: tuple[float, float] | None = None


def comparisons(trial: Trial, rows: Sequence[Row]) -> dict[Comparison, list[int]]:
    """The comparisons that give all rows -> the rows each gives; contrasts first, arms' own figures from them."""
    found: dict[Comparison, list[int]] = {}
    waiting = []
    for k, row in enumerate(rows):
        if row.missing is not None or row.statistic in ("orr", "share"):
            continue
        if row.kind == "contrast":
            key = Comparison(row.endpoint, row.look, row.subgroup, row.arm, str(row.reference), row.period)
            found.setdefault(key, []).append(k)
        else:
            waiting.append(k)
    ids = [arm.id for arm in trial.content.arms]
    for k in waiting:
        row = rows[k]
        for key in found:
            same = (key.endpoint, key.look, key.subgroup) == (row.endpoint, row.look, row.subgroup)
            if same and row.arm in (key.arm, key.reference):
                found[key].append(k)
                break
        else:
            other = next((name for name in ids if name != row.arm), row.arm)
            found[Comparison(row.endpoint, row.look, row.subgroup, row.arm, other)] = [k]
    return found


def analysed(pool: Pool, arms: Mapping[str, observe.Enrolled], keep_curves: bool) -> dict[str, NDArray[Any]]:
    """All statistics of some replicates."""
    trial, rows = pool.trial, rows_of(pool.trial)
    design = trial.content.design
    replicates = next(iter(arms.values())).entry.shape[0]
    whole = {arm.id: arms[arm.id] for arm in trial.content.arms if arm.subset_of is None}
    cutoffs = {look.name: observe.cutoff_of(trial, look, whole) for look in design.analyses}
    values = np.full((replicates, len(rows)), np.nan)
    z, events = values.copy(), values.copy()
    for comparison, wanted in comparisons(trial, rows).items():
        marks = sorted({float(rows[k].time_months or 0.0) for k in wanted if rows[k].statistic == "landmark"})
        taus = {float(rows[k].time_months or 0.0) for k in wanted if rows[k].statistic == "rmst"} or {1.0}
        for tau in taus:
            analysis, ok = compare(trial, arms, comparison, cutoffs[comparison.look], marks, tau)
            if analysis is None:
                continue
            for k in wanted:
                if rows[k].statistic == "rmst" and rows[k].time_months != tau:
                    continue
                longest = (cutoffs[comparison.look] - arms[rows[k].arm].entry.min(axis=1))[ok]
                values[ok, k] = _statistic(rows[k], comparison, analysis, marks, longest)
                if rows[k].period is not None:
                    events[ok, k] = analysis.period_events[:, 0].sum(axis=1)
                elif rows[k].kind == "contrast":
                    z[ok, k] = -analysis.logrank_z
                    events[ok, k] = analysis.events.sum(axis=1)
    for k, row in enumerate(rows):
        if row.missing is None and row.statistic in ("orr", "share"):
            values[:, k] = _share(pool, arms[row.arm], row, cutoffs[row.look])
    last = cutoffs[design.analyses[-1].name]
    months, names = curve_grid(trial)
    found = {
        "values": values,
        "z": z,
        "events": events,
        "cutoffs": np.stack(list(cutoffs.values()), axis=1),
        "next_line": np.stack([observe.next_line_share(arm, last) for arm in arms.values()], axis=1),
        "curves": np.empty((0, len(names), CURVE_POINTS), dtype=np.float32),
    }
    if keep_curves:
        found["curves"] = _curves(trial, arms, cutoffs, months, names)
    return found


def compare(
    trial: Trial,
    arms: Mapping[str, observe.Enrolled],
    comparison: Comparison,
    cutoff: Floats,
    landmarks: Sequence[float],
    tau: float,
) -> tuple[TrialAnalysis | None, NDArray[np.bool_]]:
    """The analysis of a comparison, and the replicates it could be made in: both arms have patients."""
    sides = (arms[comparison.reference], arms[comparison.arm])
    seen = [observe.see(trial, side, comparison.endpoint, cutoff) for side in sides]
    codes = []
    for code, (side, look) in enumerate(zip(sides, seen, strict=True)):
        counted = look.counted
        if comparison.subgroup is not None:
            counted = counted & side.subgroups[comparison.subgroup]
        codes.append(np.where(counted, code, -1).astype(np.int8))
    ok: NDArray[np.bool_] = np.asarray((codes[0] >= 0).any(axis=1) & (codes[1] >= 0).any(axis=1))
    if not ok.any():
        return None, ok
    analysis = analyse_replicates(
        np.concatenate([look.time for look in seen], axis=1)[ok],
        np.concatenate([look.event for look in seen], axis=1)[ok],
        np.concatenate(codes, axis=1)[ok],
        landmarks=landmarks,
        tau=tau,
        stratum=np.concatenate([side.strata for side in sides], axis=1)[ok],
        period_edges=comparison.period or (),
        threads=1,
    )
    return analysis, ok


def _statistic(
    row: Row, comparison: Comparison, analysis: TrialAnalysis, marks: Sequence[float], longest: Floats
) -> Floats:
    if row.period is not None:
        return np.exp(analysis.period_log_hr[:, 0])
    if row.kind == "contrast":
        return np.asarray(analysis.hazard_ratio)
    side = 1 if row.arm == comparison.arm else 0
    if row.statistic == "median":
        return np.asarray(analysis.median[:, side])
    if row.statistic == "rmst":
        return np.asarray(analysis.rmst[:, side])
    place = marks.index(float(row.time_months or 0.0))
    # Nobody entered early enough to be followed so long: the curve says nothing there.
    return np.where(longest < marks[place], np.nan, analysis.survival[:, side, place])


def _share(pool: Pool, arm: observe.Enrolled, row: Row, cutoff: Floats) -> Floats:
    if row.statistic == "orr":
        yes, counted = observe.responded(pool.trial, arm, cutoff)
    else:
        seen = observe.see(pool.trial, arm, row.endpoint, cutoff)
        yes, counted = seen.event, seen.counted
    if row.subgroup is not None:
        counted = counted & arm.subgroups[row.subgroup]
    with np.errstate(invalid="ignore"):
        share = (yes & counted).sum(axis=1) / counted.sum(axis=1)
    if row.statistic == "orr":
        share = shifted(share, response_shift(pool, row)[arm.draw])
    return np.asarray(share)


# -- curves --------------------------------------------------------------------------------------------------------


def curve_grid(trial: Trial) -> tuple[Floats, tuple[tuple[str, str], ...]]:
    """Months at which curves are kept, (curves, points), and the (endpoint, arm) of each."""
    names = []
    ends = []
    for name, endpoint in trial.content.endpoints.items():
        if endpoint.statistic == "share" or endpoint.not_modelled is not None:
            continue
        look = last_look(trial, name)
        marks = [t.time_months or 0.0 for t in trial.content.targets if t.endpoint == name]
        medians = [1.3 * t.value for t in trial.content.targets if t.endpoint == name and t.statistic == "median"]
        follow_up = (look.follow_up_months or trial.content.design.follow_up_median_months or 24.0) * 1.25
        end = max([follow_up, *(1.15 * m for m in marks), *medians])
        for arm in trial.content.arms:
            names.append((name, arm.id))
            ends.append(end)
    grid = np.linspace(0.0, np.array(ends), CURVE_POINTS + 1, axis=1)[:, 1:] if ends else np.empty((0, CURVE_POINTS))
    return grid, tuple(names)


def last_look(trial: Trial, endpoint: str) -> Analysis:
    """The last look about an endpoint, or about all."""
    fitting = [a for a in trial.content.design.analyses if a.endpoint in (None, endpoint)]
    return (fitting or list(trial.content.design.analyses))[-1]


def _curves(
    trial: Trial,
    arms: Mapping[str, observe.Enrolled],
    cutoffs: Mapping[str, Floats],
    months: Floats,
    names: tuple[tuple[str, str], ...],
) -> NDArray[np.float32]:
    replicates = next(iter(arms.values())).entry.shape[0]
    found = np.full((replicates, len(names), CURVE_POINTS), np.nan, dtype=np.float32)
    for k, (endpoint, arm) in enumerate(names):
        other = next((name for name in arms if name != arm), arm)
        look = last_look(trial, endpoint)
        comparison = Comparison(endpoint, look.name, None, arm, other)
        analysis, ok = compare(trial, arms, comparison, cutoffs[look.name], months[k].tolist(), 1.0)
        if analysis is not None:
            followed = cutoffs[look.name] - np.quantile(arms[arm].entry, STILL_FOLLOWED, axis=1)
            found[ok, k] = np.where(followed[ok, None] < months[k], np.nan, analysis.survival[:, 1])
    return found


def quantile(values: Floats, level: float) -> float:
    """A quantile of values that may be infinite; NaN are left out; NaN where nothing is left."""
    known = np.sort(values[~np.isnan(values)])
    if known.size == 0:
        return math.nan
    place = level * (known.size - 1)
    low, high = known[math.floor(place)], known[math.ceil(place)]
    if math.isinf(low) or math.isinf(high):
        return float(low if place - math.floor(place) < 0.5 else high)
    return float(low + (high - low) * (place - math.floor(place)))
