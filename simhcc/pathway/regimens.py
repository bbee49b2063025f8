"""Systemic regimens and local treatments: what is given, and which numbers of `params/treatments.yaml` a start brings.

A patient carries the numbers of the running regimen as attributes, so that no expression has to ask which of many
regimens it is. `start` gives the updates of an edge that starts a regimen, `stop` those of one that empties the slot.
"""

from __future__ import annotations

from dataclasses import dataclass

from simhcc import staging
from simhcc.expressions import (
    Expression,
    Operand,
    as_expression,
    attribute,
    exp,
    log,
    lookup,
    maximum,
    minimum,
    parameter,
    uniform,
    where,
)
from simhcc.graph import Effect, Treatment
from simhcc.pathway.attributes import NEVER

EARLY_RECURRENCE = "early_recurrence"
BLEEDING = "liver.bleeding_bevacizumab"
SUPPRESSION_SWITCH = "structure.eradication_instead_of_rate"


@dataclass(frozen=True)
class Regimen:
    """A systemic regimen: drug classes, whether its numbers are those of a later line, and where it borrows from."""

    id: str
    label: str
    ici: bool = False
    tki: bool = False
    anti_vegf: bool = False
    ctla4: bool = False
    lenvatinib: bool = False
    later_line: bool = False
    adjuvant: bool = False
    sheds: str | None = None
    """drug that is stopped first for toxicity while the others go on; none where the second drug is over after a few doses"""
    early_excess: bool = False
    """two immune drugs: deaths of the first months beyond fatal toxicity"""
    months: str | None = None
    """parameter that holds the planned months of treatment"""
    numbers_of: str | None = None
    """regimen whose toxicity, stopping and suppression it takes, where it has none of its own"""
    relative_to: str | None = None
    """regimen whose hidden response it shares, times ratios of its own: the two are compared by these ratios alone"""

    @property
    def bleeds(self) -> bool:
        """Whether bevacizumab is in it: bleeding is counted apart from other severe toxicity."""
        return self.sheds == "bevacizumab"


