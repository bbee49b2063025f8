"""`simhcc validate`: what the stored posterior says of every trial, fitted figures and held-out ones, beside what was published.

Each trial is simulated with draws of the posterior and repeated as a trial: the spread of a figure over the repetitions holds
posterior, the trial's random effect, discrepancy and sampling. Held-out survival is predicted with every other uncertain
number drawn too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from simhcc.calibration import scores
from simhcc.calibration.sampling import SHARES, on_scale
from simhcc.calibration.specification import Module, fitted_rows, load_module, matches
from simhcc.calibration.store import LEFT_OUT_QUANTILES, stale
from simhcc.engine.rng import uniforms
from simhcc.errors import InputError
from simhcc.inputs import ParameterSet, Posterior
from simhcc.inputs.trials import Trial
from simhcc.runner import ProgressCallback
from simhcc.trials import observe
from simhcc.trials.expected import expected
from simhcc.trials.pools import Pool, fitted_level, plan
from simhcc.trials.replicates import (
    Comparison,
    Replicates,
    compare,
    enrol,
    last_look,
    replicate,
    simulated_pool,
    trial_size,
)
from simhcc.trials.rows import Row

Floats = NDArray[np.float64]

MARGIN = 1.3
HELD_OUT_PATIENTS = 4096
"""patients behind each true ratio of a held-out contrast, so that its spread over the draws is not that of patients"""
OTHER_DRIVERS = 3
Z95 = 1.959963984540054
OS = "OS"


@dataclass(frozen=True)
class Sizes:
    """Draws of the posterior and repetitions of each trial."""

    draws: int = 200
    replicates: int = 1000
    seed: int = 1


@dataclass(frozen=True)
class Runs:
    """Where shards are kept, and what runs them."""

    folder: Path | None = None
    resume: bool = False
    threads: int | None = None
    dask: str | None = None
    progress: ProgressCallback | None = None


@dataclass(frozen=True)
class Assessed:
    """One published figure and its prediction. `scores` of distances are on the figure's own scale (log or logit).

    `role` is fitted, left out (of the fit, by its module), held out or shown;
    `residual` (published - predicted) / sd of the published figure.

    A median was published because it was reached, so `residual` and `width` compare it with the simulated trials that reach
    theirs, as the fit does, and so does `predicted` where most do not; `reached` is their share. The limits are those of all.
    """

    trial: str
    figure: str
    row: Row
    role: str
    module: str | None
    predicted: float
    lower: float
    upper: float
    lower50: float
    upper50: float
    residual: float
    crps: float
    width: float
    explanation: str | None
    reached: float

    @property
    def inside(self) -> bool:
        """Published figure in the central 95 % of the prediction."""
        return self.lower <= self.row.published <= self.upper

    @property
    def inside50(self) -> bool:
        """Published figure in the central 50 %."""
        return self.lower50 <= self.row.published <= self.upper50

    @property
    def missed(self) -> bool:
        """Outside the prediction, or a fitted figure more than two standard deviations away."""
        return not self.inside or (self.role == "fitted" and abs(self.residual) > 2.0)


@dataclass(frozen=True)
class Contrast:
    """A held-out survival contrast and what forecasters said of it.

    `observed` is the published log hazard ratio; `drawn` the predicted ones of a trial (repetitions,); `true` the expected
    log hazard ratio of each draw without sampling; `drivers` by quantity the change of the true hazard ratio (a factor) with
    one standard deviation more of it, and the share of the variance of `true` that it explains.
    """

    trial: str
    figure: str
    row: Row
    observed: float
    sd: float
    drawn: Floats
    true: Floats
    pfs: float
    drivers: Mapping[str, tuple[float, float]]
    others: Mapping[str, tuple[float, float]]
    """the numbers with the largest correlations of all that were drawn"""

    @property
    def crps(self) -> float:
        """Of the model."""
        return scores.crps_sample(self.drawn, self.observed)

    def naive(self) -> dict[str, float]:
        """CRPS of the naive forecasters."""
        return {one.name: one.score(self.observed, self.sd) for one in scores.naive_forecasters(self.pfs)}


@dataclass(frozen=True)
class Verdict:
    """A published conclusion without a figure: the chance that the trial would be significant, by forecaster."""

    trial: str
    figure: str
    words: str
    model: float
    naive: Mapping[str, float]
    predicted: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Forecast:
    """The survival ratio that a trial would report at its last look, where none has been published."""

    trial: str
    figure: str
    predicted: float
    lower: float
    upper: float
    favourable: float
    """probability of a ratio below 1"""
    significant: float
    """probability of a two-sided p below 0.05 in favour"""


@dataclass(frozen=True)
class Pattern:
    """Something about the shape of an effect: published value beside the prediction.

    `group` names the comparison whose shape it is, `kind` the sort of value (RATIOS, LOOKS, CHANGES, GAPS); `expectation` is
    the model's own value, from mean figures without the scatter of a trial of this size. Gaps are differences of shares,
    all else ratios.
    """

    trial: str
    group: str
    kind: str
    what: str
    published: float
    expectation: float
    predicted: float
    lower: float
    upper: float

    @property
    def inside(self) -> bool:
        """Published value in the central 95 % of the prediction."""
        return self.lower <= self.published <= self.upper


@dataclass(frozen=True)
class LeftOutRow:
    """A survival figure predicted by a fit of its module that did not see it."""

    trial: str
    figure: str
    published: float
    predicted: float
    lower: float
    upper: float
    lower50: float
    upper50: float
    crps: float
    residual: float
    naive: Mapping[str, float]
    ratio: bool

    @property
    def inside(self) -> bool:
        """Published figure in the central 95 %."""
        return self.lower <= self.published <= self.upper

    @property
    def inside50(self) -> bool:
        """Published figure in the central 50 %."""
        return self.lower50 <= self.published <= self.upper50


@dataclass(frozen=True)
class Validation:
    """Everything the report tells."""

    assessed: tuple[Assessed, ...]
    contrasts: tuple[Contrast, ...]
    verdicts: tuple[Verdict, ...]
    forecasts: tuple[Forecast, ...]
    patterns: tuple[Pattern, ...]
    left_out: tuple[LeftOutRow, ...]
    modules: tuple[Module, ...]
    posteriors: tuple[Posterior, ...]
    frozen_changed: tuple[str, ...]
    stale: tuple[str, ...]
    """what has changed since a stored posterior was fitted"""
    sizes: Sizes
    replicates: Mapping[str, Replicates]

    def of(self, role: str) -> list[Assessed]:
        """Figures of one role."""
        return [one for one in self.assessed if one.role == role]


def validated(
    trials: Sequence[Trial], parameters: ParameterSet, raw: ParameterSet, names: Sequence[str], sizes: Sizes, runs: Runs
) -> Validation:
    """Predict every trial with the stored posterior. `raw` holds the numbers before any fit, `names` the modules' ids.

    Raises InputError for a module without a stored posterior.
    """
    modules = tuple(load_module(name, raw) for name in names)
    stored = {posterior.id: posterior for posterior in parameters.posteriors}
    for one in modules:
        if one.id not in stored:
            raise InputError(
                f"no posterior of module {one.id}", "simhcc calibrate --store, which writes it to params/posterior"
            )
    whole = {name: np.asarray(value) for name, value in parameters.sample(sizes.draws, sizes.seed).items()}
    narrow = posterior_only(parameters, whole, sizes.draws)
    assessed: list[Assessed] = []
    contrasts: list[Contrast] = []
    verdicts: list[Verdict] = []
    forecasts: list[Forecast] = []
    patterns: list[Pattern] = []
    kept: dict[str, Replicates] = {}
    module: Module | None
    for trial in trials:
        if trial.forecast:
            continue
        module = next((m for m in modules if trial.id in [t.id for t in m.trials]), None)
        delta = _discrepancy(stored[module.id]) if module is not None else _discrepancy_of(stored, modules, trial)
        found, true, drawn, pool = _predicted(trial, narrow, "fitted", delta, sizes, runs)
        kept[trial.id] = found
        held = [k for k, row in enumerate(found.rows) if row.use == "hold_out" and row.missing is None]
        assessed += list(_assessed(trial, module, found, drawn, [k for k in range(len(found.rows)) if k not in held]))
        patterns += list(_patterns(trial, found, drawn, true))
        forecasts += list(_forecasts(trial, pool, found.rows, sizes))
        if not held:
            continue
        free, free_true, free_drawn, _ = _predicted(trial, whole, "held-out", delta, sizes, runs, HELD_OUT_PATIENTS)
        assessed += list(_assessed(trial, module, free, free_drawn, held))
        for k in held:
            row = free.rows[k]
            if row.kind != "contrast":
                continue
            pfs = _progression_ratio(free.rows, row)
            if row.verdict is not None or not math.isfinite(row.published):
                verdicts.append(_verdict(trial, row, k, free, free_drawn, pfs))
                continue
            sd = row.published_sd
            assert sd is not None
            frozen = tuple(module.content.frozen) if module is not None else ()
            contrasts.append(
                Contrast(
                    trial.id,
                    _label(free.rows, k),
                    row,
                    math.log(row.published),
                    sd,
                    free_drawn[:, k],
                    np.log(free_true[k]),
                    pfs,
                    _drivers(np.log(free_true[k]), {name: whole[name] for name in frozen}),
                    _largest(np.log(free_true[k]), whole, frozen),
                )
            )
    return Validation(
        tuple(assessed),
        tuple(contrasts),
        tuple(verdicts),
        tuple(forecasts),
        tuple(patterns),
        tuple(row for m in modules for row in _left_out(m, stored[m.id])),
        modules,
        tuple(stored[m.id] for m in modules),
        tuple(_frozen_changed(modules, raw)),
        tuple(f"{m.id}: {', '.join(changed)}" for m in modules if (changed := stale(m, raw, stored[m.id]))),
        sizes,
        kept,
    )


def posterior_only(parameters: ParameterSet, whole: Mapping[str, Floats], draws: int) -> dict[str, Floats]:
    """Draws in which only what a posterior names varies; all else stands at its base case."""
    named = {name for posterior in parameters.posteriors for name in posterior.parameters}
    found = {}
    for name, parameter in parameters.items():
        value = np.asarray(parameter.base(), np.float64)
        found[name] = whole[name] if name in named else np.broadcast_to(value, (draws, *value.shape))
    return found


def _predicted(
    trial: Trial,
    values: Mapping[str, Floats],
    kind: str,
    delta: float,
    sizes: Sizes,
    runs: Runs,
    patients: int = 1024,
) -> tuple[Replicates, Floats, Floats, Pool]:
    """Repetitions of a trial, expected figures (rows, draws), figures with discrepancy on their scales (R, rows), the pool.

    The pool has `patients`, or more where the trial needs them.
    """
    needed = max(math.ceil(MARGIN * trial_size(trial) / 1024) * 1024, patients)
    ready = plan(
        trial, values, patients=needed, seed=sizes.seed, luck=None, effects=new_effects(trial, values, sizes.seed)
    )

    def place(step: str) -> dict[str, Any]:
        if runs.folder is None:
            return {}
        folder = runs.folder / f"{trial.id}-{kind}-{step}"
        return {"folder": folder, "resume": runs.resume and folder.exists()}

    common: dict[str, Any] = {"threads": runs.threads, "dask": runs.dask, "progress": runs.progress}
    pool = simulated_pool(ready, f"validate {trial.id} {kind}", **place("patients"), **common)
    found = replicate(pool, sizes.replicates, sizes.seed, name=f"{trial.id} {kind}", **place("trials"), **common)
    true = expected(pool).values
    rng = np.random.default_rng([sizes.seed, 77])
    scaled = np.stack([on_scale(row, found.values[:, k]) for k, row in enumerate(found.rows)], axis=1)
    spread = delta * np.abs(rng.standard_normal((len(scaled), 1)))
    return found, true, scaled + spread * rng.standard_normal(scaled.shape), pool


def new_effects(trial: Trial, values: Mapping[str, Floats], seed: int) -> dict[str, Floats]:
    """Random effects of a trial that no module has fitted, N(0, tau^2) for each draw; none for one that was fitted."""
    names = ("early",) if trial.content.setting == "resectable" else ("progression", "death")
    level = trial.content.level
    if any(fitted_level(trial.id, name) in values for name in names) or (level is not None and level.early_mass):
        return {}
    tau = np.asarray(values[f"heterogeneity.tau_{trial.content.setting}"], np.float64)
    draws = np.arange(len(tau))
    return {name: tau * ndtri(uniforms(seed, draws, 0, f"validate/{trial.id}/{name}")) for name in names}


def _discrepancy(posterior: Posterior) -> float:
    """Scale s of the half-normal discrepancy sd whose mean the fit found: mean of |N(0, s)| is s sqrt(2 / pi)."""
    fit: Any = posterior.manifest.get("fit") or {}
    return float(fit.get("discrepancy_sd", 0.0)) / math.sqrt(2.0 / math.pi)


def _discrepancy_of(stored: Mapping[str, Posterior], modules: Sequence[Module], trial: Trial) -> float:
    same = [m for m in modules if m.trials[0].content.setting == trial.content.setting]
    return _discrepancy(stored[same[0].id]) if same else 0.0


# -- figures -------------------------------------------------------------------------------------------------------


def _label(rows: Sequence[Row], k: int) -> str:
    """A figure's name, with its look where two figures share the name."""
    row = rows[k]
    return f"{row.name} ({row.look})" if sum(other.name == row.name for other in rows) > 1 else row.name


