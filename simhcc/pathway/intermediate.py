"""The intermediate setting: TACE and HAIC on demand, with or without drugs, until they no longer work."""

from __future__ import annotations

import math

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
    minimum,
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
_NOW = 10.0  # log rate per month of what has already happened: within hours, seen at the next scan


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
                # The whole course is one stay with one threshold for each of its hazards, so that a progression that no scan
                # has shown yet is not forgotten at the next session.
                Scheduled(
                    name="session", first=attribute("session_in"), rearmed=True, mark="tace_session", to="procedure"
                ),
                Scheduled(
                    name="haic_block", first=attribute("haic_in"), rearmed=True, mark="haic_block", to="procedure"
                ),
                Scheduled(name="session_scan", first=attribute("scan_in"), rearmed=True, to="session_response"),
                common.planned_stop(risk.local_progression(), complete_response_under_local=True),
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
                    "treated_locally": 0.0,
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
                    # Drugs that start with local treatment are a line of systemic therapy.
                    "line": where(risk.ON_DRUG, attribute("line") + 1.0, attribute("line")),
                    "phase": where(risk.ON_DRUG, maximum(attribute("phase"), 1.0), attribute("phase")),
                    "drug_liver": parameter("liver.on_systemic.share_under_local_therapy"),
                    "log_local": where(
                        _LONG_CONTROL,
                        log(parameter("systemic.progression_rate_long_control_per_month")),
                        risk.local_progression() + _effects(),
                    ),
                    # Until the first session has been judged, progression is that seen at its scan.
                    "log_progression": -NEVER,
                    **_odds(),
                    "log_death": risk.local_death(),
                    "log_liver": risk.liver_events(risk.TREATED_TUMOUR),
                },
                to="local_control",
            ),
        ),
    )


def _effects() -> Expression:
    """Log hazard ratio on progression of the running drugs and of HAIC instead of TACE."""
    return risk.drug_on_local() + where(_HAIC, log(parameter("haic.progression_hr_vs_tace")), 0.0)