REGIMENS: tuple[Regimen, ...] = (
    Regimen("sorafenib", "sorafenib", tki=True),
    Regimen("lenvatinib", "lenvatinib", tki=True, lenvatinib=True),
    Regimen("atezo_bev", "atezolizumab + bevacizumab", ici=True, anti_vegf=True, sheds="bevacizumab"),
    Regimen("sintilimab_bev", "sintilimab + bevacizumab", ici=True, anti_vegf=True, sheds="bevacizumab"),
    Regimen("camre_rivo", "camrelizumab + rivoceranib", ici=True, tki=True, sheds="apatinib"),
    Regimen("stride", "tremelimumab + durvalumab", ici=True, ctla4=True, early_excess=True),
    Regimen(
        "stride_len",
        "tremelimumab + durvalumab + lenvatinib",
        ici=True,
        ctla4=True,
        tki=True,
        lenvatinib=True,
        sheds="lenvatinib",
    ),
    Regimen("len_pembro", "lenvatinib + pembrolizumab", ici=True, tki=True, lenvatinib=True, sheds="lenvatinib"),
    Regimen(
        "nivo_ipi",
        "nivolumab + ipilimumab",
        ici=True,
        ctla4=True,
        early_excess=True,
        months="treatments.nivo_ipi.drugs.nivolumab.max_months",
    ),
    Regimen(
        "atezo_bev_tiragolumab",
        "atezolizumab + bevacizumab + tiragolumab",
        ici=True,
        anti_vegf=True,
        relative_to="atezo_bev",
        sheds="bevacizumab",
    ),
    Regimen(
        "atezo_bev_ipilimumab",
        "atezolizumab + bevacizumab + ipilimumab",
        ici=True,
        anti_vegf=True,
        ctla4=True,
        months="treatments.atezo_bev_ipilimumab.drugs.atezolizumab.max_months",
        relative_to="atezo_bev",
        sheds="bevacizumab",
    ),
    Regimen("durvalumab", "durvalumab", ici=True),
    Regimen("durva_bev", "durvalumab + bevacizumab", ici=True, anti_vegf=True, sheds="bevacizumab"),
    Regimen("pembrolizumab", "pembrolizumab", ici=True, later_line=True),
    Regimen("regorafenib", "regorafenib", tki=True, later_line=True),
    Regimen("cabozantinib", "cabozantinib", tki=True, later_line=True),
    Regimen("apatinib", "apatinib", tki=True, later_line=True),
    Regimen("ramucirumab", "ramucirumab", anti_vegf=True, later_line=True),
    Regimen("adjuvant_sorafenib", "adjuvant sorafenib", tki=True, adjuvant=True),
    Regimen(
        "adjuvant_atezo_bev",
        "adjuvant atezolizumab + bevacizumab",
        ici=True,
        anti_vegf=True,
        adjuvant=True,
        sheds="bevacizumab",
    ),
    Regimen("adjuvant_pembrolizumab", "adjuvant pembrolizumab", ici=True, adjuvant=True),
    Regimen(
        "adjuvant_camre_rivo",
        "adjuvant camrelizumab + rivoceranib",
        ici=True,
        tki=True,
        adjuvant=True,
        sheds="apatinib",
    ),
    Regimen(
        "adjuvant_camre_rivo_6m",
        "adjuvant camrelizumab + rivoceranib, six months",
        ici=True,
        tki=True,
        adjuvant=True,
        numbers_of="adjuvant_camre_rivo",
        sheds="apatinib",
    ),
    Regimen(
        "neoadjuvant_camre_rivo",
        "camrelizumab + rivoceranib before operation",
        ici=True,
        tki=True,
        adjuvant=True,
        numbers_of="adjuvant_camre_rivo",
        sheds="apatinib",
    ),
)
BY_ID = {regimen.id: regimen for regimen in REGIMENS}
OWN_TACE_EFFECT = (
    "atezo_bev",
    "camre_rivo",
    "durva_bev",
    "durvalumab",
    "len_pembro",
    "lenvatinib",
    "nivo_ipi",
    "sintilimab_bev",
    "stride",
    "stride_len",
)
WITHOUT_RESIDUAL = ("durva_bev", "stride_len")
LOCAL = {
    "tace": "transarterial chemoembolisation",
    "haic": "hepatic arterial infusion chemotherapy",
    "rt": "radiotherapy of the thrombus",
    "adjuvant_tace": "one adjuvant TACE",
    "adjuvant_haic": "one adjuvant HAIC",
}


def _of(regimen: Regimen, name: str, own: bool = False) -> Expression:
    return parameter(f"treatments.{regimen.id if own or regimen.numbers_of is None else regimen.numbers_of}.{name}")


def early_stop_rate(regimen: Regimen) -> Expression:
    """Rate per month of stopping for toxicity in the first months.

    Stopping follows the course of severe toxicity: high in the first months, then a fixed part of it. The published share
    who stopped by the median exposure is kept: rate x exposure = early rate x (early months + ratio x the rest).
    """
    exposure = _of(regimen, "exposure_median_months")
    early, ratio = parameter("toxicity.early_months"), parameter("toxicity.late_to_early_ratio")
    return _of(regimen, "discontinuation_rate_per_month") * exposure / (early + ratio * (exposure - early))


def _bleeding_share(regimen: Regimen) -> Expression:
    """Share of severe toxicity that is bleeding, by the liver at the start of the regimen.

    The published chance of bleeding over a course becomes a rate with the course of severe toxicity.
    """
    grade_1 = attribute("albi") <= staging.ALBI_1_UPPER
    chances = [-log(1.0 - parameter(f"{BLEEDING}.{name}")) for name in ("p_albi_1", "p_albi_2_3")]
    early, ratio = parameter("toxicity.early_months"), parameter("toxicity.late_to_early_ratio")
    course = early + ratio * maximum(_of(regimen, "exposure_median_months") - early, 0.0)
    severe = _of(regimen, "severe_toxicity_rate_early_per_month") * course
    acts = _of(regimen, "p_bleeding_acts")
    shares = [acts * minimum(chance / severe, parameter(f"{BLEEDING}.max_share_of_severe")) for chance in chances]
    return where(severe > 0.0, where(grade_1, shares[0], shares[1]), 0.0)


