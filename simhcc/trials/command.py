"""`simhcc trial`: a trial from its file, run many times, beside what was published."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import simhcc
from simhcc.engine.rng import uniforms
from simhcc.errors import InputError
from simhcc.inputs import ParameterSet, load_parameters
from simhcc.inputs.trials import Trial, list_trials, load_trial
from simhcc.runner import ProgressCallback, console_progress, publish, unfinished
from simhcc.trials.design import HazardRatio
from simhcc.trials.pools import Plan, fitted_level, plan, values_of
from simhcc.trials.questions import (
    NO_LATER_LINES,
    FromMechanism,
    FromRatio,
    as_object,
    as_text,
    from_mechanism,
    from_ratio,
    looks,
)
from simhcc.trials.replicates import Replicates, replicate, require, simulated_pool, trial_size
from simhcc.trials.summary import Prediction, counted, lines, predictions, tally

POOL = 20_000
"""patients of each arm, with the parameters at their values"""
POOL_MARGIN = 1.3
"""patients of each arm and draw over those the trial takes, so that replicates of one draw differ"""
MOST = 1 << 24
RECORD = "trial.json"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for."""

    names: Sequence[str]
    replicates: int = 1000
    iterations: int = 1
    patients: int | None = None
    seed: int = 1
    threads: int | None = None
    dask: str | None = None
    out: Path | None = None
    resume: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class TrialResult:
    """One trial's replicates beside its published figures."""

    trial: Trial
    replicates: Replicates
    predictions: tuple[Prediction, ...]

    def as_object(self) -> dict[str, Any]:
        """For JSON."""
        content = self.trial.content
        objects = [p.as_object() for p in self.predictions]
        kinds = [p.row.kind for p in self.predictions]
        return {
            "id": self.trial.id,
            "title": content.title,
            "replicates": self.replicates.count,
            "iterations": self.replicates.draws,
            "forecast": self.trial.forecast,
            "targets": [o for o, kind in zip(objects, kinds, strict=True) if kind == "target"],
            "contrasts": [o for o, kind in zip(objects, kinds, strict=True) if kind == "contrast"],
            "inside": {use: {"inside": a, "of": b} for use, (a, b) in counted(self.predictions).items()},
            "next_line": self._next_line(),
            "forecasts": self.forecasts(),
            "not_modelled": self.not_modelled(),
            "assumed": self.assumed(),
        }

    def _next_line(self) -> dict[str, dict[str, float | None]]:
        found = {}
        for k, arm in enumerate(self.trial.content.arms):
            s = arm.subsequent
            low, middle, high = (float(np.quantile(self.replicates.next_line[:, k], q)) for q in (0.025, 0.5, 0.975))
            found[arm.id] = {
                "published": s.any if s is not None else None,
                "predicted": middle,
                "lower": low,
                "upper": high,
            }
        return found

    def forecasts(self) -> list[dict[str, Any]]:
        """Simulated landmarks of every curve, for a trial without published figures; empty otherwise."""
        if not self.trial.forecast:
            return []
        found = []
        for k, (endpoint, arm) in enumerate(self.replicates.curve_names):
            for months in (6.0, 12.0, 18.0, 24.0, 36.0):
                grid = self.replicates.curve_months[k]
                if months > grid[-1]:
                    continue
                # Between two points of the grid: the curve at the later one is a lower bound, near enough to a month.
                place = int(np.argmin(np.abs(grid - months)))
                values = self.replicates.curves[:, k, place]
                values = values[~np.isnan(values)]
                if values.size < 0.5 * len(self.replicates.curves):
                    continue
                low, middle, high = (float(np.quantile(values, q)) for q in (0.025, 0.5, 0.975))
                found.append(
                    {
                        "arm": arm,
                        "endpoint": endpoint,
                        "statistic": "landmark",
                        "time_months": float(grid[place]),
                        "predicted": middle,
                        "lower": low,
                        "upper": high,
                    }
                )
        return found

    def not_modelled(self) -> list[str]:
        """What the file says the simulation leaves out."""
        content = self.trial.content
        return [*content.not_modelled, *(f"{arm.id}: {text}" for arm in content.arms for text in arm.not_modelled)]

    def assumed(self) -> list[str]:
        """Facts of the design and numbers of the arms that were assumed."""
        design = self.trial.content.design
        found = []
        if design.assessment.assumed:
            found.append("scan schedule")
        if design.accrual_assumed or not design.accrual_confirmed:
            found.append(f"accrual of {design.accrual_months:g} months")
        if design.drop_out_assumed:
            found.append(f"drop-out of {design.drop_out_per_month:g} per month")
        if design.follow_up_assumed or any(look.follow_up_assumed for look in design.analyses):
            found.append("follow-up of a look")
        found += [f"{arm.id}: {arm.numbers_note}" for arm in self.trial.content.arms if arm.numbers_note is not None]
        return found

    def as_text(self) -> str:
        """For people."""
        content, found = self.trial.content, self.replicates
        draws = "the parameters at their values" if found.draws == 1 else f"{found.draws:,} draws of the parameters"
        looks = ", ".join(
            f"{look.name} at month {np.median(found.cutoffs[:, k]):.0f}"
            for k, look in enumerate(content.design.analyses)
        )
        text = [
            f"{self.trial.id}: {content.title}",
            f"{trial_size(self.trial):,} patients, population {content.population}; {content.time_zero.description}",
            f"{found.count:,} simulated trials with {draws}; looks (from the first patient): {looks}",
            "",
        ]
        if self.predictions:
            text += lines(self.predictions)
        for row in self.forecasts():
            text.append(
                f"forecast  {row['arm']}  {row['endpoint']} at {row['time_months']:.1f} mo  {row['predicted']:.3f} "
                f"({row['lower']:.3f} to {row['upper']:.3f})"
            )
        text.append("")
        text.append(tally(self.predictions))
        worst = max(
            (p.mcse for p in self.predictions if p.row.kind == "contrast" and math.isfinite(p.mcse)), default=0.0
        )
        if worst:
            text.append(f"Monte-Carlo standard error of a predicted hazard ratio: at most {worst:.3f}")
        later = [
            f"{name} {v['predicted']:.2f} ({v['lower']:.2f} to {v['upper']:.2f}), published {v['published']:.2f}"
            for name, v in self._next_line().items()
            if v["published"] is not None
        ]
        if later:
            text.append("a further line of systemic therapy: " + "; ".join(later))
        if self.assumed():
            text.append("assumed: " + "; ".join(self.assumed()))
        if self.not_modelled():
            text.append("not modelled: " + "; ".join(self.not_modelled()))
        return "\n".join(text) + "\n"

    def table(self) -> list[dict[str, Any]]:
        """One entry per published figure."""
        return [{"trial": self.trial.id, "kind": p.row.kind, **p.as_object()} for p in self.predictions]


