"""The posterior of a module as files: a table of draws and its manifest, as `params/posterior/` holds them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import simhcc
from simhcc.calibration.fit import PRIOR_DRIVEN, Fit
from simhcc.calibration.specification import Module
from simhcc.calibration.tables import figure_table
from simhcc.inputs import ParameterSet, Place, Posterior
from simhcc.pathway import risk
from simhcc.population import load_population, sample_cohort
from simhcc.trials.pools import fitted_level, of_patients

Floats = NDArray[np.float64]

LEVEL_PATIENTS = 2048
LEFT_OUT_QUANTILES = tuple(np.round(np.linspace(0.025, 0.975, 39), 3).tolist())
"""quantiles of a left-out figure's prediction that are kept, on its scale"""


def columns(fit: Fit, parameters: ParameterSet) -> tuple[dict[str, Floats], dict[str, float]]:
    """Draws of everything that a fit decides, by parameter, and the base case of each.

    Fitted parameters, held ones at their values, the sd between trials, and the levels of the fitted trials.
    """
    module = fit.module
    draws = dict(fit.values)
    base = fit.centre()
    for name in module.content.held:
        value = float(parameters[name].base())
        draws[name], base[name] = np.full(fit.draws, value), value
    spread = module.content.between_trials.sd
    draws[spread], base[spread] = fit.tau, float(fit.tau.mean())
    for trial in module.trials:
        for k, effect in enumerate(module.content.between_trials.effects):
            if effect not in module.effects(trial.id):
                continue
            drawn = fit.effects[trial.id][:, k] * module.entry(trial.id).wider
            level = trial.content.level
            if effect == "early" and level is not None and level.early_mass is not None:
                # The trial's file knows its level as the mean mass of early recurrence of its patients.
                drawn = np.exp(drawn + _log_mass(fit, trial, parameters))
                draws[level.early_mass], base[level.early_mass] = drawn, float(np.exp(np.log(drawn).mean()))
                continue
            name = fitted_level(trial.id, effect)
            if name in parameters:
                draws[name], base[name] = drawn, float(drawn.mean())
    return draws, base


def _log_mass(fit: Fit, trial: Any, parameters: ParameterSet) -> Floats:
    """Log of the mean mass of early recurrence that the trial's patients would have by their burden alone, by draw."""
    numbers = parameters.base_values()
    population = load_population(trial.content.population, trial.user_dir)
    cohort = dict(sample_cohort(population, numbers, LEVEL_PATIENTS, fit.module.content.simulation.seed).attributes)
    cohort |= {"clearances": np.zeros(LEVEL_PATIENTS), "trial_log_early": np.zeros(LEVEL_PATIENTS)}
    expression = risk.early_mass(after_conversion=False)
    found = np.empty(fit.draws)
    for k in range(fit.draws):
        here: dict[str, Any] = {**numbers, **{name: float(value[k]) for name, value in fit.values.items()}}
        found[k] = np.log(np.exp(of_patients(expression, cohort, here)).mean())
    return found


def as_posterior(fit: Fit, parameters: ParameterSet) -> Posterior:
    """The fit as the modules after it, and a PSA, take it."""
    draws, base = columns(fit, parameters)
    table = np.column_stack(list(draws.values()))
    place = Place(f"calibration of {fit.module.id}", 0)
    return Posterior(fit.module.id, tuple(draws), table, "", {"run": command(fit.module)}, place, 3, base)


def command(module: Module) -> str:
    """The command that makes a posterior again."""
    return f"simhcc calibrate {' '.join([*module.content.after, module.id])}"


def write_posterior(fit: Fit, parameters: ParameterSet, folder: Path) -> tuple[Path, Path]:
    """Write MODULE.csv and MODULE.yaml into a folder; the manifest says what the draws were made from."""
    draws, base = columns(fit, parameters)
    lines = [",".join(draws)]
    lines += [",".join(f"{x:.5g}" for x in row) for row in np.column_stack(list(draws.values()))]
    raw = ("\n".join(lines) + "\n").encode()
    manifest = {
        "parameters": list(draws),
        "draws": fit.draws,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "run": command(fit.module),
        "seed": fit.module.content.simulation.seed,
        "version": simhcc.__version__,
        "inputs": fingerprints(fit.module, parameters),
        "base": {name: float(f"{value:.5g}") for name, value in base.items()},
        "targets": {f.trial.id: list(f.names) for f in fit.figures},
        "fit": summary(fit),
    }
    folder.mkdir(parents=True, exist_ok=True)
    table, note = folder / f"{fit.module.id}.csv", folder / f"{fit.module.id}.yaml"
    # The table first: a manifest whose table does not fit it is refused by its digest.
    table.write_bytes(raw)
    # JSON is YAML too, and needs no writer of its own.
    text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
    note.write_text("# Written by simhcc calibrate; do not edit.\n" + text + "\n", encoding="utf-8")
    return table, note


