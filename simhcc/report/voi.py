"""`simhcc voi`: what it would be worth to know more, from a stored run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simhcc.economics import Population, evpi
from simhcc.errors import InputError
from simhcc.report.economics import FOLDER, STORED, rows_of
from simhcc.runner import console_progress, publish
from simhcc.uncertainty.decision import GRID_POINTS, without_noise
from simhcc.uncertainty.information import (
    NextTrial,
    chosen_groups,
    next_trial,
    partial_values,
    varied,
)
from simhcc.uncertainty.stored import StoredPsa, load

PLACE = "voi"
SIZES = (100, 200, 400, 800, 1600)
FEWEST_DRAWS = 100
NAMED = (
    "wtp", "method", "trial", "sizes", "patients_per_year", "years", "discount", "fixed_cost", "cost_per_participant",
    "out",
)  # fmt: skip
"""options that the record's command repeats"""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for; None is what the results folder says."""

    results: Path
    wtp: float | None = None
    groups: Sequence[str] = ()
    method: str = "spline"
    trial: str | None = None
    sizes: str | None = None
    patients_per_year: float | None = None
    years: float | None = None
    discount: float | None = None
    fixed_cost: float | None = None
    cost_per_participant: float | None = None
    out: Path | None = None
    overwrite: bool = False
    threads: int | None = None


@dataclass(frozen=True, eq=False)
class Finished:
    """What was found, and where it lies."""

    request: Request
    stored: StoredPsa
    wtp: float
    population: Population | None
    evpi: pd.DataFrame
    groups: pd.DataFrame
    singles: pd.DataFrame
    trial: NextTrial | None
    folder: Path

    def as_object(self) -> dict[str, Any]:
        """For machines."""
        content: dict[str, Any] = {
            "command": command_of(self.request),
            "results": str(self.folder),
            "wtp": self.wtp,
            "currency": self.stored.currency,
            "population": None if self.population is None else self.population.size(),
            "evpi": rows_of(self.evpi[self.evpi["WTP"] == self.wtp]),
            "evppi": rows_of(self.groups),
            "evppi_single": rows_of(self.singles),
        }
        if self.trial is not None:
            content["trial"] = {
                "id": self.trial.id,
                "reports": list(self.trial.reports),
                "delay_years": self.trial.delay_years,
                "evsi": rows_of(self.trial.evsi),
                "enbs": rows_of(self.trial.enbs),
            }
        return content

    def as_text(self) -> str:
        """For people."""
        money = self.stored.currency
        perfect = self.evpi[self.evpi["WTP"] == self.wtp].iloc[0]
        lines = [
            f"Value of information at {self.wtp:,.0f} {money} per QALY, {self.stored.draws:,} draws",
            f"EVPI {perfect['EVPI']:,.0f} ±{perfect['MCSE']:,.0f} {money} per patient"
            + (f", {perfect['Population_EVPI'] / 1e6:,.1f} million in all" if self.population else "")
            + f" ({perfect['EVPI_Raw']:,.0f} with patients' noise)",
        ]
        lines += ["", *_table("Evidence groups", self.groups, bool(self.population))]
        if len(self.singles):
            lines += ["", *_table("Single parameters", self.singles, bool(self.population))]
        if self.trial is not None:
            t = self.trial
            lines += ["", f"Trial {t.id}: {t.title}; reports after {t.delay_years:.1f} years: {', '.join(t.reports)}"]
            lines += [_trial_line(row, t.enbs, k) for k, row in enumerate(t.evsi.to_dict("records"))]
            if len(t.enbs):
                best = t.enbs[t.enbs["Best"]]
                lines.append(
                    f"Best size of those: {int(best['n'].iloc[0])} patients." if len(best) else "No size of those pays."
                )
        return "\n".join(lines) + "\n"


def _table(title: str, table: pd.DataFrame, people: bool) -> list[str]:
    shown = table[~table["Note"].str.startswith("no relation")].head(20)
    left = len(table) - len(shown)
    width = max([len(title), *(len(str(name)) for name in shown["Group"])], default=10)
    head = f"{title.ljust(width)}  {'EVPPI':>12}  {'SE':>9}" + (f"  {'million':>9}" if people else "")
    lines = [head]
    for row in shown.to_dict("records"):
        error = f"{row['SE']:,.0f}" if row["SE"] == row["SE"] else "-"
        text = f"{str(row['Group']).ljust(width)}  {row['EVPPI']:>12,.0f}  {error:>9}"
        if people:
            text += f"  {row['Population_EVPPI'] / 1e6:>9,.1f}"
        lines.append(text)
    if left:
        lines.append(f"{left} more of {len(table)}: less, or no relation with any net benefit seen.")
    return lines


