"""The intermediate setting: TACE and HAIC on demand, with or without drugs, until they no longer work."""

from __future__ import annotations

from simhcc import staging
from simhcc.expressions import (
    MONTHS,
    MONTHS_IN_STATE,
    Expression,
    Operand,
    attribute,
    exp,
    log,
    lookup,
    maximum,
    parameter,
    receiving,
    where,
)
from simhcc.graph import STAY, Branch, Chance, Decision, Edge, Scheduled, State, Transition
from simhcc.pathway import common, regimens, risk
from simhcc.pathway.attributes import ALBI, CLASSES, DIAMETER, NEVER, PV, RESPONSES, six_and_twelve, within_seven

_RESPONSE = {name: float(code) for code, name in enumerate(RESPONSES)}
_CLASS = {name: float(code) for code, name in enumerate(CLASSES)}
_LONG_CONTROL = attribute("response_class") == _CLASS["long_control"]
_HAIC = receiving("haic")


def states() -> tuple[State, ...]:
    """Tumour confined to the liver, a local treatment in use."""
    return (
        State(
            name="local_control",
            label="local treatment",
            transitions=(
                common.death_other(),
                Transition(
                    name="progression",
                    hazard=common.UNIT,
                    log_multiplier=attribute("log_progression"),
                    seen_at_scan=common.TREATMENT_SCANS,
                    mark="progression",
                    to="local_progression",
                ),
                common.death_cancer(),
                common.liver_event(),
                common.drug_event(),
            ),
            scheduled=(
                Scheduled(name="session", first=attribute("session_in"), mark="tace_session", to="procedure"),
                Scheduled(name="haic_block", first=attribute("haic_in"), mark="haic_block", to="procedure"),
                Scheduled(name="session_scan", first=attribute("scan_in"), to="session_response"),
                common.planned_stop(),
            ),
        ),
    )


def instants() -> tuple[Chance | Decision, ...]:
    """Start, procedure, response to a session, progression, review."""
    return (_start(), _procedure(), _response(), _progression(), _review(), _refractory(), _surgery_offered())


def _start() -> Chance:
    """Rates on starting local therapy; the drugs that run are those of the row that led here."""
    return Chance(
        name="start_local",
        label="start of local treatment",
        branches=(
            Branch(
                name="started",
                weight=1.0,
                updates={
                    "sessions": 0.0,
                    "failures": 0.0,
                    "observed_response": 0.0,
                    "progressed": 0.0,
                    "new_lesions": 0.0,
                    "scan_in": NEVER,
                    "scan_origin": MONTHS,
                    **risk.tumour_risk(),
                    "local_burden": six_and_twelve(),
                    "convertible": risk.uniform("convertible"),
                    "combined_start": risk.ON_DRUG,
                    "response_class": where(
                        risk.ON_DRUG & risk.drawn("class", attribute("regimen_long")),
                        _CLASS["long_control"],
                        _CLASS["stable"],
                    ),
                    "long_lived": where(_LONG_CONTROL, 1.0, attribute("long_lived")),
                    "phase": where(risk.ON_DRUG, maximum(attribute("phase"), 1.0), attribute("phase")),
                    "drug_liver": parameter("liver.on_systemic.share_under_local_therapy"),
                    "log_local": where(
                        _LONG_CONTROL,
                        log(parameter("systemic.progression_rate_long_control_per_month")),
                        risk.local_progression() + risk.drug_on_local(),
                    ),
                    "log_progression": attribute("log_local"),
                    **_odds(),
                    "log_death": risk.local_death(),
                    "log_liver": risk.liver_events(risk.TREATED_TUMOUR),
                },
                to="local_control",
            ),
        ),
    )


def _odds() -> dict[str, Operand]:
    """What responses to sessions need, fixed by burden, drugs and the tumour's sensitivity when the course starts."""
    p, burden = parameter, attribute("local_burden")
    names = ("tace.response_low", "tace.response_mid", "tace.response_high")
    logits = [log((lookup(n, 0.0) + lookup(n, 1.0)) / (1.0 - lookup(n, 0.0) - lookup(n, 1.0))) for n in names]
    shares = [lookup(n, 0.0) / (lookup(n, 0.0) + lookup(n, 1.0)) for n in names]
    return {
        "session_complete": where(burden >= 3.0, shares[2], where(burden >= 2.0, shares[1], shares[0])),
        "session_log_odds": where(burden >= 3.0, logits[2], where(burden >= 2.0, logits[1], logits[0]))
        + where(risk.ON_DRUG, attribute("regimen_log_or_tace"), 0.0)
        + where(_HAIC, log(p("haic.response_or_vs_tace")), 0.0)
        + p("tace.sensitivity_sd_log_odds") * attribute("tace_sensitivity"),
    }


