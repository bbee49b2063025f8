"""The results folder: tables, inputs, record and figures, complete or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simhcc.errors import InputError
from simhcc.inputs import ParameterSet, Scenario
from simhcc.report.exports import sources_table
from simhcc.report.record import parameter_table, scenario_content, strategy_content
from simhcc.report.tables import EVERYONE, STATISTICS, UNPRICED, Tables
from simhcc.runner import publish

RECORD = "run.json"
FILES = {
    "summary": "summary.csv",
    "differences": "differences.csv",
    "icer": "icer.csv",
    "curves": "survival.csv",
    "occupancy": "occupancy.csv",
    "events": "events.csv",
    "groups": "subgroups.csv",
    "iterations": "iterations.csv",
}
README = """\
Results of `{command}`

summary.csv       one row per subgroup, strategy and outcome: mean, mcse (Monte-Carlo standard error), lower, upper
differences.csv   the same for paired differences from the comparator ({comparator})
icer.csv          costs, QALYs and ICERs along the frontier; strategies with a drug without a price stand last
survival.csv      share free of each endpoint by month, with mcse and sd (standard deviation over iterations)
occupancy.csv     share of patients in each state by month
events.csv        events per patient
population.csv    the baseline patients: mean and sd of numbers (and quartiles of skewed ones), share of each level of a class
subgroups.csv     subgroups and their numbers of patients; "all" is the whole population
iterations.csv    one row per iteration and strategy (only with several iterations)
extrapolations.csv  shares beyond the last published landmark, and other continuations (where the setting has a landmark)
economics/        net benefit, acceptability, expected loss, EVPI, prices, waterfalls, budget (docs/economics.md names the columns)
psa/              the iterations for dampack, BCEA, voi and others, with load_in_R.R (only with several iterations)
results.xlsx      the tables, inputs and sources as one workbook
figures/          the curves as PNG and SVG
inputs/           the numbers, strategies and scenario exactly as they were understood
run.json          version, seed, sizes, fingerprints and the command that repeats the run

lower and upper are the 95 % interval over iterations; with one iteration they equal the mean. Cells without a value are
empty: a median that is not reached, the cost of a strategy with a drug without a price.
"""


def write_folder(
    target: Path,
    tables: Tables,
    record: Mapping[str, Any],
    scenario: Scenario,
    parameters: ParameterSet,
    *,
    draws: Mapping[str, Any] | None = None,
    replace: bool = False,
    more: Callable[[Path], None] | None = None,
) -> Path:
    """Write a results folder. `draws` holds the sampled parameters of a probabilistic run; `more` adds files.

    Raises InputError where `target` exists and `replace` is not said; what is there then stays as it is.
    """
    from simhcc.report.figures import draw_figures

    def fill(folder: Path) -> None:
        for name, file in FILES.items():
            table = getattr(tables, name)
            if len(table.columns):
                # Curves are for drawing: seven digits say all that a million patients know.
                _write_csv(folder / file, table, "%.7g" if name in ("curves", "occupancy") else None)
        _write_inputs(folder / "inputs", scenario, parameters, draws)
        draw_figures(folder / "figures", tables, record)
        if more is not None:
            more(folder)
        (folder / "README.txt").write_text(README.format_map(dict(record)), encoding="utf-8")
        _write_json(folder / RECORD, record)

    return publish(target.parent, target.name, fill, replace=replace)


def read_folder(folder: Path) -> tuple[Tables, dict[str, Any]]:
    """The tables and the record of a results folder. Raises InputError where it is none."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        found = {}
        for name in (field.name for field in fields(Tables)):
            path = folder / FILES[name]
            found[name] = pd.read_csv(path, float_precision="round_trip") if path.exists() else pd.DataFrame()
    except (OSError, ValueError) as error:
        raise InputError(f"no results of a run ({error})", "a folder that simhcc run wrote", file=str(folder)) from None
    found["icer"]["Note"] = found["icer"].get("Note", pd.Series(dtype=str)).fillna("")
    return Tables(**found), record


def _write_inputs(folder: Path, scenario: Scenario, parameters: ParameterSet, draws: Mapping[str, Any] | None) -> None:
    folder.mkdir()
    _write_csv(folder / "parameters.csv", parameter_table(parameters))
    _write_csv(folder / "sources.csv", sources_table(parameters))
    _write_json(folder / "scenario.json", scenario_content(scenario))
    _write_json(folder / "strategies.json", {s.id: strategy_content(s) for s in scenario.strategies})
    _write_json(folder / "parameters.json", parameters.tree())
    if draws is not None:
        _write_csv(folder / "draws.csv", draws_table(draws, parameters.uncertain()))


def draws_table(draws: Mapping[str, Any], names: Sequence[str]) -> pd.DataFrame:
    """Sampled parameters: a row per iteration, a column per number (NAME.0, NAME.1, ... for a vector)."""
    columns: dict[str, Any] = {}
    for name in names:
        array = np.asarray(draws[name])
        if array.ndim == 1:
            columns[name] = array
        else:
            columns |= {f"{name}.{k}": array[:, k] for k in range(array.shape[1])}
    table = pd.DataFrame(columns)
    table.insert(0, "iteration", np.arange(1, len(table) + 1))
    return table


def _write_csv(path: Path, table: pd.DataFrame, float_format: str | None = None) -> None:
    table.to_csv(path, index=False, lineterminator="\n", encoding="utf-8", float_format=float_format)


def _write_json(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def run_object(tables: Tables, record: Mapping[str, Any], results: str) -> dict[str, Any]:
    """What `simhcc run --json` prints. Numbers without a value are null; subgroups stand under their own key."""
    whole = _group_object(tables, EVERYONE)
    content = {
        "scenario": record["scenario"],
        "population": record["population"],
        "iterations": record["iterations"],
        "patients": record["patients"],
        "seed": record["seed"],
        "strategies": whole["strategies"],
        "differences": whole["differences"],
        "comparator": record["comparator"],
        "icer": whole["icer"],
        "results": results,
    }
    others = [group for group in tables.groups.to_dict("records") if group["subgroup"] != EVERYONE]
    if others:
        content["subgroups"] = {
            str(group["subgroup"]): {"patients": int(group["patients"])} | _group_object(tables, str(group["subgroup"]))
            for group in others
        }
    return content


def _group_object(tables: Tables, group: str) -> dict[str, Any]:
    icer = [
        {str(key).lower(): _plain(value) for key, value in row.items() if key != "subgroup"}
        for row in tables.of("icer", group).to_dict("records")
    ]
    assert all(row["status"] in ("ND", "ED", "D", UNPRICED) for row in icer)
    return {
        "strategies": _by_outcome(tables.of("summary", group)),
        "differences": _by_outcome(tables.of("differences", group)),
        "icer": icer,
    }


def _by_outcome(table: pd.DataFrame) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for row in table.to_dict("records"):
        numbers = {name: _plain(row[name]) for name in STATISTICS}
        found.setdefault(str(row["strategy"]), {})[str(row["outcome"])] = numbers
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
