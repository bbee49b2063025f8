"""The economic evaluation of a run: built from its results, told on the terminal, written to the results folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simhcc.analysis import Result
from simhcc.economics import Population
from simhcc.inputs import ParameterName, ParameterSet, Scenario, money_of
from simhcc.report.tables import EVERYONE
from simhcc.uncertainty.budget import impacts, patients_per_year, population_of, yearly_costs
from simhcc.uncertainty.decision import Decision, decide, partition, stratified
from simhcc.uncertainty.sizes import Sizes
from simhcc.uncertainty.stored import StoredPsa, store
from simhcc.uncertainty.waterfall import waterfalls

HIGHEST_WTP = "economics.wtp_high_per_qaly"
STORED = "stored.zip"
FOLDER = "economics"
FILES = {
    "frontier": "frontier.csv",
    "pairwise": "pairwise.csv",
    "nmb": "nmb.csv",
    "inmb": "inmb_curve.csv",
    "ceac": "ceac.csv",
    "ceaf": "ceaf.csv",
    "loss": "expected_loss.csv",
    "evpi": "evpi.csv",
    "plane": "ce_plane.csv",
    "ellipse": "ce_ellipse.csv",
    "quadrants": "ce_quadrants.csv",
    "noise": "noise.csv",
    "convergence": "convergence.csv",
    "thresholds": "price_thresholds.csv",
    "price_curves": "price_curves.csv",
}
"""file of each table of `Decision`; every file has a first column `subgroup`"""
BUDGET_PATIENTS = 10_000


@dataclass(frozen=True, eq=False)
class Economics:
    """What a run says about the decision.

    `decisions` and `stored` go by subgroup, the whole population first. `strata` and `strata_nmb` are the value of
    choosing by subgroup (empty where subgroups do not divide the population); `waterfall` the split of differences;
    `budget` and `budget_detail` the budget impact (empty where params/ do not say how many patients there are).
    """

    decisions: Mapping[str, Decision]
    stored: Mapping[str, StoredPsa]
    waterfall: pd.DataFrame
    strata: pd.DataFrame
    strata_nmb: pd.DataFrame
    strata_shares: Mapping[str, float]
    budget: pd.DataFrame
    budget_detail: pd.DataFrame
    units: pd.DataFrame
    population: Population | None
    patients_per_year: float | None
    top: float | None
    sizes: Sizes | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def whole(self) -> Decision:
        """The decision for everybody."""
        return self.decisions[EVERYONE]


def wtp_of(scenario: Scenario, parameters: ParameterSet) -> list[float]:
    """The scenario's amounts of willingness to pay, in its currency."""
    return [float(parameters[a].base()) if isinstance(a, ParameterName) else float(a) for a in scenario.wtp]


def money_names(parameters: ParameterSet) -> dict[str, str]:
    """Name -> unit of every amount of money."""
    return {name: found.unit for name, found in parameters.items() if money_of(found.unit) is not None}


def drugs_without_price(parameters: ParameterSet) -> tuple[str, ...]:
    """Drugs whose `prices.unpriced` is 1."""
    return tuple(
        name.removeprefix("prices.unpriced.")
        for name, found in parameters.items()
        if name.startswith("prices.unpriced.") and found.base() == 1.0
    )