def _assessed(
    trial: Trial, module: Module | None, found: Replicates, drawn: Floats, positions: Sequence[int]
) -> Iterator[Assessed]:
    fitted = {k for k, _ in fitted_rows(module, trial)} if module is not None else set()
    explained = module.entry(trial.id).explained if module is not None else {}
    for k in positions:
        row = found.rows[k]
        values = drawn[:, k]
        values = values[~np.isnan(values)]
        if row.missing is not None or not math.isfinite(row.published) or values.size < 2 or row.use == "band":
            continue
        left_out = [o for o in (module.entry(trial.id).leave_out if module is not None else []) if matches(o, row)]
        role = "shown"
        if k in fitted:
            role = "fitted"
        elif row.use == "hold_out":
            role = "held out"
        elif row.use == "fit" and left_out:
            role = "left out"
        words = explained.get(row.name)
        if role == "left out":
            words = " ".join([f"Not fitted: {left_out[0].why}.", *([words] if words else [])])
        observed = float(on_scale(row, np.array(row.published)))
        low, low50, middle, high50, high = _quantiles(values, (0.025, 0.25, 0.5, 0.75, 0.975))
        known = values[np.isfinite(values)] if row.statistic == "median" else values
        near_low, near, near_high = _quantiles(known, (0.025, 0.5, 0.975)) if known.size else (math.nan,) * 3
        sd = row.published_sd
        sampling = sd if sd is not None else _within_sd(found, k, row)
        finite = np.isfinite(values).all()
        yield Assessed(
            trial=trial.id,
            figure=_label(found.rows, k),
            row=row,
            role=role,
            module=module.id if module is not None else None,
            predicted=natural(row, middle if math.isfinite(middle) or not known.size else near),
            lower=natural(row, low),
            upper=natural(row, high),
            lower50=natural(row, low50),
            upper50=natural(row, high50),
            residual=(observed - near) / sampling if sampling > 0.0 else math.nan,
            crps=scores.crps_sample(values, observed) if finite else math.nan,
            width=(near_high - near_low) / (2.0 * Z95 * sampling) if sampling > 0.0 else math.nan,
            explanation=words,
            reached=known.size / values.size,
        )


