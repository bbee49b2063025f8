"""Value of information about a stored run: parameters and groups of them, and what a next trial would tell.

What decides is the raw net benefit of each draw: a regression on parameters, or on a trial's results, leaves the patients'
noise behind by itself. No value exceeds EVPI with that noise removed.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simhcc.economics import Population, Psa, enbs, evpi, evppi, evsi, nmb
from simhcc.errors import InputError
from simhcc.uncertainty.decision import without_noise
from simhcc.uncertainty.stored import StoredPsa

Floats = NDArray[np.float64]

MOST_IN_GROUP = 40
"""parameters of a group that enter its regression: those that say most about the decision"""
SEEN = 3.5
"""standard errors of a rank correlation with some net benefit beyond which a parameter is taken to matter; of several
hundred parameters about one passes by chance"""
DRAWS_PER_TERM = 25
SPLIT_DEEPER = ("treatments",)
"""families of parameters that are grouped by their second name as well: each regimen is evidence of its own"""
LANDMARK_MONTHS = 12.0


def evidence_groups(names: Sequence[str]) -> dict[str, list[str]]:
    """Parameters by the evidence they come from: the first part of their name, and the regimen for `treatments`."""
    groups: dict[str, list[str]] = {}
    for name in names:
        parts = name.split(".")
        depth = 2 if parts[0] in SPLIT_DEEPER else 1
        groups.setdefault(".".join(parts[:depth]), []).append(name)
    return groups


def chosen_groups(patterns: Mapping[str, Sequence[str]], names: Sequence[str]) -> dict[str, list[str]]:
    """Groups from patterns with * and ?, such as {"relative effects": ["treatments.*.progression_log_hr"]}.

    Raises InputError for a pattern that no varied parameter matches.
    """
    groups: dict[str, list[str]] = {}
    for group, wanted in patterns.items():
        found: dict[str, None] = {}
        for pattern in wanted:
            matching = fnmatch.filter(names, pattern)
            if not matching:
                import difflib

                near = difflib.get_close_matches(pattern, names, 1, 0.4)
                hint = f", for example {near[0]}" if near else ""
                raise InputError(
                    f"no varied parameter matches {pattern!r}", f"names as in inputs/draws.csv{hint}", key="--group"
                )
            found |= dict.fromkeys(matching)
        groups[group] = list(found)
    return groups


def varied(draws: pd.DataFrame) -> pd.DataFrame:
    """The parameters that differ between draws."""
    return draws.loc[:, (draws.nunique() > 1).to_numpy()]


def partial_values(
    stored: StoredPsa,
    draws: pd.DataFrame,
    wtp: float,
    groups: Mapping[str, Sequence[str]] | None = None,
    population: Population | None = None,
    *,
    singles: bool = True,
    method: str = "spline",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """EVPPI of groups (evidence groups by default) and of single parameters, at one WTP.

    `draws` has a row for each iteration and a column for each parameter. The tables have the columns of
    `simhcc.economics.evppi` and Parameters (how many a group has) and Used: how many entered its regression, those with a
    rank correlation with some net benefit beyond chance, of a large group the strongest. A parameter whose effect turns
    round in the middle of its range would be missed. A group is worth no less than any of its parameters or subgroups,
    and no more than EVPI without patients' noise; Note says where that changed an estimate.
    """
    inputs = varied(draws)
    psa = stored.psa()
    names = list(inputs.columns)
    wanted = {k: list(v) for k, v in groups.items()} if groups is not None else evidence_groups(names)
    if len(psa.strategies) < 2 or not wanted:
        return pd.DataFrame(), pd.DataFrame()
    most = max(min(MOST_IN_GROUP, stored.draws // DRAWS_PER_TERM), 1)
    strength = _strength(psa, inputs, wtp)
    seen = [name for name in names if strength[name] > SEEN / np.sqrt(stored.draws)]
    used = {group: sorted(set(v) & set(seen), key=lambda name: -strength[name])[:most] for group, v in wanted.items()}
    ceiling = float(evpi(without_noise(stored), wtp)["EVPI"].iloc[0])
    alone = pd.DataFrame()
    if singles:
        alone = _estimated(psa, inputs, {name: [name] if name in seen else [] for name in names}, wtp, method, ceiling)
        alone = alone.sort_values("EVPPI", ascending=False, kind="stable").reset_index(drop=True)
    table = _estimated(psa, inputs, used, wtp, method, ceiling)
    floors = dict(zip(alone["Group"], alone["EVPPI"], strict=True)) if singles else {}
    table = _raised(table, {group: list(members) for group, members in wanted.items()}, floors)
    table["Parameters"] = [len(wanted[group]) for group in table["Group"]]
    table["Used"] = [len(used[group]) for group in table["Group"]]
    table = table.sort_values("EVPPI", ascending=False, kind="stable").reset_index(drop=True)
    if population is not None:
        for each in (table, alone):
            if len(each):
                each["Population_EVPPI"] = each["EVPPI"] * population.size()
    return table, alone


def _estimated(
    psa: Psa, inputs: pd.DataFrame, used: Mapping[str, Sequence[str]], wtp: float, method: str, ceiling: float
) -> pd.DataFrame:
    """EVPPI of the groups with a parameter that matters; 0, with a note, of the others."""
    some = {group: list(members) for group, members in used.items() if members}
    columns = ["Group", "WTP", "EVPPI", "SE", "EVPPI_Raw", "Clipped", "Note", "Rule_Value", "R2", "Terms"]
    found = (
        _capped(evppi(psa, inputs, some, wtp=wtp, method=method), ceiling) if some else pd.DataFrame(columns=columns)
    )
    note = f"no relation with any net benefit seen in {len(inputs):,} draws"
    rest = [
        dict.fromkeys(columns, 0.0) | {"Group": group, "WTP": wtp, "SE": np.nan, "Note": note}
        for group in used
        if group not in some
    ]
    if not rest:
        return found
    nothing = pd.DataFrame(rest, columns=columns)
    return nothing if found.empty else pd.concat([found, nothing], ignore_index=True)


def _strength(psa: Psa, inputs: pd.DataFrame, wtp: float) -> dict[str, float]:
    """How much each parameter alone moves any net benefit: the largest absolute rank correlation."""
    benefit = nmb(psa, wtp)
    best = benefit.mean().idxmax()
    increments = benefit.drop(columns=[best]).sub(benefit[best], axis=0)
    ranks = inputs.rank().to_numpy()
    others = increments.rank().to_numpy()
    ranks = (ranks - ranks.mean(axis=0)) / ranks.std(axis=0)
    spread = others.std(axis=0)
    others = (others - others.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
    correlation = np.abs(ranks.T @ others) / len(ranks)
    return dict(zip(inputs.columns, correlation.max(axis=1), strict=True))


def _capped(table: pd.DataFrame, ceiling: float) -> pd.DataFrame:
    """No more than EVPI without patients' noise."""
    found = table.copy()
    above = found["EVPPI"] > ceiling
    found.loc[above, "Note"] = [_joined(note, "lowered to EVPI") for note in found.loc[above, "Note"]]
    found.loc[above, "EVPPI"] = ceiling
    found["Clipped"] = found["EVPPI"] - found["EVPPI_Raw"]
    return found