def evaluated(
    scenario: Scenario,
    parameters: ParameterSet,
    evaluation: Any,
    values: Mapping[str, Any],
    results: Mapping[str, Result],
    members: Mapping[str, Any],
    *,
    currency: str,
    sizes: Sizes | None = None,
    base_case: Callable[[Any], Any] | None = None,
) -> Economics | None:
    """The economic evaluation; None for a run without costs, QALYs and life years.

    `members` says for each subgroup who of the baseline patients is in it; `base_case` simulates another evaluation at
    the base values (for the budget), or is None where no budget is wanted.
    """
    whole = results[EVERYONE].outcomes
    if not {"cost", "qaly", "ly"} <= set(whole.columns):
        return None
    wtp = wtp_of(scenario, parameters)
    stored = {
        group: store(
            result,
            evaluation,
            values,
            money_names(parameters),
            currency=currency,
            wtp=wtp,
            without_price=drugs_without_price(parameters),
        )
        for group, result in results.items()
    }
    population = population_of(parameters, scenario.setting)
    top = float(parameters[HIGHEST_WTP].base()) if HIGHEST_WTP in parameters else None
    decisions = {
        group: decide(part, top=top, population=population if group == EVERYONE else None, quick=group != EVERYONE)
        for group, part in stored.items()
    }
    main = stored[EVERYONE]
    chosen = partition(members)
    shares = {group: float(np.mean(members[group])) for group in chosen}
    strata, strata_nmb = pd.DataFrame(), pd.DataFrame()
    if len(chosen) > 1 and wtp:
        strata, strata_nmb = stratified({group: stored[group] for group in chosen}, shares, wtp)
    each_year = patients_per_year(parameters, scenario.setting)
    budget, detail = pd.DataFrame(), pd.DataFrame()
    if base_case is not None and each_year is not None and main.comparator in main.priced:
        uptake = np.atleast_1d(parameters["budget.uptake_by_year"].base())
        first = int(float(parameters["economics.price_year"].base())) + 1
        streams = yearly_costs(evaluation, len(uptake), base_case)
        budget, detail = impacts(streams[list(main.priced)], each_year, first, list(uptake), main.comparator)
    return Economics(
        decisions=decisions,
        stored=stored,
        waterfall=waterfalls(results[EVERYONE], evaluation, values, main.priced, main.comparator),
        strata=strata,
        strata_nmb=strata_nmb,
        strata_shares=shares,
        budget=budget,
        budget_detail=detail,
        units=main.units_table(),
        population=population,
        patients_per_year=each_year,
        top=top,
        sizes=sizes,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Writing


def all_tables(found: Economics) -> dict[str, pd.DataFrame]:
    """File name -> table, of everything that is not empty; subgroups below one another."""
    tables: dict[str, pd.DataFrame] = {}
    for name, file in FILES.items():
        frames = []
        for group, decision in found.decisions.items():
            table = getattr(decision, name)
            if len(table):
                frames.append(table.assign(subgroup=group))
        if frames:
            joined = pd.concat(frames, ignore_index=True)
            joined.insert(0, "subgroup", joined.pop("subgroup"))
            tables[file] = joined
    others = {
        "waterfall.csv": found.waterfall,
        "strata.csv": found.strata,
        "strata_nmb.csv": found.strata_nmb,
        "budget.csv": found.budget,
        "budget_detail.csv": found.budget_detail,
        "units.csv": found.units,
        "sizes.csv": found.sizes.table if found.sizes is not None else pd.DataFrame(),
    }
    return tables | {name: table for name, table in others.items() if len(table)}


def write(folder: Path, found: Economics) -> None:
    """The tables and the stored analysis, into a new folder."""
    folder.mkdir(parents=True)
    for name, table in all_tables(found).items():
        table.to_csv(folder / name, index=False, lineterminator="\n", encoding="utf-8", float_format="%.10g")
    found.stored[EVERYONE].save(folder / STORED)


def meta(found: Economics, scenario: Scenario, parameters: ParameterSet, record: Mapping[str, Any]) -> dict[str, Any]:
    """What the numbers are: currency, price year, rates, horizon, perspective, sizes, versions."""

    def number(name: str) -> float | None:
        return float(parameters[name].base()) if name in parameters else None

    stored = found.stored[EVERYONE]
    return {
        "scenario": record["scenario"],
        "population": record["population"],
        "country": parameters.country,
        "perspective": scenario.perspective,
        "currency": stored.currency,
        "price_year": number("economics.price_year"),
        "price_panel": stored.panel,
        "discount_rate_costs": number("economics.discount_rate_costs"),
        "discount_rate_effects": number("economics.discount_rate_effects"),
        "horizon_years": scenario.horizon_years or number("economics.horizon_years"),
        "wtp": list(stored.wtp),
        "comparator": stored.comparator,
        "strategies_without_price": {name: list(drugs) for name, drugs in stored.unpriced.items()},
        "iterations": stored.draws,
        "patients_per_iteration": stored.patients,
        "sizes": found.sizes.words if found.sizes is not None else None,
        "prices": "fixed over the iterations; simhcc reprice changes them without simulating",
        "noise": "Monte-Carlo variance removed from increments; columns that end in _Raw keep it",
        "patients_per_year": found.patients_per_year,
        "decision_population": found.population.size() if found.population is not None else None,
        "seed": record["seed"],
        "simhcc": record["simhcc"],
        "git_commit": record["git_commit"],
        "fingerprint": record["fingerprint"],
    }


def as_object(found: Economics) -> dict[str, Any]:
    """The `decision` part of `simhcc run --json`: tables as lists of rows, numbers without a value null."""
    names = ("nmb", "frontier", "pairwise", "noise", "thresholds")
    content: dict[str, Any] = {name: rows_of(getattr(found.whole, name)) for name in names}
    main = found.stored[EVERYONE]
    for name in ("ceac", "ceaf", "loss", "evpi"):
        table = getattr(found.whole, name)
        content[name] = rows_of(table[table["WTP"].isin(main.wtp)]) if len(table) else []
    content |= {"strata": rows_of(found.strata), "budget": rows_of(found.budget)}
    return content


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as plain data; missing and infinite numbers are null."""
    rows: list[dict[str, Any]] = json.loads(
        table.replace([np.inf, -np.inf], np.nan).to_json(orient="records", double_precision=15)
    )
    return rows


# ---------------------------------------------------------------------------------------------------------------------
# Telling


def lines(found: Economics, currency: str, width: int) -> list[str]:
    """The decision for people, after the tables of the run."""
    from simhcc.report.terminal import aligned

    main, whole = found.stored[EVERYONE], found.whole
    out: list[str] = []
    if found.sizes is not None:
        out += ["", f"Sizes: {found.sizes.words}"]
    several = main.draws > 1
    for wtp in main.wtp if main.priced else ():
        table = whole.nmb[whole.nmb["WTP"] == wtp]
        names = table["Strategy"].tolist()
        columns = [
            ["NMB", *(_money(x) for x in table["NMB"])],
            [f"INMB vs {main.comparator}", *(_increment(row, several) for row in table.to_dict("records"))],
        ]
        if several and len(whole.ceac):
            best = whole.ceac[whole.ceac["WTP"] == wtp].set_index("Strategy")
            loss = whole.loss[whole.loss["WTP"] == wtp].set_index("Strategy")
            columns += [
                ["P(INMB > 0)", *(_share(x) for x in table["P_Positive"])],
                ["P(best)", *(_share(best.loc[name, "Proportion"]) for name in names)],
                ["expected loss", *(_money(loss.loc[name, "Expected_Loss"]) for name in names)],
            ]
        out += ["", *aligned(f"Net monetary benefit at {wtp:,.0f} {currency} per QALY", ["", *names], columns, width)]
    if several and main.priced:
        out += _uncertainty_lines(found, currency)
    out += _threshold_lines(found, currency)
    if len(found.strata):
        row = found.strata.iloc[0]
        groups = ", ".join(f"{name} {_share(share)}" for name, share in found.strata_shares.items())
        out += [
            "",
            f"Choosing by subgroup ({groups}) at {row['WTP']:,.0f}: worth {_money(row['Value'])} "
            f"±{_money(row['MCSE'])} {currency} per patient over {row['Best_For_All']} for all.",
        ]
    if len(found.budget):
        last = int(found.budget["Year"].max())
        rows = found.budget[found.budget["Year"] == last]
        parts = [f"{row['New']} {row['Cumulative'] / 1e6:+,.0f}" for row in rows.to_dict("records")]
        out += [
            "",
            f"Budget impact until {last}, million {currency}, {found.patients_per_year:,.0f} new patients a year, uptake "
            f"as in params/: {', '.join(parts)}.",
        ]
    return out


def _uncertainty_lines(found: Economics, currency: str) -> list[str]:
    main, whole = found.stored[EVERYONE], found.whole
    out = []
    evpi = whole.evpi[whole.evpi["WTP"].isin(main.wtp)] if len(whole.evpi) else whole.evpi
    for row in evpi.to_dict("records"):
        text = f"EVPI at {row['WTP']:,.0f}: {_money(row['EVPI'])} ±{_money(row['MCSE'])} {currency} per patient"
        text += f" ({_money(row['EVPI_Raw'])} with patients' noise)"
        if "Population_EVPI" in row:
            text += f"; {row['Population_EVPI'] / 1e6:,.0f} million for all who face the decision"
        out.append(text + ".")
    shares = whole.noise[whole.noise["Outcome"].str.startswith("inmb")] if len(whole.noise) else whole.noise
    if len(shares):
        worst = shares.sort_values("Noise_Ratio").iloc[-1]
        typical = float(shares["Noise_Ratio"].median())
        out.append(
            f"Patients' noise, as a share of the variance between draws of INMB: {_share(typical)} in the middle, at most "
            f"{_share(float(worst['Noise_Ratio']))} ({worst['Strategy']}). It is removed from P, loss and EVPI."
        )
    return ["", *out] if out else []


def _threshold_lines(found: Economics, currency: str) -> list[str]:
    main, table = found.stored[EVERYONE], found.whole.thresholds
    if table.empty:
        return []
    out = []
    for strategy, drugs in main.unpriced.items():
        for row in table[table["Strategy"] == strategy].to_dict("records"):
            rivals = "all priced strategies" if row["Against"] == "all" else row["Against"]
            unit = "per patient for both" if len(drugs) > 1 else f"a unit of {row['Drug']}"
            band = ""
            if np.isfinite(row["lower"]) and main.draws > 1:
                band = f" [{_money(row['lower'])}, {_money(row['upper'])}]"
            if np.isfinite(row["Threshold"]):
                words = f"up to {_money(row['Threshold'])} {currency}{band} {unit}"
            else:
                words = f"at no price of {row['Drug']}" + (
                    f"; where some draws allow one: {band.strip()}" if band else ""
                )
            out.append(f"{strategy} against {rivals} at {row['WTP']:,.0f}: {words}.")
    return ["", "Highest price at which a strategy with an unpriced drug is optimal", *out] if out else []


def _money(value: float) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:,.0f}"


def _share(value: float) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{100 * value:.1f} %"


def _increment(row: Mapping[Any, Any], several: bool) -> str:
    if row["INMB"] is None or not np.isfinite(row["INMB"]):
        return "-"
    text = f"{row['INMB']:+,.0f} ±{row['mcse']:,.0f}"
    return text + (f" [{row['lower']:,.0f}, {row['upper']:,.0f}]" if several else "")


__all__: Sequence[str] = [
    "Economics",
    "all_tables",
    "as_object",
    "evaluated",
    "lines",
    "meta",
    "rows_of",
    "write",
]