def _trial_line(row: Mapping[Any, Any], net: pd.DataFrame, k: int) -> str:
    text = f"  n {int(row['n']):>6,}: EVSI {row['EVSI']:,.0f} ±{row['SE']:,.0f} per patient"
    if len(net):
        found = net.iloc[k]
        text += f"; {found['Population_EVSI'] / 1e6:,.1f} - {found['Study_Cost'] / 1e6:,.1f} = {found['ENBS'] / 1e6:,.1f} million"
    return text


def value_of_information(
    request: Request, *, quiet: bool = False, say: Callable[[str], None] = lambda text: None
) -> Finished:
    """Read a results folder, compute, write. Raises InputError before anything is computed."""
    stored = load(request.results / FOLDER / STORED)
    if stored.draws < FEWEST_DRAWS:
        raise InputError(
            f"a run of {stored.draws} iterations",
            f"at least {FEWEST_DRAWS}: simhcc run with --iterations",
            key="RESULTS",
        )
    target = request.out or request.results / PLACE
    if target.exists() and not request.overwrite:
        raise InputError(f"{target}, which is there already", "--overwrite, or --out with another folder", key="--out")
    if not stored.wtp and request.wtp is None:
        raise InputError("a run without a willingness to pay", "--wtp with an amount", key="--wtp")
    wtp = stored.wtp[0] if request.wtp is None else request.wtp
    if not (np.isfinite(wtp) and wtp >= 0.0):
        raise InputError(f"{wtp:g}", "an amount of 0 or more", key="--wtp")
    values, setting = stored_numbers(request.results, stored.draws)
    draws = pd.read_csv(request.results / "inputs" / "draws.csv", float_precision="round_trip").set_index("iteration")
    names = list(varied(draws).columns)
    patterns = dict(_group(text) for text in request.groups)
    groups = chosen_groups(patterns, names) if patterns else None
    population = _population(request, values, setting)
    trial, sizes, costs = _trial(request, values, stored)
    perfect = _perfect(stored, wtp, population)
    table, singles = partial_values(stored, draws, wtp, groups, population, method=request.method)
    found = None
    if trial is not None:
        found = next_trial(
            stored,
            values,
            trial,
            sizes,
            wtp,
            seed=int(json.loads((request.results / "run.json").read_text(encoding="utf-8"))["seed"]),
            population=population,
            fixed_cost=costs[0],
            cost_per_participant=costs[1],
            threads=request.threads,
            progress=console_progress(quiet=quiet),
        )
    finished = Finished(request, stored, wtp, population, perfect, table, singles, found, target)
    _write(finished)
    return finished


def stored_numbers(results: Path, draws: int) -> tuple[dict[str, np.ndarray[Any, Any]], str]:
    """Every number of a run with an axis of draws, as its folder holds them, and the setting of its scenario.

    Raises InputError where the folder is not that of a probabilistic run.
    """
    inputs = results / "inputs"
    try:
        tree = json.loads((inputs / "parameters.json").read_text(encoding="utf-8"))
        table = pd.read_csv(inputs / "draws.csv", float_precision="round_trip").drop(columns="iteration")
        setting = str(json.loads((inputs / "scenario.json").read_text(encoding="utf-8"))["setting"])
    except (OSError, ValueError, KeyError) as problem:
        raise InputError(
            f"no inputs of a probabilistic run ({problem})", "a folder that simhcc run wrote", file=str(results)
        ) from None
    base = dict(_leaves(tree, ""))
    values: dict[str, np.ndarray[Any, Any]] = {
        name: np.broadcast_to(np.asarray(value, dtype=np.float64), (draws, *np.shape(value)))
        for name, value in base.items()
    }
    vectors: dict[str, list[str]] = {}
    for column in table.columns:
        if column in base:
            values[column] = table[column].to_numpy(dtype=np.float64)
        else:
            vectors.setdefault(column.rpartition(".")[0], []).append(column)
    for name, columns in vectors.items():
        values[name] = table[columns].to_numpy(dtype=np.float64)
    return values, setting