def _raised(table: pd.DataFrame, members: Mapping[str, list[str]], floors: Mapping[str, float]) -> pd.DataFrame:
    """More is worth no less: a group at least as much as each of its parameters and of its subgroups."""
    found = table.set_index("Group")
    done: dict[str, float] = {}
    for group in sorted(members, key=lambda name: len(members[name])):
        here = set(members[group])
        candidates = [(amount, f"its part {name}") for name, amount in floors.items() if name in here]
        candidates += [(amount, f"its subgroup {name}") for name, amount in done.items() if set(members[name]) <= here]
        best, words = max(candidates, default=(0.0, ""))
        value = float(found.loc[group, "EVPPI"])  # type: ignore[arg-type]
        if best > value:
            found.loc[group, "Note"] = _joined(str(found.loc[group, "Note"]), f"raised to {words}")
            value = best
            found.loc[group, "EVPPI"] = value
        done[group] = value
    found["Clipped"] = found["EVPPI"] - found["EVPPI_Raw"]
    return found.reset_index()


def _joined(note: str, words: str) -> str:
    return words if not note else f"{note}; {words}"


# ---------------------------------------------------------------------------------------------------------------------
# A next trial


@dataclass(frozen=True, eq=False)
class NextTrial:
    """What a trial is worth: `evsi` and `enbs` by number of randomised patients, and what it would report."""

    id: str
    title: str
    evsi: pd.DataFrame
    enbs: pd.DataFrame
    reports: tuple[str, ...]
    delay_years: float
    draws: int


