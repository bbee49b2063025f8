"""Outcome tables that every decision analysis starts from, checked once so that nothing is checked twice.

A probabilistic analysis is two wide tables, costs and effects: one row per draw of the uncertain parameters, one
column per strategy, the shape that dampack, BCEA and voi read. Strategies are joined by name and draws by index,
never by position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simhcc.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Psa:
    """Costs and effects of every strategy in every draw: two tables, draws x strategies.

    `costs` is in one currency and price year, `effects` in one unit (QALYs, life years, ...); both already discounted
    as the caller wishes. The rows are the draws (index = iteration), the columns the strategy ids. A base case is a
    table of one row. The columns and rows of `effects` are put in the order of `costs`.

    Raises InputError for empty tables, missing or infinite numbers, repeated strategies or draws, and tables that do
    not hold the same strategies and draws.
    """

    costs: pd.DataFrame
    effects: pd.DataFrame

    def __post_init__(self) -> None:
        costs = numeric_table(self.costs, "costs")
        effects = numeric_table(self.effects, "effects")
        require_same(costs.columns, effects.columns, "effects", "strategies", "costs")
        require_same(costs.index, effects.index, "effects", "draws", "costs")
        effects = effects.loc[costs.index, costs.columns]
        for table in (costs, effects):
            table.index.name = "iteration"
            table.columns.name = None
        object.__setattr__(self, "costs", costs)
        object.__setattr__(self, "effects", effects)

    @classmethod
    def from_long(
        cls,
        table: pd.DataFrame,
        *,
        cost: str = "cost",
        effect: str = "qaly",
        strategy: str = "strategy",
        iteration: str = "iteration",
    ) -> Psa:
        """Build from a tidy table with one row per draw and strategy; the arguments name its columns.

        Raises InputError for a missing column, a repeated (draw, strategy) pair, or a pair that is absent.
        """
        for column in (cost, effect, strategy, iteration):
            if column not in table.columns:
                raise InputError(f"no column {column!r}", f"the columns {list(table.columns)}", key="table")
        repeated = table.duplicated([iteration, strategy])
        if repeated.any():
            row = table.loc[repeated].iloc[0]
            raise InputError(
                f"strategy {shown(row[strategy])} twice in draw {shown(row[iteration])}",
                "one row per draw and strategy",
                key="table",
            )
        order = list(dict.fromkeys(table[strategy]))
        wide = {name: table.pivot(index=iteration, columns=strategy, values=name)[order] for name in (cost, effect)}
        return cls(wide[cost], wide[effect])

    @property
    def strategies(self) -> list[str]:
        """Strategy ids in the order of the columns."""
        return list(self.costs.columns)

    @property
    def n_draws(self) -> int:
        """Number of draws."""
        return len(self.costs)

    def select(self, strategies: Sequence[str]) -> Psa:
        """The same draws for some of the strategies, in the order asked for."""
        for name in strategies:
            require_strategy(name, self.strategies, "strategies")
        return Psa(self.costs[list(strategies)], self.effects[list(strategies)])

    def means(self) -> pd.DataFrame:
        """Expected cost and effect: Strategy, Cost, Cost_MCSE, Effect, Effect_MCSE.

        The standard error is sd / sqrt(draws): the error of the mean over draws. It is not a number for one draw.
        """
        return pd.DataFrame(
            {
                "Strategy": self.strategies,
                "Cost": self.costs.mean().to_numpy(),
                "Cost_MCSE": standard_error(self.costs.to_numpy()),
                "Effect": self.effects.mean().to_numpy(),
                "Effect_MCSE": standard_error(self.effects.to_numpy()),
            }
        )


@dataclass(frozen=True)
class Population:
    """Patients who face the decision, for values per population.

    `incidence_per_year` is patients per year (one number, or one per whole year), `years` how long the decision stays
    relevant, and `discount_rate` annual (0.05 for 5 %). Patients arrive evenly, so the discounted number is the
    integral of incidence x (1 + rate) ** -t over the years.
    """

    incidence_per_year: float | Sequence[float]
    years: float
    discount_rate: float

    def __post_init__(self) -> None:
        require_number(self.years, "years", low=0.0)
        require_number(self.discount_rate, "discount_rate", low=0.0)
        incidence = self._incidence()
        if not np.isfinite(incidence).all() or (incidence < 0.0).any():
            raise InputError(f"{self.incidence_per_year}", "patients per year, 0 or more", key="incidence_per_year")
        if np.ndim(self.incidence_per_year) == 1 and len(incidence) != self.years:
            raise InputError(
                f"{len(incidence)} yearly numbers for {self.years} years",
                "one number, or one for each whole year",
                key="incidence_per_year",
            )

    def _incidence(self) -> Floats:
        return np.atleast_1d(np.asarray(self.incidence_per_year, dtype=np.float64))

    def size(self, start_years: float = 0.0) -> float:
        """Discounted number of patients from `start_years` (years from now) until `years`; 0 when that has passed."""
        require_number(start_years, "start_years", low=0.0)
        if start_years >= self.years:
            return 0.0
        incidence = self._incidence()
        edges = np.arange(len(incidence) + 1.0) if len(incidence) > 1 else np.array([0.0, self.years])
        edges = np.clip(edges, start_years, self.years)
        rate = np.log1p(self.discount_rate)
        if rate == 0.0:
            weights = np.diff(edges)
        else:
            weights = -np.diff(np.exp(-rate * edges)) / rate
        return float(incidence @ weights)


def numeric_table(table: object, key: str) -> pd.DataFrame:
    """A float copy of a data frame with unique, named rows and columns and only finite numbers, or InputError."""
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"a {type(table).__name__}", "a pandas DataFrame, draws x strategies", key=key)
    if table.shape[0] == 0 or table.shape[1] == 0:
        raise InputError(
            f"a table of {table.shape[0]} rows and {table.shape[1]} columns", "at least one of each", key=key
        )
    for labels, word in ((table.columns, "column"), (table.index, "row")):
        if labels.has_duplicates:
            raise InputError(
                f"{word} {shown(labels[labels.duplicated()][0])} more than once", f"each {word} once", key=key
            )
    try:
        result = table.copy().astype(np.float64)
    except (TypeError, ValueError) as problem:
        raise InputError(f"something that is not a number ({problem})", "numbers", key=key) from None
    values = result.to_numpy()
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = (int(position[0]) for position in np.nonzero(bad))
        raise InputError(
            f"{values[row, column]:g} in row {shown(table.index[row])}, column {shown(table.columns[column])}",
            "a finite number everywhere; leave out what has no value (for example a strategy with an unpriced drug)",
            key=key,
        )
    return result


def shown(label: object) -> str:
    """A row or column label as a person would write it."""
    return repr(label.item() if isinstance(label, np.generic) else label)


def require_same(expected: pd.Index, found: pd.Index, key: str, word: str, other: str) -> None:
    """InputError unless two indexes hold the same labels, in any order."""
    missing, extra = expected.difference(found), found.difference(expected)
    if len(missing) or len(extra):
        parts = [f"without {', '.join(map(shown, missing[:3]))}"] * bool(len(missing)) + [
            f"with {', '.join(map(shown, extra[:3]))}"
        ] * bool(len(extra))
        raise InputError(
            f"{len(found)} {word} {' and '.join(parts)}", f"the {len(expected)} {word} of {other}", key=key
        )


def require_strategy(name: str, strategies: Sequence[str], key: str) -> None:
    """InputError unless `name` is one of `strategies`."""
    if name not in strategies:
        raise InputError(f"{name!r}", f"one of {list(strategies)}", key=key)


def require_number(value: float, key: str, *, low: float | None = None, above: float | None = None) -> float:
    """The value as a float; InputError when it is not finite, below `low`, or not above `above`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{value!r}", "a number", key=key) from None
    if not np.isfinite(number):
        raise InputError(f"{value!r}", "a finite number", key=key)
    if low is not None and number < low:
        raise InputError(f"{value!r}", f"{low:g} or more", key=key)
    if above is not None and number <= above:
        raise InputError(f"{value!r}", f"more than {above:g}", key=key)
    return number


