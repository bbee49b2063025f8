"""Sampling baseline patients, each by address: a patient never depends on how many others there are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from simhcc import staging
from simhcc.engine.arithmetic import exp_array, normal_quantile_array
from simhcc.engine.rng import uniforms
from simhcc.errors import InputError
from simhcc.population.attributes import ATTRIBUTES, DERIVED, HIDDEN_NORMALS, SAMPLED, Array, levels_of
from simhcc.population.conditions import WithDerived
from simhcc.population.definition import UNMOVED, Population, Target

FRAILTY_PARAMETER = "frailty.sd_log"
BASELINE_LUCK = 0
# A patient who is not eligible is drawn again at the next address. After so many tries the population is called
# hopeless: where one in twenty is eligible, fewer than one patient in a hundred thousand million gets here.
MAX_ATTEMPTS = 500
# Limits of the rules in `consistent`: definitions, not estimates.
ABLATION_CM, ABLATION_NODULES = staging.MILAN_SOLITARY_CM, staging.FEW_NODULES
ONE_LOBE_CM = staging.MILAN_SOLITARY_CM
DECOMPENSATED_FROM, DECOMPENSATED_ALWAYS = staging.CHILD_PUGH_B7, staging.CHILD_PUGH_B_UPPER + 1.0
FIRST_ORDER_BRANCH = 3.0  # Vp3
MILLIMETRES_PER_CM = 10.0
BATCH = 4096


@dataclass(frozen=True)
class Cohort:
    """Baseline patients as arrays, patients `first_patient` to `first_patient + n - 1`.

    `attributes[name]` is float64 of shape (n,), or (draws, n) when the cohort was sampled with one luck per draw.
    """

    attributes: Mapping[str, Array]
    n: int
    first_patient: int
    population: Population = field(repr=False)

    def derive(self) -> dict[str, Array]:
        """Stages and classes of every patient: each name of `DERIVED` with an array shaped as the attributes."""
        return {name: derived.of(self.attributes) for name, derived in DERIVED.items()}

    def table(self) -> pd.DataFrame:
        """The baseline table: one row per attribute or class and level, published figures beside.

        Columns: `attribute`, `level` (empty for a number), `statistic` (share, mean, sd or median), `value`, `mcse`,
        and, in the rows of the population's targets, `among`, `target`, `tolerance`, `source`, `grade`, `confirmed`.
        """
        columns = WithDerived({name: column.ravel() for name, column in self.attributes.items()})
        rows: list[dict[str, object]] = []
        for name in (*ATTRIBUTES, *DERIVED):
            rows += _summary_rows(name, columns[name])
        for target in self.population.targets:
            value, mcse = achieved(target, columns)
            rows.append(
                {
                    "attribute": target.condition.text if target.condition is not None else target.of,
                    "level": "",
                    "statistic": target.statistic,
                    "value": value,
                    "mcse": mcse,
                    "among": target.among.text if target.among is not None else "",
                    "target": target.value,
                    "tolerance": target.tolerance,
                    "source": ", ".join(target.source),
                    "grade": target.grade,
                    "confirmed": target.confirmed,
                }
            )
        return pd.DataFrame(rows)


def sample_cohort(
    population: Population,
    values: Mapping[str, ArrayLike],
    n: int,
    seed: int,
    first_patient: int = 0,
    luck: int | Sequence[int] | NDArray[np.int64] = BASELINE_LUCK,
) -> Cohort:
    """Draw patients `first_patient` to `first_patient + n - 1` of a population.

    `values` holds the parameters by dotted name; `frailty.sd_log` is used. A Gaussian copula with the population's
    correlations gives each attribute its marginal; rules that hold for every patient are applied (`consistent`); a
    patient outside the eligibility rules is drawn again at the next address, so he is the same patient in every cohort
    that contains him. With a sequence of lucks, one per draw of the parameters, the arrays have shape (draws, n) and
    `frailty.sd_log` may have one value per draw. Raises InputError for a template, and where hardly anyone is eligible.
    """
    if n < 1 or first_patient < 0:
        raise ValueError(f"n is {n} and first_patient {first_patient}; n is at least 1, first_patient at least 0")
    if FRAILTY_PARAMETER not in values:
        raise InputError("nothing", "a value for this parameter", key=FRAILTY_PARAMETER)
    lucks = np.asarray(luck)
    sd_log = np.asarray(values[FRAILTY_PARAMETER], dtype=np.float64)
    if lucks.ndim > 1 or sd_log.shape not in ((), lucks.shape):
        raise ValueError(
            f"luck has shape {lucks.shape} and {FRAILTY_PARAMETER} {sd_log.shape}; expected one number, or one per draw"
        )
    ids = np.arange(first_patient, first_patient + n, dtype=np.int64)
    shape = (*lucks.shape, n)
    patients, spread = np.broadcast_to(ids, shape).ravel(), np.broadcast_to(lucks[..., np.newaxis], shape).ravel()
    columns = observed(population, patients, seed, spread)
    for name in HIDDEN_NORMALS:
        columns[name] = normal_quantile_array(uniforms(seed, spread, patients, _purpose(name)))
    sd = np.broadcast_to(sd_log[..., np.newaxis], shape).ravel()
    columns["frailty"] = exp_array(sd * columns["frailty_z"] - 0.5 * sd * sd)
    return Cohort({name: columns[name].reshape(shape) for name in ATTRIBUTES}, n, first_patient, population)


def observed(
    population: Population, patients: NDArray[np.int64], seed: int, luck: int | NDArray[np.int64]
) -> dict[str, Array]:
    """All attributes that the population file describes, for the given patients; eligible patients only."""
    if population.template:
        raise InputError(
            "a template", "a population (template: false); templates only serve others", "template", population.file
        )
    lucks = np.broadcast_to(np.asarray(luck), patients.shape)
    result = {name: np.empty(len(patients)) for name in SAMPLED}
    waiting = np.arange(len(patients))
    attempt = 0
    while len(waiting) > 0 and attempt < MAX_ATTEMPTS:
        # Few patients left: several attempts at once, of which each patient takes his first eligible one.
        tries = min(max(attempt, 1), max(BATCH // len(waiting), 1), MAX_ATTEMPTS - attempt)
        entries = np.repeat(np.arange(attempt, attempt + tries), len(waiting))
        again = np.tile(waiting, tries)
        drawn = consistent(_drawn(population, patients[again], seed, lucks[again], entries))
        eligible = _eligible(population, drawn).reshape(tries, len(waiting))
        done = eligible.any(axis=0)
        chosen = eligible.argmax(axis=0)[done] * len(waiting) + np.flatnonzero(done)
        for name, column in result.items():
            column[waiting[done]] = drawn[name][chosen]
        waiting, attempt = waiting[~done], attempt + tries
    if len(waiting) == 0:
        return result
    raise InputError(
        f"eligibility rules that {len(waiting)} of {len(patients)} patients failed {MAX_ATTEMPTS} times",
        "marginals under which at least one patient in twenty is eligible",
        "eligibility",
        population.file,
    )


def consistent(columns: dict[str, Array]) -> dict[str, Array]:
    """Rules that hold for every patient, whatever the marginals say; changes and returns `columns`.

    A single nodule of at most 5 cm lies in one lobe; disease in one lobe has nothing contralateral. Antivirals need
    hepatitis B. Decompensation starts at Child-Pugh 7 and is certain from 10. Varices need cirrhosis or a thrombus of
    a first-order branch (Vp3). A portal thrombus has microvascular invasion. Ablation is done in up to three nodules of
    at most 5 cm without a thrombus. Diameters are read to the millimetre, so sums of exactly 6, 7 and 12 occur.
    """
    columns["diameter"] = np.round(columns["diameter"] * MILLIMETRES_PER_CM) / MILLIMETRES_PER_CM
    size, count, pv = columns["diameter"], columns["nodules"], columns["pv"]
    columns["lobes"] = np.where((count <= 1.0) & (size <= ONE_LOBE_CM), 1.0, columns["lobes"])
    columns["contralateral_within_milan"] = np.where(
        columns["lobes"] <= 1.0, 1.0, columns["contralateral_within_milan"]
    )
    columns["antiviral"] = columns["antiviral"] * columns["hbv"]
    points = columns["child_pugh"]
    columns["decompensated"] = np.where(
        points >= DECOMPENSATED_ALWAYS, 1.0, np.where(points >= DECOMPENSATED_FROM, columns["decompensated"], 0.0)
    )
    columns["varices"] = np.where((columns["cirrhosis"] >= 1.0) | (pv >= FIRST_ORDER_BRANCH), columns["varices"], 0.0)
    columns["mvi"] = np.where(pv >= 1.0, np.maximum(columns["mvi"], 1.0), columns["mvi"])
    columns["ablation"] = np.where(
        (count <= ABLATION_NODULES) & (size <= ABLATION_CM) & (pv < 1.0), columns["ablation"], 0.0
    )
    return columns


def achieved(target: Target, columns: WithDerived) -> tuple[float, float]:
    """What the cohort shows for a target, and its Monte-Carlo standard error (NaN where nobody is counted)."""
    chosen = slice(None) if target.among is None else target.among.holds(columns)
    if target.condition is not None:
        return _mean(target.condition.holds(columns)[chosen].astype(np.float64))
    values = columns[target.of][chosen]
    return _median(values) if target.statistic == "median" else _mean(values)


def _purpose(name: str) -> str:
    return f"population/{name}"


def _drawn(
    population: Population,
    patients: NDArray[np.int64],
    seed: int,
    lucks: NDArray[np.int64],
    attempts: NDArray[np.int64],
) -> dict[str, Array]:
    """One attempt at every described attribute, before any rule."""
    normals: dict[str, Array] = {}

    def normal(name: str) -> Array:
        if name not in normals:
            normals[name] = normal_quantile_array(uniforms(seed, lucks, patients, _purpose(name), attempts))
        return normals[name]

    columns = {}
    for name, described in population.marginals.items():
        if described.marginal.constant:
            columns[name] = described.marginal.values(np.zeros(len(patients)), 0.0, 1.0)
            continue
        row = population.factors.get(name, ((name, 1.0),))
        # Summed term by term: a matrix product may round differently for cohorts of different size.
        x = row[0][1] * normal(row[0][0])
        for other, weight in row[1:]:
            x = x + weight * normal(other)
        move = population.adjustments.get(name, UNMOVED)
        columns[name] = described.marginal.values(x, move.shift, move.scale)
    return columns


def _eligible(population: Population, columns: dict[str, Array]) -> NDArray[np.bool_]:
    view = WithDerived(columns)
    eligible = np.ones(len(columns["age"]), dtype=np.bool_)
    for condition in population.eligibility:
        eligible &= condition.holds(view)
    return eligible


def _mean(values: Array) -> tuple[float, float]:
    if len(values) == 0:
        return math.nan, math.nan
    return float(values.mean()), float(values.std() / math.sqrt(len(values)))


def _median(values: Array) -> tuple[float, float]:
    if len(values) == 0:
        return math.nan, math.nan
    # The ranks one standard error on either side of the middle bound the median by one standard error.
    half = 0.5 / math.sqrt(len(values))
    low, middle, high = np.quantile(values, [max(0.5 - half, 0.0), 0.5, min(0.5 + half, 1.0)])
    return float(middle), float(high - low) / 2.0


def _summary_rows(name: str, values: Array) -> list[dict[str, object]]:
    levels = levels_of(name)
    rows: list[dict[str, object]] = []
    if levels is None:
        mean, mcse = _mean(values)
        median, median_mcse = _median(values)
        rows.append({"attribute": name, "level": "", "statistic": "mean", "value": mean, "mcse": mcse})
        rows.append({"attribute": name, "level": "", "statistic": "sd", "value": float(values.std()), "mcse": math.nan})
        rows.append({"attribute": name, "level": "", "statistic": "median", "value": median, "mcse": median_mcse})
        return rows
    for code, label in levels.items():
        share, mcse = _mean((values == code).astype(np.float64))
        rows.append({"attribute": name, "level": label, "statistic": "share", "value": share, "mcse": mcse})
    return rows
