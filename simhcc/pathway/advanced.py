"""The advanced setting: systemic lines, hidden response classes, reviews, conversion and local therapy, later lines."""

from __future__ import annotations

from simhcc import staging
from simhcc.expressions import (
    MONTHS,
    MONTHS_IN_STATE,
    Expression,
    Operand,
    attribute,
    exp,
    floor,
    log,
    lookup,
    maximum,
    minimum,
    parameter,
    receiving,
    standard_normal,
    uniform,
    where,
)
from simhcc.graph import STAY, Branch, Chance, Decision, Edge, Hazard, Scheduled, State, Transition
from simhcc.pathway import common, regimens, risk
from simhcc.pathway.attributes import CLASSES, DIAMETER, ECOG, EHS, NEVER, POINTS, PV, RESPONSES, six_and_twelve
from simhcc.pathway.resectable import CONVERSION, planned

_RESPONSE = {name: float(code) for code, name in enumerate(RESPONSES)}
_CLASS = {name: float(code) for code, name in enumerate(CLASSES)}
_BEFORE = "systemic.progression_hr_before_first_scan"
# Who is stable, or responds, has not progressed at the first scan: that is what the classes mean. A class that does
# progress by then divides its rate by the hazard ratio before the scan.
_AFTER_FIRST_SCAN = Hazard(
    "pwexp",
    {"rates": (parameter(_BEFORE), 1.0), "times": (0.0, parameter("schedule.scan_systemic_months"))},
)


def states() -> tuple[State, ...]:
    """On systemic therapy, between treatments, and without further anti-tumour treatment."""
    return (
        State(
            name="systemic",
            label="systemic therapy",
            transitions=(
                common.death_other(),
                Transition(
                    name="progression",
                    hazard=_AFTER_FIRST_SCAN,
                    log_multiplier=attribute("log_progression"),
                    seen_at_scan=common.TREATMENT_SCANS,
                    mark="progression",
                    to="progression_cause",
                ),
                common.death_cancer(),
                common.liver_event(),
                common.drug_event(),
            ),
            scheduled=(
                Scheduled(
                    name="response",
                    first=attribute("response_in"),
                    updates=_responds(),
                    to="response_counts",
                ),
                Scheduled(
                    name="review",
                    first=attribute("review_in"),
                    period=parameter("schedule.review_every_months"),
                    to="review",
                ),
                common.planned_stop(risk.systemic_progression("systemic.progression_rate_stable_per_month")),
            ),
        ),
        State(
            name="untreated_tumour",
            label="tumour without treatment, liver recovering",
            transitions=(common.death_other(), common.death_cancer(), common.liver_event()),
            scheduled=(Scheduled(name="reassessed", first=parameter("liver.recovery.months"), to="recovery"),),
        ),
        State(
            name="supportive",
            label="supportive care",
            transitions=(common.death_other(), common.death_cancer(to="cause_of_death")),
        ),
    )


def instants() -> tuple[Chance | Decision, ...]:
    """Classes, reviews, progression, further lines."""
    return (
        _start(),
        _counts(),
        _review(),
        _randomised(),
        _added(),
        _cause(),
        _at_progression(),
        _recovery(),
        _reach(),
        _next_line(),
        _cause_of_death(),
    )


# -- classes -------------------------------------------------------------------------------------------------------


def _later() -> Expression:
    return (attribute("line") >= 1.0) & (attribute("regimen_later") < 1.0)


def _weights() -> tuple[Expression, Expression, Expression, Expression]:
    p = parameter
    or_response = (
        log(p("covariate.response.child_pugh_b")) * (POINTS > staging.CHILD_PUGH_A_UPPER)
        + log(p("covariate.response.liver_confined")) * (risk.CONFINED - p("centre.advanced.liver_confined"))
        + where(_later(), log(p("next_line.response_or_second_line")), 0.0)
    )
    response = exp(or_response)
    primary = where(_later(), p("covariate.primary_progression.earlier_systemic"), 1.0)
    return (
        attribute("regimen_long") * response,
        attribute("regimen_response") * response,
        attribute("regimen_stable"),
        # Primary progression is progression: the patient's frailty acts on it.
        attribute("regimen_primary") * primary * exp(risk.frailty()),
    )


