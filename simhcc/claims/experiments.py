"""Running the experiments of a claim: strategies side by side, over the uncertain numbers, with paired random numbers.

Draw k of the numbers is the same in every experiment and structure, so that what decides a claim can be traced to them;
every draw meets patients and luck of its own. What an estimand is in each draw, and its Monte-Carlo variance, is computed
from sums over patients; noise of a difference is that of each patient's own difference.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simhcc import assembly
from simhcc.analysis import Result, simulated
from simhcc.claims.registry import Component, Estimand, Experiment, Structure, parse_outcome
from simhcc.economics import variance_split
from simhcc.errors import InputError
from simhcc.graph import Channel, MarkReward, RateReward, Reward
from simhcc.inputs import ParameterSet
from simhcc.pathway import risk
from simhcc.pathway.strategies import to_graph
from simhcc.pathway.whole import ENDPOINTS, pathway
from simhcc.population import load_population, sample_cohort
from simhcc.population.conditions import WithDerived
from simhcc.runner import ProgressCallback
from simhcc.simulation import Evaluation
from simhcc.trials.pools import fitted_level, of_patients

Floats = NDArray[np.float64]

BASE_COHORT = 40_000
"""different baseline patients of an experiment; draws take them in turn"""
MASS_PATIENTS = 500
"""patients over whom the mean early mass of a population is taken"""
LEVELS = {
    "resectable": ("trial_log_early",),
    "intermediate": ("trial_log_progression", "trial_log_death"),
    "advanced": ("trial_log_progression", "trial_log_death"),
}
"""attributes that carry the between-trial effect of a setting, as in virtual trials"""
EFFECTS = ("early", "progression", "death")
BETWEEN = "between-trial effect"
HR_STEP_MONTHS = 2.0
"""distance of the times at which a hazard ratio reads the two curves"""


@dataclass(frozen=True)
class Sizes:
    """How much is run: draws of the numbers, patients in each draw, seed."""

    iterations: int
    patients: int
    seed: int
    threads: int | None = None


@dataclass(frozen=True)
class Wanted:
    """What an experiment must sum, gathered from the estimands that read it."""

    endpoints: tuple[str, ...]
    landmarks: tuple[float, ...]
    restrictions: tuple[float, ...]
    channels: tuple[str, ...]
    marks: tuple[str, ...]

    @property
    def horizon(self) -> float | None:
        """Months that are enough; None where life years or costs need the whole life."""
        return None if self.channels else max((*self.landmarks, *self.restrictions, 1.0))


@dataclass(frozen=True)
class Draws:
    """An estimand in every draw, and its Monte-Carlo variance (0 where it is not known, and so not taken out)."""

    estimate: Floats
    noise: Floats

    @property
    def smooth(self) -> Floats:
        """The draws with the patients' noise taken out: moved towards their mean.

        What is left has the between-draw variance plus one standard error of it, so that too few patients never look like
        certainty.
        """
        if len(self.estimate) < 2 or not self.noise.any():
            return self.estimate
        split = variance_split(pd.DataFrame({"x": self.estimate}), pd.DataFrame({"x": self.noise})).iloc[0]
        kept = min(float(split["Between"]) + float(split["Between_SE"]), float(split["Total"]))
        factor = math.sqrt(kept / float(split["Total"])) if split["Total"] > 0.0 else 1.0
        centre = self.estimate.mean()
        moved: Floats = centre + (self.estimate - centre) * factor
        return moved

    @property
    def mean_error(self) -> float:
        """Standard error of the mean over draws that patients' luck alone brings."""
        return math.sqrt(float(self.noise.mean()) / len(self.noise))

    @property
    def noise_share(self) -> float:
        """Share of the variance over draws that is patients' noise."""
        total = float(self.estimate.var(ddof=1)) if len(self.estimate) > 1 else 0.0
        return float(self.noise.mean() / total) if total > 0.0 else 0.0


@dataclass(frozen=True)
class Ran:
    """An experiment that was run: its sums, and the numbers that were drawn for it."""

    experiment: Experiment
    result: Result
    inputs: Mapping[str, Floats]
    """uncertain numbers by name (vectors by name[k]), with the between-trial effect where there is one"""


