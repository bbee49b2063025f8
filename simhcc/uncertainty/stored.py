"""What a probabilistic analysis leaves for decisions: costs, effects, their noise, and the priced units behind the costs.

A cost is a sum of units times unit costs: packs and vials of each drug, sessions, admissions, months of care. With the
units kept for every draw, a change of prices needs no simulation: cost + units x (new - old unit cost).
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simhcc.economics import Psa
from simhcc.errors import InputError, ModelError

Floats = NDArray[np.float64]

PANELS = ("effective", "list")
DRUG = "prices"
REST = "other"
_ROUNDING = 1e-9
_VERSION = 1


@dataclass(frozen=True, eq=False)
class StoredPsa:
    """Draws of a run, in the order of the scenario's strategies; money in `currency`, effects discounted.

    `cost`, `qaly` and `ly` have axes (draw, strategy). `noise` is (draw, strategy, 3): Monte-Carlo variances of the cost
    and QALY increment over the comparator, and their covariance. `units` (draw, strategy, item) are discounted units per
    patient, `unit_costs` (draw, item) what one costs; `rest` (draw, strategy) is cost without a named price. Items are
    `prices.DRUG` and the names of unit costs. `panels` gives each drug's price in the two panels, `panel` the one in
    force; `unpriced` the strategies that use a drug without a price, with those drugs.
    """

    strategies: tuple[str, ...]
    comparator: str
    currency: str
    wtp: tuple[float, ...]
    cost: Floats
    qaly: Floats
    ly: Floats
    noise: Floats
    items: tuple[str, ...]
    units: Floats
    unit_costs: Floats
    rest: Floats
    panel: str
    panels: Mapping[str, Mapping[str, float]]
    without_price: tuple[str, ...]
    patients: int

    @property
    def draws(self) -> int:
        """Number of iterations."""
        return self.cost.shape[0]

    @property
    def unpriced(self) -> dict[str, tuple[str, ...]]:
        """Strategies that use a drug without a price -> those drugs."""
        found = {}
        for s, strategy in enumerate(self.strategies):
            used = tuple(d for d in self.without_price if self.units[:, s, self.items.index(f"{DRUG}.{d}")].max() > 0.0)
            if used:
                found[strategy] = used
        return found

    @property
    def priced(self) -> tuple[str, ...]:
        """Strategies whose every drug has a price."""
        unpriced = self.unpriced
        return tuple(name for name in self.strategies if name not in unpriced)

    def table(self, name: str, strategies: Sequence[str] | None = None) -> pd.DataFrame:
        """`cost`, `qaly` or `ly` as draws x strategies (all of them by default)."""
        found = pd.DataFrame(getattr(self, name), columns=list(self.strategies))
        found.index = pd.RangeIndex(1, self.draws + 1, name="iteration")
        return found if strategies is None else found[list(strategies)]

    def psa(self, strategies: Sequence[str] | None = None) -> Psa:
        """Costs and QALYs of the priced strategies, or of those asked for."""
        chosen = self.priced if strategies is None else tuple(strategies)
        return Psa(self.table("cost", chosen), self.table("qaly", chosen))

    def drug_units(self, drug: str) -> pd.DataFrame:
        """Discounted priced units of a drug per patient, draws x all strategies."""
        found = pd.DataFrame(self.units[:, :, self.items.index(f"{DRUG}.{drug}")], columns=list(self.strategies))
        found.index = pd.RangeIndex(1, self.draws + 1, name="iteration")
        return found

    @property
    def drugs(self) -> tuple[str, ...]:
        """Drugs that somebody is given under some strategy."""
        return tuple(i.removeprefix(f"{DRUG}.") for i in self.items if i.startswith(f"{DRUG}."))

    def price(self, drug: str) -> float:
        """The price of a drug's unit in force; one number, since prices are fixed over the draws."""
        return float(self.unit_costs[0, self.items.index(f"{DRUG}.{drug}")])

    def with_panel(self, panel: str) -> StoredPsa:
        """The same run at the other panel of drug prices. Raises InputError for an unknown panel."""
        if panel not in PANELS:
            raise InputError(repr(panel), " or ".join(PANELS), key="--panel")
        prices = {f"{DRUG}.{drug}": self.panels[panel][drug] for drug in self.drugs}
        return replace(self.repriced(prices), panel=panel)

    def repriced(self, changes: Mapping[str, float]) -> StoredPsa:
        """The same run at other unit costs: item -> new unit cost, the same in every draw.

        Giving a drug without a price one brings its strategies back into the comparison. Raises InputError for an
        unknown item and a negative price.
        """
        costs = self.unit_costs.copy()
        known = set()
        for item, value in changes.items():
            if item not in self.items:
                import difflib

                near = difflib.get_close_matches(item, self.items, 1, 0.4)
                raise InputError(
                    f"no priced item {item!r} in this run",
                    near[0] + "?" if near else f"one of {', '.join(self.items)}",
                    key=item,
                )
            if not (np.isfinite(value) and value >= 0.0):
                raise InputError(f"{value:g}", f"0 or more {self.currency}", key=item)
            costs[:, self.items.index(item)] = value
            if value > 0.0:
                known.add(item.removeprefix(f"{DRUG}."))
        moved = np.einsum("dsi,di->ds", self.units, costs - self.unit_costs)
        left = tuple(drug for drug in self.without_price if drug not in known)
        return replace(self, cost=self.cost + moved, unit_costs=costs, without_price=left)

    def units_table(self) -> pd.DataFrame:
        """Mean units per patient: item, strategy, units, unit_cost, cost (means over draws)."""
        spent = np.einsum("dsi,di->si", self.units, self.unit_costs) / self.draws
        rows = [
            (item, strategy, self.units[:, s, i].mean(), self.unit_costs[:, i].mean(), spent[s, i])
            for i, item in enumerate(self.items)
            for s, strategy in enumerate(self.strategies)
        ]
        return pd.DataFrame(rows, columns=["item", "strategy", "units", "unit_cost", "cost"])

    # -- on disk

    def save(self, path: Path) -> None:
        """Write to one file, which `load` reads."""
        meta = {
            "version": _VERSION,
            "strategies": self.strategies,
            "comparator": self.comparator,
            "currency": self.currency,
            "wtp": self.wtp,
            "items": self.items,
            "panel": self.panel,
            "panels": {panel: dict(prices) for panel, prices in self.panels.items()},
            "without_price": self.without_price,
            "patients": self.patients,
        }
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        # Without dates inside, so that the same run gives the same bytes.
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(_member("meta.json"), json.dumps(meta, ensure_ascii=False))
            for name, array in arrays.items():
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
                archive.writestr(_member(f"{name}.npy"), buffer.getvalue())


