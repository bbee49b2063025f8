"""What a run was made of: versions, sizes, fingerprints and the command that repeats it; inputs as they were understood."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import simhcc
from simhcc.inputs import ParameterSet, Scenario, Strategy, currency_code, money_of

PACKAGES = ("numpy", "scipy", "numba", "pandas", "matplotlib")


def parameter_table(parameters: ParameterSet) -> pd.DataFrame:
    """One row per number: value, unit, distribution, grade, source and where it was read."""
    rows = []
    for name, found in parameters.items():
        uncertain = found.uncertainty
        rows.append(
            {
                "name": name,
                "value": " ".join(f"{x!r}" for x in found.value)
                if isinstance(found.value, tuple)
                else repr(found.value),
                "unit": found.unit,
                "distribution": "" if uncertain is None else json.dumps({uncertain.kind: dict(uncertain.given)}),
                "grade": found.grade,
                "recalled": found.recalled,
                "source": " ".join(found.source),
                "basis": found.formula or found.reason or found.run or "",
                "note": found.note or "",
                "file": found.place.file,
                "line": found.place.line,
                "replaces": "" if found.replaces is None else str(found.replaces),
            }
        )
    return pd.DataFrame(rows)


def strategy_content(strategy: Strategy) -> dict[str, Any]:
    """A strategy with its inherited rows and its options filled in, as plain data."""
    return {
        "id": strategy.id,
        "label": {"en": strategy.label.en, "zh": strategy.label.zh},
        "setting": strategy.setting,
        "inherits": list(strategy.lineage),
        "options": dict(strategy.options),
        "note": strategy.note,
        "tables": {
            node: [
                {
                    "when": [
                        [c.attribute, c.op, list(c.value) if isinstance(c.value, tuple) else c.value] for c in row.when
                    ],
                    "do": row.action,
                    "systemic": row.systemic,
                    "local": row.local,
                    "set": dict(row.set),
                    "note": row.note,
                    "place": str(row.place),
                }
                for row in rows
            ]
            for node, rows in strategy.tables.items()
        },
    }


def scenario_content(scenario: Scenario) -> dict[str, Any]:
    """A scenario, fully resolved, as plain data."""
    return {
        "id": scenario.id,
        "label": {"en": scenario.label.en, "zh": scenario.label.zh},
        "question": scenario.question,
        "note": scenario.note,
        "setting": scenario.setting,
        "population": scenario.population.stem,
        "strategies": [strategy.id for strategy in scenario.strategies],
        "comparator": scenario.comparator,
        "country": scenario.country,
        "perspective": scenario.perspective,
        "horizon_years": scenario.horizon_years,
        "patients": scenario.patients,
        "iterations": scenario.iterations,
        "seed": scenario.seed,
        "wtp": [amount if isinstance(amount, float) else str(amount) for amount in scenario.wtp],
        "subgroups": [
            {
                "id": group.id,
                "label": {"en": group.label.en, "zh": group.label.zh},
                "when": [[c.attribute, c.op, _plain(c.value)] for c in group.when],
            }
            for group in scenario.subgroups
        ],
        "overrides": {name: _plain(value) for name, value in scenario.overrides.items()},
        "extends": list(scenario.extends),
        "place": str(scenario.place),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def fingerprint(scenario: Scenario, parameters: ParameterSet) -> str:
    """SHA-256 of what a run's results depend on, beside the version of simhcc and its libraries.

    Parameters, the files of scenario, population and strategies, and the sizes and seed in `scenario`.
    """
    content = {
        "parameters": parameters.fingerprint(),
        "scenario": scenario_content(scenario) | {"place": None},
        "strategies": [_without_places(strategy_content(strategy)) for strategy in scenario.strategies],
        # By content alone: where a file lies is of no consequence.
        "files": sorted(digest for _, digest in scenario.files),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_places(item) for key, item in value.items() if key != "place"}
    return [_without_places(item) for item in value] if isinstance(value, list) else value


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that results may depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def git_commit() -> str | None:
    """The commit of a source checkout, with "+changes" where files differ from it; None for an installed package."""
    root = Path(simhcc.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        asked = {"cwd": root, "capture_output": True, "text": True, "timeout": 20, "check": True}
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **asked).stdout.strip()  # type: ignore[call-overload]
        status = ["git", "status", "--porcelain", "--untracked-files=no"]
        changed = subprocess.run(status, **asked).stdout.strip()  # type: ignore[call-overload]
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+changes" if changed else str(commit)


def run_record(
    scenario: Scenario, parameters: ParameterSet, name: str, currency: str, options: Sequence[str] = ()
) -> dict[str, Any]:
    """The record of a run; `scenario` carries the sizes and seed that were used, `name` is how the user called it."""
    command = [
        "simhcc", "run", name, "--patients", str(scenario.patients), "--iterations", str(scenario.iterations),
        "--seed", str(scenario.seed), *options,
    ]  # fmt: skip
    return {
        "simhcc": simhcc.__version__,
        "git_commit": git_commit(),
        "fingerprint": fingerprint(scenario, parameters),
        "scenario": scenario.id,
        "population": scenario.population.stem,
        "setting": scenario.setting,
        "comparator": scenario.comparator,
        "strategies": {strategy.id: strategy.label.text() for strategy in scenario.strategies},
        "patients": scenario.patients,
        "iterations": scenario.iterations,
        "seed": scenario.seed,
        "currency": currency,
        "command": shlex.join(command),
        "parameters": {"fingerprint": parameters.fingerprint(), "country": parameters.country},
        "files": {name: digest for name, digest in [*scenario.files, *parameters.files]},
        "versions": versions(),
    }


def currency_of(parameters: ParameterSet) -> str:
    """The currency of results, such as CNY; empty where nothing says it."""
    code = currency_code(parameters)
    if code is None:
        found = (money_of(each.unit) for name, each in parameters.items() if name.startswith(("costs.", "prices.")))
        code = next((money for money in found if money is not None), None)
    return "" if code is None else code.upper()


def unpriced_drugs(parameters: ParameterSet) -> dict[str, tuple[str, ...]]:
    """Drugs without a price (`prices.unpriced.DRUG` is 1) -> the treatments that contain them."""
    found = {}
    for name, flag in parameters.items():
        prefix, _, drug = name.rpartition(".")
        if prefix == "prices.unpriced" and flag.value == 1.0:
            parts = [other.split(".") for other in parameters]
            holders = {p[1] for p in parts if len(p) > 3 and p[0] == "treatments" and p[2] == "drugs" and p[3] == drug}
            found[drug] = tuple(sorted(holders))
    return found