def wanted_by(experiment: Experiment, components: Iterable[Component]) -> Wanted:
    """What the components read from an experiment."""
    endpoints: dict[str, None] = {}
    landmarks: set[float] = set()
    restrictions: set[float] = set()
    channels: dict[str, None] = {}
    marks: dict[str, None] = {}
    for component in components:
        estimand = component.estimand
        if experiment.id not in (component.experiment, estimand.best_in, *estimand.over):
            continue
        if estimand.scale == "ratio":
            endpoints[estimand.outcome] = None
            landmarks |= set(ratio_times(estimand).tolist())
        elif estimand.outcome.startswith("mark_"):
            marks[estimand.outcome.removeprefix("mark_")] = None
        elif (found := parse_outcome(estimand.outcome)) is not None:
            endpoints[found[0]] = None
            (restrictions if found[2] else landmarks).add(found[1])
        elif estimand.outcome == "net_benefit":
            channels |= {"qaly": None, "cost": None}
        else:
            channels[estimand.outcome] = None
    return Wanted(
        tuple(endpoints), tuple(sorted(landmarks)), tuple(sorted(restrictions)), tuple(channels), tuple(marks)
    )


def ratio_times(estimand: Estimand) -> Floats:
    """Months at which the curves are read for a ratio."""
    assert estimand.months is not None
    if estimand.kind == "odds_ratio":
        return np.array([estimand.months])
    steps = max(math.ceil(estimand.months / HR_STEP_MONTHS), 1)
    return np.linspace(estimand.months / steps, estimand.months, steps)


def run_experiment(
    experiment: Experiment,
    wanted: Wanted,
    parameters: ParameterSet,
    sizes: Sizes,
    structure: Structure | None = None,
    *,
    numbers: Mapping[str, Floats | float] | None = None,
    folder: Path | None = None,
    progress: ProgressCallback | None = None,
) -> Ran:
    """Run an experiment through the runner; `numbers` replace drawn ones (an array has one value per draw).

    Raises InputError for a mark that no strategy leaves, and what `simulated` raises.
    """
    values = drawn(parameters, sizes)
    changes: dict[str, Floats | float] = {**experiment.numbers, **(structure.numbers if structure else {})}
    changes |= dict(numbers or {})
    for name, value in changes.items():
        values[name] = np.broadcast_to(np.asarray(value, dtype=np.float64), (sizes.iterations,))
    evaluation = _evaluation(experiment, wanted, parameters, sizes)
    cohort, level = cohort_of(experiment, parameters, values, sizes)
    name = experiment.id + (f", {structure.id}" if structure else "")
    result = simulated(
        evaluation,
        values,
        cohort,
        patients=sizes.patients,
        name=name,
        folder=folder,
        resume=folder is not None and folder.exists(),
        threads=sizes.threads,
        progress=progress,
    )
    inputs = uncertain_inputs(parameters, values, set(changes))
    if level is not None:
        inputs[BETWEEN] = level
    return Ran(experiment, result, inputs)


def drawn(parameters: ParameterSet, sizes: Sizes) -> dict[str, Floats]:
    """The draws of all numbers; the same for every experiment of equal sizes."""
    return dict(parameters.sample(sizes.iterations, sizes.seed))


def uncertain_inputs(
    parameters: ParameterSet, values: Mapping[str, Floats], fixed: set[str] | None = None
) -> dict[str, Floats]:
    """The drawn numbers that vary, one array each; the entries of a vector are name[k]."""
    found: dict[str, Floats] = {}
    for name in parameters.uncertain():
        if fixed and name in fixed:
            continue
        column = np.asarray(values[name], dtype=np.float64)
        if column.ndim == 1:
            parts = {name: column}
        else:
            parts = {f"{name}[{k}]": column[:, k] for k in range(column.shape[1])}
        found |= {key: part for key, part in parts.items() if np.ptp(part) > 0.0}
    return found


def _evaluation(experiment: Experiment, wanted: Wanted, parameters: ParameterSet, sizes: Sizes) -> Evaluation:
    known = {endpoint.id: endpoint for endpoint in ENDPOINTS}
    graph = pathway()
    strategies = tuple(to_graph(strategy) for strategy in experiment.strategies)
    _check_marks(experiment, wanted)
    channels: list[Channel] = [Channel(id="months_alive")]
    rewards: list[Reward] = [RateReward(channel="months_alive", rate=1.0)]
    if wanted.channels:
        chosen = {"qaly", "cost", *wanted.channels} if "cost" in wanted.channels else set(wanted.channels)
        channels = [c for c in assembly.channels() if c.id in chosen]
        rewards = [r for r in assembly.rewards(1.0, parameters) if r.channel in chosen]
    channels += [Channel(id=f"mark_{mark}") for mark in wanted.marks]
    rewards += [MarkReward(channel=f"mark_{mark}", amount=1.0, mark=mark) for mark in wanted.marks]
    base = parameters.base_values()
    horizon = wanted.horizon
    names = {channel.id for channel in channels}
    return Evaluation(
        pathway=graph,
        strategies=strategies,
        channels=tuple(channels),
        rewards=tuple(rewards),
        endpoints=tuple(known[name] for name in wanted.endpoints),
        horizon=12.0 * float(base["economics.horizon_years"]) if horizon is None else horizon,
        comparator=experiment.focus,
        landmarks=wanted.landmarks,
        restrictions=wanted.restrictions,
        crosses=(("cost", "qaly"),) if {"cost", "qaly"} <= names else (),
        grid_step=None,
        seed=sizes.seed,
    )


