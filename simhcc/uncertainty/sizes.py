"""How many draws, and how many patients in each: from the split of the variance in a pilot (analysis plan, section 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simhcc.economics import sample_size_split

Floats = NDArray[np.float64]

PILOT_DRAWS = 200
PILOT_REPLICATES = 2
PILOT_PATIENTS = 1024
NOISE_SHARE = 0.05
"""largest Monte-Carlo variance of a paired INMB as a share of its variance between draws"""
TOTAL_PATIENTS = 10_000_000
"""patients x draws of a strategy where nothing else is said: about a thousand draws of ten thousand patients"""
FEWEST_DRAWS, MOST_DRAWS = 500, 5_000
LEAF = 1_024
"""patients that the engine adds up together"""


@dataclass(frozen=True, eq=False)
class Sizes:
    """The sizes that were chosen. `table` is that of `simhcc.economics.sample_size_split`; `words` say why."""

    patients: int
    draws: int
    table: pd.DataFrame
    words: str


def pilot_values(values: Mapping[str, Floats], draws: int) -> dict[str, Floats]:
    """The first draws of the parameters, all of them twice over: each draw meets other patients and another luck."""
    found = {}
    for name, value in values.items():
        part = np.asarray(value)
        part = part[:draws] if part.ndim and part.shape[0] >= draws else np.broadcast_to(part, (draws, *part.shape[1:]))
        found[name] = np.concatenate([part] * PILOT_REPLICATES)
    return found


def choose(
    outcomes: Any,
    comparator: str,
    strategies: Sequence[str],
    wtp: Sequence[float],
    *,
    most_patients: int,
    draws: int | None,
) -> Sizes:
    """Sizes from the outcomes of a pilot run with `pilot_values`.

    `strategies` are those with a price; where no cost can be compared, QALYs take the place of INMB. `most_patients`
    bounds patients per draw; `draws` is the number asked for, or None to choose it too. Patients are whole leaves of 1,024.
    """
    half = outcomes.draws // PILOT_REPLICATES
    base = outcomes.strategies.index(comparator)
    cost, qaly = outcomes.means[:, :, outcomes.column("cost")], outcomes.means[:, :, outcomes.column("qaly")]
    columns, names = [], []
    for s, strategy in enumerate(outcomes.strategies):
        if s == base:
            continue
        effect = qaly[:, s] - qaly[:, base]
        if strategy in strategies and comparator in strategies and wtp:
            columns.append(wtp[0] * effect - (cost[:, s] - cost[:, base]))
            names.append(f"INMB of {strategy}")
        else:
            columns.append(effect)
            names.append(f"QALY of {strategy}")
    stacked = np.stack(columns, axis=1).reshape(PILOT_REPLICATES, half, len(names)).transpose(1, 0, 2)
    table = sample_size_split(
        stacked,
        names,
        patients=int(outcomes.patients),
        noise_share=NOISE_SHARE,
        total_patients=TOTAL_PATIENTS,
    )
    needed = float(table["Patients"].iloc[-1])
    lowest = min(LEAF, most_patients)
    patients = most_patients if not math.isfinite(needed) else int(min(max(needed, lowest), most_patients))
    if patients < most_patients:
        patients = min(-(-patients // LEAF) * LEAF, most_patients)
    chosen = draws if draws is not None else min(max(TOTAL_PATIENTS // patients, FEWEST_DRAWS), MOST_DRAWS)
    largest = table.iloc[:-1].sort_values("Patients", ascending=False).iloc[0]
    if math.isfinite(needed) and patients >= needed:
        reached = f"Monte-Carlo variance is at most {100 * NOISE_SHARE:.0f} % of the variance between draws"
    else:
        wanted = f"{needed:,.0f}" if math.isfinite(needed) else "no number of"
        reached = (
            f"{wanted} patients would be needed for the {100 * NOISE_SHARE:.0f} % of the plan; the rest of the noise is "
            "removed afterwards"
        )
    words = (
        f"{patients:,} patients in each of {chosen:,} draws, from a pilot of {half} draws x {PILOT_REPLICATES} replicates "
        f"x {outcomes.patients:,} patients: {reached} (largest need: {largest['Outcome']})."
    )
    return Sizes(patients, chosen, table, words)
