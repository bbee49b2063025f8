"""Published against simulated: control and main experimental arms of the reference trials, each in its own population.

    python -m benchmarks.trial_arms [TRIAL ...] [--patients N]

Expected statistics of the model, without censoring or sampling; the scans and the caps are those of the trial files. Misses
are printed, not hidden. Responses under TACE are moved from mRECIST, in which sessions are judged, to RECIST 1.1 by the
shift of `response_criteria`.
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
from simhcc.population import load_population, sample_cohort
from simhcc.simulation import Evaluation, Outcomes, simulate

Floats = NDArray[np.float64]
HORIZON = 240.0
RESPONSE_BY = 9.0  # months; later responses belong to later lines


@dataclass(frozen=True)
class Setting:
    """How a trial is run here beyond its file: parameters replaced, and the early mass its control arm was given."""

    numbers: Mapping[str, float] = field(default_factory=dict)
    mass: str | None = None
    cleared: bool = False


NO_LATER_ICI = {"next_line.share_with_ici_access": 0.4}  # control arms of 2018 to 2020: 0.19 to 0.24 of 0.46 to 0.52
ADJUVANT = {"adjuvant.p_start": 1.0}
TRIALS = {
    "cares-009": Setting(ADJUVANT, "recurrence.early_mass_trial_mix.cares_009"),
    "imbrave050": Setting(ADJUVANT, "recurrence.early_mass_trial_mix.imbrave050", True),
    "keynote-937": Setting(ADJUVANT, "recurrence.early_mass_trial_mix.keynote_937", True),
    "storm": Setting({**ADJUVANT}, None, True),
    "emerald-1": Setting(),
    "leap-012": Setting(),
    "talentace": Setting(),
    "cares-005": Setting(),
    "imbrave150": Setting(NO_LATER_ICI),
    "himalaya": Setting(NO_LATER_ICI),
    "leap-002": Setting(NO_LATER_ICI),
}


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


def run(trial: str, patients: int) -> pd.DataFrame:
    """One row per target of a trial: arm, endpoint, statistic, published, simulated, difference."""
    tree = read_yaml(find_input("trial", trial), trial).tree
    setting = TRIALS[trial]
    base = load_parameters().base_values()
    numbers = {**base, **setting.numbers, **_schedule(tree, setting.cleared)}
    options = {k: v for arm in tree["arms"] for k, v in arm.get("options", {}).items()}
    if "max_tace_sessions" in options:
        numbers["tace.max_sessions"] = float(options["max_tace_sessions"])
    cohort = dict(sample_cohort(load_population(tree["population"]), base, patients, 1).attributes)
    cohort["cleared_at_entry"] = np.full(patients, float(setting.cleared))
    if setting.mass is not None:
        columns = {**cohort, "clearances": np.zeros(patients), "trial_log_early": np.zeros(patients)}
        mass = np.exp(of_patients(risk.early_mass(after_conversion=False), columns, numbers)).mean()
        cohort["trial_log_early"] = np.full(patients, np.log(float(base[setting.mass]) / mass))
    evaluation = Evaluation(
        pathway=pathway(),
        strategies=tuple(_strategy(arm["strategy"], arm["id"], tree) for arm in tree["arms"]),
        channels=(Channel(id="ly_undiscounted", scale=1 / 12),),
        rewards=(RateReward(channel="ly_undiscounted", rate=1.0),),
        endpoints=tuple(e for e in ENDPOINTS if e.origin != "randomise"),
        horizon=HORIZON,
        grid_step=0.25,
    )
    outcomes = simulate(evaluation, as_values(numbers), cohort, patients=patients)
    rows = []
    for target in tree["targets"]:
        if "subgroup" in target or (target["statistic"] == "orr" and "criteria" in target):
            continue
        simulated = _statistic(outcomes, target, tree, base)
        if simulated is not None:
            rows.append(
                {
                    "trial": trial,
                    "arm": target["arm"],
                    "endpoint": target["endpoint"],
                    "statistic": target["statistic"] + (f" {target['time_months']}" if "time_months" in target else ""),
                    "published": target["value"],
                    "simulated": round(simulated, 3 if target["statistic"] != "median" else 1),
                    "difference": round(simulated - target["value"], 3),
                    "confirmed": target["confirmed"],
                }
            )
    return pd.DataFrame(rows)


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
    outcomes: Outcomes, target: Mapping[str, object], tree: Mapping[str, object], base: Mapping[str, float | Floats]
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
    arm = outcomes.strategies.index(str(target["arm"]))
    if target["statistic"] == "orr":
        curve = outcomes.survival("response")[0, arm]
        share = float(1.0 - curve[int(RESPONSE_BY / outcomes.grid_step)])  # type: ignore[operator]
        if tree["setting"] == "intermediate":
            odds = share / (1.0 - share) * np.exp(-float(base["response_criteria.mrecist_logit_shift_tace"]))
            share = float(odds / (1.0 + odds))
        return share
    name = names.get(str(target["endpoint"]))
    if name is None:
        return None
    if target["statistic"] == "median":
        return float(outcomes.median(name)[0, arm])
    return float(outcomes.survival(name)[0, arm][round(float(target["time_months"]) / outcomes.grid_step)])  # type: ignore[arg-type, operator]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trials", nargs="*", default=list(TRIALS))
    parser.add_argument("--patients", type=int, default=20_000)
    given = parser.parse_args()
    for trial in given.trials:
        print(run(trial, given.patients).to_string(index=False), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
