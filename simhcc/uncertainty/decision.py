"""From stored draws to a decision: every table of the evaluation, with patient-level noise removed and shown beside.

Means are as simulated. What describes decision uncertainty (acceptability, expected loss, EVPI, bands) uses draws from which
the noise of simulated patients is taken: each strategy's increments of cost and QALYs over the comparator are drawn towards
their mean until their covariance is that between draws, total minus Monte-Carlo (O'Hagan, Stevenson and Madan, Health Econ
2007;16:1009). Columns that end in `_Raw` hold the same without that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simhcc.economics import (
    Population,
    Psa,
    SubgroupValue,
    ce_plane,
    ceac,
    ceaf,
    efficiency_frontier,
    evpi,
    expected_loss,
    icer_table,
    inmb,
    inmb_curve,
    nmb,
    pairwise_icers,
    running_means,
    subgroup_value,
    threshold_price,
    variance_split,
)
from simhcc.uncertainty.stored import DRUG, StoredPsa

Floats = NDArray[np.float64]

GRID_POINTS = 61
"""willingness to pay from 0 to the highest in so many steps"""
UNPRICED = "unpriced"
FEWEST_DRAWS = 2
NMB_COLUMNS = ["WTP", "Strategy", "Cost", "Effect", "NMB", "INMB", "mcse", "lower", "upper", "P_Positive", "Rank"]


@dataclass(frozen=True, eq=False)
class Decision:
    """The tables of one population or subgroup; those about uncertainty are empty for a base case.

    `icer`: simhcc.economics.icer_table, strategies without a price last. `frontier`: WTP range of each strategy on it.
    `pairwise`: against the comparator, with the quadrant. `nmb`: WTP, Strategy, Cost, Effect, NMB, INMB (against the
    comparator), mcse, lower, upper, P_Positive, Rank. `inmb`: the same curve over WTP. `ceac`, `ceaf`, `loss`, `evpi`:
    over WTP, with `_Raw` columns. `plane`, `ellipse`, `quadrants`: the cost-effectiveness plane. `noise`: the variance
    of each increment split into draws and patients. `convergence`: running mean of each INMB at the first WTP.
    `thresholds`: highest price of a drug at which a strategy is optimal, and its band. `price_curves`: probability of
    that by price.
    """

    icer: pd.DataFrame
    frontier: pd.DataFrame
    pairwise: pd.DataFrame
    nmb: pd.DataFrame
    inmb: pd.DataFrame
    ceac: pd.DataFrame
    ceaf: pd.DataFrame
    loss: pd.DataFrame
    evpi: pd.DataFrame
    plane: pd.DataFrame
    ellipse: pd.DataFrame
    quadrants: pd.DataFrame
    noise: pd.DataFrame
    convergence: pd.DataFrame
    thresholds: pd.DataFrame
    price_curves: pd.DataFrame

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the tables."""
        return tuple(field.name for field in fields(cls))


def decide(
    stored: StoredPsa, *, top: float | None = None, population: Population | None = None, quick: bool = False
) -> Decision:
    """All tables of a stored analysis.

    `top` is the highest willingness to pay of the curves (three times the first by default); `population` adds
    population values to EVPI. `quick` leaves out `convergence`, `price_curves` and the curve of INMB.
    """
    priced = stored.priced
    if not priced:
        return _nothing_priced(stored)
    raw = stored.psa()
    clean = without_noise(stored)
    wtp = list(stored.wtp)
    high = top if top is not None else 3.0 * max(wtp, default=1.0)
    grid = np.unique(np.concatenate([np.linspace(0.0, high, GRID_POINTS), wtp])).tolist()
    means = raw.means()
    uncertain = stored.draws >= FEWEST_DRAWS and len(priced) > 1
    compared = stored.comparator in priced and len(priced) > 1
    empty = pd.DataFrame()
    plane = ce_plane(clean, stored.comparator) if uncertain and compared else None
    noise = noise_table(stored)
    prices, curves = (
        price_thresholds(stored, curves=not quick) if len(priced) > 1 or stored.unpriced else (empty, empty)
    )
    return Decision(
        icer=_icers(stored, means),
        frontier=efficiency_frontier(means["Strategy"].tolist(), means["Cost"].tolist(), means["Effect"].tolist()),
        pairwise=pairwise_icers(
            means["Strategy"].tolist(), means["Cost"].tolist(), means["Effect"].tolist(), stored.comparator
        )
        if compared
        else empty,
        nmb=pd.concat([_benefit(stored, raw, clean, amount) for amount in wtp], ignore_index=True)
        if wtp
        else pd.DataFrame(columns=NMB_COLUMNS),
        inmb=inmb_curve(clean, grid, stored.comparator) if uncertain and compared and not quick else empty,
        ceac=_beside(ceac(clean, grid), ceac(raw, grid), "Proportion") if uncertain else empty,
        ceaf=_beside(ceaf(clean, grid), ceaf(raw, grid), "Proportion") if uncertain else empty,
        loss=_beside(expected_loss(clean, grid), expected_loss(raw, grid), "Expected_Loss") if uncertain else empty,
        evpi=_beside(evpi(clean, grid, population), evpi(raw, grid), "EVPI") if uncertain else empty,
        plane=plane.draws if plane else empty,
        ellipse=plane.ellipse if plane else empty,
        quadrants=plane.quadrants if plane else empty,
        noise=noise,
        convergence=_convergence(stored, raw) if uncertain and compared and wtp and not quick else empty,
        thresholds=prices,
        price_curves=curves,
    )