def _start() -> Chance:
    """The hidden response class, drawn when treatment starts and revealed at scans.

    A responder has no progression before the response: that is what the class means. Deaths compete as in life.
    """
    p = parameter
    long, responder, stable, primary = _weights()
    common_updates: dict[str, Operand] = {
        **risk.tumour_risk(),
        "line": attribute("line") + 1.0,
        "phase": where(attribute("line") > 1.0, 2.0, 1.0),
        "progressed": 0.0,
        "sessions": where(risk.CONFINED, attribute("sessions"), 0.0),
        "local_additions": 0.0,
        "scan_origin": MONTHS,
        "drug_liver": 1.0,
        "complete_since": NEVER,
        "review_in": where(
            attribute("reviews"),
            where(attribute("run_in"), p("talentop.run_in_months"), p("schedule.review_every_months")),
            NEVER,
        ),
        "convertible": uniform("convertible"),
        "log_liver": risk.liver_events(risk.TREATED_TUMOUR),
        "log_death": risk.controlled_death(),
    }
    months = attribute("regimen_months_to_response") * exp(
        p("systemic.time_to_response_sd_log") * standard_normal("response")
    )
    scan = p("schedule.scan_systemic_months")
    # Seen at the next scan.
    seen = scan * maximum(floor(months / scan + 0.5), 1.0)
    primary_rate = log(p("systemic.primary_progression_rate_per_month") / p(_BEFORE))
    early = risk.drawn("early_progression", attribute("regimen_early_progression"))
    responds = risk.drawn("long_responder", p("systemic.p_responder_given_long_control"))
    long_rate = risk.systemic_progression("systemic.progression_rate_long_control_per_month")
    stable_seen = where(
        risk.drawn("shrinking", p("tumour_update.stable_shrinking_share")),
        _RESPONSE["stable_shrinking"],
        _RESPONSE["stable"],
    )
    return Chance(
        name="start_systemic",
        label="start of systemic therapy: hidden response class",
        branches=(
            Branch(
                name="long_control",
                weight=long,
                updates={
                    **common_updates,
                    "response_class": _CLASS["long_control"],
                    "drug_liver": p("liver.on_systemic.share_in_long_control"),
                    "log_liver": risk.liver_events(risk.TREATED_TUMOUR),
                    "long_lived": 1.0,
                    "log_death": log(p("systemic.death_rate_long_control_per_month")) + attribute("trial_log_death"),
                    "observed_response": stable_seen,
                    "response_in": where(early | ~responds, NEVER, seen),
                    "log_progression_later": long_rate,
                    "log_progression": where(early, primary_rate, long_rate),
                },
                to="systemic",
            ),
            Branch(
                name="responder",
                weight=responder,
                updates={
                    **common_updates,
                    "response_class": _CLASS["responder"],
                    "observed_response": _RESPONSE["stable"],
                    "response_in": seen,
                    "log_progression_later": risk.systemic_progression(
                        "systemic.progression_rate_responder_per_month", responder=True
                    ),
                    "log_progression": -NEVER,
                },
                to="systemic",
            ),
            Branch(
                name="stable",
                weight=stable,
                updates={
                    **common_updates,
                    "response_class": _CLASS["stable"],
                    "observed_response": stable_seen,
                    "response_in": NEVER,
                    "log_progression": risk.systemic_progression("systemic.progression_rate_stable_per_month"),
                },
                to="systemic",
            ),
            Branch(
                name="primary_progressive",
                weight=primary,
                updates={
                    **common_updates,
                    "response_class": _CLASS["primary_progressive"],
                    "observed_response": _RESPONSE["none"],
                    "response_in": NEVER,
                    "log_progression": primary_rate,
                },
                to="systemic",
            ),
        ),
    )


