"""The resectable setting: operation or ablation, adjuvant treatment, recurrence, and what is done about it."""

from __future__ import annotations

from simhcc.expressions import (
    MONTHS_IN_STATE,
    Expression,
    Operand,
    attribute,
    exp,
    log,
    lookup,
    maximum,
    minimum,
    parameter,
    standard_normal,
    uniform,
    where,
)
from simhcc.graph import STAY, Branch, Chance, Decision, Edge, Hazard, Scheduled, State, Transition
from simhcc.pathway import common, regimens, risk
from simhcc.pathway.attributes import CLEARED_BY, DIAMETER, NEVER, NODULES, POINTS, PV, ROUTES, cnlc

RESECTION, NEOADJUVANT, CONVERSION, RE_RESECTION, ABLATION, TRANSPLANT = (float(i) for i in range(len(ROUTES)))
_ROUTE = attribute("route")
_BY = {name: float(code) for code, name in enumerate(CLEARED_BY)}


def planned(route: float, wait: Operand) -> dict[str, Operand]:
    """Updates on planning a curative treatment."""
    return {"route": route, "wait": wait, "adjuvant_in": NEVER}


def states() -> tuple[State, ...]:
    """Waiting for curative treatment, and free of disease."""
    return (
        State(
            name="awaiting_curative",
            label="awaiting operation or ablation",
            transitions=(common.death_other(), common.drug_event()),
            scheduled=(
                Scheduled(
                    name="surgery_day",
                    first=where(_ROUTE >= ABLATION, NEVER, attribute("wait")),
                    mark="operated",
                    to="operation",
                ),
                Scheduled(
                    name="ablation_day",
                    first=where(_ROUTE >= ABLATION, attribute("wait"), NEVER),
                    to="ablation_or_transplant",
                ),
            ),
        ),
        State(
            name="disease_free",
            label="free of disease",
            transitions=(
                common.death_other(),
                *_recurrences("", attribute("surveillance_regular"), common.FOLLOW_UP_SCANS),
                *_recurrences("_irregular", 1.0 - attribute("surveillance_regular"), common.IRREGULAR_SCANS),
                common.liver_event(),
                common.drug_event(),
            ),
            scheduled=(
                Scheduled(name="adjuvant_start", first=attribute("adjuvant_in"), to="fit_for_adjuvant"),
                common.planned_stop(attribute("log_progression")),
            ),
        ),
    )


def _recurrences(suffix: str, applies: Operand, scans: str) -> tuple[Transition, Transition]:
    """Early and late recurrence, seen at the scans of the patients to whom they apply."""
    tau = parameter("recurrence.early_tau_months")
    never = where(applies, 0.0, -NEVER)
    return (
        Transition(
            name=regimens.EARLY_RECURRENCE + suffix,
            effect=regimens.EARLY_RECURRENCE,
            hazard=Hazard("gompertz", {"shape": -1.0 / tau, "rate": 1.0 / tau}),
            log_multiplier=attribute("log_early") + never,
            seen_at_scan=scans,
            mark="recurrence",
            to="recurrence_pattern",
        ),
        Transition(
            name="late_recurrence" + suffix,
            hazard=common.UNIT,
            log_multiplier=attribute("log_late") + never,
            seen_at_scan=scans,
            mark="recurrence",
            to="recurrence_pattern",
        ),
    )


def instants() -> tuple[Chance | Decision, ...]:
    """Operation, pathology, adjuvant treatment and recurrence."""
    return (
        _operation(),
        _ablation(),
        _pathology(),
        _fit_for_adjuvant(),
        _adjuvant(),
        _pattern(),
        _at_recurrence(),
        _curative_again(),
        _transplant_chance(),
    )