def wtp_grid(wtp: float | Sequence[float] | Floats, *, positive: bool = False) -> Floats:
    """Willingness to pay (currency per unit of effect) as a vector; InputError unless finite and not negative."""
    grid = np.atleast_1d(np.asarray(wtp, dtype=np.float64))
    if grid.ndim != 1 or len(grid) == 0:
        raise InputError(f"an array of shape {grid.shape}", "one value or a list of values", key="wtp")
    if not np.isfinite(grid).all() or (grid < 0.0).any() or (positive and (grid == 0.0).any()):
        expected = "finite values above 0" if positive else "finite values, 0 or more"
        raise InputError(f"{grid.tolist()}", expected, key="wtp")
    return grid


def inputs_for(psa: Psa, inputs: pd.DataFrame, key: str = "inputs") -> pd.DataFrame:
    """Parameter draws (draws x parameters) as floats in the order of the outcome draws, joined by index."""
    table = numeric_table(inputs, key)
    require_same(psa.costs.index, table.index, key, "draws", "costs")
    return table.loc[psa.costs.index]


def standard_error(values: Floats) -> Floats:
    """sd / sqrt(n) of each column; not a number for a single row."""
    n = values.shape[0]
    if n < 2:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(values.std(axis=0, ddof=1) / np.sqrt(n))


def summary_row(values: Floats) -> Mapping[str, float]:
    """mean, mcse, and the central 95 % of a vector of draws."""
    lower, upper = np.quantile(values, [0.025, 0.975])
    return {
        "mean": float(values.mean()),
        "mcse": float(standard_error(values[:, None])[0]),
        "lower": float(lower),
        "upper": float(upper),
    }