def _quantiles(values: Floats, levels: Sequence[float]) -> list[float]:
    """Quantiles of values that may be infinite."""
    ordered = np.sort(values)
    return [float(ordered[min(math.floor(level * len(ordered)), len(ordered) - 1)]) for level in levels]


def _within_sd(found: Replicates, k: int, row: Row) -> float:
    """Sampling sd of a figure on its scale: the spread of repetitions of the same draw."""
    values = on_scale(row, found.values[:, k])
    whole = len(values) // found.draws * found.draws
    if whole < 2 * found.draws:
        return math.nan
    table = values[:whole].reshape(-1, found.draws)
    known = table[:, np.isfinite(table).all(axis=0)]
    return float(np.sqrt(known.var(axis=0, ddof=1).mean())) if known.size else math.nan


def natural(row: Row, value: float) -> float:
    """A value on a row's scale as months, a share or a ratio."""
    if row.statistic in SHARES:
        return 1.0 / (1.0 + math.exp(-value))
    return math.exp(value) if value < 700.0 else math.inf


def _progression_ratio(rows: Sequence[Row], row: Row) -> float:
    """The published hazard ratio of the first progression-like endpoint of the same two arms; 1 where there is none."""
    like = ("PFS", "EFS", "RFS", "TACE_PFS")
    for other in rows:
        same = (other.kind, other.arm, other.reference) == ("contrast", row.arm, row.reference)
        if same and other.endpoint in like and other.subgroup is None:
            return other.published
    return 1.0


