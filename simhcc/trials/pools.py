"""From a trial file to simulated patients: each arm's pool of endpoint times, through the engine.

A pool holds far more patients than the trial. All arms hold the same patients with the same luck, so that expected
contrasts are smooth in the parameters; `simhcc.trials.replicates` takes different patients for each arm, as a trial does.
The engine sees progression and recurrence at the trial's own scans; no delay is added here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simhcc.analysis import packed, unpacked
from simhcc.assembly import doses
from simhcc.engine import arithmetic
from simhcc.engine.rng import uniforms
from simhcc.errors import InputError
from simhcc.expressions import Expression
from simhcc.graph import Channel, Endpoint, RateReward, Strategy
from simhcc.inputs import ParameterSet
from simhcc.inputs.trials import NOT_MODELLED, RESPONSE, SCANNED, ArmModel, EndpointModel, Trial
from simhcc.model import as_values, draws_of
from simhcc.pathway import risk
from simhcc.pathway.strategies import to_graph
from simhcc.pathway.whole import DEATHS, pathway
from simhcc.population import load_population, sample_cohort
from simhcc.population.conditions import ConditionError, WithDerived, parse_condition
from simhcc.simulation import Evaluation, endpoint_times

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Numbers = ParameterSet | Mapping[str, Any]

HORIZON = 240.0
"""months of simulated life; no trial follows anybody so long"""
MARKS: Mapping[str, tuple[str, ...]] = {
    "death": DEATHS,
    # A relapse after the tumour was cleared is progression where that is the event.
    "progression": ("progression", "progression_forbids_surgery", "recurrence"),
    "recurrence": ("recurrence",),
    "not_resected": ("not_resected",),
    "progression_forbids_surgery": ("progression_forbids_surgery",),
    "untreatable": ("untreatable",),
    "refractory": ("refractory",),
    "toxicity_stop": ("toxicity_stop",),
    "next_line": ("next_line",),
    "resected": ("resected_R0", "resected_R1"),
    "converted": ("converted",),
}
"""marks of the pathway that an event of a trial file stands for"""
EFFECTS = {"early": "trial_log_early", "progression": "trial_log_progression", "death": "trial_log_death"}
NEXT_LINE = "next_line"


@dataclass(frozen=True)
class Pool:
    """Simulated patients of a trial's arms; all times are months from the trial's time zero, infinite for never.

    `times[arm]` has axes (draw, column, patient); `columns` names what is timed: for each endpoint `NAME/scan` (events that
    scans see), `NAME/now` (the others), `NAME/censor` and `NAME/origin` where it has them; `response` and `response/end`
    (what ends the time in which a response counts); `next_line`. NaN marks patients who are not randomised, or in whom the
    endpoint's origin never comes. `baseline` has one row of strata codes and one of 0 or 1 for each subgroup.
    """

    trial: Trial
    columns: tuple[str, ...]
    times: Mapping[str, Floats]
    strata: NDArray[np.int32]
    subgroups: Mapping[str, Flags] = field(repr=False)
    shift: Floats
    """(draws,): what mRECIST adds to the logit of a response by RECIST 1.1 in this setting"""

    @property
    def draws(self) -> int:
        """Draws of the parameters."""
        return next(iter(self.times.values())).shape[0]

    @property
    def patients(self) -> int:
        """Patients of each arm and draw, randomised or not."""
        return next(iter(self.times.values())).shape[2]

    def column(self, arm: str, name: str) -> Floats:
        """(draws, patients) of one column of one arm; an arm that is part of another has its times."""
        whole = self.trial.arm(arm).subset_of or arm
        return self.times[whole][:, self.columns.index(name)]


@dataclass(frozen=True)
class Part:
    """One strategy of one arm, ready for the engine."""

    arm: str
    share: float
    """part of the arm's patients; 1 where the arm is no mix"""
    evaluation: bytes
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class Plan:
    """A trial's patients before they are simulated: plain arrays, so that it can be cut into shards."""

    trial: Trial
    parts: tuple[Part, ...]
    columns: tuple[str, ...]
    values: Mapping[str, Floats]
    cohort: Mapping[str, Floats]
    levels: Mapping[str, Floats]
    patients: int
    seed: int
    luck: int | None
    first_patient: int
    strata: NDArray[np.int32]
    subgroups: Mapping[str, Flags]
    shift: Floats

    @property
    def draws(self) -> int:
        """Draws of the parameters."""
        return draws_of(self.values)

    def simulate(self, part: int, draws: tuple[int, int], patients: tuple[int, int], threads: int | None) -> Floats:
        """Times of one part for a range of draws and of patients, (draws, columns, patients)."""
        (lo, hi), (first, last) = draws, patients
        own = self.parts[part]
        values = {name: value[lo:hi] for name, value in self.values.items()}
        values |= {name: np.full(hi - lo, number) for name, number in own.numbers.items()}
        return reached(
            unpacked(own.evaluation),
            values,
            {name: column[first:last] for name, column in self.cohort.items()},
            {name: level[lo:hi] for name, level in self.levels.items()},
            np.arange(lo, hi) if self.luck is None else np.full(hi - lo, self.luck),
            self.first_patient + first,
            threads,
        )

    def pool(self, times: Mapping[int, Floats]) -> Pool:
        """The pool, from the times of every part by its position."""
        whole: dict[str, Floats] = {}
        for arm in dict.fromkeys(part.arm for part in self.parts):
            mine = [k for k, part in enumerate(self.parts) if part.arm == arm]
            shares = [self.parts[k].share for k in mine]
            found = [times[k] for k in mine]
            whole[arm] = found[0] if len(found) == 1 else _mixed(found, shares, self.seed, self.first_patient)
        return Pool(self.trial, self.columns, whole, self.strata, self.subgroups, self.shift)