def _nothing_priced(stored: StoredPsa) -> Decision:
    """Health outcomes only: every strategy uses a drug without a price."""
    tables = dict.fromkeys(Decision.names(), pd.DataFrame())
    columns = ["Strategy", "Cost", "Effect", "Inc_Cost", "Inc_Effect", "ICER"]
    empty = pd.DataFrame(columns=["Strategy", "Cost", "Effect"])
    tables |= {"icer": _icers(stored, pd.DataFrame(columns=columns)), "nmb": pd.DataFrame(columns=NMB_COLUMNS)}
    return Decision(**(tables | {"frontier": empty, "noise": noise_table(stored)}))


def without_noise(stored: StoredPsa, strategies: Sequence[str] | None = None) -> Psa:
    """Costs and QALYs of the priced strategies with the patients' noise taken out of the increments.

    Each strategy's increments over the comparator are moved by A = B^(1/2) T^(-1/2) towards their mean, T their
    covariance over the draws and B = T - W that between draws, W the mean Monte-Carlo covariance; negative variances of
    B count as 0. The means stay, and the covariance of cost and QALY increments becomes B. The comparator's own draws
    stay as simulated. Where the comparator has no price, or there is one draw, nothing is changed.
    """
    psa = stored.psa(strategies)
    if stored.draws < FEWEST_DRAWS or stored.comparator not in psa.strategies:
        return psa
    cost, qaly = psa.costs.copy(), psa.effects.copy()
    base_cost, base_qaly = psa.costs[stored.comparator], psa.effects[stored.comparator]
    for name in psa.strategies:
        if name == stored.comparator:
            continue
        s = stored.strategies.index(name)
        increments = np.column_stack([psa.costs[name] - base_cost, psa.effects[name] - base_qaly])
        total = np.cov(increments, rowvar=False)
        variance_cost, variance_qaly, covariance = stored.noise[:, s].mean(axis=0)
        noise = np.array([[variance_cost, covariance], [covariance, variance_qaly]])
        centre = increments.mean(axis=0)
        moved = centre + (increments - centre) @ _shrinking(total, noise).T
        cost[name], qaly[name] = base_cost + moved[:, 0], base_qaly + moved[:, 1]
    return Psa(cost, qaly)


def _shrinking(total: Floats, noise: Floats) -> Floats:
    """The matrix that turns increments of covariance `total` into increments of covariance total - noise."""
    # Cost and QALYs differ by many orders of magnitude: work in standard deviations.
    sd = np.sqrt(np.diag(total))
    if not (sd > 0.0).any():
        return np.eye(2)
    scale = np.where(sd > 0.0, sd, 1.0)
    t = total / np.outer(scale, scale)
    between = _positive(t - noise / np.outer(scale, scale))
    values, vectors = np.linalg.eigh(t)
    inverse_root = (vectors * np.where(values > 1e-12, 1.0 / np.sqrt(np.maximum(values, 1e-12)), 0.0)) @ vectors.T
    values, vectors = np.linalg.eigh(between)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return np.asarray((root @ inverse_root) * scale[:, None] / scale[None, :])


def _positive(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2.0)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)