def _verdict(trial: Trial, row: Row, k: int, found: Replicates, drawn: Floats, pfs: float) -> Verdict:
    z, events = found.z[:, k], found.events[:, k]
    sizes = [trial.arm(name).n for name in (row.arm, str(row.reference))]
    share, typical = sizes[0] / sum(sizes), float(np.nanmedian(events))
    naive = {one.name: scores.power(one.hr, typical, share) for one in scores.naive_forecasters(pfs)}
    low, middle, high = (natural(row, q) for q in _quantiles(drawn[:, k][~np.isnan(drawn[:, k])], (0.025, 0.5, 0.975)))
    model = float(np.mean(z[~np.isnan(z)] >= Z95))
    return Verdict(trial.id, row.name, str(row.verdict), model, naive, middle, low, high)


def _drivers(true: Floats, quantities: Mapping[str, Floats]) -> dict[str, tuple[float, float]]:
    """Regression of the true log hazard ratio on the logs of some quantities, over the draws."""
    known = np.isfinite(true)
    if not quantities or known.sum() < 10:
        return {}
    y = true[known] - true[known].mean()
    found = {}
    x = np.stack([np.log(q[known]) for q in quantities.values()], axis=1)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    slope = np.linalg.lstsq(x, y, rcond=None)[0]
    for k, name in enumerate(quantities):
        explained = np.corrcoef(x[:, k], y)[0, 1] ** 2
        found[name] = (float(math.exp(slope[k])), float(explained))
    return found