_ARRAYS = ("cost", "qaly", "ly", "noise", "units", "unit_costs", "rest")


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def load(path: Path) -> StoredPsa:
    """A stored analysis. Raises InputError where the file is absent, damaged or of another version."""
    expected = "the folder of a run by this version of simhcc"
    try:
        with zipfile.ZipFile(path) as archive:
            meta: dict[str, Any] = json.loads(archive.read("meta.json"))
            arrays: dict[str, Any] = {
                name: np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
                for name in _ARRAYS
            }
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as problem:
        raise InputError(f"no stored analysis that can be read ({problem})", expected, file=str(path)) from None
    if meta.pop("version") != _VERSION:
        raise InputError("a stored analysis of another version", expected, file=str(path))
    for name in ("strategies", "wtp", "items", "without_price"):
        meta[name] = tuple(meta[name])
    return StoredPsa(**meta, **arrays)


# ---------------------------------------------------------------------------------------------------------------------
# From a simulation


def store(
    result: Any,
    evaluation: Any,
    values: Mapping[str, Floats],
    money: Mapping[str, str],
    *,
    currency: str,
    wtp: Sequence[float],
    without_price: Sequence[str],
) -> StoredPsa:
    """Keep of a result of `simhcc.analysis.simulated` what decisions need.

    `money` maps the names of all amounts of money to their units. Raises ModelError where a cost is not a sum of units
    times unit costs, and InputError where costs or QALYs are not summed.
    """
    outcomes = result.outcomes
    for channel in ("cost", "qaly", "ly"):
        if channel not in outcomes.columns:
            raise InputError(f"a run without the outcome {channel}", "a run that sums cost, qaly and ly", key=channel)
    panel, panels = _panels(values)
    items, units, unit_costs, rest = _priced(evaluation, values, outcomes, money)
    names = {name: outcomes.means[:, :, outcomes.column(name)] for name in ("cost", "qaly", "ly")}
    total = np.einsum("dsi,di->ds", units, unit_costs) + rest
    if not np.allclose(total, names["cost"], rtol=1e-8, atol=1e-6):
        raise ModelError("costs are not the sum of units and unit costs; a reward of cost is left out")
    return StoredPsa(
        strategies=tuple(outcomes.strategies),
        comparator=evaluation.reference,
        currency=currency,
        wtp=tuple(float(amount) for amount in wtp),
        **names,
        noise=_noise(outcomes),
        items=items,
        units=units,
        unit_costs=unit_costs,
        rest=rest,
        panel=panel,
        panels=panels,
        without_price=tuple(d for d in without_price if f"{DRUG}.{d}" in items),
        patients=int(outcomes.patients),
    )


