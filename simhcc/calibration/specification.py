"""Calibration files: which parameters are fitted to which trials, under which priors.

One file of `params/calibration/` is one module: a minimal set of parameters that its trials can tell apart. It is checked
whole, with file and line, before anything is simulated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field
from scipy.special import ndtr, ndtri

from simhcc.distributions import Distribution
from simhcc.errors import InputError
from simhcc.inputs import Document, ParameterSet, Place, describe, find_input, list_inputs, nearest, one_of, read_yaml
from simhcc.inputs.locate import at, file_name
from simhcc.inputs.models import (
    DISTRIBUTIONS,
    Id,
    Interval,
    Model,
    Number,
    Positive,
    Seed,
    Size,
    Text,
    Texts,
    choice,
    refuse,
    validate,
)
from simhcc.inputs.trials import Trial, load_trial
from simhcc.inputs.uncertainty import read_uncertainty
from simhcc.inputs.units import UNITS
from simhcc.trials.rows import Row, rows_of

Floats = NDArray[np.float64]
EFFECTS = ("early", "progression", "death")
EDGE = 1e-9
LATER_LINE = "{} share with a later line"
"""name of an arm's share that has a further treatment, among the figures of a fit"""


def _prior(value: Any) -> Any:
    kinds = (*DISTRIBUTIONS, "around")
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in kinds:
        expected = (
            "a distribution, for example {lognormal: {ci95: [0.5, 2]}}, or {around: {parameter: ..., sd_log: ...}}"
        )
        raise refuse(describe(value), expected)
    return value


class AroundModel(Model):
    """A number that varies around another one: that number x exp(sd_log x standard normal).

    Both are parameters; `sd_log` may be fitted too.
    """

    parameter: Text
    sd_log: Text


class ParameterModel(Model):
    """One parameter to fit."""

    prior: Annotated[Any, BeforeValidator(_prior)] = None
    """default: the parameter's own distribution"""
    centre: Number | None = None
    """value to which the prior belongs, where the params file's own has already been moved towards the targets"""
    identified_by: Text


class LeftOutModel(Model):
    """Figures of a trial that are not fitted although its file says so."""

    arm: Text | None = None
    reference: Text | None = None
    endpoint: Text | None = None
    statistic: Text | None = None
    subgroup: Text | None = None
    why: Text


class TrialEntryModel(Model):
    """A trial of the module."""

    id: Text
    effects: Texts | None = None
    later_lines: Annotated[Literal["fit", "ignore"], BeforeValidator(choice("fit", "ignore"))] = "ignore"
    """whether the published shares with a later treatment are fitted"""
    leave_out: list[LeftOutModel] = Field(default_factory=list)
    wider: Positive = 1.0
    """factor on the sd of its random effects, for a trial whose patients or criteria are known to differ"""
    why: Text | None = None
    """reason of `wider`"""
    explained: dict[str, Text] = Field(default_factory=dict)
    """plain words for figures that the model misses, by the figure's name; printed where it does miss them"""
    shape: Text | None = None
    """plain words on how its effect changes with time, printed beside the model's"""


class BetweenModel(Model):
    """The random effect of a trial on its hazards."""

    sd: Text
    effects: Texts


class SimulationModel(Model):
    """Sizes of the fit."""

    patients: Size
    design: Size
    """parameter vectors simulated in each round of the search"""
    rounds: Size
    draws: Size
    """posterior draws that are kept"""
    replicates: Size
    """virtual trials behind the correlations of a trial's figures"""
    seed: Seed


class FrozenModel(Model):
    """A quantity that decides what is held out, written down before the held-out figures were predicted."""

    value: Number
    ci95: Interval
    source: Text


class LeaveOneOutModel(Model):
    """Figures that are predicted from a fit without them, one trial at a time."""

    endpoint: Text
    why: Text


class CalibrationModel(Model):
    """One module."""

    id: Id
    title: Text
    after: Texts = Field(default_factory=list)
    """modules whose posterior is taken over and not changed here"""
    between_trials: BetweenModel
    discrepancy_sd: Text
    simulation: SimulationModel
    parameters: dict[str, ParameterModel]
    held: dict[str, Text] = Field(default_factory=dict)
    trials: list[TrialEntryModel]
    frozen: dict[str, FrozenModel] = Field(default_factory=dict)
    leave_one_out: LeaveOneOutModel | None = None
    note: Text | None = None


@dataclass(frozen=True)
class Fitted:
    """A parameter to fit, and how a standard normal number becomes its value."""

    name: str
    unit: str
    prior: Distribution | None
    """None for a number that varies around another one"""
    around: str | None
    sd_log: float
    """sd of the log around the other number, where that is not fitted itself"""
    spread: str | None
    """fitted parameter that is that sd"""
    written: str
    """the prior as written, for tables"""
    identified_by: str
    place: Place = field(compare=False)