def _operation() -> Chance:
    p = parameter
    conversion, neoadjuvant = _ROUTE == CONVERSION, _ROUTE == NEOADJUVANT
    waiting = 1.0 - exp(-exp(attribute("log_progression")) * attribute("wait"))
    in_wait = where(
        conversion,
        waiting,
        where(neoadjuvant, p("treatments.neoadjuvant_camre_rivo.p_progression_prevents_surgery"), 0.0),
    )
    not_resected = where(
        neoadjuvant,
        # Of all who are not resected, those whose progression forbids it are counted apart; a draw may have more of them.
        maximum(
            0.0,
            p("surgery.p_not_resected_neoadjuvant")
            - p("treatments.neoadjuvant_camre_rivo.p_progression_prevents_surgery"),
        ),
        p("surgery.p_not_resected_surgery_first"),
    )
    major = (p("surgery.major_if_diameter_over_cm") < DIAMETER) | attribute("cirrhosis") | attribute("varices")
    death = where(
        conversion,
        p("surgery.p_death_90d_conversion"),
        where(major, p("surgery.p_death_90d_major_or_cirrhotic"), p("surgery.p_death_90d_minor")),
    )
    going = 1.0 - in_wait
    resected = going * (1.0 - not_resected) * (1.0 - death)
    margin = where(_ROUTE >= 0.0, p("surgery.p_r1"), 0.0)
    return Chance(
        name="operation",
        label="operation",
        branches=(
            Branch(
                name="progression_forbids_surgery",
                weight=in_wait,
                mark="progression_forbids_surgery",
                systemic="none",
                updates={
                    **regimens.stop(),
                    "diameter": common.grows(),
                    "afp": common.rising_afp(),
                    "pv": where(
                        risk.drawn("vascular", p("resectable.p_vascular_when_surgery_forbidden")),
                        common.vascular_grade("grade"),
                        PV,
                    ),
                    "ehs": risk.drawn("spread", p("resectable.p_spread_when_surgery_forbidden")),
                    "surgical_barrier": 1.0,
                },
                to="at_recurrence",
            ),
            Branch(
                name="not_resected",
                weight=going * not_resected,
                mark="not_resected",
                systemic="none",
                updates={**regimens.stop(), "surgical_barrier": 1.0},
                to="at_recurrence",
            ),
            Branch(name="death_90d", weight=going * (1.0 - not_resected) * death, to="dead_treatment"),
            Branch(
                name="r1", weight=resected * margin, mark="resected_R1", updates=_cleared(margin=True), to="pathology"
            ),
            Branch(name="r0", weight=resected * (1.0 - margin), mark="resected_R0", updates=_cleared(), to="pathology"),
        ),
    )


def _cleared(margin: bool = False) -> dict[str, Operand]:
    """What an operation leaves: pathology seen, and the rates of recurrence it implies."""
    conversion, neoadjuvant = _ROUTE == CONVERSION, _ROUTE == NEOADJUVANT
    lasting = risk.drawn("lasting_step", parameter("liver.resection.p_lasting_step"))
    early = where(
        conversion,
        risk.early_mass(after_conversion=True),
        risk.early_mass(after_conversion=False) + where(neoadjuvant, _pathology_effect(), 0.0),
    )
    if margin:
        early = early + log(parameter("surgery.hr_r1_early_mass"))
    return {
        "viable": _viable(conversion, neoadjuvant),
        "log_early": early,
        "log_late": where(conversion, risk.late_rate(2), risk.late_rate(1)),
        # Who is operated after conversion had a tumour that could not be resected, whatever has shrunk since.
        "high_risk": conversion | (cnlc() >= 5.0) | (attribute("mvi") >= 2.0),
        "cleared_by": where(conversion, _BY["conversion_resection"], _BY["resection"]),
        "albi": where(lasting, _one_grade_down(), attribute("albi")),
    }


def _one_grade_down() -> Expression:
    return common.lasting_step()["albi"]  # type: ignore[return-value]


def _viable(conversion: Expression, neoadjuvant: Expression) -> Expression:
    """Viable tumour in the specimen, percent: none, up to the threshold, or more, evenly within each."""
    u = uniform("viable")
    threshold = where(
        conversion, parameter("resectable.major_response_conversion"), parameter("neoadjuvant.mpr_threshold_viable")
    )
    mixes = (
        "conversion.after_surgery.pathology_mix",
        "neoadjuvant.pathology_mix_treated",
        "neoadjuvant.pathology_mix_untreated",
    )
    none, major = (
        where(conversion, lookup(mixes[0], k), where(neoadjuvant, lookup(mixes[1], k), lookup(mixes[2], k)))
        for k in (0.0, 1.0)
    )
    some = threshold * (u - none) / major
    more = threshold + (1.0 - threshold) * (u - none - major) / (1.0 - none - major)
    return 100.0 * where(u < none, 0.0, where(u < none + major, some, more))


