"""Results as tidy tables: one row per subgroup, strategy and outcome. Everything shown or written is read off these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from simhcc.analysis import Result
from simhcc.economics import icer_table
from simhcc.expressions import Expression, leaves

EVERYONE = "all"
"""the name of the whole population in the column `subgroup`"""
UNPRICED = "unpriced"
STATISTICS = ("mean", "mcse", "lower", "upper")


@dataclass(frozen=True, eq=False)
class Tables:
    """All results of a run.

    `summary`: subgroup, strategy, outcome, mean, mcse, lower, upper. `differences`: the same with `comparator`, paired
    strategy - comparator. `icer`: subgroup and the columns of `simhcc.economics.icer_table`; strategies that use a drug
    without a price have Status "unpriced" and their cost outcomes are missing everywhere. `curves`: subgroup, endpoint,
    strategy, months, free (share free of
    the endpoint), mcse, sd (over iterations). `occupancy`: subgroup, strategy, months, state, share.
    `events`: subgroup, strategy, event, mean (number per patient), mcse. `iterations`: iteration, strategy and one column
    for each outcome; empty for a base case. `groups`: subgroup, label, patients (in each iteration).
    """

    summary: pd.DataFrame
    differences: pd.DataFrame
    icer: pd.DataFrame
    curves: pd.DataFrame
    occupancy: pd.DataFrame
    events: pd.DataFrame
    groups: pd.DataFrame
    iterations: pd.DataFrame = field(default_factory=pd.DataFrame)

    def of(self, name: str, subgroup: str) -> pd.DataFrame:
        """The rows of one table that belong to a subgroup."""
        table: pd.DataFrame = getattr(self, name)
        return table[table["subgroup"] == subgroup]


def make_tables(
    results: Mapping[str, Result],
    comparator: str,
    labels: Mapping[str, str],
    unpriced_drugs: Mapping[str, Sequence[str]],
) -> Tables:
    """The tables of a run; `results` and `labels` go by subgroup, the whole population first.

    `unpriced_drugs` maps a drug without a price to the treatments that contain it.
    """
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in ("summary", "differences", "icer", "curves")}
    parts |= {"occupancy": [], "events": []}
    groups = []
    for group, result in results.items():
        unpriced = unpriced_strategies(result, unpriced_drugs)
        summary, differences = _summary(result), _differences(result, comparator)
        for table in (summary, differences):
            without_price = table["strategy"].isin(list(unpriced)) | table.get("comparator", table["strategy"]).isin(
                list(unpriced)
            )
            table.loc[without_price & table["outcome"].map(_is_cost), list(STATISTICS)] = np.nan
        found = {
            "summary": summary,
            "differences": differences,
            "icer": _icers(summary, unpriced),
            "curves": _curves(result),
            "occupancy": _occupancy(result),
            "events": result.outcomes.mark_table().rename(columns={"mark": "event"}),
        }
        for name, table in found.items():
            table.insert(0, "subgroup", group)
            parts[name].append(table)
        groups.append({"subgroup": group, "label": labels.get(group, group), "patients": result.patients})
    whole = next(iter(results.values()))
    return Tables(
        **{name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()},
        groups=pd.DataFrame(groups),
        iterations=_iterations(whole) if whole.iterations > 1 else pd.DataFrame(),
    )


def _is_cost(outcome: str) -> bool:
    return outcome == "cost" or outcome.startswith("cost_")


def _summary(result: Result) -> pd.DataFrame:
    table = result.outcomes.table()
    rows = []
    for i, strategy in enumerate(result.outcomes.strategies):
        for j, endpoint in enumerate(result.outcomes.endpoints):
            statistics = _over_draws(result.medians[:, i, j], result.median_mcse[:, i, j])
            rows.append({"strategy": strategy, "outcome": f"median_{endpoint}_months"} | statistics)
    return _sorted(pd.concat([table, pd.DataFrame(rows)], ignore_index=True) if rows else table, result)


def _differences(result: Result, comparator: str) -> pd.DataFrame:
    """Paired differences; of medians too, whose error takes the two as independent and so errs on the safe side."""
    outcomes = result.outcomes
    table = outcomes.difference_table()
    if table.empty:
        table = pd.DataFrame(columns=["strategy", "comparator", "outcome", *STATISTICS])
    rows = []
    base = outcomes.strategies.index(comparator)
    for i, strategy in enumerate(outcomes.strategies):
        if i == base:
            continue
        for j, endpoint in enumerate(outcomes.endpoints):
            difference = result.medians[:, i, j] - result.medians[:, base, j]
            error = np.hypot(result.median_mcse[:, i, j], result.median_mcse[:, base, j])
            row = {"strategy": strategy, "comparator": comparator, "outcome": f"median_{endpoint}_months"}
            rows.append(row | _over_draws(difference, error))
    return _sorted(pd.concat([table, pd.DataFrame(rows)], ignore_index=True) if rows else table, result)


def _over_draws(values: Any, errors: Any) -> dict[str, float]:
    """Mean, error and 95 % interval over draws; missing where one of the draws has no value."""
    if len(values) == 1:
        value = float(values[0])
        return {"mean": value, "mcse": float(errors[0]), "lower": value, "upper": value}
    if not np.isfinite(values).all():
        return dict.fromkeys(STATISTICS, float("nan"))
    lower, upper = np.quantile(values, [0.025, 0.975])
    error = values.std(ddof=1) / np.sqrt(len(values))
    return {"mean": float(values.mean()), "mcse": float(error), "lower": float(lower), "upper": float(upper)}


def _sorted(table: pd.DataFrame, result: Result) -> pd.DataFrame:
    """Rows by strategy in the scenario's order; the sort is stable, so outcomes keep theirs."""
    order = {name: position for position, name in enumerate(result.outcomes.strategies)}
    position = table["strategy"].map(order)
    return table.assign(_at=position).sort_values("_at", kind="stable").drop(columns="_at").reset_index(drop=True)


