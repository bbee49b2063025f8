"""Budget impact of a national cohort: what new patients cost year by year, and what a new strategy changes.

A patient's cost in the first y years is the undiscounted cost of the same life cut at y years: the luck is addressed, so a
shorter horizon gives the same histories, shorter. Cost of year y is the difference of two such costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from simhcc.economics import Population, budget_impact

SETTING = "budget.share_in_setting"


def patients_per_year(parameters: Mapping[str, Any], setting: str) -> float | None:
    """New patients a year who face the decision of a setting; None where params/ do not say."""
    names = ("budget.new_cases_per_year", "budget.hcc_share", f"{SETTING}.{setting}")
    if any(name not in parameters for name in names):
        return None
    cases, hcc, share = (float(parameters[name].base()) for name in names)
    return cases * hcc * share


def population_of(parameters: Mapping[str, Any], setting: str) -> Population | None:
    """Those who face the decision while it stays relevant, discounted as costs are."""
    each_year = patients_per_year(parameters, setting)
    names = ("budget.decision_years", "economics.discount_rate_costs")
    if each_year is None or any(name not in parameters for name in names):
        return None
    years, rate = (float(parameters[name].base()) for name in names)
    return Population(each_year, years, rate)


def yearly_costs(evaluation: Any, years: int, simulated: Callable[[Any], Any]) -> pd.DataFrame:
    """Undiscounted mean cost per patient started, by year since starting (rows 1, 2, ...) and strategy.

    `simulated` runs an evaluation with base-case numbers and returns its outcomes.
    """
    channels = tuple(replace(c, discount=0.0) for c in evaluation.channels if c.id == "cost")
    rewards = tuple(r for r in evaluation.rewards if r.channel == "cost")
    until = np.zeros((years + 1, len(evaluation.strategies)))
    for year in range(1, years + 1):
        cut = replace(
            evaluation,
            channels=channels,
            rewards=rewards,
            endpoints=(),
            horizon=min(12.0 * year, evaluation.horizon),
            landmarks=(),
            restrictions=(),
            crosses=(),
            grid_step=None,
            trace=False,
        )
        outcomes = simulated(cut)
        until[year] = outcomes.means[0, :, outcomes.column("cost")]
    ids = [strategy.id for strategy in evaluation.strategies]
    return pd.DataFrame(np.diff(until, axis=0), index=pd.RangeIndex(1, years + 1, name="Year"), columns=ids)


def impacts(
    streams: pd.DataFrame, patients: float, first_year: int, uptake: Sequence[float], comparator: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Budget impact of each strategy, alone, taking patients from the comparator as `uptake` says year by year.

    Returns (summary, detail): the tables of `simhcc.economics.budget_impact` with a first column Strategy (the new
    one). `streams` are `yearly_costs`; as many calendar years as `uptake` has.
    """
    calendar = pd.RangeIndex(first_year, first_year + len(uptake))
    incidence = pd.Series(patients, index=calendar)
    share = np.asarray(uptake, dtype=np.float64)
    summaries, details = [], []
    for strategy in streams.columns:
        if strategy == comparator:
            continue
        both = streams[[comparator, strategy]]
        now = pd.DataFrame({comparator: np.ones(len(share)), strategy: np.zeros(len(share))}, index=calendar)
        then = pd.DataFrame({comparator: 1.0 - share, strategy: share}, index=calendar)
        found = budget_impact(both, incidence, then, now)
        summaries.append(found.summary.assign(New=strategy))
        details.append(found.detail.assign(New=strategy))
    if not summaries:
        return pd.DataFrame(), pd.DataFrame()
    joined = [pd.concat(frames, ignore_index=True) for frames in (summaries, details)]
    for table in joined:
        table.insert(0, "New", table.pop("New"))
    return joined[0], joined[1]
