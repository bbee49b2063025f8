"""Forecasts of readouts still to come: frozen with their date, scored when a result is entered.

A forecast is the distribution of the hazard ratio that a trial would report: each draw of the numbers meets one trial of
new patients, run as the trial is run. Scores are those of Gneiting and Raftery, J Am Stat Assoc 2007;102:359, on the log scale.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

import simhcc
from simhcc.claims.experiments import Sizes
from simhcc.errors import InputError
from simhcc.inputs import Document, Label, ParameterSet, describe, find_input, list_inputs, read_yaml
from simhcc.inputs.locate import at, file_name, is_path
from simhcc.inputs.models import Id, LabelModel, Model, Positive, Text, is_number, validate
from simhcc.runner import ProgressCallback
from simhcc.trials import load_trial, observe
from simhcc.trials.command import trial_effects
from simhcc.trials.pools import plan
from simhcc.trials.replicates import enrol, simulated_pool, trial_size
from simhcc.trials.statistics import CoxStatus, analyse_replicates

Floats = NDArray[np.float64]

FROZEN = "frozen"
MARGIN = 1.3
"""simulated patients for each one that the trial takes"""
GUESS_POINTS = 400
NAIVE = {"no effect": 1.0, "ratio of 0.85": 0.85}
"""forecasters without a model: the ratio they expect, with the sampling error of the result"""


class ResultModel(Model):
    """What was reported."""

    value: Positive
    ci95: Any = None
    on: Text
    source: Text


class ForecastModel(Model):
    """A forecast: of a trial's hazard ratio, or a range that somebody gave."""

    id: Id
    label: LabelModel
    trial: Text | None = None
    endpoint: Text | None = None
    arm: Text | None = None
    reference: Text | None = None
    cutoff_months: Positive | None = None
    guess: Any = None
    expected: Text
    note: Text | None = None
    result: ResultModel | None = None


@dataclass(frozen=True)
class Result:
    """A reported hazard ratio with its interval, if one was printed."""

    value: float
    low: float | None
    high: float | None
    on: str
    source: str


@dataclass(frozen=True)
class Forecast:
    """A forecast as its file has it, with the frozen distribution where there is one."""

    id: str
    label: Label
    trial: Path | None
    endpoint: str
    arm: str
    reference: str
    cutoff_months: float
    guess: tuple[float, float] | None
    expected: str
    note: str | None
    result: Result | None
    path: Path
    frozen: Mapping[str, Any] | None

    @property
    def frozen_path(self) -> Path:
        """Where the frozen distribution lies."""
        return self.path.parent / FROZEN / f"{self.id}.json"

    @property
    def ratios(self) -> Floats | None:
        """The predicted hazard ratios; None before the forecast is frozen."""
        if self.guess is not None:
            low, high = self.guess
            return low + (high - low) * (np.arange(GUESS_POINTS) + 0.5) / GUESS_POINTS
        return None if self.frozen is None else np.asarray(self.frozen["ratios"], dtype=np.float64)


@dataclass(frozen=True)
class Score:
    """How a forecast did: lower CRPS is better; `naive` are those of forecasters without a model."""

    crps: float
    inside_50: bool
    inside_95: bool
    rank: float
    """share of the forecast below the result"""
    naive: Mapping[str, float]


def load_forecast(id_or_path: str | Path, parameters: ParameterSet, user_dir: str | Path | None = None) -> Forecast:
    """Read a forecast strictly, and its frozen distribution. Raises InputError with file and line."""
    path = find_input("forecast", str(id_or_path), user_dir)
    document = read_yaml(path, file_name(path))
    model = validate(ForecastModel, document, (), "a forecast")
    if not is_path(str(id_or_path)) and model.id != path.stem:
        raise document.error(("id",), f"id {model.id} in a file called {path.name}", f"id: {path.stem}")
    guess = None
    needed = ("trial", "endpoint", "arm", "reference", "cutoff_months")
    if model.guess is not None:
        for key in needed:
            if getattr(model, key) is not None:
                raise document.error((key,), f"{key} beside guess", "one of them")
        guess = _pair(document, ("guess",), model.guess)
    else:
        for key in needed:
            if getattr(model, key) is None:
                raise document.error((), f"no key {key!r}", f"{key}: it is required, unless there is a guess")
    trial = None
    if model.trial is not None:
        try:
            trial = find_input("trial", model.trial, user_dir, path.parent)
        except InputError as error:
            raise at(document.place(("trial",)), "trial", error) from None
        content = load_trial(str(trial)).content
        arms = [arm.id for arm in content.arms]
        for key in ("arm", "reference"):
            if getattr(model, key) not in arms:
                raise document.error((key,), f"the arm {getattr(model, key)!r}", f"one of {', '.join(arms)}")
        if model.endpoint not in content.endpoints:
            raise document.error(
                ("endpoint",), f"the endpoint {model.endpoint!r}", f"one of {', '.join(content.endpoints)}"
            )
    result = None
    if model.result is not None:
        if model.result.source not in parameters.sources:
            raise document.error(
                ("result", "source"), f"the source {model.result.source!r}", "a source of params/sources.yaml"
            )
        limits = (None, None)
        if model.result.ci95 is not None:
            limits = _pair(document, ("result", "ci95"), model.result.ci95)  # type: ignore[assignment]
        result = Result(model.result.value, *limits, model.result.on, model.result.source)
    found = path.parent / FROZEN / f"{model.id}.json"
    return Forecast(
        id=model.id,
        label=Label(model.label.en, model.label.zh),
        trial=trial,
        endpoint=model.endpoint or "",
        arm=model.arm or "",
        reference=model.reference or "",
        cutoff_months=model.cutoff_months or 0.0,
        guess=guess,
        expected=model.expected,
        note=model.note,
        result=result,
        path=path,
        frozen=_frozen(found) if found.exists() else None,
    )


