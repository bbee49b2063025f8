"""The attributes of a patient at model entry, and the classes derived from them: names, units, levels, meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simhcc import staging

Array = NDArray[np.float64]
Columns = Mapping[str, Array]

NO_YES = {0: "no", 1: "yes"}


@dataclass(frozen=True)
class Attribute:
    """One attribute: its unit, its codes where it is a class, the range of its values, and its meaning."""

    unit: str
    meaning: str
    low: float
    high: float
    levels: Mapping[int, str] | None = None
    whole: bool = False
    hidden: bool = False


def _flag(meaning: str) -> Attribute:
    return Attribute("flag", meaning, 0.0, 1.0, NO_YES, True)


PV_NAMES = {0: "none", 1: "Vp1", 2: "Vp2", 3: "Vp3", 4: "Vp4"}

# New attributes go to the end: the Gaussian copula is built up in this order, so what stands before keeps its values.
ATTRIBUTES: dict[str, Attribute] = {
    "age": Attribute("years", "age at model entry", 0.0, 110.0),
    "male": _flag("sex is male"),
    "weight": Attribute("kg", "body weight", 20.0, 250.0),
    "ecog": Attribute("grade", "ECOG performance status", 0.0, 4.0, {0: "0", 1: "1", 2: "2", 3: "3", 4: "4"}, True),
    "surveillance_regular": _flag("followed by regular surveillance"),
    "hbv": _flag("chronic hepatitis B"),
    "hcv": _flag("hepatitis C, past or present"),
    "antiviral": _flag("covered by antivirals against hepatitis B; 0 without hepatitis B"),
    "cirrhosis": _flag("liver cirrhosis"),
    "albi": Attribute("score", "0.66 log10 bilirubin (umol/l) - 0.085 albumin (g/l)", -5.0, 2.0),
    "child_pugh": Attribute("points", "Child-Pugh points", 5.0, 15.0, {n: str(n) for n in range(5, 16)}, True),
    "varices": _flag("portal hypertension or varices"),
    "decompensated": _flag("ascites, encephalopathy or bleeding now; only from Child-Pugh 7, always from 10"),
    "nodules": Attribute("count", "number of liver tumours", 1.0, 30.0, None, True),
    "diameter": Attribute("cm", "largest diameter of the largest liver tumour, to the millimetre", 0.1, 30.0),
    "afp": Attribute("ng_per_ml", "alpha-fetoprotein", 0.1, 1e7),
    "lobes": Attribute("count", "liver lobes with tumour", 1.0, 2.0, {1: "one", 2: "both"}, True),
    "contralateral_within_milan": _flag("tumours of the lesser lobe lie within Milan; 1 when there are none"),
    "infiltrative": _flag("infiltrative growth: counts as a 6-and-12 score above 12"),
    "pv": Attribute("grade", "portal vein tumour thrombus, Vp grade", 0.0, 4.0, PV_NAMES, True),
    "hv": _flag("hepatic-vein or caval tumour thrombus"),
    "ehs": _flag("extrahepatic spread"),
    "mvi": Attribute(
        "grade",
        "microvascular invasion M0, M1, M2: there from the start, known after resection; at least 1 with a thrombus",
        0.0,
        2.0,
        {0: "M0", 1: "M1", 2: "M2"},
        True,
        True,
    ),
    "surgical_barrier": _flag("remnant, location, portal hypertension or comorbidity forbid resection"),
    "prior_local": _flag("had local therapy before model entry"),
    "asian": _flag("Asian"),
    "ablation": _flag("the curative treatment done before entry was ablation, not resection (adjuvant trials)"),
    "judged_resectable": _flag("surgeons of the trial call the tumour resectable despite more than three nodules"),
    "frailty": Attribute(
        "multiplier", "tumour biology, lognormal with mean 1, sd of the log `frailty.sd_log`", 0.0, np.inf, hidden=True
    ),
    "frailty_z": Attribute("standard normal", "frailty = exp(sd z - sd^2 / 2)", -40.0, 40.0, hidden=True),
    "fitness": Attribute("standard normal", "fitness seen by doctors, not by the data", -40.0, 40.0, hidden=True),
    "tace_sensitivity": Attribute("standard normal", "sensitivity of the tumour to TACE", -40.0, 40.0, hidden=True),
}

# Attributes that no population file describes: the same in every population.
HIDDEN_NORMALS = ("frailty_z", "fitness", "tace_sensitivity")
SAMPLED = tuple(name for name in ATTRIBUTES if name not in (*HIDDEN_NORMALS, "frailty"))


@dataclass(frozen=True)
class Derived:
    """One class computed from attributes: what it needs, its codes, and its rule in `simhcc.staging`."""

    needs: tuple[str, ...]
    rule: Callable[..., NDArray[np.float64] | NDArray[np.bool_]]
    meaning: str
    levels: Mapping[int, str] | None = None

    def of(self, columns: Columns) -> Array:
        """The derived values, float64, for columns that hold all of `needs`."""
        return np.asarray(self.rule(*(columns[name] for name in self.needs)), dtype=np.float64)


_STAGE = ("ecog", "child_pugh", "nodules", "diameter", "pv", "hv", "ehs")
_BURDEN = ("nodules", "diameter", "infiltrative")
_RESECTION = (
    "child_pugh",
    "nodules",
    "diameter",
    "lobes",
    "contralateral_within_milan",
    "pv",
    "ehs",
    "surgical_barrier",
    "judged_resectable",
)


def _tumour_only(*stage: Array) -> Array:
    ecog, child_pugh, nodules, diameter, pv, hv, ehs = stage
    return staging.bclc(ecog, child_pugh, nodules, diameter, pv, hv, ehs, ecog_rule="tumour_only")


def _spread(pv: Array, hv: Array, ehs: Array) -> NDArray[np.bool_]:
    return staging.vascular(pv, hv) | (ehs >= 1.0)


DERIVED: dict[str, Derived] = {
    "cnlc": Derived(_STAGE, staging.cnlc, "CNLC stage", staging.CNLC_NAMES),
    "bclc": Derived(_STAGE, staging.bclc, "BCLC 2022 stage, ECOG 1-2 counted as C", staging.BCLC_NAMES),
    "bclc_tumour_only": Derived(_STAGE, _tumour_only, "BCLC 2022 stage by the tumour alone", staging.BCLC_NAMES),
    "burden_score": Derived(("nodules", "diameter"), staging.burden_score, "diameter in cm + nodules"),
    "six_and_twelve": Derived(_BURDEN, staging.six_and_twelve, "6-and-12 class", staging.SIX_AND_TWELVE_NAMES),
    "up_to_seven": Derived(_BURDEN, staging.up_to_seven, "within up-to-seven", NO_YES),
    "milan": Derived(("nodules", "diameter", "pv", "hv", "ehs"), staging.milan, "within Milan", NO_YES),
    "tace_unsuitable": Derived((*_BURDEN, "albi"), staging.tace_unsuitable, "TACE-unsuitable (APPLE)", NO_YES),
    "tace_eligible": Derived(
        ("ecog", "child_pugh", "pv", "ehs", "decompensated"), staging.tace_eligible, "fit for TACE", NO_YES
    ),
    "resectability": Derived(_RESECTION, staging.resectability, "resectability", staging.RESECTABILITY_NAMES),
    "cheng": Derived(("pv",), staging.cheng_type, "Cheng type of the portal thrombus", staging.CHENG_NAMES),
    "albi_grade": Derived(("albi",), staging.albi_grade, "modified ALBI grade", staging.ALBI_GRADE_NAMES),
    "child_pugh_class": Derived(
        ("child_pugh",), staging.child_pugh_class, "Child-Pugh class", staging.CHILD_PUGH_CLASS_NAMES
    ),
    "macrovascular": Derived(("pv", "hv"), staging.vascular, "any portal, hepatic-vein or caval thrombus", NO_YES),
    "thrombus_or_spread": Derived(
        ("pv", "hv", "ehs"), _spread, "macrovascular thrombus, extrahepatic spread or both", NO_YES
    ),
}


def levels_of(name: str) -> Mapping[int, str] | None:
    """Codes and names of an attribute or derived class; None where its values are numbers."""
    return ATTRIBUTES[name].levels if name in ATTRIBUTES else DERIVED[name].levels
