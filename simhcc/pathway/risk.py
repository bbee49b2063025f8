"""Rates of a patient: logarithms that edges write into attributes, so that a stay reads one number per hazard.

All log hazard ratios are centred on a reference case mix (`centre.*`), in which the rates of `params/disease` were
estimated; frailty has mean 1.
"""

from __future__ import annotations

from simhcc import staging
from simhcc.expressions import (
    Expression,
    Operand,
    as_expression,
    attribute,
    exp,
    floor,
    log,
    lookup,
    maximum,
    minimum,
    parameter,
    uniform,
    where,
)
from simhcc.pathway.attributes import AFP, ALBI, CLEARED_BY, DIAMETER, ECOG, EHS, HV, NEVER, POINTS, PV, cnlc

HIGH_AFP = 400.0  # ng/ml, the cut-off of the published subgroups
CONFINED = (EHS < 1.0) & (PV <= staging.TACE_MAX_VP) & (HV < 1.0)
ON_DRUG = attribute("log_drug") > -NEVER
_CONVERSION = float(CLEARED_BY.index("conversion_resection"))

EXTENT = {
    "extrahepatic": EHS,
    "vp1_2": (PV >= 1.0) & (PV < 3.0),
    "vp3": PV == 3.0,
    "vp4": PV >= 4.0,
}
HOST = {
    "afp_ge_400": AFP >= HIGH_AFP,
    "albi_2": ALBI > staging.ALBI_1_UPPER,
    "child_pugh_b": POINTS > staging.CHILD_PUGH_A_UPPER,
    "ecog_1": ECOG >= 1.0,
}


def frailty() -> Expression:
    """Log of the patient's frailty, which has mean 1."""
    sd = parameter("frailty.sd_log")
    return sd * attribute("frailty_z") - 0.5 * sd * sd


def _sum(kind: str) -> Expression:
    total: Operand = 0.0
    for name, condition in {**EXTENT, **HOST}.items():
        total = total + log(parameter(f"covariate.{kind}.{name}")) * condition
    return as_expression(total)


def _centre(kind: str, centre: str) -> Expression:
    """What the reference case mix adds to the sum, so that the rates belong to its average patient."""
    names = {**EXTENT, **HOST} if centre == "advanced" else {"vp1_2": PV, **HOST}
    total: Operand = 0.0
    for name in names:
        total = total + log(parameter(f"covariate.{kind}.{name}")) * parameter(f"centre.{centre}.{name}")
    return as_expression(total)


def tumour_risk() -> dict[str, Operand]:
    """Log hazard ratios of progression and cancer death by extent and host as they are now; for edges that change them."""
    return {"risk_progression": _sum("progression"), "risk_death": _sum("death")}


def _level(kind: str) -> Expression:
    return attribute("trial_log_progression") if kind == "progression" else attribute("trial_log_death")


def _risk(kind: str, centre: str) -> Expression:
    return attribute(f"risk_{kind}") - _centre(kind, centre) + _level(kind)


# -- systemic therapy ----------------------------------------------------------------------------------------------


def systemic_progression(rate: str, responder: bool = False) -> Expression:
    """Log rate of progression in a response class on the running regimen; later lines progress faster.

    A regimen whose figures come from later lines is not slowed twice.
    """
    later = (attribute("line") > 1.0) & (attribute("regimen_later") < 1.0)
    value = (
        log(parameter(rate) * parameter("systemic.progression_hr_in_structure"))
        + attribute("regimen_log_hr")
        + _risk("progression", "advanced")
        + frailty()
        + where(later, log(parameter("next_line.progression_hr_second_line")), 0.0)
    )
    return value + attribute("regimen_log_hr_responder") if responder else value


def controlled_death() -> Expression:
    """Log rate of cancer death while the tumour is under control on systemic therapy.

    A first line has the same rate after local therapy as without it: that of first-line trials, by extent. In later lines
    the rate is that after progression, with a further line, which stands in `log_death` when a line begins.
    """
    own = parameter("systemic.death_rate_without_progression_per_month") * parameter("systemic.cancer_share_of_deaths")
    first = log(own) + _risk("death", "advanced")
    return where(attribute("line") > 1.0, attribute("log_death"), first)


def log_confined_rate(factor: str) -> Expression:
    """Log rate of cancer death after local therapy has failed, by burden, times a factor."""
    burden = attribute("local_burden")
    logs = [
        log(parameter(f"tace.failure.death_rate_{n}_per_month") * parameter(factor)) for n in ("low", "mid", "high")
    ]
    return where(burden >= 3.0, logs[2], where(burden >= 2.0, logs[1], logs[0]))


