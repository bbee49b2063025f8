"""What runs beside every state: deaths of other causes, liver events, drug events, scans and planned stops."""

from __future__ import annotations

from simhcc import staging
from simhcc.expressions import (
    Expression,
    Operand,
    attribute,
    log,
    maximum,
    minimum,
    months_on,
    parameter,
    uniform,
    where,
)
from simhcc.graph import (
    STAY,
    Branch,
    Chance,
    Clock,
    Decision,
    Edge,
    End,
    Hazard,
    ScanSchedule,
    Scheduled,
    Strata,
    Transition,
    exponential,
)
from simhcc.pathway import regimens, risk
from simhcc.pathway.attributes import ALBI, CLASSES, ECOG, NEVER, POINTS, PV, RESPONSES

TREATMENT_SCANS = "treatment_scans"
FOLLOW_UP_SCANS = "follow_up_scans"
IRREGULAR_SCANS = "irregular_scans"
_HIGHEST_ECOG = 4.0
_HIGHEST_POINTS = 15.0
_COMPLETE = float(RESPONSES.index("complete"))
_STABLE = float(CLASSES.index("stable"))


def _life_table(sex: str) -> Hazard:
    return Hazard("pwexp", {"rates": f"mortality.{sex}_per_year", "times": "mortality.age_start"}, years=True)


LIFE_TABLE = Strata(by="male", hazards=(_life_table("female"), _life_table("male")))
UNIT = exponential(1.0)


def death_other() -> Transition:
    """Death of other causes by the life table; one threshold for life."""
    return Transition(
        name="death_other",
        hazard=LIFE_TABLE,
        clock=Clock.AGE,
        threshold="life",
        log_multiplier=log(parameter("liver.background_mortality_multiplier_cirrhosis")) * attribute("cirrhosis"),
        to="dead_other",
    )


def death_cancer(to: str = "dead_cancer") -> Transition:
    """Death of cancer at the patient's own rate."""
    return Transition(name="death_cancer", hazard=UNIT, log_multiplier=attribute("log_death"), to=to)


def liver_event() -> Transition:
    """A lasting liver step, decompensation or liver death; which one is drawn in the node `liver`."""
    return Transition(name="liver_event", hazard=UNIT, log_multiplier=attribute("log_liver"), to="liver")


def drug_event() -> Transition:
    """Severe toxicity or stopping for toxicity: frequent in the first months of a regimen, rarer afterwards."""
    return Transition(
        name="drug_event",
        hazard=Hazard(
            "pwexp",
            {
                "rates": (1.0, parameter("toxicity.late_to_early_ratio")),
                "times": (0.0, parameter("toxicity.early_months")),
            },
        ),
        clock=Clock.SYSTEMIC,
        log_multiplier=attribute("log_drug"),
        to="toxicity",
    )


def planned_stop(progression: Expression, complete_response_under_local: bool = False) -> Scheduled:
    """The planned end of the running regimen; its tumour effects go on as they are.

    The same event, counted from the stop, is the end of those effects where the structure lets them end
    (`structure.effect_ends_after_stop_months`): from then on the tumour progresses at the log rate `progression`. Under local
    treatment, drugs also end in a complete response, after the months of the clinical model.
    """
    months = attribute("regimen_months")
    if complete_response_under_local:
        stop = maximum(parameter("combination.stop_in_complete_response_months"), months_on("systemic"))
        complete = risk.ON_DRUG & (attribute("observed_response") >= _COMPLETE)
        months = where(complete, minimum(months, stop), months)
    return Scheduled(
        name="planned_stop",
        first=months,
        origin=Clock.SYSTEMIC,
        mark="planned_stop",
        to=STAY,
        systemic="none",
        updates={
            "log_progression": where(risk.ON_DRUG, attribute("log_progression"), progression),
            "response_class": where(risk.ON_DRUG, attribute("response_class"), _STABLE),
            **stop_drug(),
        },
    )


def stop_drug() -> dict[str, Operand]:
    """Updates of an edge that empties the systemic slot in a state: no drug events, the liver events of no drug, effects go on."""
    ends = where(risk.ON_DRUG, parameter("structure.effect_ends_after_stop_months"), NEVER)
    return {
        # Updates are carried out in order: whether a drug runs is asked before it is stopped.
        "regimen_months": ends,
        "log_drug": -NEVER,
        "one_drug_stopped": 0.0,
        "log_liver": risk.liver_events(risk.as_expression(0.0)),
    }