def start(regimen_id: str) -> dict[str, Operand]:
    """Updates of an edge that starts a regimen: its numbers, and the drug classes seen from now on."""
    regimen = BY_ID[regimen_id]
    severe, stopping = _of(regimen, "severe_toxicity_rate_early_per_month"), early_stop_rate(regimen)
    excess = _of(regimen, "early_death_excess_rate_per_month") if regimen.early_excess else as_expression(0.0)
    events = severe + stopping + excess
    bleeding = _bleeding_share(regimen) if regimen.bleeds else as_expression(0.0)
    fatal = _of(regimen, "p_death_given_severe_toxicity")
    # Fatal bleeding is part of the published fatal toxicity.
    rest = (fatal - bleeding * parameter(f"{BLEEDING}.p_death")) / (1.0 - bleeding) if regimen.bleeds else fatal
    updates: dict[str, Operand] = {
        "log_drug": log(events),
        "regimen_p_stop": where(events > 0.0, stopping / events, 0.0),
        "regimen_p_excess": where(events > 0.0, excess / events, 0.0) if regimen.early_excess else 0.0,
        "regimen_p_bleeding": bleeding,
        "regimen_p_death": maximum(rest, 0.0),
        "regimen_p_one_drug": parameter("toxicity.p_stop_one_drug") if regimen.sheds else 0.0,
        "one_drug_stopped": 0.0,
        "regimen_months": NEVER,
    }
    if regimen.months is not None:
        updates["regimen_months"] = parameter(regimen.months)
    elif regimen.id != "neoadjuvant_camre_rivo" and regimen.adjuvant:
        updates["regimen_months"] = _of(regimen, "max_duration_months", own=True)
    if regimen.ici:
        updates["seen_ici"] = 1.0
    if regimen.tki:
        updates["seen_tki"] = 1.0
    if regimen.anti_vegf:
        updates["seen_anti_vegf"] = 1.0
    if regimen.ctla4:
        updates["seen_ctla4"] = 1.0
    if regimen.lenvatinib:
        updates["seen_lenvatinib"] = 1.0
    return updates | (_eradication(regimen) if regimen.adjuvant else _response(regimen))


def _published_response(regimen: Regimen) -> tuple[list[Expression], Expression, Expression]:
    """Shares of response, stable disease and progression, share of long control, log hazard ratio on progression.

    A regimen that is relative to another has the other's, with odds ratios on response and long control and a log hazard
    ratio of its own. A share p times an odds ratio r is p r / (1 + p (r - 1)): with a ratio of 1 exactly p.
    """
    reference = regimen if regimen.relative_to is None else BY_ID[regimen.relative_to]
    mix = [lookup(f"treatments.{reference.id}.response_mix", float(k)) for k in range(3)]
    long = _of(reference, "p_long_control")
    log_hr = as_expression(0.0) if reference.id in WITHOUT_RESIDUAL else _of(reference, "progression_log_hr")
    if regimen.relative_to is None:
        return mix, long, log_hr
    response, control = (_of(regimen, f"{name}_or_vs_{regimen.relative_to}") for name in ("response", "long_control"))
    others = 1.0 / (1.0 + mix[0] * (response - 1.0))
    return (
        [mix[0] * (response * others), mix[1] * others, mix[2] * others],
        long * (control / (1.0 + long * (control - 1.0))),
        log_hr + _of(regimen, f"progression_log_hr_vs_{regimen.relative_to}"),
    )


def _response(regimen: Regimen) -> dict[str, Operand]:
    mix, long, log_hr = _published_response(regimen)
    same_response = regimen if regimen.relative_to is None else BY_ID[regimen.relative_to]
    responding = parameter("systemic.p_responder_given_long_control")
    tace = f"treatments.{regimen.id}" if regimen.id in OWN_TACE_EFFECT else None
    dual = regimen.ctla4 and not regimen.anti_vegf
    early = parameter(f"systemic.p_early_progression_long_control_{'dual_ici' if dual else 'other'}")
    # Long control is part of the published mix: its responders, its stable patients, and its early progressions.
    return {
        "regimen_long": long,
        "regimen_response": maximum(mix[0] - (1.0 - early) * responding * long, 0.0),
        "regimen_stable": maximum(mix[1] - (1.0 - early) * (1.0 - responding) * long, 0.0),
        "regimen_primary": maximum(mix[2] - early * long, 0.0),
        "regimen_early_progression": early,
        "regimen_log_hr": log_hr,
        "regimen_log_hr_responder": 0.0 if regimen.ici else log(parameter("systemic.progression_hr_responder_tki")),
        "regimen_log_hr_tace": _rest(
            parameter(f"{tace}.tace_progression_hr" if tace else "combination.progression_hr_mean"), long
        ),
        "regimen_log_or_tace": log(parameter(f"{tace}.tace_response_or" if tace else "combination.response_or")),
        "regimen_months_to_response": _of(same_response, "time_to_response_median_months"),
        "regimen_later": float(regimen.later_line),
        "regimen_p_complete": _of(same_response, "p_complete_given_response"),
    }