def _responds() -> dict[str, Operand]:
    """The tumour shrinks, the thrombus may regress, AFP falls; progression is now that of the class."""
    p = parameter
    return {
        "observed_response": where(
            risk.drawn("complete", attribute("regimen_p_complete")), _RESPONSE["complete"], _RESPONSE["partial"]
        ),
        "complete_since": where(attribute("observed_response") >= _RESPONSE["complete"], MONTHS, NEVER),
        "diameter": DIAMETER * p("tumour_update.diameter_factor_partial_response"),
        "pv": where(
            risk.drawn("thrombus", p("tumour_update.p_thrombus_regresses_with_response")), maximum(PV - 2.0, 0.0), PV
        ),
        "afp": attribute("afp") * p("tumour_update.afp_factor_response"),
        "log_progression": attribute("log_progression_later"),
    }


def _counts() -> Chance:
    """A response is marked in the first treatment of the tumour only: that is when a trial counts it."""
    first = (attribute("line") <= 1.0) & ~attribute("treated_locally")
    return Chance(
        name="response_counts",
        label="response to systemic therapy",
        branches=(
            Branch(name="first_treatment", weight=first, mark="response_observed", to=STAY),
            Branch(name="later_treatment", weight=1.0 - first, to=STAY),
        ),
    )


# -- reviews -------------------------------------------------------------------------------------------------------


def _review() -> Decision:
    # After the last fixed review only whoever is in complete response is looked at again, for the end of the drugs.
    next_one = MONTHS_IN_STATE + parameter("schedule.review_every_months")
    again: dict[str, Operand] = {
        "review_in": where(
            attribute("reviews")
            & (
                (next_one < parameter("conversion.check_last_months"))
                | (risk.ON_DRUG & (attribute("complete_since") < NEVER))
            ),
            attribute("review_in"),
            NEVER,
        )
    }
    return Decision(
        name="review",
        label="review of systemic therapy",
        actions={
            "go_on": Edge(to=STAY, updates=again),
            "conversion": Edge(to="surgery_offered", updates=again),
            "add_tace": Edge(to="added_local", mark="tace_session", local="tace", updates=again),
            "add_haic": Edge(to="added_local", mark="haic_block", local="haic", updates=again),
            "add_radiotherapy": Edge(to="added_local", mark="radiotherapy", local="rt", updates=again),
            "stop_drugs": Edge(to=STAY, mark="planned_stop", systemic="none", updates=common.stop_drug()),
            # For trials that randomise after a run-in: the mark is the time zero.
            "randomise_operate": Edge(to="randomised_operation", mark="randomise", updates={"randomised": 1.0}),
            "randomise_go_on": Edge(to=STAY, mark="randomise", updates={"randomised": 1.0}),
        },
    )


def _randomised() -> Chance:
    """Randomised to operation; who refuses it stays in the arm, and on the drugs."""
    accepts = parameter("surgery.p_accepts_surgery")
    wait = parameter("conversion.washout_bevacizumab_months") + parameter("timing.wait_surgery_first_months")
    return Chance(
        name="randomised_operation",
        label="randomised to operation",
        branches=(
            Branch(
                name="accepts",
                weight=accepts,
                mark="converted",
                systemic="none",
                local="none",
                updates={**regimens.stop(), **planned(CONVERSION, wait)},
                to="awaiting_curative",
            ),
            Branch(name="refuses", weight=1.0 - accepts, updates={"surgery_declined": 1.0}, to=STAY),
        ),
    )