def _largest(true: Floats, whole: Mapping[str, Floats], apart: Sequence[str]) -> dict[str, tuple[float, float]]:
    """The drawn numbers that correlate most with the true log hazard ratio, apart from some."""
    found: dict[str, tuple[float, float]] = {}
    known = np.isfinite(true)
    y = true[known] - true[known].mean()
    for name, value in whole.items():
        if name in apart or value.ndim != 1 or name.startswith(("costs.", "prices.", "utility.", "resource.")):
            continue
        x = value[known] - value[known].mean()
        if x.std() > 0.0:
            slope, share = float(x @ y / (x @ x) * x.std()), float((x @ y) ** 2 / ((x @ x) * (y @ y)))
            found[name] = (math.exp(slope), share)
    best = sorted(found, key=lambda name: -found[name][1])[:OTHER_DRIVERS]
    return {name: found[name] for name in best}


def _forecasts(trial: Trial, pool: Pool, rows: Sequence[Row], sizes: Sizes) -> Iterator[Forecast]:
    """Survival ratios of the arms that other contrasts compare, where the trial has printed none."""
    if OS not in trial.content.endpoints or any(r.kind == "contrast" and r.endpoint == OS for r in rows):
        return
    pairs = dict.fromkeys((r.arm, str(r.reference)) for r in rows if r.kind == "contrast")
    look = last_look(trial, OS)
    for arm, reference in pairs:
        enrolled = enrol(pool, 0, sizes.replicates, sizes.seed)
        whole = {a.id: enrolled[a.id] for a in trial.content.arms if a.subset_of is None}
        cutoff = observe.cutoff_of(trial, look, whole)
        analysis, _ = compare(trial, enrolled, Comparison(OS, look.name, None, arm, reference), cutoff, [], 1.0)
        if analysis is None:
            continue
        ratios = analysis.hazard_ratio[np.isfinite(analysis.log_hr)]
        low, middle, high = np.quantile(ratios, [0.025, 0.5, 0.975])
        yield Forecast(
            trial.id,
            f"OS {arm} : {reference} ({look.name})",
            float(middle),
            float(low),
            float(high),
            float(np.mean(ratios < 1.0)),
            float(np.mean(analysis.logrank_z <= -Z95)),
        )