def simulate_trial(
    trial: Trial,
    numbers: Numbers,
    *,
    patients: int = 20_000,
    seed: int = 1,
    luck: int | None = 0,
    first_patient: int = 0,
    effects: Mapping[str, ArrayLike] | None = None,
    threads: int | None = None,
) -> Pool:
    """Simulate every arm of a trial for each draw of the numbers.

    `numbers` is a ParameterSet (its base values, one draw) or a mapping of names to values, with an axis of draws where
    there are several (as `ParameterSet.sample` gives). `luck` is the luck of all draws (constant luck: the same numbers
    always give the same patients, as calibration needs); None gives draw k the luck k, as a probabilistic analysis needs.
    `effects` adds log hazard ratios, one number or one per draw, to all patients of the trial: keys early, progression,
    death. Parameters called `trial_level.<id with _>.log_<key>` are added in the same way where the numbers hold them.

    Raises InputError, with the file's line, for a population, parameter or condition that does not exist.
    """
    ready = plan(trial, numbers, patients=patients, seed=seed, luck=luck, first_patient=first_patient, effects=effects)
    everyone, every = (0, patients), (0, ready.draws)
    return ready.pool({k: ready.simulate(k, every, everyone, threads) for k in range(len(ready.parts))})


def plan(
    trial: Trial,
    numbers: Numbers,
    *,
    patients: int,
    seed: int,
    luck: int | None,
    first_patient: int = 0,
    effects: Mapping[str, ArrayLike] | None = None,
) -> Plan:
    """Everything `simulate_trial` needs before the engine runs; arguments and errors as there."""
    values = values_of(numbers)
    draws = draws_of(values)
    levels = _levels(trial, values, effects, draws)
    base = {name: _first(value) for name, value in values.items()}
    columns = _cohort(trial, base, patients, seed, first_patient)
    view = WithDerived(dict(columns))
    cohort = {**columns, **doses(columns["weight"], base)}
    cleared = trial.content.time_zero.event == "randomise_after_curative"
    cohort["cleared_at_entry"] = np.full(patients, float(cleared))
    values = {**values, **{name: np.full(draws, number) for name, number in _schedule(trial).items()}}
    if trial.content.level is not None and trial.content.level.early_mass is not None:
        levels["early"] = levels["early"] + _early_level(trial, values, cohort, draws)
    endpoints = tuple(_endpoints(trial))
    parts = []
    for label, strategy in trial.strategies:
        arm = trial.arm(label.split("/")[0])
        share = 1.0 if arm.mix is None else float(arm.mix[label.split("/")[1]])
        evaluation = packed(_evaluation(to_graph(strategy), endpoints, seed))
        parts.append(Part(arm.id, share, evaluation, _arm_numbers(trial, arm, values)))
    if trial.content.setting == "resectable":
        shift = np.zeros(draws)
    else:
        kind = "tace" if trial.content.setting == "intermediate" else "systemic"
        shift = np.broadcast_to(values[f"response_criteria.mrecist_logit_shift_{kind}"], (draws,)).copy()
    return Plan(
        trial=trial,
        parts=tuple(parts),
        columns=tuple(endpoint.id for endpoint in endpoints),
        values=values,
        cohort=cohort,
        levels=levels,
        patients=patients,
        seed=seed,
        luck=luck,
        first_patient=first_patient,
        strata=_strata(trial, view, patients),
        subgroups=_subgroups(trial, view),
        shift=shift,
    )