def _added() -> Chance:
    """Local therapy on top of the running drugs: its risk, and what it does to the tumour."""
    p = parameter
    haic, rt = receiving("haic"), receiving("rt")
    death = where(rt, 0.0, where(haic, p("haic.p_procedure_death"), p("tace.p_procedure_death")))
    step = where(
        rt,
        p("rt.p_lasting_liver_step"),
        where(haic, p("haic.p_lasting_liver_step"), p("tace.p_lasting_liver_step_albi_2a")),
    )
    ratio = where(
        EHS >= 1.0,
        p("local_added.progression_hr_extrahepatic"),
        where(rt, p("rt.progression_hr"), p("local_added.progression_hr_liver_confined")),
    )
    effect: dict[str, Operand] = {
        "local_additions": attribute("local_additions") + 1.0,
        # The hazard ratio is that of adding local therapy, however often it is repeated.
        "log_progression": attribute("log_progression") + where(attribute("local_additions") > 0.0, 0.0, log(ratio)),
        "log_progression_later": attribute("log_progression_later")
        + where(attribute("local_additions") > 0.0, 0.0, log(ratio)),
        "observed_response": where(
            risk.drawn("response", p("local_added.p_response")),
            maximum(attribute("observed_response"), _RESPONSE["partial"]),
            attribute("observed_response"),
        ),
        "pv": where(rt & risk.drawn("thrombus", p("rt.p_thrombus_regression")), maximum(PV - 2.0, 0.0), PV),
    }
    return Chance(
        name="added_local",
        label="local therapy added",
        branches=(
            Branch(name="death", weight=death, to="dead_treatment"),
            Branch(
                name="lasting_step", weight=(1.0 - death) * step, updates={**common.lasting_step(), **effect}, to=STAY
            ),
            Branch(name="uneventful", weight=(1.0 - death) * (1.0 - step), updates=effect, to=STAY),
        ),
    )


# -- progression ---------------------------------------------------------------------------------------------------


def _cause() -> Chance:
    """Cause of progression; long control goes on beyond it."""
    p = parameter
    mix = "systemic.progression_cause_mix"
    seen: dict[str, Operand] = {
        **common.ecog_step("progression"),
        "afp": common.rising_afp(),
        "continues": risk.drawn("continues", p("post_progression.p_continue_beyond_progression")),
        "progressed": 1.0,
        "response_in": NEVER,
        "complete_since": NEVER,
    }
    after: dict[str, Operand] = {
        **risk.tumour_risk(),
        "local_burden": six_and_twelve(),
        "log_death": risk.progressed_death(1.0),
    }
    # Disease confined to the liver spreads as often as under local therapy.
    confined = "tace.progression_cause_mix"
    vascular = where(risk.CONFINED, lookup(confined, 2.0), lookup(mix, 1.0))
    spread = where(risk.CONFINED, lookup(confined, 3.0), lookup(mix, 2.0))
    liver = 1.0 - vascular - spread
    half = p("advanced.share_new_of_liver_progression")
    return Chance(
        name="progression_cause",
        label="progression on systemic therapy",
        branches=(
            Branch(
                name="new_in_liver",
                weight=liver * half,
                updates={**seen, "liver_only": 1.0, "nodules": common.new_tumours("nodules"), **after},
                to="at_progression",
            ),
            Branch(
                name="growth",
                weight=liver * (1.0 - half),
                updates={**seen, "liver_only": 1.0, "diameter": common.grows(), **after},
                to="at_progression",
            ),
            Branch(
                name="vascular",
                weight=vascular,
                updates={**seen, "liver_only": 1.0, "pv": common.vascular_grade("grade"), **after},
                to="at_progression",
            ),
            Branch(
                name="extrahepatic",
                weight=spread,
                updates={**seen, "liver_only": 0.0, "ehs": 1.0, **after},
                to="at_progression",
            ),
        ),
    )


