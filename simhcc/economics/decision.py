"""Which strategy is worth its cost: frontier, ICERs, net benefit, acceptability, expected loss, threshold prices.

Sources: Drummond et al., Methods for the Economic Evaluation of Health Care Programmes (2015), for dominance;
Stinnett and Mullahy, Med Decis Making 1998;18:S68, for net benefit; Fenwick, Claxton and Sculpher, Health Econ
2001;10:779, for acceptability curves and their frontier; Alarid-Escudero et al., Value Health 2019;22:611, for
expected loss curves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from simhcc.economics.tables import (
    Floats,
    Psa,
    numeric_table,
    require_number,
    require_same,
    require_strategy,
    standard_error,
    summary_row,
    wtp_grid,
)
from simhcc.errors import InputError

# Three strategies on one straight line are all on the frontier; this much relative rounding still counts as straight.
_STRAIGHT = 1e-9


# ---------------------------------------------------------------------------------------------- expected outcomes


def icer_table(strategies: Sequence[str], costs: Sequence[float], effects: Sequence[float]) -> pd.DataFrame:
    """Incremental cost-effectiveness ratios between neighbours on the efficiency frontier.

    Three equally long lists: strategy ids, expected costs and expected effects per person. Returns one row per
    strategy: Strategy, Cost, Effect, Inc_Cost, Inc_Effect, ICER (currency per unit of effect), Status and Note. The
    frontier comes first, in order of cost, then ED, then D.

    Status is ND (on the frontier), D (another strategy costs no more and does no worse, and is better in one of the
    two) or ED (extended dominance: a mix of two others costs no more and does better). Strategies equal in cost and
    effect share the status and increments of the first of them, and Note says so. Only frontier rows have an ICER,
    and it is positive; the cheapest frontier strategy has none.
    """
    names, cost, effect = _expected(strategies, costs, effects)
    twin = _first_twin(cost, effect)
    status, note = _status(names, cost, effect, twin)
    frontier = sorted((i for i in range(len(names)) if status[i] == "ND" and twin[i] == i), key=lambda i: cost[i])
    increments = {frontier[0]: (np.nan, np.nan, np.nan)}
    for before, after in pairwise(frontier):
        inc_cost, inc_effect = cost[after] - cost[before], effect[after] - effect[before]
        increments[after] = (inc_cost, inc_effect, inc_cost / inc_effect)
    rows = []
    for i in sorted(range(len(names)), key=lambda i: (("ND", "ED", "D").index(status[i]), cost[i], effect[i], i)):
        inc_cost, inc_effect, icer = increments.get(int(twin[i]), (np.nan, np.nan, np.nan))
        rows.append((names[i], cost[i], effect[i], inc_cost, inc_effect, icer, status[i], note[i]))
    columns = ["Strategy", "Cost", "Effect", "Inc_Cost", "Inc_Effect", "ICER", "Status", "Note"]
    return pd.DataFrame(rows, columns=columns)


def efficiency_frontier(strategies: Sequence[str], costs: Sequence[float], effects: Sequence[float]) -> pd.DataFrame:
    """The frontier in order of cost: Strategy, Cost, Effect, WTP_From, WTP_To.

    A strategy has the highest NMB for a willingness to pay between WTP_From and WTP_To, its own and the next ICER.
    """
    table = icer_table(strategies, costs, effects)
    table = table[table["Status"] == "ND"].drop_duplicates(["Cost", "Effect"]).reset_index(drop=True)
    start = table["ICER"].to_numpy(dtype=np.float64).copy()
    start[0] = 0.0
    return table[["Strategy", "Cost", "Effect"]].assign(WTP_From=start, WTP_To=np.append(start[1:], np.inf))


def pairwise_icers(
    strategies: Sequence[str], costs: Sequence[float], effects: Sequence[float], comparator: str
) -> pd.DataFrame:
    """Each strategy against one named comparator: Strategy, Comparator, Inc_Cost, Inc_Effect, ICER, Quadrant, Reading.

    The ICER stands only where it means something: NE (costs more, does more; reject above the threshold) and SW
    (costs less, does less; the ratio is money saved per unit lost, reject *below* the threshold). In SE and NW, on an
    axis or at the origin there is no ICER; Reading says what holds instead.
    """
    names, cost, effect = _expected(strategies, costs, effects)
    require_strategy(comparator, names, "comparator")
    at = names.index(comparator)
    rows = []
    for i, name in enumerate(names):
        if i == at:
            continue
        inc_cost, inc_effect = float(cost[i] - cost[at]), float(effect[i] - effect[at])
        quadrant = _quadrant(inc_cost, inc_effect)
        icer = inc_cost / inc_effect if quadrant in ("NE", "SW") else np.nan
        rows.append((name, comparator, inc_cost, inc_effect, icer, quadrant, _READING[quadrant]))
    columns = ["Strategy", "Comparator", "Inc_Cost", "Inc_Effect", "ICER", "Quadrant", "Reading"]
    return pd.DataFrame(rows, columns=columns)


_READING = {
    "NE": "costs more, does more",
    "SW": "costs less, does less: ICER is the saving per unit lost",
    "SE": "dominates the comparator",
    "NW": "dominated by the comparator",
    "N": "costs more, does the same: dominated",
    "S": "costs less, does the same: dominates",
    "E": "costs the same, does more: dominates",
    "W": "costs the same, does less: dominated",
    "origin": "same cost and effect",
}


def _quadrant(inc_cost: float, inc_effect: float) -> str:
    north_south = "N" if inc_cost > 0.0 else "S" if inc_cost < 0.0 else ""
    east_west = "E" if inc_effect > 0.0 else "W" if inc_effect < 0.0 else ""
    return north_south + east_west or "origin"


def _expected(
    strategies: Sequence[str], costs: Sequence[float], effects: Sequence[float]
) -> tuple[list[str], Floats, Floats]:
    names = list(strategies)
    if not len(names) == len(costs) == len(effects):
        raise InputError(
            f"{len(names)} strategies, {len(costs)} costs and {len(effects)} effects",
            "three lists of the same length",
            key="strategies, costs, effects",
        )
    table = pd.DataFrame({"Cost": list(costs), "Effect": list(effects)}, index=pd.Index(names))
    table = numeric_table(table, "strategies, costs, effects")
    return names, table["Cost"].to_numpy(), table["Effect"].to_numpy()


def _first_twin(cost: Floats, effect: Floats) -> Floats:
    """For each strategy, the position of the first one with exactly its cost and effect (itself, as a rule)."""
    same = (cost[:, None] == cost[None, :]) & (effect[:, None] == effect[None, :])
    return same.argmax(axis=1)


def _status(names: list[str], cost: Floats, effect: Floats, twin: Floats) -> tuple[list[str], list[str]]:
    """Status and note of each strategy: strong dominance pairwise, then the lower convex hull of what is left."""
    n = len(names)
    status, note = [""] * n, [""] * n
    for i in range(n):
        better = (cost <= cost[i]) & (effect >= effect[i]) & ((cost < cost[i]) | (effect > effect[i]))
        if better.any():
            by = min(np.flatnonzero(better), key=lambda j: (cost[j], -effect[j]))
            status[i], note[i] = "D", f"dominated by {names[by]}"
    hull: list[int] = []
    for i in sorted((i for i in range(n) if not status[i] and twin[i] == i), key=lambda i: cost[i]):
        while len(hull) >= 2 and _above_line(cost, effect, hull[-2], hull[-1], i):
            status[hull.pop()] = "ED"
        hull.append(i)
    for i in hull:
        status[i] = "ND"
    for i in range(n):
        if status[i] == "ED":
            left = max((j for j in hull if cost[j] < cost[i]), key=lambda j: cost[j])
            right = min((j for j in hull if cost[j] > cost[i]), key=lambda j: cost[j])
            note[i] = f"extended dominance by a mix of {names[left]} and {names[right]}"
        if twin[i] != i:
            same = f"same cost and effect as {names[twin[i]]}"
            status[i] = status[twin[i]]
            note[i] = f"{same}; {note[twin[i]]}" if note[twin[i]] else same
    return status, note


def _above_line(cost: Floats, effect: Floats, left: int, middle: int, right: int) -> bool:
    """Whether `middle` lies above the line from `left` to `right`, so that its ICER exceeds the next one."""
    ours = (cost[middle] - cost[left]) * (effect[right] - effect[middle])
    theirs = (cost[right] - cost[middle]) * (effect[middle] - effect[left])
    return bool(ours - theirs > _STRAIGHT * max(abs(ours), abs(theirs)))


# ------------------------------------------------------------------------------------------------- net benefit


def nmb(psa: Psa, wtp: float) -> pd.DataFrame:
    """Net monetary benefit wtp x effect - cost, draws x strategies, in currency per person."""
    (value,) = wtp_grid(wtp)
    return value * psa.effects - psa.costs


def nhb(psa: Psa, wtp: float) -> pd.DataFrame:
    """Net health benefit effect - cost / wtp, draws x strategies, in units of effect per person; wtp above 0."""
    (value,) = wtp_grid(wtp, positive=True)
    return psa.effects - psa.costs / value


def inmb(psa: Psa, wtp: float, comparator: str) -> pd.DataFrame:
    """NMB minus the comparator's in the same draw: draws x the other strategies, in currency per person."""
    require_strategy(comparator, psa.strategies, "comparator")
    benefit = nmb(psa, wtp)
    others = [name for name in psa.strategies if name != comparator]
    if not others:
        raise InputError("one strategy", "the comparator and at least one other", key="strategies")
    return benefit[others].sub(benefit[comparator], axis=0)