def values_of(numbers: Numbers) -> dict[str, Floats]:
    """Numbers as values with an axis of draws."""
    if isinstance(numbers, ParameterSet):
        return as_values(numbers.base_values())
    some = [np.asarray(value) for value in numbers.values()]
    if any(array.ndim == 0 for array in some):
        # Scalars stand among them: numbers without an axis of draws.
        return as_values({name: np.asarray(value, dtype=np.float64) for name, value in numbers.items()})
    return {name: np.asarray(value, dtype=np.float64) for name, value in numbers.items()}


def _first(value: Floats) -> float | Floats:
    return float(value[0]) if value.ndim == 1 else value[0]


# -- patients ------------------------------------------------------------------------------------------------------


def _cohort(trial: Trial, base: Mapping[str, Any], patients: int, seed: int, first: int) -> dict[str, Floats]:
    """Baseline patients of the trial's population, restricted where the file says so."""
    content = trial.content
    population = load_population(_population(trial), trial.user_dir)
    if content.population_restriction is None:
        return dict(sample_cohort(population, base, patients, seed, first).attributes)
    condition = _condition(trial, ("population_restriction",), content.population_restriction)
    restricted = replace(population, eligibility=(*population.eligibility, condition))
    return dict(sample_cohort(restricted, base, patients, seed, first).attributes)


def _population(trial: Trial) -> str:
    from simhcc.inputs import find_input

    return str(find_input("population", trial.content.population, trial.user_dir, trial.document.path.parent))


def _condition(trial: Trial, key: tuple[str | int, ...], text: str) -> Any:
    try:
        return parse_condition(text)
    except ConditionError as error:
        raise trial.error(key, error.found, error.expected) from None


def _strata(trial: Trial, view: WithDerived, patients: int) -> NDArray[np.int32]:
    """Codes of the combinations of the stratifying conditions."""
    codes = np.zeros(patients, dtype=np.int32)
    for position, text in enumerate(trial.content.design.strata):
        condition = _condition(trial, ("design", "strata", position), text)
        codes = codes * 2 + condition.holds(view).astype(np.int32)
    return codes


def _subgroups(trial: Trial, view: WithDerived) -> dict[str, Flags]:
    return {
        name: np.asarray(_condition(trial, ("subgroups", name), text).holds(view))
        for name, text in (trial.content.subgroups or {}).items()
        if text != NOT_MODELLED
    }


# -- numbers -------------------------------------------------------------------------------------------------------


def _schedule(trial: Trial) -> dict[str, float]:
    """The trial's scans as parameters of the pathway."""
    segments = trial.content.design.assessment.segments
    first = segments[0].every_months
    change, later = (segments[1].from_months, segments[1].every_months) if len(segments) > 1 else (HORIZON, first)
    return {
        "schedule.scan_disease_free_first_months": first,
        "schedule.scan_disease_free_change_months": change,
        "schedule.scan_disease_free_later_months": later,
        "schedule.scan_systemic_months": first,
        "schedule.scan_treatment_change_months": change,
        "schedule.scan_treatment_later_months": later,
    }