@dataclass(frozen=True)
class Finished:
    """All trials asked for, and the folder that was written."""

    results: tuple[TrialResult, ...]
    folder: Path | None

    def as_text(self) -> str:
        """For people."""
        text = "\n".join(result.as_text() for result in self.results)
        if len(self.results) > 1:
            every = [p for result in self.results for p in result.predictions]
            text += f"\nall trials: {tally(every)}\n"
        return text

    def as_object(self) -> dict[str, Any]:
        """For machines."""
        found: dict[str, Any] = {"trials": [result.as_object() for result in self.results]}
        if self.folder is not None:
            found["results"] = str(self.folder)
        return found


def run_trials(request: Request, *, quiet: bool = False, say: Callable[[str], None] = lambda text: None) -> Finished:
    """Read, simulate, analyse, and write where `out` says so. Raises InputError before anything is simulated."""
    _check(request)
    trials = named(request.names)
    parameters = load_parameters()
    target = _target(request)
    progress = console_progress(quiet=quiet)
    with _working(target, request, say) as work:
        plans = [prepare(trial, parameters, request) for trial in trials]
        results = tuple(
            _simulated(trial, ready, request, work, progress) for trial, ready in zip(trials, plans, strict=True)
        )
        folder = None if target is None else _write(target, results, request, parameters)
    return Finished(results, folder)