def _check_marks(experiment: Experiment, wanted: Wanted) -> None:
    from simhcc.inputs import one_of
    from simhcc.model import names_of

    known = names_of(pathway(), [to_graph(strategy) for strategy in experiment.strategies]).marks
    for mark in wanted.marks:
        if mark not in known:
            raise InputError(
                f"the event {mark!r}, which no patient of this model has",
                one_of(known, mark),
                f"mark_{mark}",
                experiment.place.file,
                experiment.place.line,
            )


# ---------------------------------------------------------------------------------------------------------------------
# Patients


def cohort_of(
    experiment: Experiment, parameters: ParameterSet, values: Mapping[str, Floats], sizes: Sizes
) -> tuple[dict[str, Floats], Floats | None]:
    """Patients of all draws one after another, and the between-trial effect of each draw (None where there is none)."""
    base = parameters.base_values()
    wanted = min(BASE_COHORT, sizes.patients * sizes.iterations)
    columns = dict(base_cohort(experiment, parameters, wanted, sizes.seed))
    have = len(next(iter(columns.values())))
    fitted = {} if experiment.trial is None else _fitted(experiment.trial, values)
    needs_windows = bool(fitted) or experiment.between_trials is not None or experiment.early_mass is not None
    total = sizes.patients * sizes.iterations if needs_windows else max(have, sizes.patients)
    take = np.arange(total) % have
    columns = {name: column[take] for name, column in columns.items()}
    columns |= assembly.doses(columns["weight"], base)
    columns["cleared_at_entry"] = np.full(total, float(experiment.cleared))
    level: Floats | None = None
    by_draw: dict[str, Floats] = dict(fitted)
    # A trial whose effects were fitted gets none drawn beside them.
    if experiment.between_trials is not None and not fitted:
        tau = np.broadcast_to(values[f"heterogeneity.tau_{experiment.between_trials}"], (sizes.iterations,))
        level = normals(sizes.seed, experiment.between_trials, sizes.iterations)
        for name in LEVELS[experiment.between_trials]:
            by_draw[name] = tau * level
    if experiment.early_mass is not None:
        offset = _mass_offset(experiment, columns, values, sizes)
        by_draw["trial_log_early"] = by_draw.get("trial_log_early", np.zeros(sizes.iterations)) + offset
    for name, column in by_draw.items():
        columns[name] = np.repeat(column, sizes.patients)
    return columns, level


def _fitted(trial: str, values: Mapping[str, Floats]) -> dict[str, Floats]:
    """The fitted effects of a trial, by the attribute that carries them."""
    names = {f"trial_log_{effect}": fitted_level(trial, effect) for effect in EFFECTS}
    return {attribute: np.asarray(values[name]) for attribute, name in names.items() if name in values}


@lru_cache(maxsize=8)
def _sampled(path: Path, n: int, seed: int, frailty: float) -> dict[str, Floats]:
    cohort = sample_cohort(load_population(str(path)), {"frailty.sd_log": frailty}, n, seed)
    return dict(cohort.attributes)


def base_cohort(experiment: Experiment, parameters: ParameterSet, n: int, seed: int) -> dict[str, Floats]:
    """Baseline patients of an experiment: `n` of the population, or those of them that `among` keeps.

    Raises InputError where fewer than one in a hundred is kept.
    """
    frailty = float(parameters.base_values()["frailty.sd_log"])
    columns = _sampled(experiment.population, n, seed, frailty)
    if experiment.among is None:
        return columns
    kept = experiment.among.holds(WithDerived(dict(columns)))
    if kept.sum() * 100 < len(kept):
        raise InputError(
            f"{int(kept.sum())} of {len(kept)} patients with {experiment.among.text}",
            "a wider condition",
            "among",
            experiment.place.file,
            experiment.place.line,
        )
    return {name: column[kept] for name, column in columns.items()}


