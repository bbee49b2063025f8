"""The bias emulator: studies made inside the simulation, as they are made in life, where the truth is known.

A cohort of patients after resection is simulated without and with an adjuvant drug, each patient with the same luck. A
retrospective study then looks at them as such studies do; a randomised trial of the same drug takes the same patients. Each bias
can be switched off alone. The same is done for resection after response.

Biases of the adjuvant study:

- `immortal_time`: the clock starts at surgery, so that the months until the drug starts count as treated and event-free.
- `fitness`: fitter patients, who live longer and recur less, are treated more often.
- `early_relapse`: those meant for treatment who relapse before it starts are counted as untreated.
- `small_sample`: published sizes in place of a study as large as the simulation.
- `selective_publication`: studies without a significant benefit are published less often.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simhcc import assembly
from simhcc.claims.experiments import Draws, Sizes, drawn, uncertain_inputs
from simhcc.claims.lives import DEATH, first_times
from simhcc.errors import InputError
from simhcc.inputs import ParameterSet, find_input, load_strategy, one_of, with_options
from simhcc.pathway.strategies import to_graph
from simhcc.population import load_population, sample_cohort
from simhcc.population.conditions import WithDerived, parse_condition
from simhcc.runner import ProgressCallback
from simhcc.trials.statistics import CoxStatus, analyse_replicates

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

BIASES = ("immortal_time", "fitness", "early_relapse", "small_sample", "selective_publication")
CONVERSION_BIASES = ("immortal_time", "small_sample", "selective_publication")
"""those that the study of resection after response has; who is fit and resectable is in its patients in any case"""
DESIGNS = ("retrospective", "landmark", "target_trial", "randomised")
KINDS = ("adjuvant", "conversion")
SET_BY_STUDY = (
    "adjuvant.p_start",
    "timing.adjuvant_start_months",
    "schedule.scan_disease_free_first_months",
    "schedule.scan_disease_free_change_months",
    "schedule.scan_disease_free_later_months",
)
"""numbers that the emulated practice replaces"""
HORIZON = 60.0
NULL = "none"
"""the drug that does nothing"""
DRUGS = {
    "adjuvant_atezo_bev": "adjuvant_atezo_bev",
    "adjuvant_pembrolizumab": "adjuvant_pembrolizumab",
    "adjuvant_sorafenib": "adjuvant_sorafenib",
}
POOL_PATIENTS = 3000
STRATA = 10
CENTRAL = (0.05, 0.95)
MOST_TRIES = 400


def biases_of(kind: str) -> tuple[str, ...]:
    """The biases of a kind of study."""
    return BIASES if kind == "adjuvant" else CONVERSION_BIASES


@dataclass(frozen=True)
class Pool:
    """Lives of one kind of study: times in months from time zero of the pool, (draws, patients).

    For `adjuvant`: from the clean operation, without (`control`) and with the drug (`treated`), `start` the month in which the
    drug starts or would start. For `conversion`: from the start of systemic therapy, without and with the operation, `start` the
    month of the operation, infinite where there is none; `response` the month of the observed response.
    """

    kind: str
    control: Mapping[str, Floats]
    treated: Mapping[str, Floats]
    start: Floats
    fitness: Floats
    response: Floats | None = None
    numbers: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def draws(self) -> int:
        """Draws of the numbers."""
        return self.start.shape[0]


@dataclass(frozen=True)
class Reported:
    """What each design reports in each draw: hazard ratios of single studies and pooled ones, (draws, studies) and (draws,)."""

    single: Floats
    pooled: Floats
    events: Floats


@dataclass(frozen=True)
class Emulation:
    """Pooled ratios of emulated studies over the draws, the true ratio beside them, and the numbers behind."""

    kind: str
    pooled: Floats
    truth: Floats
    published: Floats
    inputs: Mapping[str, Floats]

    def quantity(self, name: str) -> Draws:
        """One of the quantities a claim may ask for, in every draw."""
        if name == "pooled_hazard_ratio":
            values = self.pooled
        elif name == "share_explained":
            # On the log scale: what the studies report beyond the truth, of what was published.
            values = (np.log(self.pooled) - np.log(self.truth)) / float(np.log(self.published).mean())
        else:
            low, high = np.quantile(self.pooled, CENTRAL)
            inside = bool(((low <= self.published) & (self.published <= high)).all())
            values = np.full(self.pooled.shape, float(inside))
        return Draws(values, np.zeros(len(values)))


# ---------------------------------------------------------------------------------------------------------------------
# Lives


def adjuvant_pool(
    parameters: ParameterSet,
    sizes: Sizes,
    drug: str = "adjuvant_atezo_bev",
    *,
    population: str = "china_resectable",
    among: str = "mvi >= M1",
    folder: Path | None = None,
    progress: ProgressCallback | None = None,
) -> Pool:
    """Patients after a clean operation, without and with the drug, whose treatment would start `start` months later."""
    if drug not in (*DRUGS, NULL):
        raise InputError(f"the drug {drug!r}", one_of([*DRUGS, NULL], drug), "--drug")
    values = drawn(parameters, sizes)
    values["adjuvant.p_start"] = np.ones(sizes.iterations)
    values["timing.adjuvant_start_months"] = np.asarray(values["bias.months_surgery_to_drug"])
    # Scans of practice: often until the drug has started, then as usual.
    values["schedule.scan_disease_free_later_months"] = values["schedule.scan_disease_free_first_months"]
    values["schedule.scan_disease_free_first_months"] = values["emulated.months_between_first_scans"]
    values["schedule.scan_disease_free_change_months"] = values["emulated.months_of_first_scans"]
    cohort = _cohort(parameters, sizes, population, among)
    fitness = cohort.pop("fitness_")
    cohort["cleared_at_entry"] = np.zeros(fitness.size)
    cohort["trial_log_death"] = (values["bias.fitness_log_hr_death"][:, None] * fitness).ravel()
    cohort["trial_log_early"] = (values["emulated.fitness_log_hr_recurrence"][:, None] * fitness).ravel()
    times: list[dict[str, Floats]] = []
    for strategy in ("surgery_alone", drug):
        if strategy == NULL:
            times.append(times[0])
            continue
        times.append(
            first_times(
                to_graph(load_strategy(strategy)),
                ("cleared", "recurrence", DEATH),
                values,
                cohort,
                patients=sizes.patients,
                horizon=HORIZON,
                seed=sizes.seed,
                name=f"adjuvant study, {strategy}",
                folder=None if folder is None else folder / strategy,
                threads=sizes.threads,
                progress=progress,
            )
        )
    control, treated = (_from_zero(one, one["cleared"], ("recurrence", DEATH)) for one in times)
    start = np.broadcast_to(values["bias.months_surgery_to_drug"][:, None], fitness.shape).copy()
    return Pool("adjuvant", control, treated, start, fitness, None, values)


def conversion_pool(
    parameters: ParameterSet,
    sizes: Sizes,
    *,
    population: str = "china_advanced",
    among: str = "ehs == no",
    backbone: str = "atezo_bev",
    null: bool = False,
    folder: Path | None = None,
    progress: ProgressCallback | None = None,
) -> Pool:
    """Patients on systemic therapy, with and without resection offered; `null` gives an operation that does nothing."""
    values = drawn(parameters, sizes)
    cohort = _cohort(parameters, sizes, population, among)
    fitness = cohort.pop("fitness_")
    cohort["trial_log_death"] = (values["bias.fitness_log_hr_death"][:, None] * fitness).ravel()
    events = ("response_observed", "converted", "operated", "progression", DEATH)
    times = []
    for name in (backbone, "conversion_surgery"):
        strategy = load_strategy(name)
        if name == "conversion_surgery":
            strategy = with_options(strategy, backbone=backbone)
        times.append(
            first_times(
                to_graph(strategy),
                events,
                values,
                cohort,
                patients=sizes.patients,
                horizon=HORIZON,
                seed=sizes.seed,
                name=f"conversion study, {name}",
                folder=None if folder is None else folder / name,
                threads=sizes.threads,
                progress=progress,
            )
        )
    plain, offered = times
    operated = np.where(np.isfinite(offered["converted"]), offered["operated"], np.inf)
    response = np.minimum(plain["response_observed"], offered["response_observed"])
    treated = plain if null else offered
    return Pool("conversion", plain, treated, operated, fitness, response, values)


def _cohort(parameters: ParameterSet, sizes: Sizes, population: str, among: str) -> dict[str, Floats]:
    """Patients of all draws, one after another; `fitness_` keeps their fitness as (draws, patients)."""
    path = find_input("population", population)
    base = parameters.base_values()
    total = sizes.patients * sizes.iterations
    condition = parse_condition(among)
    parts: list[dict[str, Floats]] = []
    found = first = 0
    for _ in range(MOST_TRIES):
        columns = dict(sample_cohort(load_population(str(path)), base, total, sizes.seed, first).attributes)
        kept = condition.holds(WithDerived(dict(columns)))
        parts.append({name: column[kept] for name, column in columns.items()})
        found, first = found + int(kept.sum()), first + total
        if found >= total:
            break
    else:
        raise InputError(f"hardly anybody with {among}", "a wider condition", "among")
    joined = {name: np.concatenate([part[name] for part in parts])[:total] for name in parts[0]}
    joined |= assembly.doses(joined["weight"], base)
    joined["fitness_"] = joined["fitness"].reshape(sizes.iterations, sizes.patients)
    return joined


def _from_zero(times: Mapping[str, Floats], zero: Floats, names: Sequence[str]) -> dict[str, Floats]:
    """Times since a time zero; NaN where it never comes."""
    with np.errstate(invalid="ignore"):
        return {name: np.where(np.isfinite(zero), times[name] - zero, np.nan) for name in names}


# ---------------------------------------------------------------------------------------------------------------------
# Studies


@dataclass(frozen=True)
class Study:
    """Who is in which group, and from which month each is followed: 1 treated, 0 untreated, -1 not in the study."""

    group: NDArray[np.int8]
    zero: Floats
    strata: NDArray[np.int32] | None = None


def _groups(members: Flags, treated: Flags) -> NDArray[np.int8]:
    """1 treated, 0 untreated, -1 not in the study."""
    return np.where(members, np.where(treated, 1, 0), -1).astype(np.int8)


def adjuvant_study(pool: Pool, draw: int, design: str, biases: Sequence[str], generator: np.random.Generator) -> Study:
    """Groups and clocks of one design in one draw of an adjuvant pool."""
    start = pool.start[draw]
    control = np.fmin(pool.control["recurrence"][draw], pool.control[DEATH][draw])
    n = len(start)
    operated = np.isfinite(control) | np.isinf(control)
    reached = operated & (control > start)
    if design == "randomised":
        # Randomised when the drug would start, if alive and free of disease.
        group = _groups(reached, generator.random(n) < 0.5)
        return Study(group, start)
    meant = generator.random(n) < _chance(pool, draw, "fitness" in biases)
    if design in ("landmark", "target_trial"):
        # Event-free at the landmark; treated are those who have started by then, and both clocks start there.
        group = _groups(reached, meant)
        strata = None
        if design == "target_trial":
            # Fitness was measured: compare within tenths of it.
            ranks = np.argsort(np.argsort(pool.fitness[draw]))
            strata = (ranks * STRATA // n).astype(np.int32)
        return Study(group, start, strata)
    started = meant & reached
    at_surgery = np.full(n, "immortal_time" in biases)
    if "immortal_time" in biases:
        # Some studies have the clock right: a share of the patients is followed from the start of the drug.
        at_surgery &= generator.random(n) < pool.numbers["emulated.share_clock_at_surgery"][draw]
    zero = np.where(at_surgery, 0.0, start)
    group = np.where(started, 1, np.where(~meant & operated & (at_surgery | reached), 0, -1)).astype(np.int8)
    if "early_relapse" in biases:
        # Meant for treatment, relapsed before it: among the untreated, followed from surgery.
        lost = meant & operated & ~reached
        lost &= generator.random(n) < pool.numbers["emulated.share_early_relapse_untreated"][draw]
        group = np.where(lost, 0, group).astype(np.int8)
        zero = np.where(lost, 0.0, zero)
    return Study(group, zero)


def _chance(pool: Pool, draw: int, by_fitness: bool) -> Floats:
    """Chance of being meant for treatment; its mean is the share treated."""
    share = float(pool.numbers["emulated.share_treated"][draw])
    centre = math.log(share / (1.0 - share))
    if not by_fitness:
        return np.full(pool.start.shape[1], share)
    slope = float(pool.numbers["bias.fitness_log_or_treated"][draw])
    chances: Floats = 1.0 / (1.0 + np.exp(-(centre + slope * pool.fitness[draw])))
    return chances


def conversion_study(
    pool: Pool, draw: int, design: str, biases: Sequence[str], generator: np.random.Generator
) -> Study:
    """Groups and clocks of one design in one draw of a conversion pool: operated against not, among those who responded.

    `randomised`: those who would be operated, operated or not by lot, followed from the day of the operation. `landmark`: alive at
    a month, operated by then. `target_trial`: those who would be operated against their like without operation, matched on the
    day and the tumour: the randomised comparison in all of them.
    """
    n = pool.start.shape[1]
    assert pool.response is not None
    start = pool.start[draw]
    operated = np.isfinite(start)
    if design in ("randomised", "target_trial"):
        group = _groups(operated, np.less(generator.random(n), 0.5))
        return Study(group, np.where(operated, start, 0.0))
    responded = np.isfinite(pool.response[draw])
    if design == "landmark":
        month = float(pool.numbers["emulated.months_landmark_conversion"][draw])
        alive = pool.control[DEATH][draw] > month
        by_then: Flags = np.less_equal(start, month)
        group = _groups(responded & alive, by_then)
        return Study(group, np.full(n, month))
    group = _groups(responded, operated)
    zero = np.where(operated & ("immortal_time" not in biases), start, 0.0)
    return Study(group, zero)


def run_studies(
    pool: Pool,
    design: str,
    biases: Sequence[str] = BIASES,
    *,
    studies: int = 1,
    patients: int | None = None,
    endpoint: str | None = None,
    seed: int = 1,
) -> Reported:
    """Emulate studies of one design in every draw and analyse them with a Cox model.

    `biases` are those switched on (they apply to the retrospective design). `studies` of each draw are pooled by a random-effects
    mean. `patients` in a study; None takes published sizes when `small_sample` is on, else everybody. `endpoint` is rfs or os.
    """
    if design not in DESIGNS:
        raise InputError(f"the design {design!r}", one_of(DESIGNS, design), "design")
    for bias in biases:
        if bias not in biases_of(pool.kind):
            raise InputError(
                f"the bias {bias!r} in the {pool.kind} study", one_of(biases_of(pool.kind), bias), "biases"
            )
    endpoint = endpoint or ("rfs" if pool.kind == "adjuvant" else "os")
    small = "small_sample" in biases or patients is not None
    singles = np.full((pool.draws, studies), np.nan)
    errors = np.full((pool.draws, studies), np.nan)
    counts = np.zeros((pool.draws, studies))
    for draw in range(pool.draws):
        generator = np.random.Generator(np.random.Philox(key=[seed, draw]))
        make = adjuvant_study if pool.kind == "adjuvant" else conversion_study
        taken = 0
        for _ in range(MOST_TRIES):
            study = make(pool, draw, design, biases, generator)
            size = _size(pool, draw, patients, generator) if small else None
            ratio, error, events = _analysed(pool, draw, study, endpoint, size, generator)
            if not math.isfinite(ratio):
                continue
            benefit = ratio + 1.959963984540054 * error < 0.0
            kept = "selective_publication" not in biases or design != "retrospective" or benefit
            if not kept:
                kept = generator.random() < pool.numbers["emulated.p_published_if_not_significant"][draw]
            if not kept:
                continue
            singles[draw, taken], errors[draw, taken], counts[draw, taken] = ratio, error, events
            taken += 1
            if taken == studies:
                break
    return Reported(np.exp(singles), np.exp(_pooled(singles, errors)), counts)


def _size(pool: Pool, draw: int, patients: int | None, generator: np.random.Generator) -> int:
    if patients is not None:
        return patients
    if pool.kind == "conversion":
        return int(pool.numbers["emulated.patients_conversion"][draw])
    low, high = (float(pool.numbers[f"emulated.patients_{name}"][draw]) for name in ("smallest", "largest"))
    # Small cohorts are many, large ones few: even on the log scale.
    return int(math.exp(generator.uniform(math.log(low), math.log(high))))


def _analysed(
    pool: Pool, draw: int, study: Study, endpoint: str, size: int | None, generator: np.random.Generator
) -> tuple[float, float, int]:
    """Log hazard ratio, its standard error and the events of a study; NaN where it cannot be estimated."""
    members = np.flatnonzero(study.group >= 0)
    if size is not None and size < len(members):
        members = generator.choice(members, size, replace=False)
    group = study.group[members]
    if len(members) < 4 or group.min() == group.max():
        return math.nan, math.nan, 0
    times = {}
    for name, life in (("control", pool.control), ("treated", pool.treated)):
        end = life[DEATH][draw, members]
        if endpoint == "rfs":
            end = np.fmin(end, life["recurrence"][draw, members])
        times[name] = end
    end = np.where(group == 1, times["treated"], times["control"]) - study.zero[members]
    follow_up = float(pool.numbers["emulated.months_follow_up"][draw])
    if pool.kind == "conversion":
        # Survival needs longer than recurrence does.
        follow_up *= 2.0
    limit = np.minimum(follow_up * generator.uniform(0.5, 1.5, len(members)), HORIZON - study.zero[members])
    event = end <= limit
    followed = np.maximum(np.minimum(end, limit), 0.0)
    if not event.any():
        return math.nan, math.nan, 0
    found = analyse_replicates(
        followed[None, :],
        event[None, :],
        group[None, :],
        landmarks=[12.0],
        tau=24.0,
        stratum=None if study.strata is None else study.strata[members][None, :],
        threads=1,
    )
    if found.cox_status[0] != CoxStatus.FITTED:
        return math.nan, math.nan, 0
    return float(found.log_hr[0]), float(found.log_hr_se[0]), int(event.sum())


def _pooled(logs: Floats, errors: Floats) -> Floats:
    """Random-effects means over studies (DerSimonian & Laird, Control Clin Trials 1986;7:177), one per draw."""
    weights = np.where(np.isfinite(logs), 1.0 / errors**2, 0.0)
    values = np.where(np.isfinite(logs), logs, 0.0)
    total = weights.sum(axis=1)
    fixed = (weights * values).sum(axis=1) / total
    q = (weights * (values - fixed[:, None]) ** 2).sum(axis=1)
    count = (weights > 0.0).sum(axis=1)
    scale = total - (weights**2).sum(axis=1) / total
    tau2 = np.where(count > 1, np.maximum(q - (count - 1), 0.0) / np.where(scale > 0.0, scale, 1.0), 0.0)
    with np.errstate(divide="ignore"):
        again = np.where(weights > 0.0, 1.0 / (1.0 / np.where(weights > 0.0, weights, 1.0) + tau2[:, None]), 0.0)
    pooled: Floats = (again * values).sum(axis=1) / again.sum(axis=1)
    return pooled


# ---------------------------------------------------------------------------------------------------------------------
# Over the uncertainty


def over_draws(
    kind: str,
    parameters: ParameterSet,
    sizes: Sizes,
    folder: Path | None = None,
    progress: ProgressCallback | None = None,
) -> Emulation:
    """Pooled ratios of emulated retrospective studies, all biases on, over the draws; and the ratio of a large trial.

    Sizes are those of a claim; each draw has at most 1,500 lives, since a study takes no more.
    """
    own = Sizes(min(sizes.iterations, 200), 1500, sizes.seed, sizes.threads)
    pool = (
        adjuvant_pool(parameters, own, folder=folder, progress=progress)
        if kind == "adjuvant"
        else conversion_pool(parameters, own, folder=folder, progress=progress)
    )
    base = parameters.base_values()
    suffix = "" if kind == "adjuvant" else "_conversion"
    studies = int(base[f"emulated.studies_pooled{suffix}"])
    pooled = run_studies(pool, "retrospective", biases_of(kind), studies=studies, seed=sizes.seed).pooled
    truth = run_studies(pool, "randomised", (), seed=sizes.seed).pooled
    published = np.asarray(base[f"emulated.published_ratios_{kind}"])
    return Emulation(kind, pooled, truth, published, uncertain_inputs(parameters, pool.numbers, set(SET_BY_STUDY)))


@dataclass(frozen=True)
class Row:
    """One line of the emulator's table: a design with its biases, and the ratios it reports."""

    design: str
    biases: tuple[str, ...]
    drug: str
    mean: float
    """geometric mean over draws"""
    error: float
    """standard error of the log of that mean"""
    lower: float
    upper: float
    single_lower: float
    single_upper: float

    def as_object(self) -> dict[str, object]:
        """For machines."""
        return {**self.__dict__, "biases": list(self.biases)}