def noise_table(stored: StoredPsa) -> pd.DataFrame:
    """How much of the variance over draws is patients' luck: WTP, Strategy, Outcome and `variance_split`'s columns.

    Outcomes are the increments of cost and QALYs over the comparator and the INMB at each WTP. Empty for one draw.
    """
    if stored.draws < FEWEST_DRAWS:
        return pd.DataFrame()
    base = stored.strategies.index(stored.comparator)
    unpriced = stored.unpriced
    frames = []
    for s, strategy in enumerate(stored.strategies):
        if s == base:
            continue
        cost, qaly = stored.cost[:, s] - stored.cost[:, base], stored.qaly[:, s] - stored.qaly[:, base]
        noise = stored.noise[:, s]
        rows = {"qaly": (qaly, noise[:, 1])}
        if strategy not in unpriced and stored.comparator not in unpriced:
            rows["cost"] = (cost, noise[:, 0])
            for amount in stored.wtp:
                variance = noise[:, 0] + amount**2 * noise[:, 1] - 2.0 * amount * noise[:, 2]
                rows[f"inmb_{amount:g}"] = (amount * qaly - cost, np.maximum(variance, 0.0))
        table = variance_split(
            pd.DataFrame({name: pair[0] for name, pair in rows.items()}),
            pd.DataFrame({name: pair[1] for name, pair in rows.items()}),
        )
        table.insert(0, "Strategy", strategy)
        frames.append(table)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _icers(stored: StoredPsa, means: pd.DataFrame) -> pd.DataFrame:
    columns = ["Strategy", "Cost", "Effect", "Inc_Cost", "Inc_Effect", "ICER", "Status", "Note"]
    table = pd.DataFrame(columns=columns)
    if len(means):
        table = icer_table(means["Strategy"].tolist(), means["Cost"].tolist(), means["Effect"].tolist())
    rows = [
        {
            "Strategy": name,
            "Effect": float(stored.table("qaly")[name].mean()),
            "Status": UNPRICED,
            "Note": f"no price: {', '.join(drugs)}",
        }
        for name, drugs in stored.unpriced.items()
    ]
    if not rows:
        return table
    left_out = pd.DataFrame(rows, columns=columns)
    return left_out if table.empty else pd.concat([table, left_out], ignore_index=True)


def _benefit(stored: StoredPsa, raw: Psa, clean: Psa, wtp: float) -> pd.DataFrame:
    """NMB of each strategy and INMB against the comparator at one WTP."""
    benefit = nmb(raw, wtp).mean()
    against = stored.comparator if stored.comparator in raw.strategies else None
    spread = inmb(clean, wtp, against) if against and len(raw.strategies) > 1 else pd.DataFrame()
    simulated = inmb(raw, wtp, against) if against and len(raw.strategies) > 1 else pd.DataFrame()
    rows = []
    for rank, name in enumerate(benefit.sort_values(ascending=False, kind="stable").index, start=1):
        row = {
            "WTP": wtp,
            "Strategy": name,
            "Cost": float(raw.costs[name].mean()),
            "Effect": float(raw.effects[name].mean()),
            "NMB": float(benefit[name]),
        }
        if name in spread:
            draws = spread[name].to_numpy()
            one = len(draws) < FEWEST_DRAWS
            s = stored.strategies.index(name)
            cost, qaly, both = stored.noise[0, s]
            own = float(np.sqrt(max(cost + wtp**2 * qaly - 2.0 * wtp * both, 0.0)))
            error = own if one else float(simulated[name].std(ddof=1) / np.sqrt(len(draws)))
            mean = float(draws.mean())
            low, high = (mean, mean) if one else (float(q) for q in np.quantile(draws, [0.025, 0.975]))
            row |= {"INMB": mean, "mcse": error, "lower": low, "upper": high}
            row |= {"P_Positive": np.nan if one else float((draws > 0.0).mean())}
        rows.append(row | {"Rank": rank})
    return pd.DataFrame(rows, columns=NMB_COLUMNS)


def _beside(clean: pd.DataFrame, raw: pd.DataFrame, column: str) -> pd.DataFrame:
    """The clean table with the raw column after its own."""
    table = clean.copy()
    table.insert(list(table.columns).index(column) + 1, f"{column}_Raw", raw[column].to_numpy())
    return table


def _convergence(stored: StoredPsa, raw: Psa) -> pd.DataFrame:
    """Running mean of each INMB, with the patients' noise in it: that is what has to settle."""
    table = running_means(inmb(raw, stored.wtp[0], stored.comparator))
    table.insert(0, "WTP", stored.wtp[0])
    return table.rename(columns={"Outcome": "Strategy"})


# ---------------------------------------------------------------------------------------------------------------------
# Prices at which strategies become optimal