def inmb_curve(psa: Psa, wtp: float | Sequence[float], comparator: str) -> pd.DataFrame:
    """Expected INMB against a named comparator over willingness to pay.

    Columns: WTP, Strategy, Comparator, mean, mcse, lower, upper (central 95 % of the draws), P_Positive (share of
    draws in which INMB is above 0).
    """
    rows = []
    for value in wtp_grid(wtp):
        increments = inmb(psa, value, comparator)
        for name in increments.columns:
            draws = increments[name].to_numpy()
            rows.append(
                {"WTP": value, "Strategy": name, "Comparator": comparator}
                | dict(summary_row(draws))
                | {"P_Positive": float((draws > 0.0).mean())}
            )
    return pd.DataFrame(rows)


@dataclass(frozen=True, eq=False)
class CePlane:
    """The cost-effectiveness plane against one comparator (at the origin).

    `draws`: Strategy, iteration, Inc_Effect, Inc_Cost. `quadrants`: Strategy and the share of draws in NE, SE, SW, NW
    and exactly on an axis (Axis); a row sums to 1. `ellipse`: Strategy, Inc_Effect, Inc_Cost, the outline that holds
    `level` of a normal distribution with the draws' means and covariance. `summary`: per strategy the means, their
    standard errors, the standard deviations and the correlation.
    """

    comparator: str
    level: float
    draws: pd.DataFrame
    quadrants: pd.DataFrame
    ellipse: pd.DataFrame
    summary: pd.DataFrame