def _arm_numbers(trial: Trial, arm: ArmModel, values: Mapping[str, Floats]) -> dict[str, float]:
    """Parameters that the protocol and the later lines of an arm set."""
    here = ("arms", trial.content.arms.index(arm))
    numbers: dict[str, float] = {}
    s = arm.subsequent
    if s is not None and s.any and s.immunotherapy is not None:
        numbers["next_line.share_with_ici_access"] = s.immunotherapy / s.any
    if arm.caps is not None:
        caps = arm.caps
        if caps.max_tace_sessions is not None:
            numbers["tace.max_sessions"] = float(caps.max_tace_sessions)
        if caps.first_tace_after_months is not None:
            numbers["tace.first_session_wait_months"] = caps.first_tace_after_months
        if caps.max_duration_months is not None:
            for position, name in enumerate(caps.duration_of):
                _known(trial, (*here, "caps", "duration_of", position), name, values)
                numbers[name] = caps.max_duration_months
    for name, number in (arm.numbers or {}).items():
        _known(trial, (*here, "numbers", name), name, values)
        numbers[name] = number
    return numbers


def _known(trial: Trial, key: tuple[str | int, ...], name: str, values: Mapping[str, Floats]) -> None:
    from simhcc.inputs import nearest

    if name not in values:
        near = nearest(name, values)
        raise trial.error(key, f"no parameter called {name!r}", f"{near}?" if near else "the name of a parameter")
    if values[name].ndim != 1:
        raise trial.error(key, f"{name}, which is a list of numbers", "a parameter with one number")


def _levels(
    trial: Trial, values: Mapping[str, Floats], effects: Mapping[str, ArrayLike] | None, draws: int
) -> dict[str, Floats]:
    """Log hazard ratios of all patients of the trial, (draws,) each."""
    given = dict(effects or {})
    for name in given:
        if name not in EFFECTS:
            raise InputError(f"the trial effect {name!r}", f"one of {', '.join(EFFECTS)}", key="effects")
    levels = {}
    for name in EFFECTS:
        total = np.zeros(draws) + np.asarray(given.get(name, 0.0), dtype=np.float64)
        fitted = fitted_level(trial.id, name)
        if fitted in values:
            total = total + values[fitted]
        levels[name] = total
    level = trial.content.level
    if level is not None:
        for name, parameter in (("progression", level.progression_hr), ("death", level.death_hr)):
            if parameter is not None:
                _known(trial, ("level", f"{name}_hr"), parameter, values)
                levels[name] = levels[name] + np.log(values[parameter])
    return levels


def fitted_level(trial_id: str, effect: str) -> str:
    """Name of the parameter that holds a trial's fitted log hazard ratio: early, progression or death."""
    return f"trial_level.{trial_id.replace('-', '_')}.log_{effect}"


def _early_level(trial: Trial, values: Mapping[str, Floats], cohort: Mapping[str, Floats], draws: int) -> Floats:
    """What brings the patients' mean mass of early recurrence to the trial's own."""
    name = str(trial.content.level.early_mass)  # type: ignore[union-attr]
    _known(trial, ("level", "early_mass"), name, values)
    n = len(next(iter(cohort.values())))
    columns = {**cohort, "clearances": np.zeros(n), "trial_log_early": np.zeros(n)}
    expression = risk.early_mass(after_conversion=False)
    means = [
        float(np.exp(of_patients(expression, columns, {k: _at(v, d) for k, v in values.items()})).mean())
        for d in range(draws)
    ]
    return np.log(values[name] / np.array(means))


def _at(value: Floats, draw: int) -> float | Floats:
    return float(value[draw]) if value.ndim == 1 else value[draw]


_OPERATIONS: Mapping[str, Any] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "negate": lambda a: -a,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
    "and": lambda a, b: (a != 0) & (b != 0),
    "or": lambda a, b: (a != 0) | (b != 0),
    "not": lambda a: a == 0,
    "select": lambda c, a, b: np.where(c != 0, a, b),
    "exp": lambda a: arithmetic.exp_array(np.asarray(a, dtype=np.float64)),
    "log": lambda a: arithmetic.log_array(np.asarray(a, dtype=np.float64)),
}


def of_patients(expression: Expression, columns: Mapping[str, Floats], values: Mapping[str, float | Floats]) -> Floats:
    """Value of an expression for each patient: a plain reading of the tree, independent of the kernel."""
    operation, payload = expression.operation, expression.payload
    if operation == "constant":
        return np.asarray(payload, dtype=np.float64)
    if operation == "parameter":
        return np.asarray(values[str(payload)], dtype=np.float64)
    if operation == "attribute":
        return columns[str(payload)]
    parts = [of_patients(operand, columns, values) for operand in expression.operands]
    if operation == "lookup":
        vector = np.asarray(values[str(payload)])
        return np.asarray(vector[np.clip(np.floor(parts[0]).astype(int), 0, len(vector) - 1)])
    return np.asarray(_OPERATIONS[operation](*parts), dtype=np.float64)


