"""One and two parameters at a time: tornado, one-way curves, two-way tables and thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simhcc.errors import InputError
from simhcc.inputs import conversion_rates
from simhcc.uncertainty.factors import Axis
from simhcc.uncertainty.outcome import Outcome
from simhcc.uncertainty.points import Estimates, Points
from simhcc.uncertainty.question import Question

Floats = NDArray[np.float64]

Z_95 = 1.959963984540054
GRID = 9
"""points of the first look for a threshold"""
REFINED = 5
"""points inside a bracket, in each further look"""
LOOKS = 2
"""further looks: the bracket shrinks to 1 / 36 each time by a factor of 6"""


class Run(Protocol):
    """Evaluates rows of parameter values under a name; the command binds folder, threads and progress to it."""

    def __call__(self, rows: Mapping[str, Floats], name: str) -> Points:
        """Points in the order of the rows."""


class Rows:
    """Parameter vectors collected one after another; what one does not name stays at its base value.

    Values are in the unit of their files: amounts in another currency are converted as in the base case.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._parts: list[tuple[int, Mapping[str, Floats]]] = []
        self.count = 0

    def add(self, values: Mapping[str, Floats]) -> slice:
        """Append rows; returns where they stand."""
        (n,) = {len(value) for value in values.values()}
        self._parts.append((self.count, values))
        self.count += n
        return slice(self.count - n, self.count)

    def add_base(self) -> int:
        """Append the base case."""
        self._parts.append((self.count, {}))
        self.count += 1
        return self.count - 1

    def arrays(self) -> dict[str, Floats]:
        """All rows, by parameter."""
        names = dict.fromkeys(name for _, values in self._parts for name in values)
        if not names:
            # The base case alone still needs a row: any parameter at its base value.
            names = dict.fromkeys([next(iter(self._question.values))])
        found = {}
        for name in names:
            base = self._question.values[name][0]
            found[name] = np.array(np.broadcast_to(base, (self.count, *base.shape)))
        rates = conversion_rates(self._question.parameters)
        for start, values in self._parts:
            for name, value in values.items():
                found[name][start : start + len(value)] = np.asarray(value) * rates.get(name, 1.0)
        return found


# ---------------------------------------------------------------------------------------------------------------------
# Tornado


@dataclass(frozen=True, eq=False)
class Tornado:
    """Each parameter alone at the two ends of its range.

    `table`, widest first: parameter, unit, base, low, high, basis, moves, at_low, at_high (the outcome), below and above
    (its difference from the base case) with their Monte-Carlo errors, swing (at_high - at_low) with its error, and noise:
    the swing cannot be told from 0 with these patients.
    """

    outcome: Outcome
    base: float
    base_mcse: float
    table: pd.DataFrame