def _panels(values: Mapping[str, Floats]) -> tuple[str, dict[str, dict[str, float]]]:
    flag = values.get("structure.list_prices")
    panel = PANELS[0] if flag is None or float(np.ravel(flag)[0]) == 0.0 else PANELS[1]
    panels = {
        name: {
            key.removeprefix(f"prices.{name}."): float(np.ravel(value)[0])
            for key, value in values.items()
            if key.startswith(f"prices.{name}.")
        }
        for name in PANELS
    }
    return panel, panels


def _noise(outcomes: Any) -> Floats:
    """Monte-Carlo variance of each cost and QALY increment over the comparator, and their covariance."""
    noise = np.zeros((outcomes.draws, len(outcomes.strategies), 3))
    cost, qaly = outcomes.column("cost"), outcomes.column("qaly")
    for k, (strategy, _) in enumerate(outcomes.pairs):
        s = outcomes.strategies.index(strategy)
        noise[:, s, 0] = outcomes.difference_mcse[:, k, cost] ** 2
        noise[:, s, 1] = outcomes.difference_mcse[:, k, qaly] ** 2
        if ("cost", "qaly") in outcomes.crosses:
            covariance = outcomes.cross_covariance("cost", "qaly")[:, len(outcomes.strategies) + k]
            noise[:, s, 2] = covariance / outcomes.patients
        else:
            # Without the covariance the larger error of a net benefit is taken: more cost for more QALYs, opposed.
            noise[:, s, 2] = -np.sqrt(noise[:, s, 0] * noise[:, s, 1])
    return np.nan_to_num(noise)


def _priced(
    evaluation: Any, values: Mapping[str, Floats], outcomes: Any, money: Mapping[str, str]
) -> tuple[tuple[str, ...], Floats, Floats, Floats]:
    """Items, units (draw, strategy, item), unit costs (draw, item) and the rest (draw, strategy)."""
    from simhcc.expressions import Expression, as_expression, evaluate, leaves

    draws, strategies = outcomes.draws, len(outcomes.strategies)
    scale = {channel.id: channel.scale for channel in evaluation.channels}["cost"]
    units: dict[str, Floats] = {}
    paid: dict[str, Floats] = {}
    rest = np.zeros((draws, strategies))
    for position, term in enumerate(outcomes.terms):
        if term.channel != "cost":
            continue
        amount = as_expression(term.amount if hasattr(term, "amount") else term.rate)
        assert isinstance(amount, Expression)
        quantity = outcomes.quantities[:, :, position] * scale

        def priced(changed: Mapping[str, Floats], amount: Any = amount) -> Floats:
            return np.broadcast_to(np.asarray(evaluate(amount, changed), dtype=np.float64).reshape(-1), (draws,))

        whole = priced(values)
        left = whole.copy()
        for name in dict.fromkeys(leaves(amount, "parameter")):
            if name not in money:
                continue
            old = np.broadcast_to(np.asarray(values[name], dtype=np.float64), (draws,))
            step = np.maximum(np.abs(old), 1.0)
            each = (priced({**values, name: old + step}) - whole) / step
            if not each.any():
                continue
            item = _item(name)
            units.setdefault(item, np.zeros((draws, strategies)))
            units[item] += each[:, None] * quantity
            paid.setdefault(item, old)
            left = left - each * old
        # What is left has no price of its own; it must not be the bend of an amount that is no sum of prices.
        left[np.abs(left) <= _ROUNDING * np.abs(whole)] = 0.0
        if (left < 0.0).any():
            raise ModelError(f"the amount of a cost is not a sum of units times unit costs: {term}")
        rest += left[:, None] * quantity
    items = tuple(sorted(units))
    if not items:
        return (), np.zeros((draws, strategies, 0)), np.zeros((draws, 0)), rest
    return items, np.stack([units[i] for i in items], axis=2), np.stack([paid[i] for i in items], axis=1), rest


def _item(name: str) -> str:
    """`prices.effective.sorafenib` and `prices.list.sorafenib` are one item: prices.sorafenib."""
    for panel in PANELS:
        if name.startswith(f"prices.{panel}."):
            return f"{DRUG}.{name.removeprefix(f'prices.{panel}.')}"
    return name