def _working(target: Path | None, request: Request, say: Callable[[str], None]) -> AbstractContextManager[Path | None]:
    """The folder for unfinished pieces; None where nothing is written."""
    if target is None:
        return nullcontext()
    again = f"{command_of(request)} --resume"
    return unfinished(target, resume=request.resume, overwrite=request.overwrite, again=again, say=say)


def named(names: Sequence[str]) -> list[Trial]:
    """The trials of a command line; `all` stands for every packaged or own trial. Each once."""
    wanted: list[str] = []
    for name in names:
        wanted += list(list_trials()) if name == "all" else [name]
    return [load_trial(name) for name in dict.fromkeys(wanted)]


def prepare(trial: Trial, parameters: ParameterSet, request: Request) -> Plan:
    """A trial's patients for the sizes asked for, base case or draws with their trial effects."""
    run_in = trial.content.time_zero.run_in
    factor = run_in.enrolled_per_randomised if run_in is not None else 1.0
    needed = math.ceil(POOL_MARGIN * factor * trial_size(trial) / 1024) * 1024
    patients = request.patients or (max(POOL, needed) if request.iterations == 1 else needed)
    if request.iterations == 1:
        return plan(trial, parameters, patients=patients, seed=request.seed, luck=0)
    values = parameters.sample(request.iterations, request.seed)
    effects = trial_effects(trial, values, request.seed)
    return plan(trial, values, patients=patients, seed=request.seed, luck=None, effects=effects)


def trial_effects(trial: Trial, values: Any, seed: int) -> dict[str, Any]:
    """A new random effect of the trial for each draw: a log hazard ratio of all its patients, N(0, tau^2).

    It moves early recurrence in resectable disease, progression and cancer death together elsewhere. A trial whose effects
    were fitted (parameters `trial_level.*`) gets none beside them.
    """
    if any(fitted_level(trial.id, name) in values for name in ("early", "progression", "death")):
        return {}
    from scipy.special import ndtri

    tau = np.asarray(values_of(values)[f"heterogeneity.tau_{trial.content.setting}"])
    normal = ndtri(uniforms(seed, np.arange(tau.shape[0]), 0, f"trial/effect/{trial.id}"))
    names = ("early",) if trial.content.setting == "resectable" else ("progression", "death")
    return {name: tau * normal for name in names}


def _simulated(
    trial: Trial, ready: Plan, request: Request, work: Path | None, progress: ProgressCallback
) -> TrialResult:
    folder = work if request.iterations > 1 or len(request.names) > 1 or "all" in request.names else None

    def place(kind: str) -> dict[str, Any]:
        path = folder / f"{trial.id}-{kind}" if folder is not None else None
        return {"folder": path, "resume": request.resume and path is not None and path.exists()}

    common: dict[str, Any] = {"threads": request.threads, "dask": request.dask, "progress": progress}
    pool = simulated_pool(ready, f"{trial.id}, patients", **place("patients"), **common)
    found = replicate(pool, request.replicates, request.seed, name=f"{trial.id}, trials", **place("trials"), **common)
    levels = {look.name: look.alpha for look in trial.content.design.analyses if look.alpha is not None}
    sizes = {arm.id: arm.n for arm in trial.content.arms}
    return TrialResult(trial, found, predictions(found, levels, sizes))