def tornado(question: Question, outcome: Outcome, axes: Sequence[Axis], run: Run) -> Tornado:
    """Move each parameter to both ends of its range with the same patients and luck."""
    rows = Rows(question)
    at_base = rows.add_base()
    places = [rows.add(axis.values(question.parameters, np.array([axis.low, axis.high]))) for axis in axes]
    values = outcome.of(run(rows.arrays(), "tornado"))
    records = []
    for axis, place in zip(axes, places, strict=True):
        low, high = place.start, place.start + 1
        below = values.map(lambda v, i=low: v[i] - v[at_base])  # type: ignore[misc]
        above = values.map(lambda v, i=high: v[i] - v[at_base])  # type: ignore[misc]
        swing = values.map(lambda v, i=low, j=high: v[j] - v[i])  # type: ignore[misc]
        records.append(
            {
                "parameter": axis.name,
                "unit": axis.unit,
                "base": axis.base,
                "low": axis.low,
                "high": axis.high,
                "basis": axis.basis,
                "moves": axis.moves,
                "at_low": values.value[low],
                "at_high": values.value[high],
                "below": float(below.value),
                "below_mcse": float(below.mcse),
                "above": float(above.value),
                "above_mcse": float(above.mcse),
                "swing": float(swing.value),
                "swing_mcse": float(swing.mcse),
                "noise": bool(abs(swing.value) <= Z_95 * swing.mcse),
            }
        )
    table = pd.DataFrame(records)
    widest = table[["below", "above"]].max(axis=1).clip(lower=0) - table[["below", "above"]].min(axis=1).clip(upper=0)
    table = table.assign(_width=widest).sort_values("_width", ascending=False, kind="stable", na_position="last")
    return Tornado(
        outcome,
        float(values.value[at_base]),
        float(values.mcse[at_base]),
        table.drop(columns="_width").reset_index(drop=True),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Curves and tables


@dataclass(frozen=True, eq=False)
class OneWay:
    """The outcome along the range of each parameter.

    `table`: parameter, x, value, mcse, change (from the base case) and change_mcse; `axes` by name.
    """

    outcome: Outcome
    base: float
    base_mcse: float
    axes: Mapping[str, Axis]
    table: pd.DataFrame


def one_way(question: Question, outcome: Outcome, axes: Sequence[Axis], points: int, run: Run) -> OneWay:
    """The outcome at `points` evenly spaced values of each parameter, and at its base value where that lies inside."""
    if points < 2:
        raise InputError(str(points), "2 points or more", "--points")
    rows = Rows(question)
    at_base = rows.add_base()
    places = []
    for axis in axes:
        x = np.linspace(axis.low, axis.high, points)
        if axis.low < axis.base < axis.high:
            x = np.unique(np.append(x, axis.base))
        places.append((axis, x, rows.add(axis.values(question.parameters, x))))
    values = outcome.of(run(rows.arrays(), "one-way"))
    frames = []
    for axis, x, place in places:
        part = values[place]
        change = values.map(lambda v, s=place: v[s] - v[at_base])  # type: ignore[misc]
        columns: dict[str, Any] = {"parameter": axis.name, "x": x, "value": part.value, "mcse": part.mcse}
        frames.append(pd.DataFrame(columns | {"change": change.value, "change_mcse": change.mcse}))
    return OneWay(
        outcome,
        float(values.value[at_base]),
        float(values.mcse[at_base]),
        {axis.name: axis for axis in axes},
        pd.concat(frames, ignore_index=True),
    )


@dataclass(frozen=True, eq=False)
class TwoWay:
    """The outcome over the ranges of two parameters. `table`: x, y, value, mcse; `first` is x, `second` is y."""

    outcome: Outcome
    base: float
    base_mcse: float
    target: float
    first: Axis
    second: Axis
    table: pd.DataFrame


def two_way(question: Question, outcome: Outcome, axes: Sequence[Axis], points: int, target: float, run: Run) -> TwoWay:
    """The outcome at `points` x `points` pairs of values of exactly two parameters that do not depend on each other."""
    if len(axes) != 2:
        raise InputError(f"{len(axes)} numbers", "exactly two of --parameters", "--parameters")
    if points < 2:
        raise InputError(str(points), "2 points or more", "--points")
    first, second = axes
    x = np.repeat(np.linspace(first.low, first.high, points), points)
    y = np.tile(np.linspace(second.low, second.high, points), points)
    one, other = first.values(question.parameters, x), second.values(question.parameters, y)
    shared = sorted(set(one) & set(other))
    if shared:
        raise InputError(
            f"{first.name} and {second.name}, which move {shared[0]} together",
            "two that are independent",
            "--parameters",
        )
    rows = Rows(question)
    at_base = rows.add_base()
    place = rows.add({**one, **other})
    values = outcome.of(run(rows.arrays(), "two-way"))
    part = values[place]
    table = pd.DataFrame({"x": x, "y": y, "value": part.value, "mcse": part.mcse})
    base, error = float(values.value[at_base]), float(values.mcse[at_base])
    return TwoWay(outcome, base, error, target, first, second, table)


# ---------------------------------------------------------------------------------------------------------------------
# Thresholds


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Where the outcome reaches a target along each parameter: what would have to be true.

    `table`, one row per crossing (or one without): parameter, unit, base, low, high, status (`threshold`, `none`,
    `undetermined`), threshold, mcse, lower and upper (values that cannot be told from the threshold with these patients,
    95 %; `open_low` and `open_high` say that the set reaches the end of the range), side (where the sign differs from that of
    the base case: `above` or `below`), probability (that the parameter lies on that side, by its own distribution), at_low,
    at_high (the outcome at the ends), reading (a sentence). `curve`: parameter, x, value, mcse, all points that were
    evaluated.
    """

    outcome: Outcome
    base: float
    base_mcse: float
    target: float
    table: pd.DataFrame
    curve: pd.DataFrame
    axes: Mapping[str, Axis] = field(default_factory=dict)


def threshold(question: Question, outcome: Outcome, axes: Sequence[Axis], target: float, run: Run) -> Thresholds:
    """Find every crossing of `target` that a grid over each parameter's range shows, then close in on it.

    The root lies on a straight line between the last two points. Its Monte-Carlo error is that of the outcome there over
    the slope; the interval holds the values at which the outcome is within 1.96 standard errors of the target.
    """
    searches = [_Search(axis, np.linspace(axis.low, axis.high, GRID)) for axis in axes]
    base = error = float("nan")
    for look in range(LOOKS + 1):
        rows = Rows(question)
        at_base = rows.add_base() if look == 0 else None
        places = [
            (search, x, rows.add(search.axis.values(question.parameters, x)))
            for search in searches
            if len(x := search.wanted(target, look))
        ]
        if not rows.count:
            break
        values = outcome.of(run(rows.arrays(), f"threshold-{look + 1}"))
        if at_base is not None:
            base, error = float(values.value[at_base]), float(values.mcse[at_base])
        for search, x, place in places:
            search.add(x, values[place])
    records = [record for search in searches for record in search.records(question, outcome, target, base)]
    curve = pd.concat([search.curve() for search in searches], ignore_index=True)
    return Thresholds(outcome, base, error, target, pd.DataFrame(records), curve, {axis.name: axis for axis in axes})


class _Search:
    """The points known along one parameter."""

    def __init__(self, axis: Axis, grid: Floats) -> None:
        self.axis = axis
        self.grid = grid
        self.x = np.zeros(0)
        self.value = np.zeros(0)
        self.mcse = np.zeros(0)

    def add(self, x: Floats, found: Estimates) -> None:
        order = np.argsort(np.concatenate([self.x, x]), kind="stable")
        self.x = np.concatenate([self.x, x])[order]
        self.value = np.concatenate([self.value, found.value])[order]
        self.mcse = np.concatenate([self.mcse, found.mcse])[order]

    def brackets(self, target: float) -> list[int]:
        """Positions i with a crossing between points i and i + 1."""
        sign = np.sign(self.value - target)
        with np.errstate(all="ignore"):
            crossing = (sign[:-1] * sign[1:] < 0) | ((sign[:-1] == 0) & (sign[1:] != 0))
        return [int(i) for i in np.flatnonzero(crossing)]

    def wanted(self, target: float, look: int) -> Floats:
        if look == 0:
            return self.grid
        inside = [np.linspace(self.x[i], self.x[i + 1], REFINED + 2)[1:-1] for i in self._looked_into(target)]
        return np.concatenate(inside) if inside else np.zeros(0)

    def _looked_into(self, target: float) -> list[int]:
        """One bracket for each interval of the first grid that holds any: closing in, noise may show several."""
        found: dict[int, int] = {}
        for i in self.brackets(target):
            found.setdefault(int(np.searchsorted(self.grid, self.x[i], side="right")), i)
        return list(found.values())

    def curve(self) -> pd.DataFrame:
        return pd.DataFrame({"parameter": self.axis.name, "x": self.x, "value": self.value, "mcse": self.mcse})

    def records(self, question: Question, outcome: Outcome, target: float, base: float) -> list[dict[str, Any]]:
        axis = self.axis
        common: dict[str, Any] = {
            "parameter": axis.name, "unit": axis.unit, "base": axis.base, "low": axis.low, "high": axis.high,
        }  # fmt: skip
        ends = {"at_low": float(self.value[0]), "at_high": float(self.value[-1])}
        missing: dict[str, Any] = dict.fromkeys(("threshold", "mcse", "lower", "upper", "probability"), float("nan"))
        missing |= {"open_low": False, "open_high": False, "side": ""}
        found = self._looked_into(target)
        if not np.isfinite(self.value).all():
            reading = f"{outcome.id} has no value somewhere between {axis.low:.4g} and {axis.high:.4g}"
            if not found:
                return [common | {"status": "undetermined"} | missing | ends | {"reading": reading}]
        if not found:
            side = "above" if self.value[0] > target else "below"
            reading = (
                f"no threshold within {axis.low:.4g} to {axis.high:.4g}: {outcome.id} stays {side} {target:,.6g} "
                f"({self.value.min():,.6g} to {self.value.max():,.6g})"
            )
            close = np.abs(self.value - target) <= Z_95 * self.mcse
            if close.any():
                reading += "; near its end it cannot be told from the target with these patients"
            return [common | {"status": "none"} | missing | ends | {"reading": reading}]
        return [common | self._crossing(question, target, i) | ends for i in found]

    def _crossing(self, question: Question, target: float, i: int) -> dict[str, Any]:
        x, g = self.x, self.value - target
        root = float(x[i]) if g[i] == 0 else float(x[i] - g[i] * (x[i + 1] - x[i]) / (g[i + 1] - g[i]))
        error = float(np.interp(root, x, self.mcse))
        # The slope over the interval of the first grid: over the last bracket it is mostly noise.
        cell = int(np.clip(np.searchsorted(self.grid, root, side="right"), 1, len(self.grid) - 1))
        left, right = self.grid[cell - 1], self.grid[cell]
        slope = float((np.interp(right, x, g) - np.interp(left, x, g)) / (right - left))
        mcse = error / abs(slope) if slope != 0.0 else float("inf")
        with np.errstate(all="ignore"):
            z = np.where(self.mcse > 0.0, g / self.mcse, np.sign(g) * np.inf)
        lower, open_low = _edge(x[: i + 1][::-1], z[: i + 1][::-1], root)
        upper, open_high = _edge(x[i + 1 :], z[i + 1 :], root)
        side = "above" if root > self.axis.base else "below"
        below = self.axis.probability_below(question.parameters, root)
        probability = 1.0 - below if side == "above" else below
        rises = slope > 0.0
        reading = f"reaches {target:,.6g} at {root:.4g}, {'rising' if rises else 'falling'}; base {self.axis.base:.4g}"
        if np.isfinite(probability):
            reading += f"; probability that it lies {side}: {probability:.2f}"
        if open_low or open_high:
            reading += "; flat: its place is hardly determined with these patients"
        return {
            "status": "threshold", "threshold": root, "mcse": mcse, "lower": lower, "upper": upper,
            "open_low": open_low, "open_high": open_high, "side": side, "probability": probability, "reading": reading,
        }  # fmt: skip


def _edge(x: Floats, z: Floats, root: float) -> tuple[float, bool]:
    """Going away from the root: where the outcome is first told from the target (|z| reaches 1.96); or the end, open."""
    before_x, before_z = root, 0.0
    for here, score in zip(x, np.abs(z), strict=True):
        if score >= Z_95:
            if not np.isfinite(score):
                return float(here if before_x == root else before_x), False
            share = (Z_95 - before_z) / (score - before_z)
            return float(before_x + share * (here - before_x)), False
        before_x, before_z = float(here), float(score)
    return before_x, True
