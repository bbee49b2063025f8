"""What is known of a patient: attributes from the cohort, attributes acquired on the way, and derived classes.

The derived classes repeat the rules of `simhcc.staging` as expressions, so that decision tables see the stage of now.
"""

from __future__ import annotations

from collections.abc import Mapping

from simhcc import staging
from simhcc.expressions import (
    MONTHS,
    MONTHS_IN_STATE,
    Expression,
    Operand,
    as_expression,
    attribute,
    minimum,
    months_on,
    parameter,
    receiving,
    where,
)
from simhcc.graph import Attribute
from simhcc.population import ATTRIBUTES, DERIVED

NO_YES = ("no", "yes")
RESPONSES = ("none", "stable", "stable_shrinking", "partial", "complete")
CLEARED_BY = ("never", "resection", "conversion_resection", "ablation", "transplant", "radiological_cr")
ROUTES = ("resection", "neoadjuvant", "conversion", "re_resection", "ablation", "transplant")
CLASSES = ("long_control", "responder", "stable", "primary_progressive")
LINES = ("none", "first", "later")
NEVER = float("inf")

# Attributes of the cohort that the pathway reads; all others of the cohort are left aside.
FROM_COHORT = (
    "age",
    "male",
    "ecog",
    "surveillance_regular",
    "hbv",
    "antiviral",
    "hcv",
    "cirrhosis",
    "albi",
    "child_pugh",
    "varices",
    "decompensated",
    "nodules",
    "diameter",
    "afp",
    "lobes",
    "contralateral_within_milan",
    "infiltrative",
    "pv",
    "hv",
    "ehs",
    "mvi",
    "surgical_barrier",
    "judged_resectable",
    "ablation",
    "frailty_z",
    "tace_sensitivity",
)