def list_forecasts(user_dir: str | Path | None = None) -> dict[str, Path]:
    """Id -> file of every forecast; the user's own files win."""
    return list_inputs("forecast", user_dir)


def _pair(document: Document, path: tuple[str, ...], value: Any) -> tuple[float, float]:
    if not (isinstance(value, list) and len(value) == 2 and all(is_number(limit) for limit in value)):
        raise document.error(path, describe(value), "two numbers, for example [0.90, 0.95]")
    if not 0.0 < value[0] < value[1]:
        raise document.error(path, f"[{value[0]:g}, {value[1]:g}]", "two ratios above 0, the lower first")
    return float(value[0]), float(value[1])


def _frozen(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        ratios = np.asarray(found["ratios"], dtype=np.float64)
        assert ratios.ndim == 1 and ratios.size > 1 and (ratios > 0.0).all() and isinstance(found["frozen"], str)
    except (OSError, ValueError, KeyError, TypeError, AssertionError):
        raise InputError("a frozen forecast that cannot be read", "the file as it was frozen", file=str(path)) from None
    return dict(found)


def predict(
    forecast: Forecast, parameters: ParameterSet, sizes: Sizes, progress: ProgressCallback | None = None
) -> dict[str, Any]:
    """The distribution of the reported ratio: one trial in each draw of the numbers. Ready to be frozen, but for its date."""
    assert forecast.trial is not None
    trial = load_trial(str(forecast.trial))
    run_in = trial.content.time_zero.run_in
    factor = run_in.enrolled_per_randomised if run_in is not None else 1.0
    patients = math.ceil(MARGIN * factor * trial_size(trial) / 1024) * 1024
    values = parameters.sample(sizes.iterations, sizes.seed)
    ready = plan(
        trial, values, patients=patients, seed=sizes.seed, luck=None, effects=trial_effects(trial, values, sizes.seed)
    )
    pool = simulated_pool(ready, f"{forecast.id}, patients", threads=sizes.threads, progress=progress)
    arms = enrol(pool, 0, sizes.iterations, sizes.seed)
    cutoff = np.full(sizes.iterations, forecast.cutoff_months)
    seen = [observe.see(trial, arms[name], forecast.endpoint, cutoff) for name in (forecast.arm, forecast.reference)]
    group = np.concatenate([np.where(one.counted, 1 - k, -1) for k, one in enumerate(seen)], axis=1)
    analysis = analyse_replicates(
        np.concatenate([one.time for one in seen], axis=1),
        np.concatenate([one.event & one.counted for one in seen], axis=1),
        group,
        landmarks=[12.0],
        tau=24.0,
        threads=sizes.threads,
    )
    fitted = analysis.cox_status == CoxStatus.FITTED
    ratios = np.sort(analysis.hazard_ratio[fitted])
    events = analysis.events[fitted].sum(axis=1)
    return {
        "id": forecast.id,
        "version": simhcc.__version__,
        "iterations": sizes.iterations,
        "seed": sizes.seed,
        "parameters": parameters.fingerprint(),
        "posteriors": [posterior.id for posterior in parameters.posteriors],
        "trial": trial.id,
        "endpoint": forecast.endpoint,
        "arm": forecast.arm,
        "reference": forecast.reference,
        "cutoff_months": forecast.cutoff_months,
        "events_median": float(np.median(events)),
        "p_significant_benefit": float(((analysis.logrank_p < 0.05) & (analysis.logrank_z < 0.0))[fitted].mean()),
        "ratios": [round(float(ratio), 4) for ratio in ratios],
    }


def crps(sample: Floats, value: float) -> float:
    """Continuous ranked probability score of a sample: E|X - y| - E|X - X'| / 2."""
    ordered = np.sort(sample)
    n = len(ordered)
    pairs = 2.0 * float((ordered * (2.0 * np.arange(1, n + 1) - n - 1)).sum()) / n**2
    return float(np.abs(ordered - value).mean()) - 0.5 * pairs


def crps_normal(mean: float, sd: float, value: float) -> float:
    """The same of a normal distribution, in closed form."""
    z = (value - mean) / sd
    density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return sd * (z * (2.0 * float(ndtr(z)) - 1.0) + 2.0 * density - 1.0 / math.sqrt(math.pi))


def score(forecast: Forecast) -> Score | None:
    """How the forecast did against its result, on the log scale; None without a result or a distribution."""
    ratios = forecast.ratios
    if forecast.result is None or ratios is None:
        return None
    logs, value = np.log(ratios), math.log(forecast.result.value)
    inside = []
    for level in (0.5, 0.95):
        low, high = np.quantile(logs, (0.5 - level / 2.0, 0.5 + level / 2.0))
        inside.append(bool(low <= value <= high))
    naive = {}
    if forecast.result.low is not None and forecast.result.high is not None:
        sd = (math.log(forecast.result.high) - math.log(forecast.result.low)) / (2.0 * 1.959963984540054)
        naive = {name: crps_normal(math.log(ratio), sd, value) for name, ratio in NAIVE.items()}
    return Score(crps(logs, value), inside[0], inside[1], float((logs < value).mean()), naive)


__all__ = [
    "Forecast",
    "Result",
    "Score",
    "crps",
    "crps_normal",
    "list_forecasts",
    "load_forecast",
    "predict",
    "score",
]
