"""Value of information: perfect, partial perfect and sample information, per person and for a population.

Sources: Claxton, J Health Econ 1999;18:341 (EVPI); Strong, Oakley and Brennan, Med Decis Making 2014;34:311 (EVPPI by
regression); Strong, Oakley, Brennan and Breeze, Med Decis Making 2015;35:570 (EVSI by regression); Heath,
Manolopoulou and Baio, Med Decis Making 2019;39:346 (EVSI across sample sizes by moment matching).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from simhcc.economics.decision import expected_loss, nmb
from simhcc.economics.tables import Floats, Population, Psa, inputs_for, require_number, wtp_grid
from simhcc.errors import InputError

_REDRAWS = 100  # posterior draws of the regression behind a standard error (relative error of the error: 7 %)

_ROUNDING = 1e-9  # clipping by less than this share of EVPI is rounding and gets no note
_PARTS = 5  # parts of the draws that take turns in being held out

StudySimulator = Callable[[pd.DataFrame, int, np.random.Generator], "pd.DataFrame | Floats"]


def evpi(psa: Psa, wtp: float | Sequence[float], population: Population | None = None) -> pd.DataFrame:
    """Expected value of perfect information: WTP, EVPI, MCSE, and Population_EVPI when a population is given.

    E[max NMB] - max E[NMB] in currency per person, which is the lowest expected loss. MCSE is the standard error over
    draws. Patient-level noise left in the outcomes raises EVPI: remove it first (`smooth_on_inputs`).
    """
    loss = expected_loss(psa, wtp)
    best = loss[loss["On_Frontier"]]
    table = best[["WTP", "Expected_Loss", "MCSE"]].rename(columns={"Expected_Loss": "EVPI"}).reset_index(drop=True)
    if population is not None:
        table["Population_EVPI"] = table["EVPI"] * population.size()
    return table


def evppi(
    psa: Psa,
    inputs: pd.DataFrame,
    groups: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    *,
    wtp: float | Sequence[float],
    method: str = "spline",
    population: Population | None = None,
    seed: int = 1,
) -> pd.DataFrame:
    """Expected value of partial perfect information of single parameters or groups, by regression.

    `inputs` holds the parameter draws behind the outcomes (draws x parameters, joined by index). `groups` maps a name
    to its parameters; a list of parameters values each alone; None all of `inputs`, each alone. `method` is `spline`
    or `gp` (see `metamodel`): `gp` for groups whose parameters interact in more than pairs. `seed` draws the standard
    errors.

    One row per WTP and group: Group, WTP, EVPPI (currency per person), SE, EVPPI_Raw, Clipped (EVPPI - EVPPI_Raw),
    Note, Rule_Value, R2, Terms, and Population_EVPPI when a population is given.

    SE joins the uncertainty of the regression (posterior draws of its coefficients) and of the mean over draws. An
    estimate is clipped to be no higher than EVPI, and no lower than the estimate of any other group of this
    call all of whose parameters it contains, since more information cannot be worth less; Clipped and Note report it.
    Note also names constant parameters (worth nothing) and says when the regression was simplified for want of draws.
    EVPPI is biased upward by overfitting, Rule_Value downward by the errors of its rule: the mean gain, in draws not
    used in the fit (5 parts), from choosing by the fitted means; far apart, they ask for more draws. R2 is the
    largest share of an increment's variance explained, Terms the degrees of freedom used.

    Raises InputError for unknown or repeated parameters, empty groups, and other draws than the outcomes'.
    """
    table = inputs_for(psa, inputs)
    named = _named_groups(groups, list(table.columns))
    rows = []
    for value in wtp_grid(wtp):
        increments, ceiling = _increments(psa, value), float(evpi(psa, value)["EVPI"].iloc[0])
        done: dict[str, float] = {}
        found: dict[str, dict[str, object]] = {}
        for name in sorted(named, key=lambda name: len(named[name])):
            members = set(named[name])
            row, simpler = _partial(table[named[name]], increments, method, seed)
            floor, why = 0.0, ""
            for other, amount in done.items():
                if set(named[other]) <= members and amount > floor:
                    floor, why = amount, f"raised to its subgroup {other}"
            raw = float(row["EVPPI_Raw"])
            done[name] = min(max(raw, floor), ceiling)
            if abs(done[name] - raw) <= _ROUNDING * ceiling:
                why = ""
            elif raw > ceiling:
                why = "lowered to EVPI"
            constant = [p for p in named[name] if np.ptp(table[p].to_numpy()) == 0.0]
            notes = [why, f"constant: {', '.join(constant)}" if constant else "", simpler]
            found[name] = (
                {"Group": name, "WTP": value, "EVPPI": done[name]}
                | row
                | {"Clipped": done[name] - raw, "Note": "; ".join(filter(None, notes))}
            )
        rows += [found[name] for name in named]
    columns = ["Group", "WTP", "EVPPI", "SE", "EVPPI_Raw", "Clipped", "Note", "Rule_Value", "R2", "Terms"]
    result = pd.DataFrame(rows)[columns]
    if population is not None:
        result["Population_EVPPI"] = result["EVPPI"] * population.size()
    return result


def simulate_summaries(
    simulate: StudySimulator, inputs: pd.DataFrame, sizes: Sequence[int], seed: int = 1
) -> dict[int, pd.DataFrame]:
    """What a planned study would report, once for each draw of the parameters and each study size.

    `simulate(inputs, n, rng)` returns the study's summary statistics, draws x statistics, for all rows of `inputs` at
    once. Each size has its own random numbers from `seed`, so adding a size leaves the others as they were.
    """
    result = {}
    for n in _sizes(sizes):
        reported = simulate(inputs, n, np.random.default_rng([seed, n]))
        result[n] = _summary_table(reported, inputs.index, f"simulate(inputs, {n}, rng)")
    return result


def evsi(
    psa: Psa,
    summaries: Mapping[int, pd.DataFrame | Floats],
    *,
    wtp: float | Sequence[float],
    method: str = "spline",
    population: Population | None = None,
    seed: int = 1,
) -> pd.DataFrame:
    """Expected value of sample information by regression on simulated study results, for each study size.

    `summaries` maps a study size n to the statistics such a study would report, one row per draw, simulated from that
    draw's parameters (`simulate_summaries`, or the caller's own). Net benefit is regressed on them as in `evppi`.

    One row per WTP and n: WTP, n, EVSI (currency per person), SE, EVSI_Raw, Clipped, Note, Rule_Value, R2, Terms, and
    Population_EVSI. Estimates are clipped to be no higher than EVPI. They are not forced to rise with n: studies of
    different sizes may report different things.
    """
    tables = {n: _summary_table(summaries[n], psa.costs.index, f"summaries[{n}]") for n in _sizes(list(summaries))}
    rows = []
    for value in wtp_grid(wtp):
        increments, ceiling = _increments(psa, value), float(evpi(psa, value)["EVPI"].iloc[0])
        for n, table in tables.items():
            row, simpler = _partial(table, increments, method, seed)
            raw = float(row.pop("EVPPI_Raw"))
            kept = min(raw, ceiling)
            note = "lowered to EVPI" if raw - kept > _ROUNDING * ceiling else ""
            rows.append(
                {
                    "WTP": value,
                    "n": n,
                    "EVSI": kept,
                    "EVSI_Raw": raw,
                    "Clipped": kept - raw,
                    "Note": "; ".join(filter(None, [note, simpler])),
                }
                | row
            )
    columns = ["WTP", "n", "EVSI", "SE", "EVSI_Raw", "Clipped", "Note", "Rule_Value", "R2", "Terms"]
    result = pd.DataFrame(rows)[columns]
    if population is not None:
        result["Population_EVSI"] = result["EVSI"] * population.size()
    return result


def evsi_moment_matching(
    psa: Psa,
    inputs: pd.DataFrame,
    parameters: Sequence[str],
    summaries: Mapping[int, pd.DataFrame | Floats],
    sizes: Sequence[int],
    *,
    wtp: float | Sequence[float],
    method: str = "spline",
) -> pd.DataFrame:
    """EVSI for any study size from simulations of a few, by matching the variance that the study would explain.

    `parameters` are those the study informs; `summaries` its simulated results at some sizes, as in `evsi`. The
    fitted conditional means given `parameters` are drawn towards their mean until their variance equals that
    explained by a study of size n. The explained share is n / (n + h); h is fitted to the simulated sizes for each
    increment (Heath and others 2019). Smooth and rising in n by construction, and never above the EVPPI of
    `parameters`.

    One row per WTP and n: WTP, n, EVSI (currency per person), Explained (smallest share over the increments).
    """
    from simhcc.economics import metamodel

    table = inputs_for(psa, inputs)
    chosen = next(iter(_named_groups({"parameters": list(parameters)}, list(table.columns)).values()))
    tables = {n: _summary_table(summaries[n], psa.costs.index, f"summaries[{n}]") for n in _sizes(list(summaries))}
    rows = []
    for value in wtp_grid(wtp):
        increments = _increments(psa, value)
        known = metamodel.fit(table[chosen], increments, method).values
        full = known.var(axis=0)
        shares = {n: metamodel.fit(seen, increments, method).values.var(axis=0) for n, seen in tables.items()}
        halves = [
            _half_size({n: share[j] / full[j] for n, share in shares.items()}) if full[j] > 0.0 else 1.0
            for j in range(increments.shape[1])
        ]
        for n in _sizes(sizes):
            explained = np.array([n / (n + half) for half in halves])
            drawn = known.mean(axis=0) + np.sqrt(explained) * (known - known.mean(axis=0))
            smallest = float(explained.min()) if len(explained) else np.nan
            rows.append({"WTP": value, "n": n, "EVSI": _gain(drawn), "Explained": smallest})
    return pd.DataFrame(rows)


def enbs(
    evsi_table: pd.DataFrame,
    population: Population,
    *,
    fixed_cost: float,
    cost_per_participant: float,
    delay_years: float = 0.0,
) -> pd.DataFrame:
    """Expected net benefit of sampling over study sizes: WTP, n, EVSI, Population_EVSI, Study_Cost, ENBS, Best.

    `evsi_table` has WTP, n and EVSI (from `evsi` or `evsi_moment_matching`). The study costs `fixed_cost` + n x
    `cost_per_participant` (currency, today) and reports after `delay_years`; patients who come later, up to the end
    of the population's years, benefit. Best marks the size with the highest ENBS at each WTP, if that is above 0.
    """
    for column in ("WTP", "n", "EVSI"):
        if column not in evsi_table.columns:
            raise InputError(f"no column {column!r}", "a table with WTP, n and EVSI", key="evsi_table")
    require_number(fixed_cost, "fixed_cost", low=0.0)
    require_number(cost_per_participant, "cost_per_participant", low=0.0)
    table = evsi_table[["WTP", "n", "EVSI"]].reset_index(drop=True)
    table["Population_EVSI"] = table["EVSI"] * population.size(delay_years)
    table["Study_Cost"] = fixed_cost + table["n"] * cost_per_participant
    table["ENBS"] = table["Population_EVSI"] - table["Study_Cost"]
    highest = table.groupby("WTP")["ENBS"].transform("idxmax")
    table["Best"] = (highest == table.index) & (table["ENBS"] > 0.0)
    return table


# ------------------------------------------------------------------------------------------------------- inside


def _increments(psa: Psa, wtp: float) -> Floats:
    """NMB minus that of the strategy with the highest expected NMB, draws x other strategies.

    Differences carry the decision; what moves all strategies together drops out before the regression.
    """
    benefit = nmb(psa, wtp).to_numpy()
    best = int(benefit.mean(axis=0).argmax())
    return np.delete(benefit - benefit[:, [best]], best, axis=1)


def _gain(increments: Floats) -> float:
    """E[max(0, increments)]: the value of knowing conditional means before choosing.

    What is chosen now is worth 0, since the increments are over the strategy with the highest expected NMB.
    """
    return float(np.maximum(increments.max(axis=1, initial=0.0), 0.0).mean())


def _partial(table: pd.DataFrame, increments: Floats, method: str, seed: int) -> tuple[dict[str, float], str]:
    """Raw value, standard error, held-out rule value, largest R2, degrees of freedom; and a note on the regression."""
    # Here and below the regression is imported where it is used: its libraries take longer to load than most tables.
    from simhcc.economics import metamodel

    if increments.shape[1] == 0:
        return {"EVPPI_Raw": 0.0, "SE": 0.0, "Rule_Value": 0.0, "R2": 0.0, "Terms": 0.0}, ""
    fitted = metamodel.fit(table, increments, method)
    redrawn = fitted.redraw(_REDRAWS, seed)
    best = np.maximum(redrawn.max(axis=0), 0.0).mean(axis=1)
    regression = (best - np.maximum(redrawn.mean(axis=2).max(axis=0), 0.0)).var(ddof=1)
    gain = np.maximum(fitted.values.max(axis=1), 0.0)
    sampling = gain.var(ddof=1) / len(gain)
    guess = fitted.held_out(_PARTS)
    pick = guess.argmax(axis=1)
    earned = np.where(guess.max(axis=1) > 0.0, increments[np.arange(len(increments)), pick], 0.0)
    row = {
        "EVPPI_Raw": _gain(fitted.values),
        "SE": float(np.sqrt(regression + sampling)),
        "Rule_Value": float(earned.mean()),
        "R2": float(fitted.r_squared.max()),
        "Terms": float(fitted.degrees.max()),
    }
    return row, fitted.note


def _half_size(shares: Mapping[int, float]) -> float:
    """h of n / (n + h), by least squares on the shares."""
    from scipy.optimize import minimize_scalar

    sizes, values = np.array(list(shares), dtype=np.float64), np.clip(list(shares.values()), 0.0, 1.0)

    def miss(log_half: float) -> float:
        return float(((sizes / (sizes + np.exp(log_half)) - values) ** 2).sum())

    span = (np.log(sizes.min()) - 12.0, np.log(sizes.max()) + 12.0)
    return float(np.exp(minimize_scalar(miss, bounds=span, method="bounded").x))


def _named_groups(groups: Sequence[str] | Mapping[str, Sequence[str]] | None, known: list[str]) -> dict[str, list[str]]:
    if isinstance(groups, str):
        raise InputError(f"the text {groups!r}", "a list of parameters, or a mapping of names to lists", key="groups")
    if groups is None:
        named = {name: [name] for name in known}
    elif isinstance(groups, Mapping):
        for name, members in groups.items():
            if isinstance(members, str):
                raise InputError(f"the text {members!r} for {name!r}", "a list of parameters", key="groups")
        named = {name: list(members) for name, members in groups.items()}
    else:
        named = {name: [name] for name in groups}
    if not named:
        raise InputError("no group", "at least one parameter or group", key="groups")
    for name, members in named.items():
        unknown = [member for member in members if member not in known]
        if unknown:
            raise InputError(f"{unknown[0]!r} in group {name!r}", f"one of the inputs {known}", key="groups")
        if not members or len(set(members)) < len(members):
            raise InputError(f"{members} for group {name!r}", "each parameter once, at least one", key="groups")
    return named


def _summary_table(reported: pd.DataFrame | Floats, index: pd.Index, key: str) -> pd.DataFrame:
    """Study results as a checked table in the order of the draws; arrays are taken to be in that order already."""
    if isinstance(reported, pd.DataFrame):
        table = reported
        if len(table) != len(index) or not table.index.isin(index).all():
            raise InputError(f"{len(table)} rows", f"one row for each of the {len(index)} draws", key=key)
        table = table.loc[index]
    else:
        array = np.asarray(reported, dtype=np.float64)
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or len(array) != len(index):
            raise InputError(f"an array of shape {array.shape}", f"{len(index)} draws x statistics", key=key)
        table = pd.DataFrame(array, index=index)
    if not np.isfinite(table.to_numpy(dtype=np.float64)).all():
        raise InputError("a missing or infinite number", "a finite number everywhere", key=key)
    return table.astype(np.float64)


def _sizes(sizes: Sequence[int]) -> list[int]:
    for n in sizes:
        if not float(n).is_integer() or n < 1:
            raise InputError(f"{n!r}", "whole study sizes, 1 or more", key="sizes")
    if len(sizes) == 0 or len(set(sizes)) < len(sizes):
        raise InputError(f"{list(sizes)}", "each study size once, at least one", key="sizes")
    return [int(n) for n in sizes]
