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

from simhcc.economics import Population, evpi, nmb
from simhcc.errors import InputError
from simhcc.report.economics import FOLDER, STORED, rows_of
from simhcc.report.plain import number_text, plain_table
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
SHOWN = 20
"""rows of a table in the terminal"""
NORMAL_95 = 1.96
TOO_BLURRED = 0.25
"""share of EVPI that the largest standard error may leave undecided before the user is told"""
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
        lines = [f"Value of information at {self.wtp:,.0f} {money} per QALY, {self.stored.draws:,} draws", ""]
        best = _best(self.stored, self.wtp)
        lines.append(
            f"As things are known, {best} has the highest expected net benefit. To choose it and be wrong in some draws costs "
            f"{perfect['EVPI']:,.0f} ±{perfect['MCSE']:,.0f} {money} per patient on average (EVPI; "
            f"{perfect['EVPI_Raw']:,.0f} with patients' noise): no study can be worth more."
        )
        if self.population is not None:
            lines.append(
                f"For the {self.population.size():,.0f} patients who face the decision (discounted) EVPI is "
                f"{perfect['Population_EVPI'] / 1e6:,.1f} million {money}."
            )
        people = self.population is not None
        for title, table in (("Evidence groups", self.groups), ("Single parameters", self.singles)):
            if len(table):
                lines += ["", *_table(title, table, float(perfect["EVPI"]), people)]
        lines += _too_few_draws([self.groups, self.singles], float(perfect["EVPI"]), self.stored.draws, money)
        if self.trial is not None:
            t = self.trial
            lines += [
                "",
                f"Trial {t.id}: {t.title}",
                f"It reports after {t.delay_years:.1f} years: {', '.join(t.reports)}.",
            ]
            lines += _trial_table(t.evsi, t.enbs, money)
            if len(t.enbs):
                best_size = t.enbs[t.enbs["Best"]]
                lines.append(
                    f"Of these sizes {int(best_size['n'].iloc[0]):,} patients have the highest net benefit of sampling."
                    if len(best_size)
                    else "At no size of these is the trial worth what it costs."
                )
        return "\n".join(lines) + "\n"


def _best(stored: StoredPsa, wtp: float) -> str:
    """The strategy with the highest expected net benefit."""
    return str(nmb(stored.psa(), wtp).mean().idxmax())


def worth_showing(table: pd.DataFrame) -> pd.DataFrame:
    """The values above 0."""
    return table[table["EVPPI"] > 0.0]


def _table(title: str, table: pd.DataFrame, perfect: float, people: bool) -> list[str]:
    some = worth_showing(table)
    related = int((~table["Note"].str.startswith("no relation")).sum())
    shown = some.head(SHOWN)
    rows = [
        [
            str(row["Group"]),
            f"{row['EVPPI']:,.0f} ±{row['SE']:,.0f}" if np.isfinite(row["SE"]) else f"{row['EVPPI']:,.0f}",
            f"{row['EVPPI'] / perfect:.0%}" if perfect > 0.0 else "-",
            *([f"{row['Population_EVPPI'] / 1e6:,.1f}"] if people else []),
        ]
        for row in shown.to_dict("records")
    ]
    lines = plain_table([title, "EVPPI", "of EVPI", *(["million"] if people else [])], rows) if rows else []
    if len(some) > len(shown):
        lines.append(f"{len(some) - len(shown):,} more are worth less.")
    nothing = len(table) - len(some)
    if nothing:
        whose = "others" if rows else title.lower()
        unseen = len(table) - related
        lines.append(
            f"{nothing:,} {whose}: 0, would not change the choice"
            + (f"; {unseen:,} of them have no relation with any net benefit." if unseen else ".")
        )
    return lines


def _too_few_draws(tables: Sequence[pd.DataFrame], perfect: float, draws: int, money: str) -> list[str]:
    """A warning where the largest standard error leaves a good part of EVPI undecided."""
    errors = [float(table["SE"].max()) for table in tables if len(table) and table["SE"].notna().any()]
    blurred = NORMAL_95 * max(errors, default=0.0)
    if perfect <= 0.0 or blurred <= TOO_BLURRED * perfect:
        return []
    return [
        "",
        f"With {draws:,} draws, values up to {blurred:,.0f} {money} (1.96 times the largest standard error) cannot be told "
        "from 0, and the order is loose: run with more --iterations.",
    ]


def _trial_table(sample: pd.DataFrame, net: pd.DataFrame, money: str) -> list[str]:
    """EVSI by size, and what the trial costs and brings where the population is known."""
    head = ["patients randomised", f"EVSI, {money} per patient"]
    rows = [[f"{int(row['n']):,}", f"{row['EVSI']:,.0f} ±{row['SE']:,.0f}"] for row in sample.to_dict("records")]
    if len(net):
        head += ["EVSI, million", "cost, million", "net benefit, million"]
        for row, found in zip(rows, net.to_dict("records"), strict=True):
            row += [f"{found[name] / 1e6:,.1f}" for name in ("Population_EVSI", "Study_Cost", "ENBS")]
    return plain_table(head, rows)


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
            words += ["--" + name.replace("_", "-"), number_text(value) if isinstance(value, float) else str(value)]
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
