"""Published against simulated: control and main experimental arms of the reference trials, each in its own population.

    python -m benchmarks.trial_arms [TRIAL ...] [--patients N]

Expected statistics of the model, without censoring or sampling; the scans and the caps are those of the trial files. Misses
are printed, not hidden. Responses under TACE are moved from mRECIST, in which sessions are judged, to RECIST 1.1 by the
shift of `response_criteria`. Times to progression or recurrence are Kaplan-Meier estimates with deaths censored, as in the
trials.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simhcc.engine import arithmetic
from simhcc.expressions import Expression
from simhcc.graph import Channel, RateReward
from simhcc.inputs import find_input, load_parameters, load_strategy, read_yaml, with_options
from simhcc.model import as_values
from simhcc.pathway import risk
from simhcc.pathway.strategies import to_graph
from simhcc.pathway.whole import ENDPOINTS, pathway
from simhcc.population import DERIVED, load_population, sample_cohort
from simhcc.simulation import Evaluation, Outcomes, simulate

Floats = NDArray[np.float64]
HORIZON = 120.0
RESPONSE_BY = 9.0  # months; later responses belong to later lines


@dataclass(frozen=True)
class Setting:
    """How a trial is run here beyond its file: parameters replaced, and the early mass its control arm was given."""

    numbers: Mapping[str, float] = field(default_factory=dict)
    mass: str | None = None
    cleared: bool = False


NO_LATER_ICI = {"next_line.share_with_ici_access": 0.4}  # control arms of 2018 to 2020: 0.19 to 0.24 of 0.46 to 0.52
BEFORE_ICI = {"next_line.share_with_ici_access": 0.0}
ADJUVANT = {"adjuvant.p_start": 1.0}
TRIALS = {
    "cares-009": Setting(ADJUVANT, "recurrence.early_mass_trial_mix.cares_009"),
    "imbrave050": Setting(ADJUVANT, "recurrence.early_mass_trial_mix.imbrave050", True),
    "keynote-937": Setting(ADJUVANT, "recurrence.early_mass_trial_mix.keynote_937", True),
    "storm": Setting(ADJUVANT, None, True),
    "emerald-1": Setting(),
    "leap-012": Setting(),
    "emerald-3": Setting(),
    "talentace": Setting(),
    "cares-005": Setting(),
    "haic-vs-tace": Setting(NO_LATER_ICI),
    "imbrave150": Setting(NO_LATER_ICI),
    "himalaya": Setting(NO_LATER_ICI),
    "leap-002": Setting(NO_LATER_ICI),
    "checkmate-9dw": Setting(NO_LATER_ICI),
    "cares-310": Setting(NO_LATER_ICI),
    "reflect": Setting(BEFORE_ICI),
}


@dataclass(frozen=True)
class Prepared:
    """A trial ready to be simulated: the question, its numbers, its patients, and its file."""

    evaluation: Evaluation
    numbers: dict[str, float | Floats]
    cohort: dict[str, Floats]
    tree: Mapping[str, object]


def of_patients(expression: Expression, columns: Mapping[str, Floats], values: Mapping[str, float | Floats]) -> Floats:
    """Value of an expression for each patient: a plain reading of the tree, independent of the kernel."""
    operation, payload = expression.operation, expression.payload
    if operation == "constant":
        return np.asarray(payload, dtype=np.float64)
    if operation == "parameter":
        return np.asarray(values[str(payload)], dtype=np.float64)
    if operation == "attribute":
        return columns[str(payload)]
    parts = [of_patients(operand, columns, values) for operand in expression.operands]
    if operation == "lookup":
        vector = np.asarray(values[str(payload)])
        return vector[np.clip(np.floor(parts[0]).astype(int), 0, len(vector) - 1)]
    functions = {
        "add": lambda a, b: a + b,
        "subtract": lambda a, b: a - b,
        "multiply": lambda a, b: a * b,
        "divide": lambda a, b: a / b,
        "negate": lambda a: -a,
        "minimum": np.minimum,
        "maximum": np.maximum,
        "less": lambda a, b: a < b,
        "less_equal": lambda a, b: a <= b,
        "equal": lambda a, b: a == b,
        "not_equal": lambda a, b: a != b,
        "and": lambda a, b: (a != 0) & (b != 0),
        "or": lambda a, b: (a != 0) | (b != 0),
        "not": lambda a: a == 0,
        "select": lambda c, a, b: np.where(c != 0, a, b),
        "exp": lambda a: arithmetic.exp_array(np.asarray(a, dtype=np.float64)),
        "log": lambda a: arithmetic.log_array(np.asarray(a, dtype=np.float64)),
    }
    return np.asarray(functions[operation](*parts), dtype=np.float64)


def prepare(trial: str, patients: int, subgroup: str | None = None) -> Prepared:
    """A trial's arms in its own population, or in a subgroup of it such as "six_and_twelve low"."""
    tree = read_yaml(find_input("trial", trial), trial).tree
    setting = TRIALS[trial]
    base = load_parameters().base_values()
    numbers = {**base, **setting.numbers, **_schedule(tree, setting.cleared), **_options(tree)}
    cohort = dict(sample_cohort(load_population(tree["population"]), base, patients, 1).attributes)
    cohort["cleared_at_entry"] = np.full(patients, float(setting.cleared))
    if subgroup is not None:
        name, level = subgroup.split()
        code = {"low": 1.0, "mid": 2.0, "high": 3.0}[level]
        inside = np.asarray(DERIVED[name].of(cohort)) == code
        cohort = {key: column[inside] for key, column in cohort.items()}
    if setting.mass is not None:
        columns = {**cohort, "clearances": np.zeros(patients), "trial_log_early": np.zeros(patients)}
        mass = np.exp(of_patients(risk.early_mass(after_conversion=False), columns, numbers)).mean()
        cohort["trial_log_early"] = np.full(patients, np.log(float(base[setting.mass]) / mass))
    evaluation = Evaluation(
        pathway=pathway(),
        strategies=tuple(_strategy(arm["strategy"], arm["id"], tree) for arm in tree["arms"] if "subset_of" not in arm),
        channels=(Channel(id="ly_undiscounted", scale=1 / 12),),
        rewards=(RateReward(channel="ly_undiscounted", rate=1.0),),
        endpoints=tuple(e for e in ENDPOINTS if e.origin != "randomise"),
        horizon=HORIZON,
        grid_step=0.25,
    )
    return Prepared(evaluation, numbers, cohort, tree)