def _odds() -> dict[str, Operand]:
    """What responses to sessions need, fixed by burden, drugs and the tumour's sensitivity when the course starts.

    Hazard ratios by response are centred on the mean over the responses that this patient could have: the drugs act
    on progression through their hazard ratio alone, and a response tells which patients do better.
    """
    p, burden = parameter, attribute("local_burden")

    def by_class(values: list[Expression]) -> Expression:
        return where(burden >= 3.0, values[2], where(burden >= 2.0, values[1], values[0]))

    names = ("tace.response_low", "tace.response_mid", "tace.response_high")
    logits = [log((lookup(n, 0.0) + lookup(n, 1.0)) / (1.0 - lookup(n, 0.0) - lookup(n, 1.0))) for n in names]
    shares = [lookup(n, 0.0) / (lookup(n, 0.0) + lookup(n, 1.0)) for n in names]
    failing = [lookup(n, 3.0) / (lookup(n, 2.0) + lookup(n, 3.0)) for n in names]
    sd = p("tace.sensitivity_sd_log_odds")
    # With a normal sd around a logit the mean response is that of the logit over this (logistic-normal approximation).
    spread = exp(0.5 * log(1.0 + (math.pi / 8.0) * sd * sd))
    response = 1.0 / (1.0 + exp(-attribute("session_log_odds")))
    complete, none = p("tace.progression_hr_complete_response"), p("tace.progression_hr_no_response")
    partial = 1.0 - attribute("session_complete")
    drugs = where(risk.ON_DRUG, attribute("regimen_log_or_tace"), 0.0)
    haic = where(_HAIC, log(p("haic.response_or_vs_tace")), 0.0)
    # The published odds ratio of drugs is one of reviewed responses. Where a share L responds as locally judged, the review
    # confirms c of it; drugs multiply the odds of the reviewed share c L and of the local share L by the ratio.
    confirmed = p("response_criteria.p_session_response_confirmed")
    share = risk.times_odds(by_class([lookup(n, 0.0) + lookup(n, 1.0) for n in names]), exp(haic))
    confirmed = risk.times_odds(confirmed * share, exp(drugs)) / risk.times_odds(share, exp(drugs))
    return {
        "session_complete": by_class(shares),
        "session_confirmed": risk.drawn("confirmed", confirmed),
        "session_progression": where(_LONG_CONTROL, 0.0, minimum(by_class(failing) * exp(_effects()), 1.0)),
        "session_log_odds": spread * (by_class(logits) + drugs + haic) + sd * attribute("tace_sensitivity"),
        "session_centre": log(
            response * (attribute("session_complete") * complete + partial) + (1.0 - response) * none
        ),
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
    step = where(_HAIC, p("haic.p_lasting_liver_step"), minimum(grade * beyond, 1.0))
    acute = where(_HAIC, p("haic.p_acute_liver_step"), p("tace.p_acute_liver_step"))
    after: dict[str, Operand] = {
        "sessions": attribute("sessions") + 1.0,
        "treated_locally": 1.0,
        "session_in": NEVER,
        "haic_in": NEVER,
        "scan_in": MONTHS_IN_STATE + p("tace.scan_after_session_months"),
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
                to=STAY,
            ),
            Branch(
                name="acute_step",
                weight=(1.0 - death) * (1.0 - step) * acute,
                mark="acute_liver_step",
                updates=after,
                to=STAY,
            ),
            Branch(
                name="uneventful",
                weight=(1.0 - death) * (1.0 - step) * (1.0 - acute),
                updates=after,
                to=STAY,
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
    """Response of the treated tumour, as whoever decides on the next session sees it.

    Part of these responses are confirmed as best response of the patient by the review of a trial; only those are marked, and
    only in the first treatment of the tumour, before it has progressed: that is when a trial counts them.
    """
    p = parameter
    first = (attribute("progressed") < 1.0) & ((attribute("line") < 1.0) | attribute("combined_start"))
    marked = attribute("session_confirmed") * first
    complete, partial = _shares()
    base = attribute("log_local") - attribute("session_centre")
    worse = (1.0 - complete - partial) * where(attribute("sessions") > 1.0, 0.0, attribute("session_progression"))
    shrunk = p("tumour_update.diameter_factor_partial_response")
    judged: dict[str, Operand] = {
        "scan_in": NEVER,
        "new_lesions": 0.0,
    }
    seen: dict[str, Operand] = {**judged, "failures": 0.0}
    failed: dict[str, Operand] = {**judged, "failures": attribute("failures") + 1.0}
    full: dict[str, Operand] = {
        "observed_response": _RESPONSE["complete"],
        "log_progression": base + log(p("tace.progression_hr_complete_response")),
        "diameter": DIAMETER * shrunk,
    }
    part: dict[str, Operand] = {
        "observed_response": maximum(attribute("observed_response"), _RESPONSE["partial"]),
        "log_progression": base,
        "diameter": DIAMETER * shrunk,
        "pv": where(
            risk.drawn("thrombus", p("tumour_update.p_thrombus_regresses_with_response")), maximum(PV - 2.0, 0.0), PV
        ),
    }
    return Chance(
        name="session_response",
        label="response to the session",
        branches=(
            *(
                Branch(
                    name=f"{name}{suffix}",
                    weight=share * confirmed,
                    mark=mark,
                    updates={**seen, **found},
                    to="tace_review",
                )
                for name, share, found in (("complete", complete, full), ("partial", partial, part))
                for suffix, confirmed, mark in (
                    ("", marked, "response_observed"),
                    ("_unconfirmed", 1.0 - marked, None),
                )
            ),
            Branch(
                name="progression",
                weight=worse,
                # The cause is drawn when the next scan of the schedule shows it.
                updates={**failed, "log_progression": _NOW},
                to="tace_review",
            ),
            Branch(
                name="no_response",
                weight=1.0 - complete - partial - worse,
                updates={
                    **failed,
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
        "log_local": risk.local_progression() + _effects(),
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
    again = MONTHS_IN_STATE + p("tace.retreatment_wait_months")
    failed: dict[str, Operand] = {"session_in": NEVER, "haic_in": NEVER}
    # From now on death is that after failure: at once in a later line or without one, see `risk.controlled_death`.
    ended: dict[str, Operand] = {
        **failed,
        **regimens.stop(),
        **risk.tumour_risk(),
        "log_death": risk.progressed_death(1.0),
    }
    return Decision(
        name="tace_review",
        label="review of local treatment",
        actions={
            "next_session": Edge(to=STAY, updates={"session_in": again, "haic_in": NEVER}),
            "next_haic": Edge(
                to=STAY,
                updates={"haic_in": MONTHS_IN_STATE + p("haic.cycle_interval_months"), "session_in": NEVER},
            ),
            "change_to_tace": Edge(
                to=STAY, local="tace", updates={"session_in": again, "haic_in": NEVER, "failures": 0.0}
            ),
            "observe": Edge(to=STAY, updates=failed),
            "conversion": Edge(to="surgery_offered"),
            "untreatable": Edge(
                to="reach_next_line",
                mark="untreatable",
                local="none",
                systemic="none",
                updates=ended,
            ),
            "refractory": Edge(
                to="refractory_course",
                mark="refractory",
                local="none",
                systemic="none",
                updates=ended,
            ),
            "stop_local": Edge(
                to="systemic",
                mark="refractory",
                local="none",
                updates={"response_class": _CLASS["stable"], "response_in": NEVER},
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
    """An operation after response, offered to those who became resectable; who declines goes on as before."""
    p = parameter
    operated = p("conversion.p_operated_given_offered")
    washout = where(
        attribute("seen_anti_vegf"), p("conversion.washout_bevacizumab_months"), p("conversion.washout_tki_months")
    ) + p("timing.wait_surgery_first_months")
    blocks = p("haic.max_cycles") / p("haic.cycles_before_scan")
    treated_again = (attribute("sessions") > 0.0) & (attribute("observed_response") < _RESPONSE["complete"])
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
                        treated_again & ~_HAIC, MONTHS_IN_STATE + p("tace.retreatment_wait_months"), NEVER
                    ),
                    "haic_in": where(
                        treated_again & _HAIC & (attribute("sessions") < blocks),
                        MONTHS_IN_STATE + p("haic.cycle_interval_months"),
                        NEVER,
                    ),
                },
                to=STAY,
            ),
        ),
    )