@dataclass(frozen=True)
class Module:
    """A calibration file that was read: parameters, trials and sizes."""

    id: str
    content: CalibrationModel
    fitted: tuple[Fitted, ...]
    trials: tuple[Trial, ...]
    document: Document = field(repr=False, compare=False)
    between_sd: Distribution
    discrepancy_scale: float

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fitted parameters, in order."""
        return tuple(one.name for one in self.fitted)

    def entry(self, trial: str) -> TrialEntryModel:
        """What the file says of a trial."""
        return self.content.trials[[t.id for t in self.trials].index(trial)]

    def effects(self, trial: str) -> tuple[str, ...]:
        """Random effects of a trial."""
        own = self.entry(trial).effects
        return tuple(self.content.between_trials.effects if own is None else own)

    def values(self, z: Floats) -> dict[str, Floats]:
        """Parameters (n,) each, from standard normal numbers (n, parameters)."""
        found: dict[str, Floats] = {}
        for one, column in zip(self.fitted, z.T, strict=True):
            if one.prior is None:
                assert one.around is not None
                spread = found[one.spread] if one.spread is not None else one.sd_log
                found[one.name] = found[one.around] * np.exp(spread * column)
            else:
                found[one.name] = np.asarray(one.prior.ppf(np.clip(ndtr(column), EDGE, 1.0 - EDGE)), np.float64)
        return found

    def scores(self, values: Mapping[str, Any]) -> Floats:
        """Standard normal numbers (parameters,) of given values; those beyond the prior's 1e-9 end at its edge."""
        z = []
        for one in self.fitted:
            value = float(values[one.name])
            if one.prior is None:
                spread = float(values[one.spread]) if one.spread is not None else one.sd_log
                z.append(np.log(value / float(values[str(one.around)])) / spread)
            else:
                z.append(float(ndtri(np.clip(one.prior.cdf(value), EDGE, 1.0 - EDGE))))
        return np.array(z)


def list_modules(user_dir: str | Path | None = None) -> tuple[str, ...]:
    """Ids of the calibration files in the order in which they can be run."""
    known = list_inputs("calibration", user_dir)
    waiting = {name: list(_after(path)) for name, path in known.items()}
    ordered: list[str] = []
    while waiting:
        ready = [name for name, after in waiting.items() if all(a in ordered or a not in waiting for a in after)]
        # A circle is refused when a module of it is read.
        for name in ready or sorted(waiting):
            ordered.append(name)
            waiting.pop(name)
    return tuple(ordered)


def _after(path: Path) -> Sequence[str]:
    tree = read_yaml(path, file_name(path)).tree
    after = tree.get("after", []) if isinstance(tree, dict) else []
    return [a for a in after if isinstance(a, str)] if isinstance(after, list) else []


def load_module(id_or_path: str, parameters: ParameterSet, user_dir: str | Path | None = None) -> Module:
    """Read and check one calibration file. Raises InputError with file and line for anything wrong."""
    path = find_input("calibration", id_or_path, user_dir)
    document = read_yaml(path, file_name(path))
    content = validate(CalibrationModel, document, (), "a calibration")
    for position, module in enumerate(content.after):
        known = list_inputs("calibration", user_dir)
        if module not in known or module == content.id:
            raise document.error(
                ("after", position), f"the module {module!r}", one_of([k for k in known if k != content.id])
            )
        if content.id in _after(known[module]):
            raise document.error(("after", position), f"{module}, which comes after {content.id}", "no circle")
    if not content.parameters:
        raise document.error(("parameters",), "no parameters", "at least one")
    for name in content.held:
        _scalar(document, ("held", name), name, parameters)
        if name in content.parameters:
            raise document.error(("held", name), f"{name}, which is fitted", "a parameter that is not")
    fitted = tuple(_fitted(document, name, one, content, parameters) for name, one in content.parameters.items())
    between = _scalar(document, ("between_trials", "sd"), content.between_trials.sd, parameters)
    if between.uncertainty is None:
        raise document.error(
            ("between_trials", "sd"), f"{between.name}, which is fixed", "a parameter with a distribution"
        )
    for name, frozen in content.frozen.items():
        _scalar(document, ("frozen", name), name, parameters)
        low, high = frozen.ci95
        if not low <= frozen.value <= high:
            raise document.error(("frozen", name), f"{frozen.value:g} outside {low:g} to {high:g}", "a value inside")
    discrepancy = _scalar(document, ("discrepancy_sd",), content.discrepancy_sd, parameters)
    _check_effects(document, ("between_trials", "effects"), content.between_trials.effects)
    trials = tuple(_trials(document, content, user_dir))
    return Module(
        content.id, content, fitted, trials, document, between.uncertainty.marginals[0], float(discrepancy.base())
    )