def unpriced_strategies(result: Result, drugs: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Strategies under which a drug without a price is given to anybody -> those drugs.

    A reward belongs to a drug when its amount names one of the drug's parameters, or when it is paid for a treatment
    that contains it.
    """
    found: dict[str, set[str]] = {}
    outcomes = result.outcomes
    for position, term in enumerate(outcomes.terms):
        amount = getattr(term, "amount", None) if hasattr(term, "amount") else getattr(term, "rate", None)
        named = leaves(amount, "parameter") if isinstance(amount, Expression) else ()
        treatment = getattr(term, "treatment", None)
        for drug, treatments in drugs.items():
            if treatment in treatments or any(drug in name.split(".") for name in named):
                used = outcomes.quantities[:, :, position].max(axis=0) > 0.0
                for strategy, is_used in zip(outcomes.strategies, used, strict=True):
                    if is_used:
                        found.setdefault(strategy, set()).add(drug)
    return {name: tuple(sorted(found[name])) for name in outcomes.strategies if name in found}


def _icers(summary: pd.DataFrame, unpriced: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
    """The table of ICERs over discounted cost and QALYs; strategies without a price stand last."""
    columns = ["Strategy", "Cost", "Effect", "Inc_Cost", "Inc_Effect", "ICER", "Status", "Note"]
    wide = summary[summary["outcome"].isin(["cost", "qaly"])].pivot(index="strategy", columns="outcome", values="mean")
    if not {"cost", "qaly"} <= set(wide.columns):
        return pd.DataFrame(columns=columns)
    wide = wide.reindex(list(dict.fromkeys(summary["strategy"])))
    priced = wide.drop(index=list(unpriced))
    table = pd.DataFrame(columns=columns)
    if len(priced):
        table = icer_table(list(priced.index), priced["cost"].tolist(), priced["qaly"].tolist())
    rows = [
        {
            "Strategy": name,
            "Effect": wide.loc[name, "qaly"],
            "Status": UNPRICED,
            "Note": f"no price: {', '.join(drugs)}",
        }
        for name, drugs in unpriced.items()
    ]
    if not rows:
        return table
    left_out = pd.DataFrame(rows, columns=columns)
    return left_out if table.empty else pd.concat([table, left_out], ignore_index=True)


def _curves(result: Result) -> pd.DataFrame:
    outcomes = result.outcomes
    frames = []
    for endpoint in outcomes.endpoints if outcomes.grid_step is not None else ():
        at = outcomes.endpoints.index(endpoint)
        curves, errors, counted = result.curves(endpoint), result.curve_mcse(endpoint), result.at_risk(endpoint)
        for i, strategy in enumerate(outcomes.strategies):
            if counted[i] == 0:
                continue
            columns = {"endpoint": endpoint, "strategy": strategy, "months": outcomes.grid, "free": curves[i]}
            columns |= {"mcse": errors[i], "sd": result.curve_sd[i, at]}
            frames.append(pd.DataFrame(columns))
    names = ["endpoint", "strategy", "months", "free", "mcse", "sd"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=names)


def _occupancy(result: Result) -> pd.DataFrame:
    outcomes = result.outcomes
    grid = outcomes.grid
    frames = [
        pd.DataFrame({"strategy": strategy, "months": grid, "state": state, "share": outcomes.occupancy[i, j]})
        for i, strategy in enumerate(outcomes.strategies)
        for j, state in enumerate(outcomes.states)
        if outcomes.occupancy.shape[2] == len(grid)
    ]
    return (
        pd.concat(frames, ignore_index=True)
        if frames
        else pd.DataFrame(columns=["strategy", "months", "state", "share"])
    )


def _iterations(result: Result) -> pd.DataFrame:
    """One row per iteration and strategy, in the layout that heormodel, dampack and BCEA scripts read."""
    outcomes = result.outcomes
    frames = []
    for i, strategy in enumerate(outcomes.strategies):
        columns: dict[str, Any] = {"iteration": np.arange(1, outcomes.draws + 1), "strategy": strategy}
        columns |= {name: outcomes.means[:, i, j] for j, name in enumerate(outcomes.columns)}
        columns |= {f"median_{name}_months": result.medians[:, i, j] for j, name in enumerate(outcomes.endpoints)}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True).sort_values("iteration", kind="stable").reset_index(drop=True)