def schedules() -> tuple[ScanSchedule, ...]:
    """Scans under treatment, counted from its start, and in follow-up, regular or irregular, counted from clearance."""
    p = parameter
    first, irregular = p("schedule.scan_disease_free_first_months"), p("schedule.scan_irregular_surveillance_factor")
    return (
        ScanSchedule(
            name=TREATMENT_SCANS,
            segments=(
                (p("schedule.scan_systemic_months"), p("schedule.scan_systemic_months")),
                (p("schedule.scan_treatment_change_months"), p("schedule.scan_treatment_later_months")),
            ),
            origin="scan_origin",
        ),
        ScanSchedule(
            name=FOLLOW_UP_SCANS,
            segments=(
                (p("schedule.scan_disease_free_first_months"), p("schedule.scan_disease_free_first_months")),
                (p("schedule.scan_disease_free_change_months"), p("schedule.scan_disease_free_later_months")),
            ),
        ),
        ScanSchedule(
            name=IRREGULAR_SCANS,
            segments=(
                (irregular * first, irregular * first),
                (
                    maximum(p("schedule.scan_disease_free_change_months"), 2.0 * irregular * first),
                    irregular * p("schedule.scan_disease_free_later_months"),
                ),
            ),
        ),
    )


# -- ECOG and liver ------------------------------------------------------------------------------------------------


def ecog_step(cause: str) -> dict[str, Operand]:
    """Performance status falls by one with the chance of the cause; the death rate follows at the step from 0 to 1."""
    falls = risk.drawn("ecog", parameter(f"ecog.p_step_at_{cause}"))
    return {"ecog": minimum(ECOG + falls, _HIGHEST_ECOG)}


def lasting_step() -> dict[str, Operand]:
    """One ALBI grade is lost for good: the value moves to the middle of the next grade."""
    p = parameter
    lower = where(
        ALBI <= staging.ALBI_1_UPPER,
        p("liver.step.albi_2a"),
        where(ALBI < staging.ALBI_2A_UPPER, p("liver.step.albi_2b"), maximum(ALBI, p("liver.step.albi_3"))),
    )
    # Written in this order: the old grade decides about the rates.
    grade_1 = ALBI <= staging.ALBI_1_UPPER
    points = where(ALBI >= staging.ALBI_2A_UPPER, 1.0, 0.0)
    return {
        "log_death": attribute("log_death") + where(grade_1, log(p("covariate.death.albi_2")), 0.0),
        "log_progression": attribute("log_progression") + where(grade_1, log(p("covariate.progression.albi_2")), 0.0),
        "risk_death": attribute("risk_death") + where(grade_1, log(p("covariate.death.albi_2")), 0.0),
        "child_pugh": minimum(POINTS + points, _HIGHEST_POINTS),
        "albi": lower,
        "tace_closed": maximum(attribute("tace_closed"), lower >= staging.ALBI_2A_UPPER),
        "log_liver": risk.liver_events(risk.TREATED_TUMOUR),
    }


def decompensation() -> dict[str, Operand]:
    """Ascites, encephalopathy or bleeding: points rise, performance status may fall."""
    return {
        "decompensated": 1.0,
        "child_pugh": minimum(POINTS + parameter("liver.step.points_at_decompensation"), _HIGHEST_POINTS),
        **ecog_step("decompensation"),
        "log_liver": risk.liver_events(risk.TREATED_TUMOUR),
    }


def compensated_again() -> dict[str, Operand]:
    """Recovery from decompensation."""
    return {
        "decompensated": 0.0,
        "child_pugh": maximum(POINTS - parameter("liver.step.points_at_decompensation"), 5.0),
    }