def run(trial: str, patients: int) -> pd.DataFrame:
    """One row per target of a trial: arm, endpoint, statistic, published, simulated, difference."""
    whole = prepare(trial, patients)
    groups = {t["subgroup"] for t in whole.tree["targets"] if str(t.get("subgroup")).startswith("six_and_twelve")}
    rows = []
    for subgroup in (None, *sorted(groups)):
        ready = whole if subgroup is None else prepare(trial, patients, subgroup)
        number = len(ready.cohort["age"])
        outcomes = simulate(ready.evaluation, as_values(ready.numbers), ready.cohort, patients=number)
        rows += rows_of(outcomes, ready, trial, subgroup)
    return pd.DataFrame(rows)


def rows_of(
    outcomes: Outcomes, ready: Prepared, trial: str, subgroup: str | None = None, draw: int = 0
) -> list[dict[str, object]]:
    """The rows of `run` from simulated outcomes."""
    rows = []
    for target in ready.tree["targets"]:  # type: ignore[attr-defined]
        if target.get("subgroup") != subgroup or (target["statistic"] == "orr" and "criteria" in target):
            continue
        simulated = _statistic(outcomes, target, ready.tree, ready.numbers, draw)
        if simulated is not None:
            name = target["statistic"] + (f" {target['time_months']}" if "time_months" in target else "")
            rows.append(
                {
                    "trial": trial,
                    "arm": target["arm"],
                    "endpoint": target["endpoint"] + (f" {subgroup.split()[1]}" if subgroup else ""),
                    "statistic": name,
                    "published": target["value"],
                    "simulated": round(simulated, 3 if target["statistic"] != "median" else 1),
                    "difference": round(simulated - target["value"], 3),
                    "use": target["use"],
                    "confirmed": target["confirmed"],
                }
            )
    return rows