def ce_plane(psa: Psa, comparator: str, *, level: float = 0.95, points: int = 100) -> CePlane:
    """Paired increments of each draw against a comparator, with quadrant shares and a confidence ellipse.

    `level` is the coverage of the ellipse (chi-squared, 2 degrees of freedom), `points` the number of corners of its
    outline. Two draws at least.
    """
    require_strategy(comparator, psa.strategies, "comparator")
    if not 0.0 < level < 1.0:
        raise InputError(f"{level}", "a share between 0 and 1", key="level")
    if points < 3:
        raise InputError(f"{points}", "3 or more", key="points")
    if psa.n_draws < 2:
        raise InputError("one draw", "two draws or more", key="psa")
    draws, quadrants, ellipses, summary = [], [], [], []
    turn = np.linspace(0.0, 2.0 * np.pi, points)
    # The quantile of the chi-squared distribution with two degrees of freedom.
    circle = np.sqrt(-2.0 * np.log1p(-level)) * np.column_stack([np.cos(turn), np.sin(turn)])
    for name in psa.strategies:
        if name == comparator:
            continue
        effect = (psa.effects[name] - psa.effects[comparator]).to_numpy()
        cost = (psa.costs[name] - psa.costs[comparator]).to_numpy()
        draws.append(
            pd.DataFrame({"Strategy": name, "iteration": psa.costs.index, "Inc_Effect": effect, "Inc_Cost": cost})
        )
        shares = {
            "NE": ((effect > 0) & (cost > 0)).mean(),
            "SE": ((effect > 0) & (cost < 0)).mean(),
            "SW": ((effect < 0) & (cost < 0)).mean(),
            "NW": ((effect < 0) & (cost > 0)).mean(),
            "Axis": ((effect == 0) | (cost == 0)).mean(),
        }
        quadrants.append({"Strategy": name} | shares)
        covariance = np.cov(effect, cost)
        # Eigenvectors rather than Cholesky: increments may lie on a line (an effect known for certain).
        length, axes = np.linalg.eigh(covariance)
        outline = circle * np.sqrt(np.maximum(length, 0.0)) @ axes.T + [effect.mean(), cost.mean()]
        ellipses.append(pd.DataFrame({"Strategy": name, "Inc_Effect": outline[:, 0], "Inc_Cost": outline[:, 1]}))
        sd_effect, sd_cost = np.sqrt(np.diag(covariance))
        both_vary = sd_effect > 0.0 and sd_cost > 0.0
        summary.append(
            {
                "Strategy": name,
                "Inc_Effect": effect.mean(),
                "Inc_Effect_MCSE": sd_effect / np.sqrt(len(effect)),
                "Inc_Cost": cost.mean(),
                "Inc_Cost_MCSE": sd_cost / np.sqrt(len(cost)),
                "SD_Effect": sd_effect,
                "SD_Cost": sd_cost,
                "Correlation": covariance[0, 1] / (sd_effect * sd_cost) if both_vary else np.nan,
            }
        )
    if not draws:
        raise InputError("one strategy", "the comparator and at least one other", key="strategies")
    return CePlane(
        comparator,
        level,
        pd.concat(draws, ignore_index=True),
        pd.DataFrame(quadrants),
        pd.concat(ellipses, ignore_index=True),
        pd.DataFrame(summary),
    )