def summarised(reported: Reported, design: str, biases: Sequence[str], drug: str) -> Row:
    """The table's line of what was reported."""
    logs = np.log(reported.pooled[np.isfinite(reported.pooled)])
    single = reported.single[np.isfinite(reported.single)]
    lower, upper = np.exp(np.quantile(logs, (0.025, 0.975)))
    low, high = np.quantile(single, (0.025, 0.975))
    error = float(logs.std(ddof=1) / math.sqrt(len(logs))) if len(logs) > 1 else math.nan
    return Row(
        design,
        tuple(biases),
        drug,
        float(np.exp(logs.mean())),
        error,
        float(lower),
        float(upper),
        float(low),
        float(high),
    )


def ladder(pool: Pool, drug: str, *, studies: int, seed: int) -> list[Row]:
    """Every design beside the others: the retrospective study with no bias, with each alone, with all, and without each."""
    rows = []
    sets: list[tuple[str, ...]] = [(), *((bias,) for bias in BIASES), BIASES]
    sets += [tuple(b for b in BIASES if b != bias) for bias in BIASES]
    for biases in sets:
        rows.append(
            summarised(
                run_studies(pool, "retrospective", biases, studies=studies, seed=seed), "retrospective", biases, drug
            )
        )
    for design in ("landmark", "target_trial", "randomised"):
        on = ("fitness",) if design != "randomised" else ()
        rows.append(summarised(run_studies(pool, design, on, seed=seed), design, on, drug))
    return rows


def least_delay(pool: Pool, target: float, *, studies: int, seed: int) -> float | None:
    """Months between surgery and drug at which a drug that does nothing would give the target ratio, all else as it is.

    None where even half a year would not do. The pool's drug must do nothing, so that its start can be moved.
    """
    months = np.linspace(0.5, 6.0, 12)
    found = []
    for delay in months:
        moved = replace(pool, start=np.full_like(pool.start, delay))
        logs = np.log(run_studies(moved, "retrospective", BIASES, studies=studies, seed=seed).pooled)
        found.append(float(np.nanmean(logs)))
    below = np.flatnonzero(np.array(found) <= math.log(target))
    if len(below) == 0:
        return None
    k = int(below[0])
    if k == 0:
        return float(months[0])
    share = (found[k - 1] - math.log(target)) / (found[k - 1] - found[k])
    return float(months[k - 1] + share * (months[k] - months[k - 1]))


__all__ = [
    "BIASES",
    "DESIGNS",
    "KINDS",
    "NULL",
    "Emulation",
    "Pool",
    "Reported",
    "Row",
    "adjuvant_pool",
    "biases_of",
    "conversion_pool",
    "ladder",
    "least_delay",
    "over_draws",
    "run_studies",
    "summarised",
]