# name -> (value at entry, levels, meaning)
_ACQUIRED: dict[str, tuple[float, tuple[str, ...], str]] = {
    # Set by whoever prepares a cohort; nothing unless it does.
    "cleared_at_entry": (0.0, NO_YES, "enters after curative treatment, with a clean scan"),
    "trial_log_early": (0.0, (), "between-trial effect on early recurrence, log hazard ratio"),
    "trial_log_progression": (0.0, (), "between-trial effect on progression, log hazard ratio"),
    "trial_log_death": (0.0, (), "between-trial effect on cancer death, log hazard ratio"),
    # History.
    "tumour": (1.0, NO_YES, "visible tumour"),
    "cleared_by": (0.0, CLEARED_BY, "last curative treatment"),
    "clearances": (0.0, (), "number of curative treatments"),
    "route": (0.0, ROUTES, "curative treatment planned"),
    "line": (0.0, (), "lines of systemic therapy for visible tumour begun"),
    "phase": (0.0, LINES, "no, first or later systemic line, as prices and utilities need it"),
    "seen_ici": (0.0, NO_YES, "has had an immune checkpoint inhibitor"),
    "seen_tki": (0.0, NO_YES, "has had a tyrosine kinase inhibitor"),
    "seen_anti_vegf": (0.0, NO_YES, "has had an antibody against VEGF or its receptor"),
    "seen_ctla4": (0.0, NO_YES, "has had an antibody against CTLA-4"),
    "seen_lenvatinib": (0.0, NO_YES, "has had lenvatinib"),
    "one_drug_stopped": (0.0, NO_YES, "one drug of the running combination has been stopped, the others go on"),
    "combined_start": (0.0, NO_YES, "systemic therapy began together with local therapy"),
    "sessions": (0.0, (), "TACE sessions or HAIC blocks of the running course"),
    "failures": (0.0, (), "consecutive sessions without response"),
    "treated_locally": (0.0, (), "a TACE session or HAIC block survived in the last course"),
    "local_additions": (0.0, (), "local treatments added to systemic therapy"),
    "observed_response": (0.0, RESPONSES, "best response seen in the running treatment"),
    "progressed": (0.0, NO_YES, "progression seen in the running treatment"),
    "liver_only": (1.0, NO_YES, "last progression confined to the liver"),
    "new_lesions": (0.0, NO_YES, "last progression was new tumours in the liver"),
    "viable": (100.0, (), "viable tumour in the specimen, percent"),
    "adjuvant_planned": (0.0, NO_YES, "systemic therapy before operation goes on after it"),
    "high_risk": (0.0, NO_YES, "primary tumour CNLC IIIa or M2"),
    "surgery_declined": (0.0, NO_YES, "did not take the conversion operation that was offered"),
    "ici_access": (1.0, NO_YES, "an immune checkpoint inhibitor can be had in a later line"),
    "reviews": (0.0, NO_YES, "the strategy looks again at fixed times for operation or local therapy"),
    "run_in": (0.0, NO_YES, "in the run-in of a trial that randomises after it; the first review is its end"),
    "randomised": (0.0, NO_YES, "randomised after a run-in"),
    "adjuvant_tace_usual": (0.0, NO_YES, "would have one adjuvant TACE as usual care, whatever the strategy"),
    "hcv_active": (0.0, NO_YES, "hepatitis C without sustained response"),
    "on_antivirals": (0.0, NO_YES, "hepatitis B under antivirals, which are paid for"),
    "tace_closed": (0.0, NO_YES, "a lasting loss of liver function has closed TACE for good"),
    "complete_since": (NEVER, (), "months since entry at which a complete response to systemic therapy was seen"),
    # Hidden.
    "response_class": (2.0, CLASSES, "hidden response class of the running systemic therapy"),
    "long_lived": (0.0, NO_YES, "hidden: has had long control, and so lives long after progression"),
    "fate": (1.0, (), "hidden: a uniform number; below the chance of living long after progression means long-lived"),
    "convertible": (1.0, (), "hidden: a uniform number; below the chance of becoming resectable means resectable"),
    "continues": (0.0, NO_YES, "hidden: would go on beyond progression"),
    # What hazards need, kept up to date on edges: see `risk`.
    "risk_progression": (0.0, (), "log hazard ratio of progression by extent and host"),
    "risk_death": (0.0, (), "log hazard ratio of cancer death by extent and host"),
    "log_progression": (0.0, (), "log rate of progression per month"),
    "log_progression_later": (0.0, (), "the same once a response has been seen"),
    "log_death": (0.0, (), "log rate of cancer death per month"),
    "log_liver": (0.0, (), "log rate of liver events per month"),
    "drug_liver": (1.0, (), "share of the liver events of an advanced trial that its drugs and tumour bring here"),
    "log_local": (0.0, (), "log rate of progression under local therapy, before response and drugs"),
    "session_log_odds": (0.0, (), "log odds of response to a first session, with the drugs that run"),
    "session_complete": (0.0, (), "share of complete responses among responses"),
    "session_confirmed": (0.0, NO_YES, "hidden: responses to sessions are confirmed by the review of a trial"),
    "session_progression": (0.0, (), "share of primary progression among failures of the first session"),
    "session_centre": (0.0, (), "log mean hazard ratio over the responses to a first session"),
    "log_early": (0.0, (), "log mass of early recurrence"),
    "log_late": (0.0, (), "log rate of late or local recurrence per month"),
    "log_drug": (-NEVER, (), "log rate of drug events per month in the first months"),
    "local_burden": (1.0, (), "6-and-12 class when local therapy began or last progressed"),
    # Of the running systemic regimen.
    "regimen_long": (0.0, (), "share with long control"),
    "regimen_response": (0.0, (), "share with response, long control apart"),
    "regimen_stable": (0.0, (), "share with stable disease, long control apart"),
    "regimen_primary": (0.0, (), "share with primary progression"),
    "regimen_early_progression": (0.0, (), "chance of an early progression in long control"),
    "regimen_log_hr": (0.0, (), "log hazard ratio of the regimen on progression"),
    "regimen_log_hr_responder": (0.0, (), "the same for responders"),
    "regimen_log_hr_tace": (0.0, (), "log hazard ratio on progression under local therapy"),
    "regimen_log_or_tace": (0.0, (), "log odds ratio of the response to a session"),
    "regimen_months_to_response": (NEVER, (), "median months to response"),
    "regimen_p_stop": (0.0, (), "share of drug events that stop the drug"),
    "regimen_p_death": (0.0, (), "share of severe toxicity that is fatal, bleeding apart"),
    "regimen_p_bleeding": (0.0, (), "share of severe toxicity that is bleeding"),
    "regimen_p_excess": (0.0, (), "share of drug events that are early deaths beyond fatal toxicity"),
    "regimen_p_one_drug": (
        0.0,
        (),
        "share of severe toxicity, bleeding and fatal apart, after which one drug of several is stopped",
    ),
    "regimen_p_complete": (0.0, (), "share of responses that are complete"),
    "regimen_months": (NEVER, (), "planned months of treatment"),
    "regimen_later": (0.0, NO_YES, "published response is that of a later line"),
    # Times, in months since the running stay began unless said otherwise.
    "wait": (0.0, (), "operation or ablation"),
    "session_in": (NEVER, (), "next TACE session"),
    "haic_in": (NEVER, (), "next block of HAIC"),
    "scan_in": (NEVER, (), "scan after a session"),
    "response_in": (NEVER, (), "response"),
    "review_in": (NEVER, (), "first review of the running systemic therapy"),
    "adjuvant_in": (NEVER, (), "start of adjuvant treatment"),
    "scan_origin": (0.0, (), "months since entry from which scans are counted"),
}