def _at_progression() -> Decision:
    beyond: dict[str, Operand] = {
        "log_progression": where(
            attribute("response_class") == _CLASS["long_control"],
            attribute("log_progression_later"),
            risk.systemic_progression("systemic.progression_rate_stable_per_month"),
        )
    }
    return Decision(
        name="at_progression",
        label="progression on systemic therapy: what now",
        actions={
            "go_on": Edge(to=STAY, updates=beyond),
            "add_tace": Edge(to="added_local", mark="tace_session", local="tace", updates=beyond),
            "add_haic": Edge(to="added_local", mark="haic_block", local="haic", updates=beyond),
            "add_radiotherapy": Edge(to="added_local", mark="radiotherapy", local="rt", updates=beyond),
            "local": Edge(
                to="start_local",
                mark="stopped_at_progression",
                local="tace",
                updates={"session_in": parameter("tace.first_session_wait_months")},
            ),
            "stop": Edge(
                to="reach_next_line",
                mark="stopped_at_progression",
                local="none",
                systemic="none",
                updates=regimens.stop(),
            ),
        },
    )


# -- further lines -------------------------------------------------------------------------------------------------


def _recovery() -> Chance:
    recovers = where(attribute("decompensated"), parameter("liver.recovery.p_decompensation"), 1.0)
    return Chance(
        name="recovery",
        label="has the liver recovered",
        branches=(
            Branch(
                name="recovered",
                weight=recovers,
                updates={
                    **common.compensated_again(),
                    **risk.tumour_risk(),
                    "log_death": risk.progressed_death(1.0),
                },
                to="reach_next_line",
            ),
            Branch(name="not_recovered", weight=1.0 - recovers, updates=common.supportive(), to="supportive"),
        ),
    )


def _reach() -> Chance:
    """Whether a patient whose treatment failed reaches a further line; falling ill faster than one can be treated."""
    p = parameter
    fit = (POINTS <= staging.CHILD_PUGH_A_UPPER) & (ECOG <= 1.0)
    middle = (POINTS <= staging.CHILD_PUGH_B7) & (ECOG <= 2.0)
    chance = where(
        fit,
        p("next_line.p_reach_fit"),
        where(middle, p("next_line.p_reach_intermediate"), p("next_line.p_reach_unfit")),
    )
    chance = chance + p("next_line.country_increment")
    chance = chance * where(attribute("line") >= 2.0, p("next_line.third_line_factor"), 1.0)
    # A first systemic line after curative or local treatment has the same chance as a second one.
    chance = where(attribute("line") >= p("next_line.max_lines"), 0.0, minimum(chance, 1.0))
    return Chance(
        name="reach_next_line",
        label="does the patient reach a further line",
        branches=(
            Branch(
                name="reached",
                weight=chance,
                updates={"ici_access": risk.drawn("ici_access", p("next_line.share_with_ici_access"))},
                to="next_line",
            ),
            # A tumour that nobody treats any more progresses before it kills: it counts as seen now.
            Branch(
                name="not_reached_progresses",
                weight=(1.0 - chance) * (1.0 - attribute("progressed")),
                mark="progression",
                updates={"progressed": 1.0, **common.supportive_after_progression()},
                to="supportive",
            ),
            Branch(
                name="not_reached",
                weight=(1.0 - chance) * attribute("progressed"),
                updates=common.supportive_after_progression(),
                to="supportive",
            ),
        ),
    )


def _next_line() -> Decision:
    return Decision(
        name="next_line",
        label="next systemic line",
        actions={
            "start_systemic": Edge(to="start_systemic", mark="next_line", restart=True),
            "supportive": Edge(to="supportive", updates=common.supportive()),
        },
    )


def _cause_of_death() -> Chance:
    liver = minimum(risk.liver_death_rate() / exp(attribute("log_death")), 1.0)
    return Chance(
        name="cause_of_death",
        label="cause of death in supportive care",
        branches=(
            Branch(name="liver", weight=liver, to="dead_liver"),
            Branch(name="cancer", weight=1.0 - liver, to="dead_cancer"),
        ),
    )