def progressed_death(factor: Operand) -> Expression:
    """Log rate of cancer death after progression; `factor` is the hazard ratio of having no further line.

    Disease confined to the liver keeps the rates of liver-confined disease.
    """
    long_lived = parameter("post_progression.death_rate_long_lived_per_month")
    rest = parameter("post_progression.death_rate_rest_per_month")
    after_combined = where(
        attribute("combined_start"), log(parameter("tace.failure.death_multiplier_after_combined")), 0.0
    )
    by_extent = where(
        CONFINED,
        log_confined_rate("tace.failure.hr_uncontrolled") - _centre("death", "intermediate") + after_combined,
        log(rest) - _centre("death", "advanced"),
    )
    level = where(lives_long(), log(long_lived), by_extent + attribute("risk_death"))
    having = log(as_expression(factor) / _mean_factor())
    return level + having + frailty() + attribute("trial_log_death") + residual() + after_recurrence()


def lives_long() -> Expression:
    """Whether the patient lives long after progression; more do so once they have had an immune drug."""
    share = parameter("post_progression.p_long_lived")
    odds = parameter("post_progression.long_lived_or_ici") * share / (1.0 - share)
    chance = where(attribute("seen_ici"), odds / (1.0 + odds), share)
    return (attribute("long_lived") >= 1.0) | (attribute("fate") < chance)


def _mean_factor() -> Expression:
    """Mean hazard ratio of having no next line over all progressors, of whom the rates of death are averages."""
    reach = parameter("post_progression.share_with_next_line")
    return reach + (1.0 - reach) * parameter("post_progression.hr_no_next_line")


def residual() -> Expression:
    """Log hazard ratio on death that the mediators miss, by the drug classes seen."""
    ici, tki, none = (parameter(f"post_progression.residual_log_hr_death.{name}") for name in ("ici", "tki", "none"))
    return where(attribute("seen_ici"), ici, where(attribute("seen_tki"), tki, none))


def after_recurrence() -> Expression:
    """Log hazard ratio on death once cancer has come back after curative treatment: era, surveillance, conversion before."""
    beyond_stage = parameter("surveillance.death_hr_irregular") / parameter("surveillance.death_hr_through_stage")
    irregular = parameter("surveillance.causal_share") * log(beyond_stage)
    value = log(parameter("post_recurrence.death_multiplier_era")) + irregular * (
        1.0 - attribute("surveillance_regular")
    )
    conversion = log(parameter("conversion.after_surgery.death_hr_after_recurrence"))
    value = value + where(attribute("cleared_by") == _CONVERSION, conversion, 0.0)
    return where(attribute("clearances") > 0.0, value, 0.0)


def without_next_line() -> Expression:
    """Log rate of death in supportive care of those whose `log_death` is the rate after progression with a further line."""
    hr = log(parameter("post_progression.hr_no_next_line"))
    cancer = attribute("log_death") + hr - where(unfit(), log(parameter("supportive.hr_fit")), 0.0)
    return log(exp(cancer) + liver_death_rate())


def untreated_death() -> Expression:
    """Log rate of cancer death without further anti-tumour treatment."""
    fit = where(unfit(), 0.0, log(parameter("supportive.hr_fit")))
    never = log(parameter("supportive.death_rate_per_month")) + fit + _risk("death", "advanced") + frailty()
    worse = where(unfit(), log(parameter("supportive.hr_fit")), 0.0)
    treated = progressed_death(parameter("post_progression.hr_no_next_line")) - worse
    fresh = (attribute("line") < 1.0) & (attribute("sessions") < 1.0) & (attribute("clearances") < 1.0)
    return where(fresh, never, treated)


def unfit() -> Expression:
    """Too ill for anti-tumour treatment."""
    return (ECOG >= staging.ECOG_END_STAGE) | (POINTS > staging.CHILD_PUGH_B7)


# -- local therapy -------------------------------------------------------------------------------------------------


def local_progression() -> Expression:
    """Log rate of progression under local therapy, before what the last session and the drugs add."""
    burden = attribute("local_burden")
    rates = [log(parameter(f"tace.progression_rate_{name}_per_month")) for name in ("low", "mid", "high")]
    by_burden = where(burden >= 3.0, rates[2], where(burden >= 2.0, rates[1], rates[0]))
    return by_burden + _risk("progression", "intermediate") + frailty()