def next_trial(
    stored: StoredPsa,
    values: Mapping[str, Floats],
    trial: Any,
    sizes: Sequence[int],
    wtp: float,
    *,
    seed: int,
    population: Population | None,
    fixed_cost: float,
    cost_per_participant: float,
    most_memory: float = 3e8,
    threads: int | None = None,
    progress: Any = None,
) -> NextTrial:
    """EVSI and expected net benefit of running a trial, for numbers of randomised patients.

    For every draw of the parameters the virtual trial (`simhcc.trials`) is run once at each size with those parameters, new
    patients, a random effect of the trial, its accrual, scans, cut-offs and drop-out. What it reports is regressed: hazard
    ratios of each arm, the comparator arm's share without the event at twelve months, responses. `values` holds every
    number with an axis of draws. Raises InputError for fewer than two arms, and for sizes too small for them.
    """
    from simhcc.trials.command import trial_effects
    from simhcc.trials.pools import plan
    from simhcc.trials.replicates import replicate, simulated_pool

    asked = _reporting(trial)
    counted = [arm for arm in asked.content.arms if arm.subset_of is None]
    planned = sum(arm.n for arm in counted)
    if len(counted) < 2:
        raise InputError(f"the trial {trial.id} with one arm", "a trial that compares arms", key="--trial")
    smallest = 10 * len(counted)
    for n in sizes:
        if n < smallest:
            raise InputError(f"{n} patients for {len(counted)} arms", f"{smallest} or more", key="--sizes")
    draws = stored.draws
    run_in = asked.content.time_zero.run_in
    needed = 1.3 * (run_in.enrolled_per_randomised if run_in is not None else 1.0)
    patients = -(-int(np.ceil(needed * max(sizes))) // 1024) * 1024
    step = max(int(most_memory / (8.0 * 8.0 * len(counted) * patients)), 1)
    reported: dict[int, list[Floats]] = {n: [] for n in sizes}
    rows: tuple[Any, ...] = ()
    for lo in range(0, draws, step):
        hi = min(lo + step, draws)
        part = {name: np.asarray(value)[lo:hi] for name, value in values.items()}
        effects = trial_effects(asked, part, seed + lo)
        ready = plan(asked, part, patients=patients, seed=seed, luck=None, first_patient=lo * patients, effects=effects)
        words = f"{trial.id}, draws {lo + 1} to {hi}"
        pool = simulated_pool(ready, words, threads=threads, progress=progress)
        for n in sizes:
            sized = replace(pool, trial=_sized(asked, n, planned))
            found = replicate(sized, hi - lo, seed + n, name=f"{words}, n {n}", threads=threads, progress=progress)
            rows = found.rows
            reported[n].append(found.values)
    summaries = {}
    kept: tuple[int, ...] | None = None
    joined = {n: _on_scales(np.concatenate(parts), rows, n) for n, parts in reported.items()}
    for table in joined.values():
        usable = tuple(int(k) for k in np.flatnonzero(np.isfinite(table).all(axis=0)))
        kept = usable if kept is None else tuple(k for k in kept if k in usable)
    if not kept:
        raise InputError(
            f"the trial {trial.id}, which reports nothing that the model predicts", "another trial", key="--trial"
        )
    names = [rows[k].name for k in kept]
    index = pd.RangeIndex(1, draws + 1, name="iteration")
    for n, table in joined.items():
        summaries[n] = pd.DataFrame(table[:, list(kept)], index=index, columns=names)
    psa = stored.psa()
    worth = evsi(psa, summaries, wtp=wtp, population=population)
    ceiling = float(evpi(without_noise(stored), wtp)["EVPI"].iloc[0])
    above = worth["EVSI"] > ceiling
    worth.loc[above, "Note"] = [_joined(note, "lowered to EVPI") for note in worth.loc[above, "Note"]]
    worth.loc[above, "EVSI"] = ceiling
    delay = _delay_years(trial)
    net = pd.DataFrame()
    if population is not None:
        net = enbs(
            worth, population, fixed_cost=fixed_cost, cost_per_participant=cost_per_participant, delay_years=delay
        )
        worth["Population_EVSI"] = worth["EVSI"] * population.size(delay)
    return NextTrial(trial.id, trial.content.title, worth, net, tuple(names), delay, draws)


def _delay_years(trial: Any) -> float:
    """Years until the trial's last look: accrual and follow-up as its file says."""
    from simhcc.trials.pools import median_cutoff

    design = trial.content.design
    ends = [median_cutoff(trial, look.name) for look in design.analyses if not look.event_driven]
    ends = [month for month in ends if np.isfinite(month)]
    follow_up = design.follow_up_median_months or 0.0
    return float(max(ends, default=design.accrual_months + follow_up)) / 12.0


def _reporting(trial: Any) -> Any:
    """The trial with the figures it would report, in place of those it published."""
    from simhcc.inputs.trials import ContrastModel, TargetModel

    content = trial.content
    arms = [arm.id for arm in content.arms if arm.subset_of is None]
    said = [row.reference for row in (*content.contrasts, *content.verdicts) if row.reference in arms]
    reference = max(dict.fromkeys(said), key=said.count) if said else arms[-1]
    timed = [n for n, e in content.endpoints.items() if e.events and e.statistic is None and e.not_modelled is None]
    common: dict[str, Any] = {"confirmed": True, "use": "show"}
    contrasts = [
        ContrastModel(endpoint=endpoint, arm=arm, reference=reference, hr=1.0, **common)
        for endpoint in timed
        for arm in arms
        if arm != reference
    ]
    targets = [
        TargetModel(
            arm=reference, endpoint=endpoint, statistic="landmark", time_months=LANDMARK_MONTHS, value=0.5, **common
        )
        for endpoint in timed
        if content.endpoints[endpoint].origin is None
    ]
    if content.response is not None and content.response.criteria in ("RECIST 1.1", "mRECIST"):
        targets += [TargetModel(arm=arm, endpoint="response", statistic="orr", value=0.5, **common) for arm in arms]
    changes = {"targets": targets, "contrasts": contrasts, "plausibility": [], "verdicts": [], "sequential": []}
    return replace(trial, content=content.model_copy(update=changes))


def _sized(trial: Any, n: int, planned: int) -> Any:
    """The trial with n randomised patients: arms and numbers of events in proportion."""
    content = trial.content
    factor = n / planned
    sizes = {arm.id: max(round(arm.n * factor), 1) for arm in content.arms}
    arms = [
        arm.model_copy(update={"n": sizes[arm.id]} | ({"first_enrolled": sizes[arm.id]} if arm.first_enrolled else {}))
        for arm in content.arms
    ]
    looks = [
        look.model_copy(update={"events": max(round(look.events * factor), 1)}) if look.events is not None else look
        for look in content.design.analyses
    ]
    design = content.design.model_copy(update={"n": n, "analyses": looks})
    return replace(trial, content=content.model_copy(update={"arms": arms, "design": design}))


def _on_scales(table: Floats, rows: Sequence[Any], n: int) -> Floats:
    """What the trial reports on scales where errors are nearly normal; shares of 0 and 1 are moved in by half a patient."""
    found = np.array(table, dtype=np.float64)
    for k, row in enumerate(rows):
        if row.missing is not None:
            found[:, k] = np.nan
        elif row.statistic in ("landmark", "orr", "share"):
            share = np.clip(found[:, k], 0.5 / n, 1.0 - 0.5 / n)
            found[:, k] = np.log(share / (1.0 - share))
        elif row.statistic == "hr":
            with np.errstate(divide="ignore", invalid="ignore"):
                found[:, k] = np.clip(np.log(found[:, k]), -5.0, 5.0)
    return found