def shared_nodes() -> tuple[Chance | Decision | End, ...]:
    """Liver events and toxicity, entered from several states, and the ends."""
    on_drug = risk.TREATED_TUMOUR
    reduced, one_drug = parameter("toxicity.p_dose_reduced"), attribute("regimen_p_one_drug")
    early = months_on("systemic") <= parameter("toxicity.early_months")
    excess = attribute("regimen_p_excess")
    severe = 1.0 - attribute("regimen_p_stop") - excess
    bleeding = severe * attribute("regimen_p_bleeding")
    fatal_bleeding = parameter("liver.bleeding_bevacizumab.p_death")
    fatal, other = attribute("regimen_p_death"), severe - bleeding
    return (
        Chance(
            name="liver",
            label="liver event",
            branches=(
                Branch(name="lasting_step", weight=risk.liver_step_rate(on_drug), to=STAY, updates=lasting_step()),
                Branch(
                    name="decompensation",
                    weight=risk.decompensation_rate(on_drug),
                    mark="decompensation",
                    updates=decompensation(),
                    to="liver_event_review",
                ),
                Branch(name="liver_death", weight=risk.liver_death_rate(), to="dead_liver"),
            ),
        ),
        Decision(
            name="liver_event_review",
            label="decompensation: what now",
            actions={
                "go_on": Edge(to=STAY),
                "hold_local": Edge(to=STAY, updates={"session_in": NEVER, "haic_in": NEVER, "scan_in": NEVER}),
                "recovers_if_able": Edge(
                    to=STAY,
                    systemic="none",
                    updates={
                        **regimens.stop(),
                        "decompensated": ~risk.drawn("recovers", parameter("liver.recovery.p_decompensation")),
                        "log_liver": risk.liver_events(risk.as_expression(0.0)),
                    },
                ),
                "hold_all": Edge(to="untreated_tumour", local="none", systemic="none", updates=untreated()),
                "supportive": Edge(to="supportive", local="none", systemic="none", updates=supportive()),
            },
        ),
        Chance(
            name="toxicity",
            label="drug event",
            branches=(
                Branch(
                    name="stop",
                    weight=attribute("regimen_p_stop"),
                    mark="toxicity_stop",
                    to=STAY,
                    systemic="none",
                    updates={
                        "log_progression": attribute("log_progression")
                        + log(parameter("systemic.progression_hr_after_toxicity_stop")),
                        # An operation that is waited for comes later.
                        "wait": attribute("wait") + parameter("timing.toxicity_delay_months"),
                        **stop_drug(),
                    },
                ),
                Branch(name="early_death", weight=excess * early, to="dead_cancer"),
                Branch(name="no_early_death", weight=excess * (1.0 - early), to=STAY),
                Branch(name="fatal_bleeding", weight=bleeding * fatal_bleeding, mark="bleeding", to="dead_treatment"),
                Branch(
                    name="bleeding",
                    weight=bleeding * (1.0 - fatal_bleeding),
                    mark="bleeding",
                    to=STAY,
                    # Bevacizumab is not given again after a severe bleeding.
                    updates={**ecog_step("severe_toxicity"), **regimens.stop_one_drug()},
                ),
                Branch(name="fatal", weight=other * fatal, mark="severe_toxicity", to="dead_treatment"),
                Branch(
                    name="reduce_dose",
                    weight=other * (1.0 - fatal) * reduced,
                    mark="dose_reduced",
                    to=STAY,
                    updates=ecog_step("severe_toxicity"),
                ),
                Branch(
                    name="stop_one_drug",
                    weight=other * (1.0 - fatal) * one_drug,
                    mark="one_drug_stopped",
                    to=STAY,
                    updates={**ecog_step("severe_toxicity"), **regimens.stop_one_drug()},
                ),
                Branch(
                    name="go_on",
                    weight=other * (1.0 - fatal) * maximum(1.0 - reduced - one_drug, 0.0),
                    mark="severe_toxicity",
                    to=STAY,
                    updates=ecog_step("severe_toxicity"),
                ),
            ),
        ),
        End(name="dead_cancer", label="dead, cancer"),
        End(name="dead_liver", label="dead, liver"),
        End(name="dead_treatment", label="dead, treatment"),
        End(name="dead_other", label="dead, other causes"),
    )


def untreated() -> dict[str, Operand]:
    """Updates on leaving anti-tumour treatment for a time: death as without a line, liver without drugs."""
    return {
        **regimens.stop(),
        **risk.tumour_risk(),
        "log_death": risk.progressed_death(parameter("post_progression.hr_no_next_line")),
        "log_liver": risk.liver_events(risk.as_expression(0.0)),
    }


def supportive() -> dict[str, Operand]:
    """Updates on leaving anti-tumour treatment for good: cancer and liver death at one rate."""
    return {
        **_ends_treatment(),
        **risk.tumour_risk(),
        "log_death": log(risk.exp(risk.untreated_death()) + risk.liver_death_rate()),
    }


def supportive_after_progression() -> dict[str, Operand]:
    """The same where `log_death` is the rate after progression of now."""
    return {**_ends_treatment(), "log_death": risk.without_next_line()}


def _ends_treatment() -> dict[str, Operand]:
    return {**regimens.stop(), "phase": where(attribute("line") > 0.0, 2.0, attribute("phase"))}


# -- how the tumour is rewritten -----------------------------------------------------------------------------------


def vascular_grade(purpose: str) -> Expression:
    """Vp2, Vp3 or Vp4 of new vascular invasion, never below the grade there is."""
    u = uniform(purpose)
    mix = "tumour_update.vascular_mix_vp1_2_vp3_vp4"
    low, middle = risk.lookup(mix, 0.0), risk.lookup(mix, 1.0)
    return maximum(PV, where(u < low, 2.0, where(u < low + middle, 3.0, 4.0)))


def grows() -> Expression:
    """Largest diameter after growth by progression, kept within what the cohort knows."""
    return minimum(attribute("diameter") * parameter("tumour_update.diameter_factor_progression"), 30.0)


def new_tumours(purpose: str) -> Expression:
    """Number of liver tumours after new ones have been seen."""
    return minimum(attribute("nodules") + risk.count(purpose, parameter("tumour_update.new_nodules_mean"), 20), 30.0)


def rising_afp() -> Expression:
    """AFP after progression."""
    return minimum(attribute("afp") * parameter("tumour_update.afp_factor_progression"), 1e7)