def drug_on_local() -> Expression:
    """Log hazard ratio of the running drugs on progression under local therapy."""
    return where(ON_DRUG, attribute("regimen_log_hr_tace"), 0.0)


def local_death() -> Expression:
    """Log rate of cancer death without documented progression under local therapy, with or without drugs."""
    rate = parameter("tace.death_rate_without_progression_per_month") * parameter("tace.cancer_share_of_deaths")
    return log(rate) + _risk("death", "intermediate") + after_recurrence()


# -- recurrence ----------------------------------------------------------------------------------------------------


def early_mass(after_conversion: bool) -> Expression:
    """Log mass of early recurrence: cumulative hazard, so exp(-mass) never recur early."""
    if after_conversion:
        tau, own = parameter("recurrence.early_tau_months"), parameter("conversion.after_surgery.early_tau_months")
        # The same mass within the first year on the common clock.
        year = parameter("structure.months_that_match")
        scale = (1.0 - exp(-year / own)) / (1.0 - exp(-year / tau))
        pathology = where(attribute("viable") <= 0.0, log(parameter("conversion.after_surgery.hr_no_viable")), 0.0)
        # Complete responses are part of the published series.
        share = lookup("conversion.after_surgery.pathology_mix", 0.0)
        centre = log(1.0 - share + share * parameter("conversion.after_surgery.hr_no_viable"))
        own_mass = parameter("conversion.after_surgery.early_mass") * parameter(
            "conversion.after_surgery.hr_beyond_series"
        )
        return log(own_mass * scale) + pathology - centre + _common_early()
    stage = cnlc()
    masses = [log(parameter(f"recurrence.early_mass_cnlc_{name}")) for name in ("ia", "ib", "iia", "iib_iiia")]
    by_stage = where(stage <= 1.0, masses[0], where(stage <= 2.0, masses[1], where(stage <= 3.0, masses[2], masses[3])))
    p, c = parameter, lambda name: parameter(f"centre.resectable.{name}")
    mvi, m2, afp = (log(p(f"recurrence.hr_early_{n}")) for n in ("mvi", "mvi_m2_over_m1", "afp_ge_400"))
    within = (
        mvi * ((attribute("mvi") >= 1.0) - c("mvi"))
        + m2 * ((attribute("mvi") >= 2.0) - c("mvi_m2"))
        + afp * ((AFP >= HIGH_AFP) - c("afp_ge_400"))
        + log(p("recurrence.hr_early_size_over_5cm_within_stage")) * (DIAMETER > staging.CNLC_SOLITARY_CM)
        + log(p("recurrence.hr_early_vp3_over_vp1_2")) * (PV >= 3.0)
    )
    return by_stage + within + _common_early()


def _common_early() -> Expression:
    again = where(attribute("clearances") >= 1.0, log(parameter("recurrence.hr_after_second_clearance")), 0.0)
    return frailty() + attribute("trial_log_early") + again


def late_rate(cleared_by: int) -> Expression:
    """Log rate of late recurrence, with local progression at a site that was not resected.

    `cleared_by` is the code of the curative treatment.
    """
    p = parameter
    if cleared_by == _CONVERSION:
        rate = p("conversion.after_surgery.late_rate_per_month") * p("conversion.after_surgery.hr_beyond_series")
    else:
        rate = p("recurrence.late_rate_per_month")
    uncovered = attribute("hbv") * (1.0 - attribute("antiviral"))
    host = (
        log(p("recurrence.hr_late_cirrhosis")) * (attribute("cirrhosis") - p("centre.resectable.cirrhosis"))
        + log(p("recurrence.hr_late_male")) * (attribute("male") - p("centre.resectable.male"))
        + log(p("hbv.late_recurrence_hr_uncovered")) * uncovered
        + log(p("hcv.late_recurrence_hr_active")) * attribute("hcv_active")
        + where(attribute("clearances") >= 1.0, log(p("recurrence.hr_after_second_clearance")), 0.0)
        + frailty()
    )
    if cleared_by == 3:
        return log(
            p("recurrence.late_rate_per_month") * p("recurrence.hr_late_cleared_without_resection") * exp(host)
            + p("ablation.local_progression_rate_per_month")
        )
    return log(rate) + host


# -- liver ---------------------------------------------------------------------------------------------------------