def _pathology_effect() -> Expression:
    """Log hazard ratio of early recurrence by pathological response after neoadjuvant treatment.

    The share that is not causal is selection: it is spread so that the patients' mean risk does not move by it.
    """
    p = parameter
    viable, threshold = attribute("viable"), 100.0 * p("neoadjuvant.mpr_threshold_viable")
    effects = [log(p(f"neoadjuvant.hr_{name}")) for name in ("no_viable", "viable_le_50", "viable_gt_50")]
    seen = where(viable <= 0.0, effects[0], where(viable <= threshold, effects[1], effects[2]))
    mix = [lookup("neoadjuvant.pathology_mix_treated", float(k)) for k in range(3)]
    mean = mix[0] * effects[0] + mix[1] * effects[1] + mix[2] * effects[2]
    return seen - (1.0 - p("neoadjuvant.causal_share")) * mean


def _ablation() -> Chance:
    p = parameter
    transplant = _ROUTE == TRANSPLANT
    large = where(p("resectable.ablation_large_cm") < DIAMETER, log(p("ablation.hr_early_mass_over_3cm")), 0.0)
    failed = where(transplant, 0.0, p("ablation.p_incomplete") * p("ablation.p_incomplete"))
    death = where(transplant, 0.0, p("ablation.p_death_30d"))
    return Chance(
        name="ablation_or_transplant",
        label="ablation or transplantation",
        branches=(
            Branch(name="death_30d", weight=death, to="dead_treatment"),
            Branch(
                name="incomplete",
                weight=(1.0 - death) * failed,
                mark="not_resected",
                updates={"surgical_barrier": 1.0},
                to="at_recurrence",
            ),
            Branch(
                name="transplanted",
                weight=where(transplant, 1.0, 0.0),
                mark="transplanted",
                updates={
                    "log_early": -NEVER,
                    "log_late": log(p("transplant.death_rate_per_month")),
                    "cleared_by": _BY["transplant"],
                    "high_risk": 0.0,
                    "albi": p("liver.step.albi_1"),
                    "child_pugh": 5.0,
                    "decompensated": 0.0,
                    "cirrhosis": 0.0,
                },
                to="pathology",
            ),
            Branch(
                name="ablated",
                weight=where(transplant, 0.0, (1.0 - death) * (1.0 - failed)),
                mark="ablated",
                updates={
                    "log_early": risk.early_mass(after_conversion=False) + large,
                    "log_late": risk.late_rate(3),
                    "cleared_by": _BY["ablation"],
                    "high_risk": cnlc() >= 5.0,
                },
                to="pathology",
            ),
        ),
    )


def cleared() -> dict[str, Operand]:
    """Updates on becoming free of visible disease, by whatever treatment."""
    return {
        "tumour": 0.0,
        "clearances": attribute("clearances") + 1.0,
        **regimens.stop(),
        "adjuvant_in": where(
            attribute("adjuvant_planned"),
            parameter("resectable.adjuvant_start_perioperative_months"),
            parameter("timing.adjuvant_start_months"),
        ),
        "adjuvant_tace_usual": risk.drawn("usual_tace", parameter("adjuvant.share_with_usual_tace")),
        "progressed": 0.0,
        "log_liver": risk.liver_events(risk.as_expression(0.0)),
    }


def entered_cleared() -> dict[str, Operand]:
    """Updates on entry after curative treatment with a clean scan, as in trials of adjuvant therapy."""
    ablated = attribute("ablation") >= 1.0
    return {
        "log_early": risk.early_mass(after_conversion=False),
        "log_late": where(ablated, risk.late_rate(3), risk.late_rate(1)),
        "cleared_by": where(ablated, _BY["ablation"], _BY["resection"]),
        "high_risk": (cnlc() >= 5.0) | (attribute("mvi") >= 2.0),
        "viable": 100.0,
        **cleared(),
        "adjuvant_in": 0.0,
    }