def _procedure() -> Chance:
    p = parameter
    large = where(p("intermediate.large_tumour_cm") <= DIAMETER, p("tace.procedure_death_factor_ge_10cm"), 1.0)
    death = where(_HAIC, p("haic.p_procedure_death"), p("tace.p_procedure_death") * large)
    grade = where(
        ALBI <= staging.ALBI_1_UPPER,
        p("tace.p_lasting_liver_step_albi_1"),
        where(
            ALBI < staging.ALBI_2A_UPPER, p("tace.p_lasting_liver_step_albi_2a"), p("tace.p_lasting_liver_step_albi_2b")
        ),
    )
    beyond = where(within_seven(), 1.0, p("tace.liver_step_factor_beyond_up_to_seven"))
    step = where(_HAIC, p("haic.p_lasting_liver_step"), grade * beyond)
    acute = where(_HAIC, p("haic.p_acute_liver_step"), p("tace.p_acute_liver_step"))
    after: dict[str, Operand] = {
        "sessions": attribute("sessions") + 1.0,
        "session_in": NEVER,
        "haic_in": NEVER,
        "scan_in": p("tace.scan_after_session_months"),
    }
    return Chance(
        name="procedure",
        label="TACE session or HAIC block",
        branches=(
            Branch(name="death", weight=death, to="dead_treatment"),
            Branch(
                name="lasting_step",
                weight=(1.0 - death) * step,
                updates={**common.lasting_step(), **after},
                to="local_control",
            ),
            Branch(
                name="acute_step",
                weight=(1.0 - death) * (1.0 - step) * acute,
                mark="acute_liver_step",
                updates=after,
                to="local_control",
            ),
            Branch(
                name="uneventful",
                weight=(1.0 - death) * (1.0 - step) * (1.0 - acute),
                updates=after,
                to="local_control",
            ),
        ),
    )


def _shares() -> tuple[Expression, Expression]:
    """Complete and partial response at this session."""
    p, n = parameter, attribute("sessions")
    fewer = log(p("tace.session_2_response_odds")) + (n - 2.0) * log(p("tace.later_session_response_odds"))
    odds = exp(attribute("session_log_odds") + where(n > 1.0, fewer, 0.0))
    # After two failures in a row the published share holds, whatever the class.
    response = where(attribute("failures") >= 2.0, p("tace.p_response_after_two_failures"), odds / (1.0 + odds))
    return response * attribute("session_complete"), response * (1.0 - attribute("session_complete"))


def _response() -> Chance:
    p = parameter
    complete, partial = _shares()
    base = attribute("log_local")
    shrunk = p("tumour_update.diameter_factor_partial_response")
    seen = {"failures": 0.0, "scan_in": NEVER, "new_lesions": 0.0}
    return Chance(
        name="session_response",
        label="response to the session",
        branches=(
            Branch(
                name="complete",
                weight=complete,
                mark="response_observed",
                updates={
                    **seen,
                    "observed_response": _RESPONSE["complete"],
                    "log_progression": base + log(p("tace.progression_hr_complete_response")),
                    "diameter": DIAMETER * shrunk,
                },
                to="tace_review",
            ),
            Branch(
                name="partial",
                weight=partial,
                mark="response_observed",
                updates={
                    **seen,
                    "observed_response": maximum(attribute("observed_response"), _RESPONSE["partial"]),
                    "log_progression": base,
                    "diameter": DIAMETER * shrunk,
                    "pv": where(
                        risk.drawn("thrombus", p("tumour_update.p_thrombus_regresses_with_response")),
                        maximum(PV - 2.0, 0.0),
                        PV,
                    ),
                },
                to="tace_review",
            ),
            Branch(
                name="no_response",
                weight=1.0 - complete - partial,
                updates={
                    "failures": attribute("failures") + 1.0,
                    "scan_in": NEVER,
                    "new_lesions": 0.0,
                    "observed_response": maximum(
                        attribute("observed_response"),
                        where(
                            risk.drawn("shrinking", p("tumour_update.stable_shrinking_share")),
                            _RESPONSE["stable_shrinking"],
                            _RESPONSE["stable"],
                        ),
                    ),
                    "log_progression": base + log(p("tace.progression_hr_no_response")),
                },
                to="tace_review",
            ),
        ),
    )