def _options(tree: Mapping[str, dict]) -> dict[str, float]:  # type: ignore[type-arg]
    """Numbers that the arms' options stand for; options that name strategies and drugs are the strategies' own."""
    options = {key: value for arm in tree["arms"] for key, value in arm.get("options", {}).items()}
    names = {
        "max_tace_sessions": "tace.max_sessions",
        "adjuvant_tace_share": "adjuvant.share_with_usual_tace",
        "first_tace_after_months": "tace.first_session_wait_months",
    }
    return {names[key]: float(value) for key, value in options.items() if key in names}


def _strategy(name: str, arm: str, tree: Mapping[str, object]):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    strategy = load_strategy(name)
    if name == "tace_sequential":
        # After failure the control arm gets what the other arm had, as far as it is an immune regimen of this model.
        other = next(a["strategy"] for a in tree["arms"] if a["strategy"] != name)  # type: ignore[index, attr-defined]
        strategy = with_options(strategy, backbone=load_strategy(other).options["backbone"])
    return replace(to_graph(strategy), id=arm)


def _schedule(tree: Mapping[str, dict], cleared: bool) -> dict[str, float]:  # type: ignore[type-arg]
    segments = tree["design"]["assessment"]["segments"]
    first = float(segments[0]["every_months"])
    change, later = (
        (float(segments[1]["from_months"]), float(segments[1]["every_months"])) if len(segments) > 1 else (24.0, first)
    )
    if cleared or tree["setting"] == "resectable":
        names = ("scan_disease_free_first_months", "scan_disease_free_change_months", "scan_disease_free_later_months")
    else:
        names = ("scan_systemic_months", "scan_treatment_change_months", "scan_treatment_later_months")
    return dict(zip((f"schedule.{n}" for n in names), (first, change, later), strict=True))


def _statistic(
    outcomes: Outcomes,
    target: Mapping[str, object],
    tree: Mapping[str, object],
    base: Mapping[str, float | Floats],
    draw: int = 0,
) -> float | None:
    names = {
        "OS": "os",
        "PFS": "pfs",
        "EFS": "efs",
        "DFS": "rfs",
        "RFS": "rfs",
        "TTR": "ttr",
        "TTP": "ttp",
        "TACE_PFS": "tace_pfs",
    }
    if target["arm"] not in outcomes.strategies:
        return None
    arm = outcomes.strategies.index(str(target["arm"]))
    if target["statistic"] == "orr":
        curve = outcomes.survival("response")[draw, arm]
        share = float(1.0 - curve[int(RESPONSE_BY / outcomes.grid_step)])  # type: ignore[operator]
        if tree["setting"] == "intermediate":
            odds = share / (1.0 - share) * np.exp(-float(base["response_criteria.mrecist_logit_shift_tace"]))
            share = float(odds / (1.0 + odds))
        return share
    name = names.get(str(target["endpoint"]))
    if name is None:
        return None
    curve = censored_at_death(outcomes, name, draw, arm)
    if target["statistic"] == "median":
        below = np.flatnonzero(curve < 0.5)
        if not len(below):
            return float("inf")
        k = int(below[0])
        return float(outcomes.grid_step * (k - 1 + (curve[k - 1] - 0.5) / (curve[k - 1] - curve[k])))  # type: ignore[operator]
    return float(curve[round(float(target["time_months"]) / outcomes.grid_step)])  # type: ignore[arg-type, operator]


def censored_at_death(outcomes: Outcomes, endpoint: str, draw: int, arm: int) -> Floats:
    """Survival curve of an endpoint as a trial estimates it.

    Deaths censor in a time to progression or recurrence. The model's curve of such an endpoint counts the dead as free of
    it for ever; the Kaplan-Meier curve is the product over steps of 1 - events / (free of it and alive).
    """
    curve = outcomes.survival(endpoint)[draw, arm]
    alive = {"ttp": "pfs", "ttr": "rfs"}.get(endpoint)
    if alive is None:
        return curve
    at_risk = outcomes.survival(alive)[draw, arm]
    hazard = np.where(at_risk[:-1] > 0.0, (curve[:-1] - curve[1:]) / np.maximum(at_risk[:-1], 1e-12), 0.0)
    return np.concatenate([[1.0], np.cumprod(1.0 - hazard)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trials", nargs="*", default=list(TRIALS))
    parser.add_argument("--patients", type=int, default=20_000)
    given = parser.parse_args()
    for trial in given.trials:
        print(run(trial, given.patients).to_string(index=False), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