def _pathology() -> Chance:
    return Chance(
        name="pathology",
        label="pathology",
        branches=(
            Branch(
                name="cleared",
                weight=1.0,
                mark="cleared",
                updates=cleared(),
                local="none",
                systemic="none",
                to="disease_free",
            ),
        ),
    )


def _fit_for_adjuvant() -> Chance:
    start = parameter("adjuvant.p_start")
    return Chance(
        name="fit_for_adjuvant",
        label="fit for adjuvant treatment",
        branches=(Branch(name="fit", weight=start, to="adjuvant"), Branch(name="not_fit", weight=1.0 - start, to=STAY)),
    )


def _adjuvant() -> Decision:
    return Decision(
        name="adjuvant",
        label="adjuvant treatment",
        actions={
            "none": Edge(to=STAY),
            "start": Edge(to=STAY, mark="adjuvant_started"),
            "tace": Edge(to=STAY, mark="adjuvant_tace", local="adjuvant_tace"),
            "haic": Edge(to=STAY, mark="adjuvant_haic", local="adjuvant_haic"),
            "tace_and_start": Edge(to=STAY, mark="adjuvant_tace", local="adjuvant_tace"),
        },
    )


def _pattern() -> Chance:
    """What the recurrence looks like, by time since clearance, risk of the primary and surveillance.

    The shares by period are those under regular follow-up: the later, the more can be cured. Irregular follow-up finds fewer
    that can; what is lost goes to the other patterns in proportion.
    """
    names = ("months_0_12", "months_12_24", "months_over_24")
    early, middle = parameter("resectable.early_recurrence_months"), parameter("resectable.middle_recurrence_months")

    def share(k: int) -> Expression:
        first, second, third = (lookup(f"recurrence.extent_by_period.{name}", float(k)) for name in names)
        return where(early >= MONTHS_IN_STATE, first, where(middle >= MONTHS_IN_STATE, second, third))

    shift = parameter("recurrence.extent_shift_high_risk") * attribute("high_risk")
    ratio = exp(-parameter("surveillance.causal_share") * log(parameter("surveillance.early_stage_or")))
    curable = share(0) - shift
    found = where(attribute("surveillance_regular"), curable, risk.times_odds(curable, ratio))
    others = (1.0 - found) / (1.0 - curable)
    fresh: dict[str, Operand] = {
        "ehs": 0.0,
        "hv": 0.0,
        "pv": 0.0,
        "infiltrative": 0.0,
        "contralateral_within_milan": 1.0,
    }
    tumour: dict[str, Operand] = {
        "tumour": 1.0,
        **regimens.stop(),
        **common.ecog_step("recurrence"),
        "sessions": 0.0,
        "failures": 0.0,
        "observed_response": 0.0,
        "progressed": 0.0,
        "surgery_declined": 0.0,
        "adjuvant_in": NEVER,
    }
    bilobar = risk.drawn("bilobar", parameter("recurrent_tumour.p_bilobar_beyond"))
    beyond: dict[str, Operand] = {
        "nodules": risk.count("nodules", parameter("recurrent_tumour.beyond_nodules_mean"), 20),
        "diameter": _lognormal(
            "diameter", "recurrent_tumour.beyond_diameter_median_cm", "recurrent_tumour.beyond_diameter_sd_log"
        ),
        "lobes": 1.0 + bilobar,
        "contralateral_within_milan": 1.0 - bilobar,
    }
    small: dict[str, Operand] = {
        "nodules": where(risk.drawn("single", parameter("recurrent_tumour.curable_p_single")), 1.0, 2.0),
        "diameter": minimum(
            _lognormal(
                "diameter", "recurrent_tumour.curable_diameter_median_cm", "recurrent_tumour.curable_diameter_sd_log"
            ),
            where(NODULES > 1.0, 3.0, 5.0),
        ),
        "lobes": 1.0,
        "surgical_barrier": attribute("surgical_barrier"),
    }
    return Chance(
        name="recurrence_pattern",
        label="pattern of recurrence",
        branches=(
            Branch(
                name="curable",
                weight=found,
                updates={**fresh, **small, **tumour},
                to="at_recurrence",
                local="none",
                systemic="none",
            ),
            Branch(
                name="liver_confined",
                weight=share(1) * others,
                updates={**fresh, **beyond, **tumour},
                to="at_recurrence",
                local="none",
                systemic="none",
            ),
            Branch(
                name="vascular",
                weight=(share(2) + 0.5 * shift) * others,
                updates={**fresh, **beyond, "pv": common.vascular_grade("grade"), **tumour},
                to="at_recurrence",
                local="none",
                systemic="none",
            ),
            Branch(
                name="extrahepatic",
                weight=(share(3) + 0.5 * shift) * others,
                updates={**fresh, **beyond, "ehs": 1.0, **tumour},
                to="at_recurrence",
                local="none",
                systemic="none",
            ),
        ),
    )