# -- endpoints -----------------------------------------------------------------------------------------------------


def _endpoints(trial: Trial) -> Iterator[Endpoint]:
    """What the engine has to time."""
    origin = "randomise" if trial.content.time_zero.run_in is not None else None
    for name, endpoint in trial.content.endpoints.items():
        yield from _parts(name, endpoint, origin)
    if trial.content.response is not None:
        yield Endpoint(id=RESPONSE, marks=("response_observed",), origin=origin)
        yield Endpoint(id=f"{RESPONSE}/end", marks=(*MARKS["progression"], "next_line", *DEATHS), origin=origin)
    yield Endpoint(id=NEXT_LINE, marks=MARKS["next_line"], origin=origin)


def _parts(name: str, endpoint: EndpointModel, origin: str | None) -> Iterator[Endpoint]:
    start = endpoint.origin or origin
    scanned = tuple(mark for event in endpoint.events if event in SCANNED for mark in MARKS[event])
    now = tuple(mark for event in endpoint.events if event not in SCANNED for mark in MARKS[event])
    if scanned:
        yield Endpoint(id=f"{name}/scan", marks=tuple(dict.fromkeys(scanned)), origin=start)
    if now:
        yield Endpoint(id=f"{name}/now", marks=tuple(dict.fromkeys(now)), origin=start)
    if endpoint.censoring:
        marks = tuple(mark for event in endpoint.censoring for mark in MARKS[event])
        yield Endpoint(id=f"{name}/censor", marks=tuple(dict.fromkeys(marks)), origin=start)
    if endpoint.origin is not None:
        yield Endpoint(id=f"{name}/origin", marks=(endpoint.origin,), origin=origin)


def _evaluation(strategy: Strategy, endpoints: tuple[Endpoint, ...], seed: int) -> Evaluation:
    return Evaluation(
        pathway=pathway(),
        strategies=(strategy,),
        channels=(Channel(id="months"),),
        rewards=(RateReward(channel="months", rate=1.0),),
        endpoints=endpoints,
        horizon=HORIZON,
        grid_step=None,
        seed=seed,
    )


def reached(
    evaluation: Evaluation,
    values: Mapping[str, Floats],
    cohort: Mapping[str, Floats],
    levels: Mapping[str, Floats],
    luck: NDArray[np.integer[Any]],
    first_patient: int,
    threads: int | None,
) -> Floats:
    """Times of the endpoints of an evaluation with one strategy, (draws, endpoints, patients)."""
    draws, patients = draws_of(values), len(next(iter(cohort.values())))
    tiled = {name: np.tile(column, draws) for name, column in cohort.items()}
    for name, attribute in EFFECTS.items():
        tiled[attribute] = np.repeat(levels[name], patients)
    # Every draw has columns of its own, which carry its level; the patients in them are the same.
    return endpoint_times(
        evaluation,
        values,
        tiled,
        patients=patients,
        luck=luck,
        first_patient=first_patient,
        fresh_patients=True,
        same_numbers=True,
        threads=threads,
    )


def _mixed(parts: list[Floats], shares: list[float], seed: int, first_patient: int) -> Floats:
    """Each patient's times from one of several strategies, chosen by an addressed number."""
    patients = parts[0].shape[2]
    u = uniforms(seed, 0, np.arange(first_patient, first_patient + patients), "trial/mix")
    chosen = np.searchsorted(np.cumsum(shares)[:-1], u, side="right")
    mixed = parts[0].copy()
    for position, part in enumerate(parts):
        mixed[:, :, chosen == position] = part[:, :, chosen == position]
    return mixed


def median_cutoff(trial: Trial, name: str | None) -> float:
    """Calendar month of a look's data cut-off: as published, else half of the accrual plus the median follow-up."""
    design, analysis = trial.content.design, trial.analysis(name)
    if analysis.cutoff_months is not None:
        return analysis.cutoff_months
    if analysis.follow_up_months is None:
        return math.nan
    half = design.accrual_months / 2.0
    if design.accrual_last_half_months is not None:
        half = design.accrual_months - design.accrual_last_half_months
    return half + analysis.follow_up_months