def _progression() -> Chance:
    """Cause of progression under local therapy."""

    def share(k: int) -> Expression:
        return where(
            risk.ON_DRUG,
            lookup("tace.progression_cause_mix_combined", float(k)),
            lookup("tace.progression_cause_mix", float(k)),
        )

    seen: dict[str, Operand] = {
        "progressed": 1.0,
        "observed_response": _RESPONSE["none"],
        **common.ecog_step("progression"),
        "afp": common.rising_afp(),
    }
    after: dict[str, Operand] = {
        **risk.tumour_risk(),
        "local_burden": six_and_twelve(),
        "response_class": _CLASS["stable"],
        "log_local": risk.local_progression() + risk.drug_on_local(),
        "log_progression": attribute("log_local"),
    }
    return Chance(
        name="local_progression",
        label="progression under local treatment",
        branches=(
            Branch(
                name="new_in_liver",
                weight=share(0),
                updates={
                    **seen,
                    "new_lesions": 1.0,
                    "nodules": common.new_tumours("nodules"),
                    "lobes": where(
                        risk.drawn("lobes", parameter("recurrent_tumour.p_bilobar_beyond")), 2.0, attribute("lobes")
                    ),
                    "contralateral_within_milan": where(
                        attribute("lobes") > 1.0, 0.0, attribute("contralateral_within_milan")
                    ),
                    **after,
                },
                to="tace_review",
            ),
            Branch(
                name="growth", weight=share(1), updates={**seen, "diameter": common.grows(), **after}, to="tace_review"
            ),
            Branch(
                name="vascular",
                weight=share(2),
                updates={**seen, "pv": common.vascular_grade("grade"), **after},
                to="tace_review",
            ),
            Branch(
                name="extrahepatic",
                weight=1.0 - share(0) - share(1) - share(2),
                updates={**seen, "ehs": 1.0, "liver_only": 0.0, **after},
                to="tace_review",
            ),
        ),
    )


def _review() -> Decision:
    p = parameter
    again = p("tace.retreatment_wait_months")
    failed: dict[str, Operand] = {"session_in": NEVER, "haic_in": NEVER}
    return Decision(
        name="tace_review",
        label="review of local treatment",
        actions={
            "next_session": Edge(to="local_control", updates={"session_in": again, "haic_in": NEVER}),
            "next_haic": Edge(
                to="local_control", updates={"haic_in": p("haic.cycle_interval_months"), "session_in": NEVER}
            ),
            "change_to_tace": Edge(
                to="local_control", local="tace", updates={"session_in": again, "haic_in": NEVER, "failures": 0.0}
            ),
            "observe": Edge(to="local_control", updates={"session_in": NEVER, "haic_in": NEVER}),
            "conversion": Edge(to="surgery_offered"),
            "untreatable": Edge(
                to="reach_next_line",
                mark="untreatable",
                local="none",
                systemic="none",
                updates={**failed, **regimens.stop()},
            ),
            "refractory": Edge(
                to="refractory_course",
                mark="refractory",
                local="none",
                systemic="none",
                updates={**failed, **regimens.stop()},
            ),
            "stop_local": Edge(
                to="systemic",
                mark="refractory",
                local="none",
                updates={"line": attribute("line") + 1.0, "response_class": 2.0, "response_in": NEVER},
            ),
        },
    )


def _refractory() -> Chance:
    """Refractoriness is a rule on responses; most of it is progression by RECIST as well."""
    progressed = where(attribute("progressed"), 0.0, parameter("tace.p_recist_progression_at_refractoriness"))
    return Chance(
        name="refractory_course",
        label="refractory: progression by RECIST too?",
        branches=(
            Branch(
                name="progression",
                weight=progressed,
                mark="progression",
                updates={"progressed": 1.0},
                to="reach_next_line",
            ),
            Branch(name="no_progression", weight=1.0 - progressed, to="reach_next_line"),
        ),
    )


def _surgery_offered() -> Chance:
    """An operation after response, offered to those who became resectable."""
    p = parameter
    operated = p("conversion.p_operated_given_offered")
    washout = where(
        attribute("seen_anti_vegf"), p("conversion.washout_bevacizumab_months"), p("conversion.washout_tki_months")
    ) + p("timing.wait_surgery_first_months")
    return Chance(
        name="surgery_offered",
        label="operation after response",
        branches=(
            Branch(
                name="operated",
                weight=operated,
                mark="converted",
                local="none",
                systemic="none",
                updates={**regimens.stop(), "route": 2.0, "wait": washout, "adjuvant_in": NEVER},
                to="awaiting_curative",
            ),
            Branch(
                name="declined",
                weight=1.0 - operated,
                updates={
                    "surgery_declined": 1.0,
                    "session_in": where(
                        (attribute("sessions") > 0.0) & (attribute("observed_response") < _RESPONSE["complete"]),
                        MONTHS_IN_STATE + p("tace.retreatment_wait_months"),
                        NEVER,
                    ),
                },
                to=STAY,
            ),
        ),
    )