def _lognormal(purpose: str, median: str, sd: str) -> Expression:
    return parameter(median) * exp(parameter(sd) * standard_normal(purpose))


def _at_recurrence() -> Decision:
    # A line after an earlier one starts from the rate after progression.
    again: dict[str, Operand] = {**risk.tumour_risk(), "log_death": risk.progressed_death(1.0)}
    return Decision(
        name="at_recurrence",
        label="recurrence, or operation not done: what now",
        actions={
            "curative": Edge(to="curative_again"),
            "re_resection": Edge(
                to="awaiting_curative",
                updates=planned(RE_RESECTION, parameter("timing.wait_recurrence_treatment_months")),
            ),
            "tace": Edge(
                to="start_local",
                local="tace",
                updates={"session_in": parameter("timing.wait_recurrence_treatment_months")},
            ),
            "haic": Edge(
                to="start_local",
                local="haic",
                updates={"haic_in": parameter("timing.wait_recurrence_treatment_months")},
            ),
            "systemic": Edge(to="next_line", updates=again),
            "start_systemic": Edge(to="start_systemic", updates=again),
            "transplant_or_supportive": Edge(to="transplant_chance"),
            "supportive": Edge(to="supportive", updates=common.supportive()),
        },
    )


def _transplant_chance() -> Chance:
    """Transplantation of the few for whom there is a liver; for the others supportive care."""
    p = parameter
    young = attribute("age") <= p("transplant.age_max_years")
    chance = where(young, p("transplant.p_transplant_at_recurrence"), 0.0)
    return Chance(
        name="transplant_chance",
        label="transplantation in end-stage liver disease",
        branches=(
            Branch(
                name="transplantation",
                weight=chance,
                updates=planned(TRANSPLANT, p("timing.wait_recurrence_treatment_months")),
                to="awaiting_curative",
            ),
            Branch(name="none", weight=1.0 - chance, updates=common.supportive(), to="supportive"),
        ),
    )


def _curative_again() -> Chance:
    p, wait = parameter, parameter("timing.wait_recurrence_treatment_months")
    again = p("recurrence.p_curative_retreatment")
    mix = "recurrence.retreatment_mix"
    young = (attribute("age") <= p("transplant.age_max_years")) & (POINTS <= 15.0)
    transplant = where(young, lookup(mix, 2.0), 0.0)
    # Re-resection only for one nodule, late enough after the first operation and without a barrier.
    operable = (
        (NODULES <= 1.0)
        & (p("recurrence.re_resection_interval_months") <= MONTHS_IN_STATE)
        & (attribute("surgical_barrier") < 1.0)
    )
    resection = where(operable, lookup(mix, 0.0), 0.0)
    return Chance(
        name="curative_again",
        label="curative treatment again",
        branches=(
            Branch(
                name="re_resection",
                weight=again * resection,
                updates=planned(RE_RESECTION, wait),
                to="awaiting_curative",
            ),
            Branch(
                name="transplantation",
                weight=again * transplant,
                updates=planned(TRANSPLANT, wait),
                to="awaiting_curative",
            ),
            Branch(
                name="ablation",
                weight=again * (1.0 - resection - transplant),
                updates=planned(ABLATION, wait),
                to="awaiting_curative",
            ),
            Branch(
                name="not_done",
                weight=1.0 - again,
                local="tace",
                updates={"session_in": wait},
                to="start_local",
            ),
        ),
    )