# -- shapes --------------------------------------------------------------------------------------------------------


RATIOS, LOOKS, CHANGES, GAPS = "ratio within months", "hazard ratio by look", "later look over earlier", "gap"
LEAST_LANDMARKS = 3
"""landmarks of both arms from which a gap at the last one is told: a tail"""


def _patterns(trial: Trial, found: Replicates, drawn: Floats, true: Floats) -> Iterator[Pattern]:
    """Hazard ratios by year from published landmarks, successive looks, and long tails, where a trial has them.

    `drawn` (replicates, rows) are figures of simulated trials on their scales, `true` (rows, draws) expected ones.
    """
    contrasts = [(k, row) for k, row in enumerate(found.rows) if row.kind == "contrast" and row.subgroup is None]
    for endpoint in dict.fromkeys(row.endpoint for row in found.rows if row.statistic == "landmark"):
        pairs = {(row.arm, row.reference) for _, row in contrasts if row.reference is not None}
        pairs = pairs or {_two_arms(trial)}
        for treated, control in sorted(pairs):
            yield from _yearly(trial, found, drawn, true, endpoint, str(treated), str(control))
    looks: dict[tuple[str, str, str | None], list[tuple[int, Row]]] = {}
    for k, row in contrasts:
        if row.missing is None and math.isfinite(row.published) and row.period is None:
            looks.setdefault((row.endpoint, row.arm, row.reference), []).append((k, row))
    for (endpoint, arm, reference), several in looks.items():
        if len(several) < 2:
            continue
        group = f"{arm} : {reference} {endpoint}"
        logs = [float(np.nanmean(np.log(true[k]))) for k, _ in several]
        for (k, row), log in zip(several, logs, strict=True):
            yield _pattern(trial, group, LOOKS, f"{group}, {row.look}", row.published, math.exp(log), drawn[:, k])
        for (k0, first), (k1, second), log0, log1 in zip(several, several[1:], logs, logs[1:], strict=False):
            yield _pattern(
                trial, group, CHANGES, f"{group}, {second.look} over {first.look}",
                second.published / first.published, math.exp(log1 - log0), drawn[:, k1] - drawn[:, k0],
            )  # fmt: skip


def _two_arms(trial: Trial) -> tuple[str, str]:
    arms = [arm.id for arm in trial.content.arms if arm.subset_of is None]
    return arms[0], arms[-1]


def _yearly(
    trial: Trial, found: Replicates, drawn: Floats, true: Floats, endpoint: str, treated: str, control: str
) -> Iterator[Pattern]:
    """Ratio of the two arms' cumulative hazards within each interval between landmarks that both arms have, and the last gap."""

    def curve(arm: str) -> dict[float, tuple[float, float, Floats]]:
        points = {}
        for k, row in enumerate(found.rows):
            if row.statistic == "landmark" and (row.arm, row.endpoint, row.subgroup) == (arm, endpoint, None):
                share = 1.0 / (1.0 + np.exp(-drawn[:, k]))
                points[float(row.time_months or 0.0)] = (row.published, float(np.nanmean(true[k])), share)
        return points

    a, b = curve(treated), curve(control)
    months = sorted(set(a) & set(b))
    group = f"{treated} : {control} {endpoint}"
    one = (1.0, 1.0, np.ones(len(drawn)))
    for start, stop in zip([0.0, *months], months, strict=False):
        before_a, before_b = a.get(start, one), b.get(start, one)
        published, expectation = (
            math.log(a[stop][k] / before_a[k]) / math.log(b[stop][k] / before_b[k]) for k in (0, 1)
        )
        with np.errstate(all="ignore"):
            ratio = np.log(a[stop][2] / before_a[2]) / np.log(b[stop][2] / before_b[2])
            logs = np.log(np.where(ratio > 0.0, ratio, np.nan))
        yield _pattern(trial, group, RATIOS, f"{group}, months {start:g} to {stop:g}", published, expectation, logs)
    if len(months) >= LEAST_LANDMARKS:
        last = months[-1]
        gap = a[last][2] - b[last][2]
        low, middle, high = np.quantile(gap[np.isfinite(gap)], [0.025, 0.5, 0.975])
        yield Pattern(
            trial.id, group, GAPS, f"{group}, share at {last:g} months, difference",
            a[last][0] - b[last][0], a[last][1] - b[last][1], float(middle), float(low), float(high),
        )  # fmt: skip