def liver_death_rate() -> Expression:
    """Rate of liver death by ALBI grade, or when decompensated; independent of the tumour."""
    p = parameter
    grade = where(
        ALBI <= staging.ALBI_1_UPPER,
        p("liver.death_rate_albi_1_per_month"),
        where(
            ALBI < staging.ALBI_2A_UPPER,
            p("liver.death_rate_albi_2a_per_month"),
            where(
                ALBI <= staging.ALBI_2_UPPER,
                p("liver.death_rate_albi_2b_per_month"),
                p("liver.death_rate_albi_3_per_month"),
            ),
        ),
    )
    return where(attribute("decompensated"), p("liver.death_rate_decompensated_per_month"), grade)


def _uncovered() -> Expression:
    """Hazard ratio of liver steps without antivirals, and the flares that decompensate, per month."""
    return attribute("hbv") * (1.0 - attribute("antiviral"))


def _active_hcv() -> Expression:
    """Hazard ratio of liver steps and background decompensation with hepatitis C that has not been cured."""
    return where(attribute("hcv_active"), parameter("hcv.liver_event_hr_active"), 1.0)


def liver_step_rate(on_drug: Expression) -> Expression:
    """Rate of losing one ALBI grade for good."""
    p = parameter
    background = where(
        attribute("cirrhosis"),
        p("liver.background.step_rate_cirrhosis_per_month"),
        p("liver.background.step_rate_no_cirrhosis_per_month"),
    )
    factor = where(_uncovered(), p("hbv.liver_step_hr_uncovered"), 1.0) * _active_hcv()
    added = attribute("drug_liver") * maximum(p("liver.on_systemic.albi_step_rate_per_month") - background, 0.0)
    return (background + where(on_drug, added, 0.0)) * factor


def decompensation_rate(on_drug: Expression) -> Expression:
    """Rate of decompensation: background by cirrhosis, or on systemic therapy over the first year of it."""
    p = parameter
    hr_active = where(attribute("tumour"), p("liver.background.hr_active_tumour"), 1.0)
    thrombus = PV >= 3.0
    background = (
        where(
            attribute("cirrhosis"),
            p("liver.background.decompensation_rate_cirrhosis_per_month"),
            p("liver.background.decompensation_rate_no_cirrhosis_per_month"),
        )
        * hr_active
        * where(thrombus, p("liver.background.hr_vp3_4"), 1.0)
        * where(ALBI >= staging.ALBI_2A_UPPER, p("liver.background.hr_albi_2b_or_worse"), 1.0)
        * _active_hcv()
    )
    early, year = p("toxicity.early_months"), p("structure.months_that_match")
    average = (
        p("liver.on_systemic.decompensation_rate_0_3_per_month") * early
        + p("liver.on_systemic.decompensation_rate_after_3_per_month") * (year - early)
    ) / year
    treated = (
        average
        / p("liver.on_systemic.reference_factor")
        * where(ALBI > staging.ALBI_1_UPPER, p("liver.on_systemic.hr_albi_2"), 1.0)
        * where(thrombus, p("liver.on_systemic.hr_vp3_4"), 1.0)
    )
    flare = where(_uncovered(), p("hbv.flare_rate_uncovered_per_month") * p("hbv.p_decompensation_given_flare"), 0.0)
    # A liver that has decompensated does so no more; what it costs stands in its death rate.
    added = attribute("drug_liver") * maximum(treated - background, 0.0)
    return where(attribute("decompensated"), 0.0, background + where(on_drug, added, 0.0) + flare)


def liver_events(on_drug: Expression) -> Expression:
    """Log rate of any liver event: a lasting step, decompensation or liver death."""
    return log(liver_step_rate(on_drug) + decompensation_rate(on_drug) + liver_death_rate())


TREATED_TUMOUR = attribute("tumour") & ON_DRUG


def drawn(purpose: str, chance: Operand) -> Expression:
    """1 with a probability, by an addressed random number."""
    return uniform(purpose) < chance


def times_odds(share: Expression, ratio: Expression) -> Expression:
    """The share whose odds are those of `share` times `ratio`."""
    return share * ratio / (1.0 + share * (ratio - 1.0))


def count(purpose: str, mean: Operand, most: int) -> Expression:
    """A count of at least 1 with the given mean: 1 plus a geometric number, at most `most`; a mean below 1 counts as 1."""
    q = maximum(0.0, 1.0 - 1.0 / as_expression(mean))
    steps = log(uniform(purpose)) / log(q)
    return minimum(1.0 + floor(steps), float(most))