# What nobody at the bedside knows: decision tables may not ask for it.
HIDDEN = (
    "response_class",
    "long_lived",
    "fate",
    "convertible",
    "frailty_z",
    "tace_sensitivity",
    "log_progression_later",
)

# Units of drugs dosed by weight: attribute -> (drug, regimen whose dose it is, key of the dose). Filled with the cohort.
DOSES: dict[str, tuple[str, str, str]] = {
    "vials_bevacizumab": ("bevacizumab", "atezo_bev", "dose_mg_per_kg"),
    "vials_ipilimumab_low": ("ipilimumab", "atezo_bev_ipilimumab", "dose_mg_per_kg"),
    "vials_ipilimumab_high": ("ipilimumab", "nivo_ipi", "dose_mg_per_kg"),
    "vials_nivolumab": ("nivolumab", "nivo_ipi", "induction_dose_mg_per_kg"),
    "vials_ramucirumab": ("ramucirumab", "ramucirumab", "dose_mg_per_kg"),
    "tablets_lenvatinib": ("lenvatinib", "lenvatinib", "tablets"),
}


def attributes() -> tuple[Attribute, ...]:
    """All attributes of the pathway: those the cohort must have, then the acquired ones."""
    from_cohort = [
        Attribute(name=name, levels=NO_YES if name == "decompensated" else (), label=ATTRIBUTES[name].meaning)
        for name in FROM_COHORT
    ]
    acquired = [
        Attribute(name=name, initial=value, levels=levels, label=meaning)
        for name, (value, levels, meaning) in _ACQUIRED.items()
    ]
    by_weight = [
        Attribute(name=name, initial=0.0, label=f"units of {drug} that the patient's weight needs")
        for name, (drug, _, _) in DOSES.items()
    ]
    return (*from_cohort, *acquired, *by_weight)


def level_code(name: str, level: str) -> float | None:
    """Code of a named level of an attribute or derived class; None where it has no such level."""
    if name in _ACQUIRED:
        levels = _ACQUIRED[name][1]
        return float(levels.index(level)) if level in levels else None
    if name in OWN_LEVELS:
        return OWN_LEVELS[name].get(level)
    known = ATTRIBUTES[name].levels if name in ATTRIBUTES else DERIVED[name].levels if name in DERIVED else None
    return next((float(code) for code, text in (known or {}).items() if text == level), None)