def _check(request: Request) -> None:
    for name, value, lowest in (
        ("replicates", request.replicates, 1),
        ("iterations", request.iterations, 1),
        ("patients", request.patients, 1),
        ("threads", request.threads, 1),
        ("seed", request.seed, 0),
    ):
        if value is not None and not lowest <= value <= MOST:
            raise InputError(str(value), f"a whole number from {lowest} to {MOST}", key=f"--{name}")
    if not request.names:
        raise InputError("no trial", "ids or paths of trial files, or all", key="NAME")
    if request.iterations > 1 and request.replicates < request.iterations:
        raise InputError(
            f"{request.replicates} replicates for {request.iterations} iterations",
            "at least one replicate for each",
            key="--replicates",
        )
    if request.resume and request.out is None:
        raise InputError("--resume without --out", "--out with the folder of the earlier run", key="--resume")
    if request.resume and request.overwrite:
        raise InputError("both --resume and --overwrite", "one of them", key="--resume")
    if request.overwrite and request.out is None:
        raise InputError("--overwrite without --out", "the folder to replace", key="--overwrite")


def _target(request: Request) -> Path | None:
    target = request.out
    if target is None:
        return None
    if not target.name or (target.exists() and not target.is_dir()):
        raise InputError(str(target), "the name of a folder to be made", key="--out")
    if target.is_dir() and any(target.iterdir()):
        if not (target / RECORD).exists():
            raise InputError(f"{target}, which holds something else than trials", "another folder", key="--out")
        if not request.overwrite:
            raise InputError(f"{target}, which holds results", "--overwrite, or another folder", key="--out")
    return target


def command_of(request: Request) -> str:
    """The command that repeats a run."""
    words = ["simhcc", "trial", *map(shlex.quote, request.names), "--replicates", str(request.replicates)]
    if request.iterations > 1:
        words += ["--iterations", str(request.iterations)]
    if request.patients is not None:
        words += ["--patients", str(request.patients)]
    words += ["--seed", str(request.seed)]
    if request.out is not None:
        words += ["--out", shlex.quote(str(request.out))]
    return " ".join(words)


README = """\
Results of `{command}`

predictions.csv   one row per published figure: published with interval, predicted (median of the simulated trials) with its
                  Monte-Carlo standard error, lower and upper (central 95 %), inside, z (distance in predictive standard
                  deviations), beyond (by how much outside, in the figure's unit)
curves.csv        2.5, 50 and 97.5 % of the simulated Kaplan-Meier curves
figures/          simulated bands with the published points, as PNG and SVG
trial.json        all of it for machines, with version, seed, sizes and fingerprints of the inputs
"""


def _write(target: Path, results: Sequence[TrialResult], request: Request, parameters: ParameterSet) -> Path:
    from simhcc.trials.figures import draw_trial

    record = {
        "command": command_of(request),
        "version": simhcc.__version__,
        "seed": request.seed,
        "parameters": parameters.fingerprint(),
        "parameter_files": dict(parameters.files),
        "files": {r.trial.id: r.trial.document.sha256 for r in results},
        "trials": [r.as_object() for r in results],
    }

    def fill(folder: Path) -> None:
        pd.DataFrame([row for r in results for row in r.table()]).to_csv(folder / "predictions.csv", index=False)
        pd.concat([curve_table(r) for r in results]).to_csv(folder / "curves.csv", index=False, float_format="%.5g")
        figures = folder / "figures"
        figures.mkdir()
        for r in results:
            draw_trial(figures, r.trial, r.replicates, r.predictions)
        text = json.dumps(record, ensure_ascii=False, indent=1, allow_nan=False)
        (folder / RECORD).write_text(text + "\n", encoding="utf-8")
        (folder / "README.txt").write_text(README.format(command=record["command"]), encoding="utf-8")

    return publish(target.parent, target.name, fill, replace=request.overwrite)


def curve_table(result: TrialResult) -> pd.DataFrame:
    """Bands of the simulated curves: trial, endpoint, arm, months, lower, median, upper, followed (share of replicates)."""
    found, parts = result.replicates, []
    for k, (endpoint, arm) in enumerate(found.curve_names):
        curves = found.curves[:, k]
        known = ~np.isnan(curves)
        rows = known.any(axis=0)
        low, middle, high = np.nanquantile(curves[:, rows], [0.025, 0.5, 0.975], axis=0)
        parts.append(
            pd.DataFrame(
                {
                    "trial": result.trial.id,
                    "endpoint": endpoint,
                    "arm": arm,
                    "months": found.curve_months[k][rows],
                    "lower": low,
                    "median": middle,
                    "upper": high,
                    "followed": known[:, rows].mean(axis=0),
                }
            )
        )
    return pd.concat(parts) if parts else pd.DataFrame()