def _pattern(
    trial: Trial, group: str, kind: str, what: str, published: float, expectation: float, logs: Floats
) -> Pattern:
    known = logs[np.isfinite(logs)]
    low, middle, high = np.exp(np.quantile(known, [0.025, 0.5, 0.975])) if known.size else (math.nan,) * 3
    return Pattern(trial.id, group, kind, what, published, expectation, float(middle), float(low), float(high))


# -- from the fits -------------------------------------------------------------------------------------------------


def _left_out(module: Module, posterior: Posterior) -> Iterator[LeftOutRow]:
    fit: Any = posterior.manifest.get("fit") or {}
    for entry in fit.get("left_out", []):
        levels, values = np.array(LEFT_OUT_QUANTILES), np.array(entry["quantiles"], np.float64)
        trial = next(t for t in module.trials if t.id == entry["trial"])
        row = next(r for _, r in fitted_rows(module, trial) if r.name == entry["figure"])
        observed, sd = float(entry["published"]), float(entry["sd"])
        # The kept quantiles stand for the draws: evenly spaced probabilities.
        spread = np.interp((np.arange(400) + 0.5) / 400.0, levels, values)
        naive = {}
        if row.statistic == "hr":
            ratio = _progression_ratio([r for _, r in fitted_rows(module, trial)], row)
            naive = {one.name: one.score(observed, sd) for one in scores.naive_forecasters(ratio)}
        middle, low, high, low50, high50 = (
            natural(row, float(np.interp(q, levels, values))) for q in (0.5, 0.025, 0.975, 0.25, 0.75)
        )
        yield LeftOutRow(
            trial=trial.id,
            figure=row.name,
            published=natural(row, observed),
            predicted=middle,
            lower=low,
            upper=high,
            lower50=low50,
            upper50=high50,
            crps=scores.crps_sample(spread, observed),
            residual=(observed - float(np.interp(0.5, levels, values))) / sd,
            naive=naive,
            ratio=row.statistic == "hr",
        )


def _frozen_changed(modules: Sequence[Module], raw: ParameterSet) -> Iterator[str]:
    """Frozen quantities whose value or range in params/ is no longer the frozen one."""
    for module in modules:
        for name, frozen in module.content.frozen.items():
            parameter = raw[name]
            interval = (
                parameter.uncertainty.intervals()[0] if parameter.uncertainty is not None else (math.nan, math.nan)
            )
            # A distribution is solved to fit its interval, so its limits are near the written ones, not equal to them.
            same = math.isclose(float(parameter.base()), frozen.value, rel_tol=1e-6) and all(
                math.isclose(a, b, rel_tol=0.1) for a, b in zip(interval, frozen.ci95, strict=True)
            )
            if not same:
                yield (
                    f"{name}: {float(parameter.base()):g} ({interval[0]:.3g} to {interval[1]:.3g}) now, "
                    f"{frozen.value:g} ({frozen.ci95[0]:g} to {frozen.ci95[1]:g}) frozen"
                )


__all__ = ["Assessed", "Contrast", "Runs", "Sizes", "Validation", "validated"]