def normals(seed: int, purpose: str, n: int) -> Floats:
    """Standard normal numbers, one per draw, from the seed and what they are for."""
    digest = hashlib.blake2s(purpose.encode()).digest()[:8]
    generator = np.random.Generator(np.random.Philox(key=[seed % 2**64, int.from_bytes(digest, "little")]))
    return generator.standard_normal(n)


def _mass_offset(
    experiment: Experiment, columns: Mapping[str, Floats], values: Mapping[str, Floats], sizes: Sizes
) -> Floats:
    """Log hazard ratio that gives the population the early mass of the trial, in each draw."""
    assert experiment.early_mass is not None
    some = {name: column[:MASS_PATIENTS] for name, column in columns.items()}
    count = len(next(iter(some.values())))
    zeros = {"clearances": np.zeros(count), "trial_log_early": np.zeros(count)}
    expression = risk.early_mass(after_conversion=False)
    offset = np.empty(sizes.iterations)
    for k in range(sizes.iterations):
        numbers = {name: value[k] for name, value in values.items()}
        mass = float(np.exp(of_patients(expression, {**some, **zeros}, numbers)).mean())
        offset[k] = math.log(float(values[experiment.early_mass][k]) / mass)
    return offset


# ---------------------------------------------------------------------------------------------------------------------
# Estimands


def estimate(component: Component, ran: Mapping[str, Ran], parameters: ParameterSet, seed: int) -> Draws:
    """The component's estimand in every draw."""
    estimand = component.estimand
    if estimand.over:
        return _pooled(estimand, [ran[name] for name in estimand.over], seed)
    assert component.experiment is not None
    one = ran[component.experiment]
    if estimand.kind == "value":
        return _value(one, estimand.outcome, estimand.of, parameters)
    if estimand.kind == "difference":
        other = estimand.against[0]
        if len(estimand.against) > 1:
            # The strategy that is best in expectation, the same in all draws.
            other = str(best_of(component, ran, parameters))
        return _difference(one, estimand.outcome, estimand.of, other, parameters)
    if estimand.kind == "margin":
        differences = [_difference(one, estimand.outcome, estimand.of, b, parameters) for b in estimand.against]
        # Over the other that is best in the draw.
        worst = np.argmin(np.stack([d.estimate for d in differences]), axis=0)
        draws = np.arange(len(worst))
        return Draws(
            np.stack([d.estimate for d in differences])[worst, draws],
            np.stack([d.noise for d in differences])[worst, draws],
        )
    log_ratio = _log_ratio(one, estimand)
    if estimand.kind == "reported_hazard_ratio":
        assert estimand.events is not None
        # Two equal arms: the standard error of a log hazard ratio is 2 over the root of the events.
        log_ratio = log_ratio + 2.0 / math.sqrt(estimand.events) * normals(seed, "reported", len(log_ratio))
    return Draws(np.exp(log_ratio), np.zeros(len(log_ratio)))


def best_of(component: Component, ran: Mapping[str, Ran], parameters: ParameterSet) -> str | None:
    """Which of several strategies a difference was taken against; None where there is one only."""
    estimand = component.estimand
    if estimand.kind != "difference" or len(estimand.against) < 2 or component.experiment is None:
        return None
    one = ran[estimand.best_in or component.experiment]
    means = {name: _value(one, estimand.outcome, name, parameters).estimate.mean() for name in estimand.against}
    return max(means, key=lambda name: means[name])


def _value(ran: Ran, outcome: str, strategy: str, parameters: ParameterSet) -> Draws:
    found = ran.result.outcomes
    position = found.strategies.index(strategy)
    if outcome == "net_benefit":
        wtp = float(parameters.base_values()["economics.wtp_per_qaly"])
        mean = wtp * found.means[:, position, found.column("qaly")] - found.means[:, position, found.column("cost")]
        variance = _net_benefit_variance(ran, position, wtp)
        return Draws(mean, variance)
    column = found.column(outcome)
    return Draws(found.means[:, position, column], found.mcse[:, position, column] ** 2)