# ------------------------------------------------------------------------------------- decision under uncertainty


def ceac(psa: Psa, wtp: float | Sequence[float]) -> pd.DataFrame:
    """Cost-effectiveness acceptability curves: WTP, Strategy, Proportion, MCSE, On_Frontier.

    Proportion is the share of draws in which the strategy has the highest NMB; draws with several best strategies are
    shared equally among them, so the proportions at one WTP sum to 1. MCSE is the binomial standard error over draws.
    On_Frontier marks the strategy with the highest expected NMB (the first of them when equal).
    """
    rows = []
    for value, benefit, best in _benefits(psa, wtp):
        winners = benefit == benefit.max(axis=1, keepdims=True)
        share = (winners / winners.sum(axis=1, keepdims=True)).mean(axis=0)
        mcse = np.sqrt(share * (1.0 - share) / psa.n_draws)
        rows.append(_per_strategy(psa, value, best, Proportion=share, MCSE=mcse))
    return pd.concat(rows, ignore_index=True)


def ceaf(psa: Psa, wtp: float | Sequence[float]) -> pd.DataFrame:
    """Cost-effectiveness acceptability frontier: WTP, Strategy, Proportion, MCSE, NMB.

    At each WTP the strategy with the highest *expected* NMB, which need not be the one most likely to be best, and
    the probability that it is best (Barton, Briggs and Fenwick, Value Health 2008;11:886). NMB is its expected NMB.
    """
    curve = ceac(psa, wtp)
    front = curve[curve["On_Frontier"]].drop(columns="On_Frontier").reset_index(drop=True)
    expected = [benefit.mean(axis=0)[best] for _, benefit, best in _benefits(psa, wtp)]
    return front.assign(NMB=expected)


def expected_loss(psa: Psa, wtp: float | Sequence[float]) -> pd.DataFrame:
    """Expected opportunity loss: WTP, Strategy, Expected_Loss, MCSE, On_Frontier.

    The mean over draws of the best NMB in that draw minus the strategy's own, in currency per person. The lowest loss
    at a WTP is the EVPI.
    """
    rows = []
    for value, benefit, best in _benefits(psa, wtp):
        loss = benefit.max(axis=1, keepdims=True) - benefit
        rows.append(_per_strategy(psa, value, best, Expected_Loss=loss.mean(axis=0), MCSE=standard_error(loss)))
    return pd.concat(rows, ignore_index=True)


def _benefits(psa: Psa, wtp: float | Sequence[float]) -> list[tuple[float, Floats, int]]:
    """For each WTP: the value, NMB as an array, and the position of the highest expected NMB."""
    results = []
    for value in wtp_grid(wtp):
        benefit = nmb(psa, value).to_numpy()
        results.append((float(value), benefit, int(benefit.mean(axis=0).argmax())))
    return results


def _per_strategy(psa: Psa, wtp: float, best: int, **columns: Floats) -> pd.DataFrame:
    table = pd.DataFrame({"WTP": wtp, "Strategy": psa.strategies} | columns)
    return table.assign(On_Frontier=np.arange(len(psa.strategies)) == best)


# ---------------------------------------------------------------------------------------------- threshold price


@dataclass(frozen=True, eq=False)
class ThresholdPrice:
    """Prices at which a strategy is optimal.

    `summary`: one row per WTP (see `threshold_price`). `curve`: WTP, Price, P_Optimal (share of draws in which the
    strategy has the highest NMB at that price), MCSE, Optimal (whether it has the highest expected NMB).
    """

    strategy: str
    summary: pd.DataFrame
    curve: pd.DataFrame