def fingerprints(module: Module, parameters: ParameterSet) -> dict[str, Any]:
    """SHA-256 of what a fit depends on: the module without its words, its trials, and the numbers before the fit."""
    entries = {position: {"explained", "shape"} for position in range(len(module.content.trials))}
    told = module.content.model_dump_json(exclude={"trials": entries, "note": True, "title": True})
    return {
        "calibration": hashlib.sha256(told.encode()).hexdigest(),
        "numbers": parameters.fingerprint(),
        "trials": {
            trial.id: hashlib.sha256(trial.content.model_dump_json().encode()).hexdigest() for trial in module.trials
        },
    }


def stale(module: Module, parameters: ParameterSet, posterior: Posterior) -> list[str]:
    """What a stored posterior was fitted to that has changed since: words for people, none where nothing has."""
    then: Any = posterior.manifest.get("inputs") or {}
    now = fingerprints(module, parameters)
    found = [words for key, words in _PARTS.items() if then.get(key) != now[key]]
    trials: Any = then.get("trials") or {}
    return found + [f"trial {name}" for name, sha in now["trials"].items() if trials.get(name) != sha]


_PARTS = {"calibration": "its calibration file", "numbers": "numbers of params/ that stand before the fit"}


def summary(fit: Fit) -> dict[str, Any]:
    """What a reader needs to judge a fit, as plain data."""
    ratios = fit.shrinkage()
    worst = {trial: float(f"{np.abs(miss[0]).max():.3g}") for trial, miss in fit.emulator_miss.items()}
    return {
        "effective_sample_size": round(fit.ess, 1),
        "largest_weight": float(f"{fit.largest_weight:.3g}"),
        "expected_unique_share": round(fit.expected_unique, 3),
        "reached_aim": bool(fit.reached),
        "sampled_again_largest_difference_in_sd": float(f"{fit.disagreement:.3g}"),
        "discrepancy_sd": float(f"{fit.delta.mean():.3g}"),
        "between_trials_sd": float(f"{fit.tau.mean():.3g}"),
        "posterior_sd_over_prior_sd": {
            name: float(f"{ratio:.3g}") for name, ratio in zip(fit.module.names, ratios, strict=True)
        },
        "prior_driven": [n for n, r in zip(fit.module.names, ratios, strict=True) if r > PRIOR_DRIVEN],
        "largest_emulator_bias_in_sd": worst,
        "later_lines": _later_lines(fit),
        "left_out": [
            {
                "trial": one.trial,
                "figure": one.figure,
                "published": float(f"{one.observed:.5g}"),
                "sd": float(f"{one.sd:.4g}"),
                "quantiles": [float(f"{q:.5g}") for q in np.quantile(one.drawn, LEFT_OUT_QUANTILES)],
            }
            for one in fit.left_out
        ],
        "rounds": [dict(r) for r in fit.rounds],
    }


def _later_lines(fit: Fit) -> list[dict[str, Any]]:
    """Published shares with a later line beside the fitted ones: figures of a fit that are no rows of a trial's tables."""
    names = {(one.trial.id, name) for one in fit.figures for name in one.names[len(one.rows) :]}
    columns_ = ("published", "fitted", "lower", "upper", "residual", "width")
    return [
        {"trial": row["trial"], "figure": row["figure"], **{c: float(f"{row[c]:.4g}") for c in columns_}}
        for row in figure_table(fit).to_dict("records")
        if (row["trial"], row["figure"]) in names
    ]


def named(posteriors: Sequence[Posterior]) -> Mapping[str, Posterior]:
    """Posteriors by id."""
    return {posterior.id: posterior for posterior in posteriors}