def _scalar(document: Document, key: tuple[str | int, ...], name: str, parameters: ParameterSet) -> Any:
    if name not in parameters:
        near = nearest(name, parameters)
        raise document.error(key, f"no parameter called {name!r}", f"{near}?" if near else "the name of a parameter")
    if parameters[name].is_vector:
        raise document.error(key, f"{name}, which is a list of numbers", "a parameter with one number")
    return parameters[name]


def _fitted(
    document: Document, name: str, one: ParameterModel, content: CalibrationModel, parameters: ParameterSet
) -> Fitted:
    here = ("parameters", name)
    parameter = _scalar(document, here, name, parameters)
    place = document.place(here)
    if one.prior is None:
        if one.centre is not None:
            raise document.error((*here, "centre"), "a centre without a prior", "prior: and a distribution")
        uncertainty = parameter.uncertainty
        if uncertainty is None:
            raise document.error(here, f"{name}, which is fixed, without a prior", "prior: and a distribution")
        written = f"{uncertainty.kind} {dict(uncertainty.given)} (its own)"
        return Fitted(
            name, parameter.unit, uncertainty.marginals[0], None, 0.0, None, written, one.identified_by, place
        )
    kind = next(iter(one.prior))
    if one.centre is not None and kind == "around":
        raise document.error((*here, "centre"), "a centre of a prior around another parameter", "no such key")
    if kind != "around":
        value = parameter.value if one.centre is None else one.centre
        uncertainty = read_uncertainty(document, (*here, "prior"), one.prior, value, parameter.unit)
        assert uncertainty is not None
        return Fitted(
            name,
            parameter.unit,
            uncertainty.marginals[0],
            None,
            0.0,
            None,
            f"{kind} {dict(uncertainty.given)} at {value:g}",
            one.identified_by,
            place,
        )
    around = validate(AroundModel, document, (*here, "prior", "around"), "a prior around another parameter")
    before = list(content.parameters)[: list(content.parameters).index(name)]
    if around.parameter not in before:
        expected = one_of(before) if before else "a fitted parameter that stands above this one"
        raise document.error((*here, "prior", "around", "parameter"), repr(around.parameter), expected)
    spread = _scalar(document, (*here, "prior", "around", "sd_log"), around.sd_log, parameters)
    if UNITS[parameter.unit].low < 0.0:
        raise document.error(here, f"a {parameter.unit} around another one", "a parameter that cannot be negative")
    fitted = spread.name if spread.name in before else None
    written = f"{around.parameter} x exp({fitted or format(float(spread.base()), 'g')} z)"
    return Fitted(
        name, parameter.unit, None, around.parameter, float(spread.base()), fitted, written, one.identified_by, place
    )


def _check_effects(document: Document, key: tuple[str | int, ...], effects: Sequence[str]) -> None:
    for position, effect in enumerate(effects):
        if effect not in EFFECTS:
            raise document.error((*key, position), repr(effect), one_of(EFFECTS, effect))


def _trials(document: Document, content: CalibrationModel, user_dir: str | Path | None) -> Any:
    if not content.trials:
        raise document.error(("trials",), "no trials", "at least one")
    seen: set[str] = set()
    for position, entry in enumerate(content.trials):
        here = ("trials", position)
        try:
            trial = load_trial(entry.id, user_dir)
        except InputError as error:
            raise at(document.place((*here, "id")), f"trials.{position}.id", error) from None
        if trial.id in seen:
            raise document.error((*here, "id"), f"{trial.id} again", "each trial once")
        seen.add(trial.id)
        if (entry.wider != 1.0) != (entry.why is not None):
            raise document.error(here, "one of wider and why", "both, or neither")
        names = {row.name for row in rows_of(trial)}
        if entry.later_lines == "fit":
            names |= {LATER_LINE.format(arm.id) for arm in trial.content.arms}
        for name in entry.explained:
            if name not in names:
                raise document.error((*here, "explained", name), f"no figure called {name!r}", one_of(names, name))
        if entry.effects is not None:
            _check_effects(document, (*here, "effects"), entry.effects)
        for number, left_out in enumerate(entry.leave_out):
            if not any(matches(left_out, row) for row in rows_of(trial) if _fits(row)):
                raise document.error(
                    (*here, "leave_out", number), "no fitted figure of the trial", "one that its file fits"
                )
        yield trial


def fitted_rows(module: Module, trial: Trial) -> tuple[tuple[int, Row], ...]:
    """Figures of a trial that are fitted: (position among all its figures, figure)."""
    left_out = module.entry(trial.id).leave_out
    return tuple(
        (k, row) for k, row in enumerate(rows_of(trial)) if _fits(row) and not any(matches(o, row) for o in left_out)
    )


def _fits(row: Row) -> bool:
    return row.use == "fit" and row.missing is None


def matches(left_out: LeftOutModel, row: Row) -> bool:
    """Whether a figure is one of those left out."""
    names = ("arm", "reference", "endpoint", "statistic", "subgroup")
    return all(getattr(left_out, name) in (None, getattr(row, name)) for name in names)