def price_thresholds(stored: StoredPsa, *, curves: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    """At which price of a drug each strategy becomes optimal.

    One row per WTP, strategy, drug and rival (`all`: every priced strategy; else the comparator alone): the columns of
    `simhcc.economics.threshold_price` and Drug, Against, Note. Only drugs that the strategy uses otherwise than the
    comparator does. For a strategy with several drugs without a price, the threshold is that of all of them together,
    as money per patient (Drug `a + b`, Price in currency per patient, discounted).
    """
    if not stored.wtp or not stored.priced:
        return pd.DataFrame(), pd.DataFrame()
    clean = without_noise(stored, None)
    unpriced = stored.unpriced
    rows, drawn = [], []
    base = stored.comparator
    for strategy in stored.strategies:
        # A rival with a drug without a price has no cost to compare with.
        rivals = [name for name in stored.priced if name != strategy]
        if not rivals:
            continue
        chosen = [name for name in stored.strategies if name in (*rivals, strategy)]
        psa = clean if strategy not in unpriced else without_noise(stored, chosen)
        for drug, units, price, note in _levers(stored, strategy, psa.strategies):
            for against in ("all", base):
                if against == base and (base == strategy or base not in psa.strategies):
                    continue
                names = psa.strategies if against == "all" else [base, strategy]
                part, used = psa.select(names), units[list(names)]
                if np.ptp(used.to_numpy(), axis=1).max() == 0.0:
                    continue
                found = threshold_price(part, used, strategy, list(stored.wtp), price=price)
                table = found.summary
                table.insert(2, "Drug", drug)
                table.insert(3, "Against", against)
                rows.append(table.assign(Note=note))
                if curves and stored.draws >= FEWEST_DRAWS and against == "all":
                    drawn.append(found.curve.assign(Strategy=strategy, Drug=drug))
    empty = pd.DataFrame()
    return (
        pd.concat(rows, ignore_index=True) if rows else empty,
        pd.concat(drawn, ignore_index=True) if drawn else empty,
    )


def _levers(stored: StoredPsa, strategy: str, names: Sequence[str]) -> list[tuple[str, pd.DataFrame, float, str]]:
    """(drug, priced units by strategy, present price, note) of each drug whose price can make the strategy optimal."""
    missing = stored.unpriced.get(strategy, ())
    found = []
    if len(missing) == 1:
        found.append((missing[0], stored.drug_units(missing[0])[list(names)], 0.0, "no price known; 0 stands for it"))
    elif missing:
        # One threshold for all of them: money for the strategy's own use of them, spent in one stroke.
        together = pd.DataFrame(0.0, index=stored.table("cost").index, columns=list(names))
        together[strategy] = 1.0
        found.append(
            (" + ".join(missing), together, 0.0, "no price known; the threshold is money per patient for all of them")
        )
    else:
        own = stored.table("cost").columns.get_loc(strategy)
        base = stored.strategies.index(stored.comparator)
        for drug in stored.drugs:
            if drug in stored.without_price:
                continue
            units = stored.units[:, :, stored.items.index(f"{DRUG}.{drug}")]
            other = units[:, [i for i in range(units.shape[1]) if i != own]]
            # A lever is a drug that this strategy uses more than the comparator, or than somebody, by more than noise.
            if units[:, own].mean() > 1.05 * (units[:, base] if base != own else other.min(axis=1)).mean() + 1e-9:
                found.append((drug, stored.drug_units(drug)[list(names)], stored.price(drug), ""))
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Subgroups


def stratified(
    parts: Mapping[str, StoredPsa], shares: Mapping[str, float], wtp: Sequence[float]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Value of choosing by subgroup: a row per WTP, and the NMB of each strategy in each subgroup.

    `parts` must divide the population (`shares` sum to 1). Columns of the first table: WTP, Best_For_All, Value, MCSE,
    Value_Perfect (with perfect information inside subgroups); the second is that of `subgroup_value` with WTP.
    """
    names = [name for name in next(iter(parts.values())).strategies if all(name in p.priced for p in parts.values())]
    if len(names) < 2:
        return pd.DataFrame(), pd.DataFrame()
    cleaned = {group: without_noise(part, names) for group, part in parts.items()}
    rows, tables = [], []
    for amount in wtp:
        found: SubgroupValue = subgroup_value(cleaned, shares, amount)
        rows.append(
            {
                "WTP": amount,
                "Best_For_All": found.best_for_all,
                "Value": found.value,
                "MCSE": found.mcse,
                "Value_Perfect": found.value_perfect,
            }
        )
        table = found.table.copy()
        table.insert(0, "WTP", amount)
        tables.append(table)
    return pd.DataFrame(rows), pd.concat(tables, ignore_index=True)


def partition(members: Mapping[str, NDArray[np.bool_]]) -> tuple[str, ...]:
    """Subgroups, in their order, that hold every patient exactly once; empty where no choice of them does.

    `members` says for each subgroup who of the baseline patients is in it.
    """
    names = list(members)

    def search(position: int, chosen: tuple[str, ...], covered: NDArray[np.bool_]) -> tuple[str, ...]:
        if covered.all():
            return chosen
        for k in range(position, len(names)):
            mine = members[names[k]]
            if mine.any() and not (mine & covered).any():
                found = search(k + 1, (*chosen, names[k]), covered | mine)
                if found:
                    return found
        return ()

    if not names:
        return ()
    return search(0, (), np.zeros(len(next(iter(members.values()))), dtype=bool))