# -- open questions ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DesignRequest:
    """What the user asked of `simhcc design`."""

    names: Sequence[str]
    true: Sequence[float] = ()
    prior: tuple[float, float, float] | None = None
    mechanism: bool = True
    replicates: int = 2000
    iterations: int = 1
    patients: int | None = None
    seed: int = 1
    threads: int | None = None


@dataclass(frozen=True)
class Answered:
    """The open questions of some trials, answered."""

    answers: tuple[tuple[Trial, FromRatio, FromMechanism | None], ...]

    def as_text(self) -> str:
        """For people."""
        return "\n".join(as_text(trial, ratio, mechanism) for trial, ratio, mechanism in self.answers)

    def as_object(self) -> dict[str, Any]:
        """For machines."""
        return {"questions": [as_object(trial, ratio, mechanism) for trial, ratio, mechanism in self.answers]}


def answer_questions(request: DesignRequest, *, quiet: bool = False) -> Answered:
    """Answer the questions that the trials' files leave open. Raises InputError before anything is simulated."""
    sizes = Request(
        names=request.names,
        replicates=request.replicates,
        iterations=request.iterations,
        patients=request.patients,
        seed=request.seed,
        threads=request.threads,
    )
    _check(sizes)
    for hr in request.true:
        if not 0.0 < hr < math.inf:
            raise InputError(f"{hr:g}", "a hazard ratio above 0", key="--true")
    prior = None
    if request.prior is not None:
        try:
            prior = HazardRatio.from_interval(*request.prior)
        except InputError as error:
            raise InputError(f"{request.prior}", "MEDIAN LOWER UPPER of a hazard ratio", key="--prior") from error
    asked_for_all = "all" in request.names
    trials = [t for t in named(request.names) if t.content.sequential or not asked_for_all]
    for trial in trials:
        if not trial.content.sequential:
            raise trial.error(
                (), "no `sequential` entry, so nothing to ask", "looks, alpha and final events of a comparison"
            )
    parameters = load_parameters()
    ready: list[tuple[Trial, list[FromRatio]]] = [
        (trial, [from_ratio(trial, q, request.true, prior) for q in trial.content.sequential]) for trial in trials
    ]
    progress = console_progress(quiet=quiet)
    answers: list[tuple[Trial, FromRatio, FromMechanism | None]] = []
    for trial, ratios in ready:
        if not request.mechanism:
            answers += [(trial, ratio, None) for ratio in ratios]
            continue
        patients = prepare(trial, parameters, sizes)
        pool = simulated_pool(patients, f"{trial.id}, patients", threads=request.threads, progress=progress)
        require(pool)
        diluted = without_later_lines(patients)
        bare = simulated_pool(diluted, f"{trial.id}, no further lines", threads=request.threads, progress=progress)
        for position, ratio in enumerate(ratios):
            name = f"{trial.id}, looks"
            common: dict[str, Any] = {"threads": request.threads, "progress": progress}
            found = looks(pool, position, request.replicates, request.seed, name, **common)
            without = looks(bare, position, request.replicates, request.seed, name, **common)
            answers.append((trial, ratio, from_mechanism(ratio, found, pool.draws, without)))
    return Answered(tuple(answers))


def without_later_lines(ready: Plan) -> Plan:
    """The same patients in a world in which nobody reaches a further line."""
    parts = tuple(replace(part, numbers={**part.numbers, **NO_LATER_LINES}) for part in ready.parts)
    return replace(ready, parts=parts)


__all__ = ["Answered", "DesignRequest", "Finished", "Request", "TrialResult", "answer_questions", "run_trials"]