def levels_of(name: str) -> tuple[str, ...]:
    """Names of the levels of an attribute or derived class, empty where its values are numbers."""
    if name in _ACQUIRED:
        return _ACQUIRED[name][1]
    if name in OWN_LEVELS:
        return tuple(OWN_LEVELS[name])
    known = ATTRIBUTES[name].levels if name in ATTRIBUTES else DERIVED[name].levels if name in DERIVED else None
    return tuple((known or {}).values())


# -- derived classes -----------------------------------------------------------------------------------------------


def _first(rules: list[tuple[Expression, int]], otherwise: int) -> Expression:
    result: Operand = float(otherwise)
    for condition, code in reversed(rules):
        result = where(condition, float(code), result)
    return as_expression(result)


A = attribute
ECOG, POINTS, NODULES, DIAMETER = A("ecog"), A("child_pugh"), A("nodules"), A("diameter")
PV, HV, EHS, ALBI, AFP = A("pv"), A("hv"), A("ehs"), A("albi"), A("afp")
SCORE = NODULES + DIAMETER
VASCULAR = (PV >= 1.0) | (HV >= 1.0)
END_STAGE = (ECOG >= staging.ECOG_END_STAGE) | (POINTS > staging.CHILD_PUGH_B_UPPER)
SOLITARY = NODULES <= 1.0
FEW = NODULES <= staging.FEW_NODULES


def cnlc() -> Expression:
    """CNLC stage, codes of `staging.Cnlc`."""
    return _first(
        [
            (END_STAGE, staging.Cnlc.IV),
            (EHS >= 1.0, staging.Cnlc.IIIB),
            (VASCULAR, staging.Cnlc.IIIA),
            (NODULES > staging.FEW_NODULES, staging.Cnlc.IIB),
            ((NODULES > 1.0) & (DIAMETER > staging.CNLC_MULTIPLE_CM), staging.Cnlc.IIA),
            ((NODULES > 1.0) | (DIAMETER > staging.CNLC_SOLITARY_CM), staging.Cnlc.IB),
        ],
        staging.Cnlc.IA,
    )


def bclc(strict: bool) -> Expression:
    """BCLC stage, codes of `staging.Bclc`; `strict` counts ECOG 1-2 as C."""
    advanced = (EHS >= 1.0) | VASCULAR
    if strict:
        advanced = advanced | (ECOG >= 1.0)
    return _first(
        [
            (END_STAGE, staging.Bclc.D),
            (advanced, staging.Bclc.C),
            (
                (NODULES > staging.FEW_NODULES) | ((NODULES > 1.0) & (DIAMETER > staging.BCLC_MULTIPLE_CM)),
                staging.Bclc.B,
            ),
            ((NODULES > 1.0) | (DIAMETER > staging.BCLC_VERY_EARLY_CM), staging.Bclc.A),
        ],
        staging.Bclc.VERY_EARLY,
    )


def six_and_twelve() -> Expression:
    """6-and-12 class, codes of `staging.SixAndTwelve`."""
    return _first([((A("infiltrative") >= 1.0) | (SCORE > staging.TWELVE), 3), (SCORE > staging.SIX, 2)], 1)


def within_seven() -> Expression:
    """Within up-to-seven."""
    return (SCORE <= staging.SEVEN) & (A("infiltrative") < 1.0)


def milan() -> Expression:
    """Within Milan."""
    solitary = SOLITARY & (DIAMETER <= staging.MILAN_SOLITARY_CM)
    few = FEW & (DIAMETER <= staging.MILAN_MULTIPLE_CM)
    return ~VASCULAR & (EHS < 1.0) & (solitary | few)


def tace_eligible() -> Expression:
    """Fit for TACE."""
    return (
        (EHS < 1.0)
        & (PV <= staging.TACE_MAX_VP)
        & (POINTS <= staging.CHILD_PUGH_B7)
        & (ECOG <= 1.0)
        & (A("decompensated") < 1.0)
    )


