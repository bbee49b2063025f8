"""What a decision does to budgets, to subgroups, and where a difference comes from.

Sources: Sullivan et al., Value Health 2014;17:5 (budget impact, ISPOR); Espinoza, Manca, Claxton and Sculpher, Med
Decis Making 2014;34:951 (value of heterogeneity).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simhcc.economics.decision import nmb
from simhcc.economics.tables import (
    Floats,
    Psa,
    numeric_table,
    require_number,
    require_strategy,
    shown,
    standard_error,
    summary_row,
)
from simhcc.errors import InputError

# Shares may be written with a few decimals.
_SHARE_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class BudgetImpact:
    """Two tables of undiscounted costs, in the currency of the streams, for the whole population.

    `detail`: Year, World (`with`, `without`), Strategy, Patients_Starting, Cost. `summary`: Year, Cost_Without,
    Cost_With, Budget_Impact, Cumulative.
    """

    detail: pd.DataFrame
    summary: pd.DataFrame


def budget_impact(
    yearly_costs: pd.DataFrame,
    incidence: pd.Series,
    uptake_with: pd.DataFrame,
    uptake_without: pd.DataFrame,
    *,
    entry: str = "uniform",
) -> BudgetImpact:
    """Cost of a national cohort by calendar year, with and without the new strategies.

    `yearly_costs`: rows are a patient's years since starting (1, 2, ... without gaps), columns strategies, values the
    undiscounted mean cost per patient *started* in that year of treatment (the dead cost nothing). `incidence`:
    patients who start, indexed by calendar year. `uptake_*`: calendar years x strategies, shares that sum to 1 in
    each year.

    `entry` says when in the year patients start: `start` (1 January: a patient's year 1 falls in one calendar year)
    or `uniform` (evenly: half of each of the patient's years falls in the next calendar year). Years after the last
    patient year cost nothing: the streams should be as long as the horizon of the budget.
    """
    streams = numeric_table(yearly_costs, "yearly_costs")
    if list(streams.index) != list(range(1, len(streams) + 1)):
        raise InputError(f"the rows {list(streams.index)}", "years since starting 1, 2, 3, ...", key="yearly_costs")
    if entry not in ("start", "uniform"):
        raise InputError(f"{entry!r}", "'start' or 'uniform'", key="entry")
    starting = numeric_table(incidence.to_frame("patients"), "incidence")["patients"]
    years = list(starting.index)
    if years != list(range(int(years[0]), int(years[0]) + len(years))):
        raise InputError(f"the years {years}", "calendar years in order, without gaps", key="incidence")
    if (starting < 0.0).any():
        raise InputError("a negative number of patients", "0 or more", key="incidence")
    per_patient = streams.to_numpy()
    if entry == "uniform":
        nothing = np.zeros((1, per_patient.shape[1]))
        per_patient = 0.5 * (np.vstack([per_patient, nothing]) + np.vstack([nothing, per_patient]))
    frames = []
    for world, uptake in (("without", uptake_without), ("with", uptake_with)):
        shares = _uptake(uptake, years, list(streams.columns), f"uptake_{world}")
        patients = shares * starting.to_numpy()[:, None]
        for j, strategy in enumerate(streams.columns):
            cost = np.convolve(patients[:, j], per_patient[:, j])[: len(years)]
            frames.append(
                pd.DataFrame(
                    {
                        "Year": years,
                        "World": world,
                        "Strategy": strategy,
                        "Patients_Starting": patients[:, j],
                        "Cost": cost,
                    }
                )
            )
    detail = pd.concat(frames, ignore_index=True)
    totals = detail.pivot_table(index="Year", columns="World", values="Cost", aggfunc="sum")
    impact = (totals["with"] - totals["without"]).to_numpy()
    summary = pd.DataFrame(
        {
            "Year": years,
            "Cost_Without": totals["without"].to_numpy(),
            "Cost_With": totals["with"].to_numpy(),
            "Budget_Impact": impact,
            "Cumulative": np.cumsum(impact),
        }
    )
    return BudgetImpact(detail, summary)


def _uptake(uptake: pd.DataFrame, years: list[int], strategies: list[str], key: str) -> Floats:
    table = numeric_table(uptake, key)
    for name in table.columns:
        require_strategy(name, strategies, key)
    if list(table.index) != years:
        raise InputError(f"the years {list(table.index)}", f"the years of incidence {years}", key=key)
    if (table.to_numpy() < 0.0).any():
        raise InputError("a negative share", "shares from 0 to 1", key=key)
    for year, total in zip(years, table.to_numpy().sum(axis=1), strict=True):
        if abs(total - 1.0) > _SHARE_ROUNDING:
            raise InputError(f"shares that sum to {total:.6g} in {year}", "1 in every year", key=key)
    return table.reindex(columns=strategies, fill_value=0.0).to_numpy()


@dataclass(frozen=True, eq=False)
class SubgroupValue:
    """The value of choosing by subgroup at one willingness to pay.

    `table`: Subgroup, Share, Strategy, NMB (expected), MCSE, Best (in the subgroup), Best_For_All. `value` is the
    gain in expected NMB per person of the whole population from choosing by subgroup, `mcse` its standard error over
    draws; `best_for_all` the strategy chosen for everybody. `value_perfect` adds perfect information about the
    parameters within subgroups: the gain over the present single choice.
    """

    table: pd.DataFrame
    value: float
    mcse: float
    best_for_all: str
    value_perfect: float


def subgroup_value(subgroups: Mapping[str, Psa], shares: Mapping[str, float], wtp: float) -> SubgroupValue:
    """Expected NMB of the best strategy in each subgroup minus that of the best single strategy for all.

    `subgroups` holds the outcomes of each subgroup under the same strategies and the same draws; `shares` how the
    population divides (they sum to 1). The value is never negative. Some of it is chance when draws are few, as for
    any maximum.
    """
    names = list(subgroups)
    if not names:
        raise InputError("no subgroup", "one or more", key="subgroups")
    if set(shares) != set(names):
        raise InputError(f"shares for {sorted(shares)}", f"the subgroups {sorted(names)}", key="shares")
    weights = np.array([require_number(shares[name], f"shares.{name}", low=0.0) for name in names])
    if abs(weights.sum() - 1.0) > _SHARE_ROUNDING:
        raise InputError(f"shares that sum to {weights.sum():.6g}", "1", key="shares")
    first = subgroups[names[0]]
    for name in names[1:]:
        other = subgroups[name]
        if set(other.strategies) != set(first.strategies) or not other.costs.index.equals(first.costs.index):
            raise InputError(
                f"other strategies or draws in {name!r}",
                f"those of {names[0]!r}, so that draws are paired",
                key="subgroups",
            )
    strategies = first.strategies
    benefit = np.stack([nmb(subgroups[name], wtp)[strategies].to_numpy() for name in names])
    expected = benefit.mean(axis=1)
    own = expected.argmax(axis=1)
    overall = np.einsum("g,gid->id", weights, benefit)
    single = int(overall.mean(axis=0).argmax())
    gains = np.stack([benefit[g][:, own[g]] - benefit[g][:, single] for g in range(len(names))])
    gain = weights @ gains
    perfect = weights @ (benefit.max(axis=2) - benefit[:, :, single])
    frames = [
        pd.DataFrame(
            {
                "Subgroup": name,
                "Share": weights[g],
                "Strategy": strategies,
                "NMB": expected[g],
                "MCSE": standard_error(benefit[g]),
                "Best": np.arange(len(strategies)) == own[g],
                "Best_For_All": np.arange(len(strategies)) == single,
            }
        )
        for g, name in enumerate(names)
    ]
    # Each subgroup's gain has a mean of 0 or more; the sum is taken over those means so that rounding cannot turn it.
    value = float(weights @ np.maximum(gains.mean(axis=1), 0.0))
    return SubgroupValue(
        pd.concat(frames, ignore_index=True),
        value,
        float(standard_error(gain[:, None])[0]),
        strategies[single],
        float(perfect.mean()),
    )


def decompose_increment(
    parts: pd.DataFrame,
    comparator: str,
    by: Sequence[str],
    *,
    value: str = "value",
    strategy: str = "strategy",
    iteration: str | None = None,
) -> pd.DataFrame:
    """Where a difference from the comparator comes from: a waterfall that adds up exactly.

    `parts` is a tidy table of what each strategy spent or gained, per person, in each part of the pathway: columns
    `strategy`, the columns of `by` (state, line, drug, event, ...), `value`, and `iteration` where there are draws.
    Rows of the same part are summed; a part that a strategy never uses counts 0 there.

    One row per strategy and part, largest first, and a last row `total` for each strategy: Strategy, Comparator, the
    columns of `by`, Increment, mcse, lower, upper (over draws; not a number without them), Start, End (the running
    sum; the first Start is 0 and the last End the total). The total is the exactly rounded sum of the printed
    increments (`math.fsum`).
    """
    columns = [strategy, value, *by] + ([iteration] if iteration is not None else [])
    for column in columns:
        if column not in parts.columns:
            raise InputError(f"no column {column!r}", f"the columns {list(parts.columns)}", key="parts")
    if not by:
        raise InputError("nothing to split by", "one column or more", key="by")
    for column in columns:
        if parts[column].isna().any():
            raise InputError(f"a missing entry in column {column!r}", "an entry in every row", key="parts")
    amounts = numeric_table(parts[[value]].reset_index(drop=True), f"parts.{value}")[value].to_numpy()
    strategies = list(dict.fromkeys(parts[strategy]))
    require_strategy(comparator, strategies, "comparator")
    if len(strategies) < 2:
        raise InputError("one strategy", "the comparator and at least one other", key="parts")
    names: list[tuple[object, ...]] = list(zip(*(parts[column] for column in by), strict=True))
    labels = list(dict.fromkeys(names))
    draws = list(dict.fromkeys(parts[iteration])) if iteration is not None else [0]
    at = (
        _positions(parts[strategy], strategies),
        _positions(parts[iteration], draws) if iteration is not None else np.zeros(len(parts), dtype=int),
        _positions(names, labels),
    )
    amount = np.zeros((len(strategies), len(draws), len(labels)))
    np.add.at(amount, at, amounts)
    seen = np.zeros((len(strategies), len(draws)), dtype=bool)
    seen[at[0], at[1]] = True
    if not seen.all():
        i, k = (int(position[0]) for position in np.nonzero(~seen))
        raise InputError(
            f"no row for {shown(strategies[i])} in draw {shown(draws[k])}", "every strategy in every draw", key="parts"
        )
    return decompose_amounts(amount, strategies, labels, comparator, by)


def decompose_amounts(
    amounts: Floats,
    strategies: Sequence[str],
    parts: Sequence[tuple[object, ...]],
    comparator: str,
    by: Sequence[str],
) -> pd.DataFrame:
    """The table of `decompose_increment` from an array (strategies, draws, parts).

    `parts` labels the last axis, each label one entry for each of `by`; labels are different. Raises InputError for
    an array of another shape and a comparator that is not a strategy.
    """
    amount = np.asarray(amounts, dtype=np.float64)
    require_strategy(comparator, strategies, "comparator")
    if amount.ndim != 3 or amount.shape[0] != len(strategies) or amount.shape[2] != len(parts) or amount.size == 0:
        raise InputError(
            f"an array of shape {amount.shape} for {len(strategies)} strategies and {len(parts)} parts",
            "strategies x draws x parts, one of each at least",
            key="amounts",
        )
    if len(set(parts)) < len(parts) or any(len(label) != len(by) for label in parts):
        raise InputError(f"the labels {list(parts)[:3]} ...", f"different ones, each with {list(by)}", key="parts")
    reference = amount[list(strategies).index(comparator)]
    rows = []
    for i, name in enumerate(strategies):
        if name == comparator:
            continue
        difference = amount[i] - reference
        means = difference.mean(axis=0)
        start = 0.0
        order = sorted(range(len(means)), key=lambda j: -abs(means[j]))
        for place, j in enumerate(order):
            # The running sum is exact as well: each End is the rounded sum of the increments so far.
            end = math.fsum(means[k] for k in order[: place + 1])
            rows.append(_part_row(name, comparator, by, parts[j], difference[:, j], start, end))
            start = end
        total = math.fsum(means)
        rows.append(
            _part_row(name, comparator, by, ("total",) * len(by), difference.sum(axis=1), 0.0, total)
            | {"Increment": total}
        )
    return pd.DataFrame(rows)


def _positions(values: Iterable[object], order: Sequence[object]) -> NDArray[np.intp]:
    """Position of each value in `order`, as integers."""
    place = {label: i for i, label in enumerate(order)}
    return np.array([place[item] for item in values], dtype=np.intp)


def _part_row(
    name: str, comparator: str, by: Sequence[str], part: tuple[object, ...], draws: Floats, start: float, end: float
) -> dict[str, object]:
    spread = dict(summary_row(draws)) if len(draws) > 1 else {"mean": draws.mean()} | dict.fromkeys(_SPREAD, np.nan)
    return (
        {"Strategy": name, "Comparator": comparator}
        | dict(zip(by, part, strict=True))
        | {"Increment": spread.pop("mean")}
        | spread
        | {"Start": start, "End": end}
    )


_SPREAD = ("mcse", "lower", "upper")