def threshold_price(
    psa: Psa,
    quantities: pd.DataFrame,
    strategy: str,
    wtp: float | Sequence[float],
    *,
    price: float,
    prices: Sequence[float] | None = None,
    level: float = 0.95,
) -> ThresholdPrice:
    """The highest price of one product at which `strategy` has the highest NMB.

    Cost is linear in the price: `psa.costs` holds the costs at the present `price` (0 for a product without a price,
    its cost left out), and `quantities` (draws x strategies) how many discounted priced units each strategy uses, so
    NMB(p) = NMB(price) - (p - price) x quantity. Strategies may share the product. `prices` is the grid of the curve
    (default: 0 to the upper limit of the band, 51 points).

    Summary columns: WTP, Strategy, Price (present), Threshold (highest price at which the strategy has the highest
    *expected* NMB; infinite when no price is too high; not a number when no price of 0 or more makes it optimal),
    From (lowest such price; above 0 only when others use more of the product), Optimal_Now, lower and upper (central
    `level` of the threshold over the draws that have one), P_Optimal_Now and P_Never (share of draws without any such
    price).
    """
    require_strategy(strategy, psa.strategies, "strategy")
    require_number(price, "price", low=0.0)
    if not 0.0 < level < 1.0:
        raise InputError(f"{level}", "a share between 0 and 1", key="level")
    units = numeric_table(quantities, "quantities")
    require_same(psa.costs.columns, units.columns, "quantities", "strategies", "costs")
    require_same(psa.costs.index, units.index, "quantities", "draws", "costs")
    units = units.loc[psa.costs.index, psa.costs.columns]
    if (units.to_numpy() < 0.0).any():
        raise InputError("a negative quantity", "0 or more units per person", key="quantities")
    if len(psa.strategies) < 2:
        raise InputError("one strategy", "two or more", key="strategies")
    ours = psa.strategies.index(strategy)
    used = units.to_numpy()
    if np.ptp(used, axis=1).max() == 0.0:
        raise InputError(
            "the same quantity in every strategy",
            "a quantity that differs: no price changes the ranking",
            key="quantities",
        )
    rows, curves = [], []
    for value in wtp_grid(wtp):
        benefit = nmb(psa, value).to_numpy()
        low, high = _optimal_prices(benefit, used, ours, price)
        mean_low, mean_high = _optimal_prices(benefit.mean(axis=0)[None], used.mean(axis=0)[None], ours, price)
        reachable = high >= low
        mean_reachable = bool(mean_high[0] >= mean_low[0])
        band = [np.nan, np.nan]
        if reachable.any():
            tail = (1.0 - level) / 2.0
            # "lower" and "higher" return draws, so that an infinite threshold stays infinite.
            band = [
                float(np.quantile(high[reachable], tail, method="lower")),
                float(np.quantile(high[reachable], 1.0 - tail, method="higher")),
            ]
        rows.append(
            {
                "WTP": value,
                "Strategy": strategy,
                "Price": price,
                "Threshold": mean_high[0] if mean_reachable else np.nan,
                "From": mean_low[0] if mean_reachable else np.nan,
                "Optimal_Now": bool(mean_low[0] <= price <= mean_high[0]),
                "lower": band[0],
                "upper": band[1],
                "P_Optimal_Now": float(((low <= price) & (price <= high)).mean()),
                "P_Never": float((~reachable).mean()),
            }
        )
        top = band[1] if np.isfinite(band[1]) else max(price, mean_high[0] if np.isfinite(mean_high[0]) else 0.0)
        grid = np.linspace(0.0, top, 51) if prices is None else np.asarray(prices, dtype=np.float64)
        inside = (low[:, None] <= grid) & (grid <= high[:, None])
        share = inside.mean(axis=0)
        curves.append(
            pd.DataFrame(
                {
                    "WTP": value,
                    "Price": grid,
                    "P_Optimal": share,
                    "MCSE": np.sqrt(share * (1.0 - share) / psa.n_draws),
                    "Optimal": (mean_low[0] <= grid) & (grid <= mean_high[0]),
                }
            )
        )
    return ThresholdPrice(strategy, pd.DataFrame(rows), pd.concat(curves, ignore_index=True))


def _optimal_prices(benefit: Floats, used: Floats, ours: int, price: float) -> tuple[Floats, Floats]:
    """Per row, the lowest (0 or more) and highest price at which strategy `ours` is optimal; low > high means never.

    Against each rival, lead >= (p - price) x (extra units): an upper limit when we use more, a lower one when less.
    """
    lead = np.delete(benefit[:, [ours]] - benefit, ours, axis=1)
    extra = np.delete(used[:, [ours]] - used, ours, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        limit = price + lead / extra
    high = np.where(extra > 0.0, limit, np.inf).min(axis=1)
    low = np.maximum(np.where(extra < 0.0, limit, 0.0).max(axis=1), 0.0)
    beaten = ((extra == 0.0) & (lead < 0.0)).any(axis=1)
    return low, np.where(beaten, -np.inf, high)