def _difference(ran: Ran, outcome: str, of: str, against: str, parameters: ParameterSet) -> Draws:
    found = ran.result.outcomes
    pair = next((p for p, names in enumerate(found.pairs) if set(names) == {of, against}), None)
    if pair is None:
        one, other = (_value(ran, outcome, name, parameters) for name in (of, against))
        # No paired sums are kept for these two: without a noise figure nothing is taken out.
        return Draws(one.estimate - other.estimate, np.zeros_like(one.noise))
    sign = 1.0 if found.pairs[pair] == (of, against) else -1.0
    if outcome == "net_benefit":
        wtp = float(parameters.base_values()["economics.wtp_per_qaly"])
        differences = found.differences[:, pair]
        mean = wtp * differences[:, found.column("qaly")] - differences[:, found.column("cost")]
        return Draws(sign * mean, _net_benefit_variance(ran, len(found.strategies) + pair, wtp))
    column = found.column(outcome)
    return Draws(sign * found.differences[:, pair, column], found.difference_mcse[:, pair, column] ** 2)


def _net_benefit_variance(ran: Ran, row: int, wtp: float) -> Floats:
    found = ran.result.outcomes
    errors = np.concatenate([found.mcse, found.difference_mcse], axis=1)
    covariance = found.cross_covariance("cost", "qaly")[:, row] / found.patients
    qaly, cost = errors[:, row, found.column("qaly")] ** 2, errors[:, row, found.column("cost")] ** 2
    return np.maximum(wtp**2 * qaly + cost - 2.0 * wtp * covariance, 0.0)


def _log_ratio(ran: Ran, estimand: Estimand) -> Floats:
    found = ran.result.outcomes
    times = ratio_times(estimand)
    columns = [found.column(f"{estimand.outcome}_{months:g}m") for months in times]
    one = found.means[:, found.strategies.index(estimand.of)][:, columns]
    other = found.means[:, found.strategies.index(estimand.against[0])][:, columns]
    if estimand.kind == "odds_ratio":
        # The endpoint is an event that is wished for: its odds are those of having happened.
        happened, apart = 1.0 - one[:, 0], 1.0 - other[:, 0]
        result: Floats = np.log(happened / (1.0 - happened)) - np.log(apart / (1.0 - apart))
        return result
    return log_hazard_ratio(one, other)


def log_hazard_ratio(one: Floats, other: Floats) -> Floats:
    """Log hazard ratio that a Cox model would report of two curves read at equal times, with everybody followed so far.

    Curves have axes (draw, time), the first time is after 0. Equal arms; events of an interval meet those at risk in its
    middle. The score equation sum(d1 - (d1 + d0) r n1 / (r n1 + n0)) = 0 is solved by halving.
    """
    first = np.ones((one.shape[0], 1))
    one, other = np.hstack([first, one]), np.hstack([first, other])
    events, apart = one[:, :-1] - one[:, 1:], other[:, :-1] - other[:, 1:]
    at_risk, beside = 0.5 * (one[:, :-1] + one[:, 1:]), 0.5 * (other[:, :-1] + other[:, 1:])
    low, high = np.full(one.shape[0], -6.0), np.full(one.shape[0], 6.0)
    for _ in range(50):
        middle = 0.5 * (low + high)
        weight = np.exp(middle)[:, None] * at_risk
        with np.errstate(all="ignore"):
            share = np.where(weight + beside > 0.0, weight / (weight + beside), 0.0)
        score = (events - (events + apart) * share).sum(axis=1)
        low, high = np.where(score > 0.0, middle, low), np.where(score > 0.0, high, middle)
    return 0.5 * (low + high)


def _pooled(estimand: Estimand, ran: Sequence[Ran], seed: int) -> Draws:
    """Mean of the log ratios over experiments in each draw, as a ratio; that of a new regimen adds their spread."""
    logs = np.stack([_log_ratio(one, estimand) for one in ran])
    pooled = logs.mean(axis=0)
    if estimand.new_regimen:
        spread = logs.std(axis=0, ddof=1) * math.sqrt(1.0 + 1.0 / len(ran))
        pooled = pooled + spread * normals(seed, "new regimen", pooled.size)
    return Draws(np.exp(pooled), np.zeros(pooled.size))


def with_numbers(experiment: Experiment, **numbers: float) -> Experiment:
    """The experiment with further numbers changed."""
    return replace(experiment, numbers={**experiment.numbers, **numbers})


__all__ = [
    "BETWEEN",
    "Draws",
    "Ran",
    "Sizes",
    "Wanted",
    "base_cohort",
    "best_of",
    "cohort_of",
    "drawn",
    "estimate",
    "log_hazard_ratio",
    "normals",
    "ratio_times",
    "run_experiment",
    "uncertain_inputs",
    "wanted_by",
    "with_numbers",
]
