"""The whole pathway: one graph with three entry points, chosen by the table `initial_treatment`."""

from __future__ import annotations

from functools import lru_cache

from simhcc.expressions import attribute, parameter
from simhcc.graph import Branch, Chance, Decision, Edge, Endpoint, Pathway
from simhcc.pathway import advanced, common, intermediate, regimens, resectable, risk
from simhcc.pathway.attributes import attributes, derived

DEATHS = ("dead_cancer", "dead_liver", "dead_treatment", "dead_other")
TREATMENT_ENDS = (
    "stopped_at_progression",
    "toxicity_stop",
    "planned_stop",
    "untreatable",
    "refractory",
    "converted",
    *DEATHS,
)

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(id="os", marks=DEATHS),
    Endpoint(id="rfs", marks=("recurrence", *DEATHS), origin="cleared"),
    Endpoint(id="ttr", marks=("recurrence",), origin="cleared"),
    Endpoint(id="efs", marks=("progression_forbids_surgery", "not_resected", "recurrence", "progression", *DEATHS)),
    Endpoint(id="pfs", marks=("progression", "progression_forbids_surgery", "recurrence", *DEATHS)),
    Endpoint(id="ttp", marks=("progression", "progression_forbids_surgery", "recurrence")),
    Endpoint(
        id="ttf",
        marks=("progression", "progression_forbids_surgery", "recurrence", "toxicity_stop", "next_line", *DEATHS),
    ),
    Endpoint(id="ttd", marks=TREATMENT_ENDS),
    # Until any drug of a combination is stopped; a severe bleeding stops bevacizumab.
    Endpoint(id="ttd_any", marks=("one_drug_stopped", "bleeding", *TREATMENT_ENDS)),
    Endpoint(id="tace_pfs", marks=("untreatable", "refractory", *DEATHS)),
    Endpoint(
        id="ttf_randomised",
        marks=(
            "progression",
            "progression_forbids_surgery",
            "not_resected",
            "recurrence",
            "toxicity_stop",
            "next_line",
            *DEATHS,
        ),
        origin="randomise",
    ),
    Endpoint(id="os_randomised", marks=DEATHS, origin="randomise"),
    Endpoint(id="response", marks=("response_observed",)),
)


def _entry() -> tuple[Chance, Chance, Decision]:
    p = parameter
    enter = attribute("cleared_at_entry")
    # The fate is drawn once, so that the same people live long under every strategy that gives the same drug classes.
    everybody = {
        "fate": risk.uniform("long_lived"),
        "on_antivirals": attribute("hbv") * attribute("antiviral"),
        "hcv_active": attribute("hcv") * risk.drawn("hcv_active", p("hcv.share_active")),
    }
    return (
        Chance(
            name="entry",
            label="entry",
            branches=(
                Branch(name="with_tumour", weight=1.0 - enter, updates=everybody, to="initial_treatment"),
                Branch(
                    name="after_curative_treatment",
                    weight=enter,
                    mark="cleared",
                    updates={**everybody, **resectable.entered_cleared()},
                    to="disease_free",
                ),
            ),
        ),
        Chance(
            name="no_treatment",
            label="no anti-tumour treatment",
            branches=(Branch(name="none", weight=1.0, updates=common.supportive(), to="supportive"),),
        ),
        Decision(
            name="initial_treatment",
            label="initial treatment",
            actions={
                "operate": Edge(
                    to="awaiting_curative",
                    updates=resectable.planned(resectable.RESECTION, p("timing.wait_surgery_first_months")),
                ),
                "neoadjuvant": Edge(
                    to="awaiting_curative",
                    updates={
                        **resectable.planned(resectable.NEOADJUVANT, p("timing.wait_neoadjuvant_months")),
                        "adjuvant_planned": 1.0,
                    },
                ),
                "ablate": Edge(
                    to="awaiting_curative",
                    updates=resectable.planned(resectable.ABLATION, p("timing.wait_ablation_months")),
                ),
                "tace": Edge(
                    to="start_local", local="tace", updates={"session_in": p("tace.first_session_wait_months")}
                ),
                "haic": Edge(to="start_local", local="haic", updates={"haic_in": p("tace.first_session_wait_months")}),
                "start_systemic": Edge(to="start_systemic"),
                "transplant_or_supportive": Edge(to="transplant_chance"),
                "supportive": Edge(to="no_treatment"),
            },
        ),
    )


@lru_cache(maxsize=1)
def pathway() -> Pathway:
    """The pathway of hepatocellular carcinoma, from first treatment to death."""
    entry, no_treatment, initial = _entry()
    return Pathway(
        name="hcc",
        label="Hepatocellular carcinoma",
        start="entry",
        nodes=(
            entry,
            initial,
            *resectable.states(),
            *intermediate.states(),
            *advanced.states(),
            no_treatment,
            *resectable.instants(),
            *intermediate.instants(),
            *advanced.instants(),
            *common.shared_nodes(),
        ),
        attributes=attributes(),
        treatments=regimens.treatments(),
        schedules=common.schedules(),
        derived=derived(),
        tag=("phase", "decompensated", "on_antivirals", "one_drug_stopped"),
        age_years="age",
    )