def _leaves(node: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, child in node.items():
        name = f"{prefix}{key}"
        found += [(name, child["value"])] if "value" in child else _leaves(child, f"{name}.")
    return found


def _group(text: str) -> tuple[str, list[str]]:
    name, sign, patterns = text.partition("=")
    if not sign:
        return text, [text]
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    if not name.strip() or not wanted:
        raise InputError(
            repr(text), "NAME=PATTERN,PATTERN, for example effects=treatments.*.progression_log_hr", key="--group"
        )
    return name.strip(), wanted


def _population(request: Request, values: Mapping[str, Any], setting: str) -> Population | None:
    """Who faces the decision: as the run's numbers say, unless the command line says otherwise."""

    def number(name: str) -> float | None:
        return float(np.ravel(values[name])[0]) if name in values else None

    each_year = request.patients_per_year
    if each_year is None:
        parts = [
            number(n) for n in ("budget.new_cases_per_year", "budget.hcc_share", f"budget.share_in_setting.{setting}")
        ]
        each_year = None if any(p is None for p in parts) else float(np.prod([p for p in parts if p is not None]))
    years = request.years if request.years is not None else number("budget.decision_years")
    rate = request.discount if request.discount is not None else number("economics.discount_rate_costs")
    if each_year is None or years is None or rate is None:
        if any(v is not None for v in (request.patients_per_year, request.years, request.discount)):
            raise InputError(
                "a population that the run's numbers do not complete",
                "--patients-per-year, --years and --discount together",
                key="--patients-per-year",
            )
        return None
    return Population(each_year, years, rate)


def _trial(
    request: Request, values: Mapping[str, Any], stored: StoredPsa
) -> tuple[Any, tuple[int, ...], tuple[float, float]]:
    """The trial asked for, the sizes, and what it costs; refuses options that would have no effect."""
    if request.trial is None:
        for name in ("sizes", "fixed_cost", "cost_per_participant"):
            if getattr(request, name) is not None:
                option = "--" + name.replace("_", "-")
                raise InputError(f"{option} without --trial", "--trial with the id or path of a trial", key=option)
        return None, (), (0.0, 0.0)
    from simhcc.inputs.trials import load_trial

    sizes: tuple[int, ...] = SIZES
    if request.sizes is not None:
        try:
            sizes = tuple(sorted({int(part) for part in request.sizes.split(",")}))
        except ValueError:
            raise InputError(repr(request.sizes), "whole numbers, for example 200,400,800", key="--sizes") from None
        if not sizes or sizes[0] < 1:
            raise InputError(repr(request.sizes), "numbers of patients above 0", key="--sizes")
    costs = []
    for given, name, option in (
        (request.fixed_cost, "budget.trial_fixed_cost", "--fixed-cost"),
        (request.cost_per_participant, "budget.trial_cost_per_participant", "--cost-per-participant"),
    ):
        if given is None and name not in values:
            raise InputError(f"no {name} in this run", f"{option} with an amount", key=option)
        amount = float(np.ravel(values[name])[0]) if given is None else given
        if not (np.isfinite(amount) and amount >= 0.0):
            raise InputError(f"{amount:g}", f"0 or more {stored.currency}", key=option)
        costs.append(amount)
    return load_trial(request.trial), sizes, (costs[0], costs[1])


def command_of(request: Request) -> str:
    """The command that repeats the analysis."""
    words = ["simhcc", "voi", str(request.results)]
    for group in request.groups:
        words += ["--group", group]
    for name in NAMED:
        value = getattr(request, name)
        if value is not None and value != Request.__dataclass_fields__[name].default:
            words += ["--" + name.replace("_", "-"), f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)


def _perfect(stored: StoredPsa, wtp: float, population: Population | None) -> pd.DataFrame:
    """EVPI over willingness to pay, with and without patients' noise."""
    top = 3.0 * max((wtp, *stored.wtp))
    grid = np.unique(np.concatenate([np.linspace(0.0, top, GRID_POINTS), [wtp]])).tolist()
    table = evpi(without_noise(stored), grid, population)
    table.insert(2, "EVPI_Raw", evpi(stored.psa(), grid)["EVPI"].to_numpy())
    return table


def _write(found: Finished) -> None:
    from simhcc.report import voi_figures

    def fill(folder: Path) -> None:
        tables = {"evpi.csv": found.evpi, "evppi.csv": found.groups, "evppi_single.csv": found.singles}
        if found.trial is not None:
            tables |= {"evsi.csv": found.trial.evsi, "enbs.csv": found.trial.enbs}
        for name, table in tables.items():
            if len(table):
                table.to_csv(folder / name, index=False, lineterminator="\n", float_format="%.10g")
        text = json.dumps(found.as_object(), ensure_ascii=False, allow_nan=False, indent=1)
        (folder / "voi.json").write_text(text + "\n", encoding="utf-8")
        voi_figures.draw(folder, found)

    publish(found.folder.parent, found.folder.name, fill, replace=found.request.overwrite)


__all__ = ["Finished", "Request", "stored_numbers", "value_of_information"]