def resectability() -> Expression:
    """Resectable, potentially resectable or unresectable, codes of `staging.Resectability`."""
    confined = (EHS < 1.0) & (PV <= staging.RESECTABLE_MAX_VP)
    minor = SOLITARY & (DIAMETER <= staging.CNLC_SOLITARY_CM) & (PV < 1.0)
    liver = (POINTS <= staging.CHILD_PUGH_A_UPPER) | ((POINTS <= staging.CHILD_PUGH_B7) & minor)
    few = FEW | (A("judged_resectable") >= 1.0)
    one_side = (A("lobes") <= 1.0) | (A("contralateral_within_milan") >= 1.0)
    return _first([(confined & (A("surgical_barrier") < 1.0) & few & liver, 1), (confined & one_side, 2)], 3)


def albi_grade() -> Expression:
    """Modified ALBI grade, codes of `staging.AlbiGrade`."""
    return _first(
        [(ALBI <= staging.ALBI_1_UPPER, 1), (ALBI < staging.ALBI_2A_UPPER, 2), (ALBI <= staging.ALBI_2_UPPER, 3)], 4
    )


def child_pugh_class() -> Expression:
    """Child-Pugh class, codes of `staging.ChildPughClass`."""
    return _first([(POINTS <= staging.CHILD_PUGH_A_UPPER, 1), (POINTS <= staging.CHILD_PUGH_B_UPPER, 2)], 3)


def p_becomes_resectable() -> Expression:
    """Chance of becoming resectable, by response seen and anatomy (clinical model, section 6)."""
    p = parameter
    response, shrinking = A("observed_response") >= 3.0, A("observed_response") >= 2.0
    chances = [
        where(
            response,
            p(f"conversion.p_resectable_{side}.response"),
            where(
                shrinking,
                p(f"conversion.p_resectable_{side}.stable_shrinking"),
                p(f"conversion.p_resectable_{side}.stable"),
            ),
        )
        for side in ("potentially", "bilobar")
    ]
    chance = where(resectability() <= 2.0, *chances)
    factor = where(PV >= 4.0, p("conversion.factor_vp4"), where(PV >= 3.0, p("conversion.factor_vp3"), 1.0))
    local = where(
        receiving("haic"),
        p("conversion.factor_tace_alone") * p("haic.conversion_factor_vs_tace"),
        where(A("log_drug") == -NEVER, p("conversion.factor_tace_alone"), 1.0),
    )
    return minimum(chance * factor * local * where(EHS >= 1.0, p("conversion.factor_extrahepatic"), 1.0), 1.0)


def derived() -> dict[str, Expression]:
    """Classes that decision tables may use like attributes."""
    return {
        "cnlc": cnlc(),
        "bclc": bclc(strict=True),
        "bclc_tumour_only": bclc(strict=False),
        "burden_score": SCORE,
        "six_and_twelve": six_and_twelve(),
        "up_to_seven": within_seven(),
        "milan": milan(),
        "tace_unsuitable": ~within_seven() | (ALBI >= staging.ALBI_2A_UPPER),
        "tace_eligible": tace_eligible(),
        "resectability": resectability(),
        "cheng": _first([(PV >= 4.0, 3), (PV >= 3.0, 2), (PV >= 1.0, 1)], 0),
        "albi_grade": albi_grade(),
        "child_pugh_class": child_pugh_class(),
        "macrovascular": VASCULAR,
        "thrombus_or_spread": VASCULAR | (EHS >= 1.0),
        "became_resectable": A("convertible") < p_becomes_resectable(),
        "months_on_systemic": months_on("systemic"),
        "months_in_state": MONTHS_IN_STATE,
        "months_in_complete_response": MONTHS - A("complete_since"),
        "passes_run_in": A("convertible") < parameter("talentop.p_resectable_after_run_in"),
    }


OWN_LEVELS: Mapping[str, Mapping[str, float]] = {
    name: {"no": 0.0, "yes": 1.0} for name in ("became_resectable", "passes_run_in")
}
