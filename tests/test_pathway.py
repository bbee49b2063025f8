"""The disease pathway: derived classes, strategies, and what must hold in simulated lives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pathway_project import base, cohort_of

from simhcc import staging
from simhcc.errors import InputError
from simhcc.graph import Channel, Decision, RateReward, Strategy
from simhcc.inputs import list_strategies
from simhcc.inputs import load_strategy as read_strategy
from simhcc.model import as_values
from simhcc.pathway import attributes as names
from simhcc.pathway.strategies import load_strategy, to_graph
from simhcc.pathway.whole import DEATHS, ENDPOINTS, pathway
from simhcc.population import DERIVED
from simhcc.simulation import Evaluation, Outcomes, simulate
from simhcc.trials.pools import of_patients

PATIENTS = 10_240
LIFE = 12.0 * 110.0
# Trials of adjuvant treatment start with a clean scan; nothing else changes in the tests of adjuvant nulls.
CLEARED = {"cleared_at_entry": 1.0}
SHIPPED = [name for name in list_strategies() if name != "standard_care"]


def run(
    population: str, strategies: list[Strategy], changes: dict | None = None, horizon: float = LIFE, **columns: float
) -> Outcomes:
    cohort = cohort_of(population, PATIENTS) | {name: np.full(PATIENTS, value) for name, value in columns.items()}
    evaluation = Evaluation(
        pathway=pathway(),
        strategies=tuple(strategies),
        channels=(Channel(id="ly", scale=1 / 12),),
        rewards=(RateReward(channel="ly", rate=1.0),),
        endpoints=tuple(e for e in ENDPOINTS if e.origin != "randomise"),
        horizon=horizon,
        landmarks=tuple(m for m in (12.0, 24.0, 60.0) if m <= horizon),
        seed=3,
    )
    return simulate(evaluation, as_values({**base(), **(changes or {})}), cohort, patients=PATIENTS)


def named(*ids: str) -> list[Strategy]:
    return [load_strategy(name) for name in ids]


def per_patient(outcomes: Outcomes, mark: str) -> np.ndarray:
    return outcomes.mark_sums[:, outcomes.marks.index(mark), 0] / outcomes.patients


# -- classes -------------------------------------------------------------------------------------------------------


def random_patients(n: int, seed: int) -> dict[str, np.ndarray]:
    """Patients whose attributes sit on and around every limit of the definitions."""
    rng = np.random.default_rng(seed)
    flag = lambda: rng.integers(0, 2, n).astype(float)  # noqa: E731
    columns = {
        name: flag() for name in ("infiltrative", "hv", "ehs", "surgical_barrier", "judged_resectable", "decompensated")
    }
    columns["contralateral_within_milan"] = flag()
    columns["ehs"] = (rng.random(n) < 0.2).astype(float)
    columns["hv"] = (rng.random(n) < 0.2).astype(float)
    columns["ecog"] = rng.integers(0, 5, n).astype(float)
    columns["child_pugh"] = rng.integers(5, 12, n).astype(float)
    columns["nodules"] = rng.integers(1, 9, n).astype(float)
    columns["diameter"] = np.round(rng.uniform(0.5, 12.0, n) * 2.0) / 2.0
    columns["pv"] = rng.choice([0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0], n)
    columns["lobes"] = rng.integers(1, 3, n).astype(float)
    columns["albi"] = rng.choice([-3.0, -2.6, -2.5, -2.27, -2.0, -1.39, -1.0], n)
    return columns


@pytest.mark.parametrize("name", sorted(set(DERIVED) & set(names.derived())))
def test_derived_classes_agree_with_the_staging_functions(name: str) -> None:
    columns = random_patients(4000, 5)
    expected = DERIVED[name].of(columns)
    found = of_patients(names.derived()[name], columns, base())
    assert np.array_equal(found, expected), f"{name} differs in {(found != expected).sum()} of 4000 patients"
    assert len(np.unique(expected)) > 1


def test_every_published_class_is_there() -> None:
    assert set(DERIVED) <= set(names.derived())
    assert staging.CNLC_NAMES[5] == "IIIa"
    assert names.level_code("cnlc", "IIIa") == 5.0


# -- strategies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_strategy_runs_on_the_graph(name: str) -> None:
    strategy = load_strategy(name)
    pathway().check(strategy)
    decisions = {node.name for node in pathway().nodes if isinstance(node, Decision)}
    assert set(strategy.tables) == decisions
    assert strategy.label


DESIGN_IDS = [
    "surgery_alone",
    "adjuvant_sorafenib",
    "adjuvant_atezo_bev",
    "adjuvant_pembrolizumab",
    "adjuvant_tace",
    "perioperative_camre_rivo",
    "perioperative_mpr_guided",
    "tace_sequential",
    "tace_len_pembro",
    "tace_durva_bev",
    "tace_atezo_bev",
    "tace_camre_rivo",
    "tace_stride",
    "tace_stride_len",
    "systemic_first",
    "haic_systemic",
    "burden_stratified",
    "conversion_resection",
    "conversion_no_surgery",
    "resectability_then_burden",
    "best_supportive_care",
    "sorafenib",
    "lenvatinib",
    "atezo_bev",
    "sintilimab_bev",
    "camre_rivo",
    "stride",
    "len_pembro",
    "nivo_ipi",
    "atezo_bev_tiragolumab",
    "atezo_bev_ipilimumab",
    "conversion_surgery",
    "on_demand_local",
    "response_adapted",
    "pathway_usual_2020",
    "pathway_review_2025",
]


def test_all_ids_that_others_rely_on_exist_in_two_languages() -> None:
    assert set(DESIGN_IDS) <= set(SHIPPED)
    for name in DESIGN_IDS:
        label = read_strategy(name).label
        assert label.en and label.zh, name


WRONG = {
    "node": ("tables: {nowhere: [{do: go_on}]}", "tace_review", "a table for 'nowhere'"),
    "action": ("tables: {review: [{do: operat}]}", "operat", "the action 'operat'"),
    "regimen": (
        "tables: {initial_treatment: [{do: start_systemic, systemic: sorafenibe}]}",
        "sorafenib?",
        "sorafenibe",
    ),
    "attribute": ("tables: {review: [{when: {nodule: 1}, do: go_on}, {do: go_on}]}", "nodules?", "nodule"),
    "level": ("tables: {review: [{when: {cnlc: IIc}, do: go_on}, {do: go_on}]}", "II", "IIc"),
    "hidden": ("tables: {review: [{when: {response_class: responder}, do: go_on}, {do: go_on}]}", "observed", "hidden"),
    "set": ("tables: {review: [{do: go_on, set: {review: 1}}]}", "reviews?", "set: review"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_row_is_refused_at_its_line(case: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    text, hint, found = WRONG[case]
    file = tmp_path / "mine.yaml"
    file.write_text(f"id: mine\nlabel: {{en: Mine}}\nsetting: advanced\n{text}\n", encoding="utf-8")
    with pytest.raises(InputError) as error:
        to_graph(read_strategy(file))
    assert found in error.value.found and hint in (error.value.expected or "")
    assert error.value.line == 4


# -- lives ---------------------------------------------------------------------------------------------------------


def test_every_life_ends_once_and_the_causes_add_up() -> None:
    outcomes = run("china_all_stages", named("pathway_usual_2020", "pathway_review_2025"))
    causes = np.array([per_patient(outcomes, death) for death in DEATHS])
    ends = sum(outcomes.mark_sums[:, outcomes.marks.index(death), 0] for death in DEATHS)
    assert np.array_equal(ends, [PATIENTS, PATIENTS])
    assert (causes > 0.005).all()


def test_a_renamed_strategy_gives_the_same_bits() -> None:
    first = load_strategy("response_adapted")
    outcomes = run("china_advanced", [first, replace(first, id="another_name")])
    assert np.array_equal(outcomes.sums[:, 0], outcomes.sums[:, 1])
    assert np.array_equal(outcomes.mark_sums[0], outcomes.mark_sums[1])


def test_patients_meet_the_same_luck_under_other_strategies() -> None:
    # Both strategies operate on the same people at the same time, so the early deaths after operation are the same ones.
    outcomes = run("china_resectable", named("surgery_alone", "adjuvant_sorafenib"), horizon=2.0)
    assert np.array_equal(outcomes.mark_sums[0], outcomes.mark_sums[1])
    later = run("china_resectable", named("surgery_alone", "adjuvant_sorafenib"), horizon=24.0)
    assert not np.array_equal(later.mark_sums[0], later.mark_sums[1])


ADJUVANT = "treatments.adjuvant_atezo_bev."
NO_TOXICITY = {
    ADJUVANT + "severe_toxicity_rate_early_per_month": 0.0,
    ADJUVANT + "discontinuation_rate_per_month": 0.0,
    "adjuvant.p_start": 1.0,
}


def test_an_adjuvant_drug_without_effect_and_toxicity_changes_no_bit() -> None:
    outcomes = run(
        "imbrave050",
        named("surgery_alone", "adjuvant_atezo_bev"),
        {**NO_TOXICITY, ADJUVANT + "speed": 1.0},
        horizon=60.0,
        **CLEARED,
    )
    rfs = outcomes.endpoints.index("rfs")
    assert np.array_equal(outcomes.endpoint_counts[:, 0, rfs], outcomes.endpoint_counts[:, 1, rfs])
    # The drug classes seen change what can follow recurrence, and nothing before it.
    assert per_patient(outcomes, "adjuvant_started")[1] > 0.9


def test_a_drug_that_only_postpones_meets_the_control_within_a_point_by_five_years() -> None:
    changes = {**NO_TOXICITY, ADJUVANT + "speed": 0.4, ADJUVANT + "share_postponed": 1.0}
    outcomes = run("imbrave050", named("surgery_alone", "adjuvant_atezo_bev"), changes, horizon=61.0, **CLEARED)
    control, drug = outcomes.survival("rfs")[0]
    assert drug[12] - control[12] > 0.05
    assert abs(drug[60] - control[60]) < 0.01
    # A drug that avoids risk stays apart.
    avoiding = run(
        "imbrave050",
        named("surgery_alone", "adjuvant_atezo_bev"),
        {**changes, ADJUVANT + "share_postponed": 0.0},
        horizon=61.0,
        **CLEARED,
    )
    control, drug = avoiding.survival("rfs")[0]
    assert drug[60] - control[60] > 0.03


def test_eradication_is_an_alternative_to_avoided_risk() -> None:
    changes = {"structure.eradication_instead_of_rate": 1.0, "treatments.adjuvant_camre_rivo.p_eradicate_occult": 0.5}
    strategies = named("surgery_alone", "perioperative_camre_rivo")
    switched = run("cares-009", strategies, changes, horizon=61.0).survival("rfs")[0]
    nothing = run(
        "cares-009", strategies, {**changes, "treatments.adjuvant_camre_rivo.p_eradicate_occult": 0.0}, horizon=61.0
    )
    plain = nothing.survival("rfs")[0]
    assert np.array_equal(switched[0], plain[0])
    assert switched[1][60] - plain[1][60] > 0.05


# -- the arithmetic of section 7 of the clinical model ----------------------------------------------------------------


def test_five_year_survivors_come_from_long_control_and_from_long_life_after_progression() -> None:
    full = run("himalaya", named("stride"), horizon=61.0)
    without_long_control = run("himalaya", named("stride"), {"treatments.stride.p_long_control": 0.0}, horizon=61.0)
    without_long_life = run("himalaya", named("stride"), {"post_progression.p_long_lived": 0.0}, horizon=61.0)
    neither = run(
        "himalaya",
        named("stride"),
        {"treatments.stride.p_long_control": 0.0, "post_progression.p_long_lived": 0.0},
        horizon=61.0,
    )
    os = [float(o.means[0, 0, o.column("os_60m")]) for o in (full, without_long_control, without_long_life, neither)]
    # Each source alone leaves survivors; none of them leaves hardly any.
    assert 0.12 < os[0] < 0.25
    assert os[0] - os[1] > 0.02 and os[0] - os[2] > 0.04
    assert os[3] < os[0] / 2.0


def test_conversion_surgery_stays_within_its_bound() -> None:
    outcomes = run("china_advanced", named("atezo_bev", "conversion_surgery"), horizon=61.0)
    five = outcomes.means[0, :, outcomes.column("os_60m")]
    operated = per_patient(outcomes, "operated")[1]
    # The gain is at most the share operated times what an operation can add to those who would be alive anyway.
    assert 0.0 < five[1] - five[0] < 0.5 * operated
    assert five[1] < 0.30


def test_timing_dilutes_a_progression_benefit() -> None:
    outcomes = run(
        "leap-012",
        [load_strategy("tace_sequential", backbone="len_pembro"), load_strategy("tace_len_pembro")],
        horizon=61.0,
    )
    pfs = outcomes.means[0, :, outcomes.column("pfs_12m")]
    os = outcomes.means[0, :, outcomes.column("os_24m")]
    ratio_pfs, ratio_os = np.log(pfs[1]) / np.log(pfs[0]), np.log(os[1]) / np.log(os[0])
    assert ratio_pfs < 0.85
    assert ratio_pfs < ratio_os < 1.1


def test_naive_comparison_of_operated_patients_is_biased_by_selection() -> None:
    # Those who are operated respond; had they not been operated they would live longer than the average all the same.
    outcomes = run(
        "china_advanced", named("conversion_surgery"), {"conversion.p_operated_given_offered": 1.0}, horizon=61.0
    )
    converted = per_patient(outcomes, "converted")[0]
    assert 0.02 < converted < 0.30
    # Nobody is converted who has not been treated, and some have later operations besides.
    assert per_patient(outcomes, "operated")[0] > 0.8 * converted