def _rest(ratio: Expression, long: Expression) -> Expression:
    """Log hazard ratio on progression under TACE of those without long control.

    With control PFS s at one year, s**ratio = long + (1 - long) x s**rest: the published ratio is kept at one year. A ratio so
    bad that fewer are free of progression than have long control, which only far draws of a prior have, leaves nearly none
    of the others free (`combination.least_free`).
    """
    s = parameter("combination.reference_pfs_12m")
    mixed = exp(ratio * log(s))
    return log(log(maximum((mixed - long) / (1.0 - long), parameter("combination.least_free"))) / log(s))


def _eradication(regimen: Regimen) -> dict[str, Operand]:
    """Occult disease is eradicated at the start with a probability; only where the structure says so."""
    if regimen.id not in (
        "adjuvant_camre_rivo",
        "adjuvant_camre_rivo_6m",
        "adjuvant_atezo_bev",
        "neoadjuvant_camre_rivo",
    ):
        return {}
    if regimen.id == "neoadjuvant_camre_rivo":
        return {}
    p = parameter(SUPPRESSION_SWITCH) * _of(regimen, "p_eradicate_occult")
    return {"log_early": where(uniform("eradicated") < p, -NEVER, attribute("log_early"))}


def stop() -> dict[str, Operand]:
    """Updates of an edge that empties the systemic slot."""
    return {"log_drug": -NEVER, "regimen_months": NEVER, "one_drug_stopped": 0.0}


def stop_one_drug() -> dict[str, Operand]:
    """Updates of an edge that stops one drug of the running combination, bevacizumab where it is one, and goes on with the rest.

    The clocks of the regimen go on; what comes later is toxicity at a lower rate and progression by the published ratio.
    """
    slower = log(parameter("systemic.progression_hr_after_one_drug_stopped"))
    return {
        "one_drug_stopped": 1.0,
        "regimen_p_one_drug": 0.0,
        "regimen_p_bleeding": 0.0,
        "log_drug": attribute("log_drug") + log(parameter("toxicity.rate_ratio_one_drug_left")),
        "log_progression": attribute("log_progression") + slower,
        "log_progression_later": attribute("log_progression_later") + slower,
    }


def treatments() -> tuple[Treatment, ...]:
    """All treatments with their effects on early recurrence; effects on other hazards are part of the patient's rates."""
    systemic = [Treatment(id=r.id, slot="systemic", effects=_suppression(r), label=r.label) for r in REGIMENS]
    local = [Treatment(id=name, slot="local", effects=_one_session(name), label=label) for name, label in LOCAL.items()]
    return (*local, *systemic)


def _suppression(regimen: Regimen) -> dict[str, Effect]:
    if not regimen.adjuvant or regimen.id == "neoadjuvant_camre_rivo":
        return {}
    return {
        EARLY_RECURRENCE: Effect(
            ratio=_of(regimen, "speed"),
            # With eradication the rest of the effect only postpones; without it a share of the risk is avoided for good.
            share_postponed=where(parameter(SUPPRESSION_SWITCH), 1.0, _of(regimen, "share_postponed")),
        )
    }


def _one_session(name: str) -> dict[str, Effect]:
    if not name.startswith("adjuvant"):
        return {}
    ratio, months = parameter(f"treatments.{name}.hr_early"), parameter(f"treatments.{name}.effect_months")
    return {EARLY_RECURRENCE: Effect(ratio=ratio, steps=((months, 1.0),))}
