"""`simhcc calibrate`: the modules in their order, their files, and what the user reads."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simhcc.calibration import figures as drawn
from simhcc.calibration.fit import Fit, Options, run_fit
from simhcc.calibration.recovery import Recovery, recover
from simhcc.calibration.specification import Module, list_modules, load_module
from simhcc.calibration.store import as_posterior, columns, summary, write_posterior
from simhcc.calibration.tables import correlation_table, figure_table, parameter_table
from simhcc.errors import InputError
from simhcc.inputs import ParameterSet, Posterior, load_parameters, one_of
from simhcc.runner import console_progress, publish

OUT = Path("results/calibration")
WORK = "work"


@dataclass(frozen=True)
class Request:
    """What the user asked for; None stands for the default."""

    modules: tuple[str, ...] = ()
    out: Path | None = None
    store: bool = False
    resume: bool = False
    overwrite: bool = False
    threads: int | None = None
    dask: str | None = None
    recovery: int | None = None
    """data sets simulated from the model itself, to be fitted instead of the published figures"""


@dataclass(frozen=True)
class Found:
    """The modules that were fitted, and where their files are."""

    fits: tuple[Fit, ...]
    folder: Path
    stored: tuple[Path, ...]
    seconds: float

    def as_object(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "modules": [
                {
                    "id": fit.module.id,
                    "draws": fit.draws,
                    "parameters": _records(parameter_table(fit)),
                    "targets": _records(figure_table(fit)),
                    "diagnostics": summary(fit),
                }
                for fit in self.fits
            ],
            "results": str(self.folder),
            "stored": [str(path) for path in self.stored],
        }

    def as_text(self) -> str:
        """Parameters, figures and diagnostics, for people."""
        return "\n".join([*(fit_text(fit) for fit in self.fits), f"Took {self.seconds / 60:.1f} min."]) + "\n"


def run_calibration(request: Request, quiet: bool, say: Callable[[str], None]) -> Found:
    """Fit the modules (all of them by default) in the order of their files, write tables, figures and posteriors.

    Raises InputError for an unknown module, for one that comes after a module without a posterior, and for a folder that is
    in use; ModelError where a fit is not possible.
    """
    started = time.monotonic()
    out = request.out or OUT
    if request.overwrite and out.exists():
        shutil.rmtree(out)
    raw, stored, loaded = _loaded(request.modules, alone=False)
    fresh: dict[str, Posterior] = {}
    fits: list[Fit] = []
    for name, module in loaded.items():
        upstream = [fresh.get(before) or stored[before] for before in module.content.after]
        fit = run_fit(module, base_numbers(raw, upstream), upstream, _options(request, out / WORK, quiet, say))
        fresh[name] = as_posterior(fit, raw)
        fits.append(fit)
        publish(out, name, partial(_write, fit, raw), replace=True)
    paths: list[Path] = []
    if request.store:
        for fit in fits:
            paths += write_posterior(fit, raw, Path("params") / "posterior")
    return Found(tuple(fits), out, tuple(paths), time.monotonic() - started)


@dataclass(frozen=True)
class Recovered:
    """Modules whose known parameters were looked for, and where the tables are."""

    recoveries: Mapping[str, Recovery]
    folder: Path
    seconds: float

    def as_object(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "modules": [
                {"id": name, **found.overall(), "parameters": _records(found.table())}
                for name, found in self.recoveries.items()
            ],
            "results": str(self.folder),
        }

    def as_text(self) -> str:
        """Coverage by parameter and over all, for people."""
        parts = []
        for name, found in self.recoveries.items():
            told, table = found.overall(), found.table()
            table.columns = pd.Index(
                ["parameter", "covered", "of", "share", "2.5 %", "97.5 %", "correlation", "sd ratio"]
            )
            parts += [
                f"{name}: {told['repeats']:.0f} data sets simulated from the model and fitted",
                "",
                table.to_string(index=False, float_format=lambda v: f"{v:.2f}"),
                "",
                f"{told['level']:.0%} intervals hold the truth in {told['coverage']:.1%} of all cases (95 % limits "
                f"{told['lower']:.1%} to {told['upper']:.1%}, data sets being independent, parameters of one not). For "
                f"{told['excluded']:.0f} of {len(table)} parameters the binomial limits leave {told['level']:.0%} out; one in "
                "twenty is to be expected.",
                "",
            ]
        return "\n".join([*parts, f"Took {self.seconds / 60:.1f} min."]) + "\n"


def run_recovery(request: Request, quiet: bool, say: Callable[[str], None]) -> Recovered:
    """Fit data simulated from the model at known parameters, `request.recovery` times, and count what is found.

    Writes MODULE-recovery/recovery.csv and recovery.json. Raises as `run_calibration`, and InputError for fewer than two
    data sets and together with `store`.
    """
    started = time.monotonic()
    repeats = request.recovery or 0
    if repeats < 2:
        raise InputError(f"{repeats} data sets", "2 or more", key="recovery")
    if request.store:
        raise InputError("recovery together with store", "one of them: what is recovered is no posterior", key="store")
    out = request.out or OUT
    if request.overwrite and out.exists():
        shutil.rmtree(out)
    raw, stored, loaded = _loaded(request.modules, alone=True)
    found: dict[str, Recovery] = {}
    for name, module in loaded.items():
        base = base_numbers(raw, [stored[before] for before in module.content.after])
        found[name] = recover(module, base, repeats, options=_options(request, out / f"{WORK}-recovery", quiet, say))
        publish(out, f"{name}-recovery", partial(_write_recovery, found[name]), replace=True)
    return Recovered(found, out, time.monotonic() - started)


def _write_recovery(found: Recovery, folder: Path) -> None:
    found.table().to_csv(folder / "recovery.csv", index=False, float_format="%.4g")
    (folder / "recovery.json").write_text(json.dumps(found.overall(), indent=1) + "\n", encoding="utf-8")


def _loaded(modules: Sequence[str], alone: bool) -> tuple[ParameterSet, dict[str, Posterior], dict[str, Module]]:
    """Numbers before any fit, stored posteriors, and the chosen modules; all is read before anything is simulated.

    With `alone` every module before a chosen one must have a stored posterior; else it may be chosen too.
    """
    wanted = _chosen(modules, list_modules())
    stored = {p.id: p for p in load_parameters().posteriors}
    raw = load_parameters(posteriors=())
    loaded = {name: load_module(name, raw) for name in wanted}
    for name, module in loaded.items():
        for before in module.content.after:
            if (alone or before not in wanted) and before not in stored:
                key = ("after", module.content.after.index(before))
                expected = f"simhcc calibrate {before} --store first"
                if not alone:
                    expected = f"simhcc calibrate {before} {name}, or {expected}"
                raise module.document.error(key, f"{before}, which has no posterior", expected)
    return raw, stored, loaded


def _options(request: Request, folder: Path, quiet: bool, say: Callable[[str], None]) -> Options:
    return Options(
        folder=folder,
        resume=request.resume,
        threads=request.threads,
        dask=request.dask,
        progress=console_progress(quiet=quiet),
        say=say,
    )


def base_numbers(raw: ParameterSet, upstream: Sequence[Posterior]) -> dict[str, Any]:
    """All numbers, those of fitted modules at the base case of their posteriors."""
    base: dict[str, Any] = dict(raw.base_values())
    for posterior in upstream:
        base |= {name: value for name, value in posterior.base.items() if name in base}
    return base


def _chosen(modules: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    if not modules:
        return tuple(known)
    for module in modules:
        if module not in known:
            raise InputError(f"no module called {module!r}", one_of(known, module), key="modules")
    return tuple(name for name in known if name in modules)


def _write(fit: Fit, parameters: ParameterSet, folder: Path) -> None:
    table = figure_table(fit)
    parameter_table(fit).to_csv(folder / "parameters.csv", index=False, float_format="%.6g")
    table.to_csv(folder / "targets.csv", index=False, float_format="%.6g")
    correlation_table(fit).to_csv(folder / "correlations.csv", float_format="%.4f")
    (folder / "fit.json").write_text(json.dumps(summary(fit), indent=1) + "\n", encoding="utf-8")
    write_posterior(fit, parameters, folder / "posterior")
    title = fit.module.content.title
    drawn.save(
        {
            "prior-posterior": drawn.prior_posterior(fit),
            "targets": drawn.targets(table, f"{title}: fitted figures"),
            "correlations": drawn.correlations(correlation_table(fit), f"{title}: posterior correlations"),
        },
        folder,
    )


def fit_text(fit: Fit) -> str:
    """One module in words."""
    parameters, table = parameter_table(fit), figure_table(fit)
    lines = [f"{fit.module.content.title} ({fit.module.id})", ""]
    shown = parameters[
        [
            "parameter",
            "prior_mean",
            "posterior_mean",
            "posterior_lower",
            "posterior_upper",
            "posterior_sd_over_prior_sd",
        ]
    ].copy()
    shown.columns = pd.Index(["parameter", "prior", "posterior", "2.5 %", "97.5 %", "sd ratio"])
    shown["note"] = ["prior-driven" if i == "prior-driven" else "" for i in parameters["information"]]
    lines += [shown.to_string(index=False, float_format=lambda v: f"{v:.4g}"), ""]
    figures = table[["trial", "figure", "published", "fitted", "lower", "upper", "residual", "inside"]]
    lines += [figures.to_string(index=False, float_format=lambda v: f"{v:.3g}"), ""]
    away = np.abs(table["residual"].to_numpy())
    lines.append(
        f"{len(table)} figures: {np.mean(away <= 2.0):.0%} of the residuals within 2, the largest {away.max():.1f}; "
        f"{table['inside'].mean():.0%} inside the 95 % prediction; prediction {table['width'].mean():.2f} times as wide as "
        "the published interval on average."
    )
    lines.append(
        f"Effective sample size {fit.ess:.0f} ({fit.draws} draws kept); sd between trials {fit.tau.mean():.2f}, discrepancy "
        f"{fit.delta.mean():.2f}; emulator off by at most "
        f"{max(np.abs(m[0]).max() for m in fit.emulator_miss.values()):.2f} sd of a published figure. Sampled again from another "
        f"beginning, no parameter's mean moves by more than {fit.disagreement:.2f} of its posterior sds."
    )
    if not fit.reached:
        lines.append("The sampler stopped before its aim: the draws repeat one another; do not use them.")
    return "\n".join(lines) + "\n"


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(table.to_json(orient="records"))
    return records


__all__ = ["Found", "Recovered", "Request", "base_numbers", "columns", "run_calibration", "run_recovery"]
